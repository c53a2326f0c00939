"""Routes and devices, as the kernel of a namespace has them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from support.namespaces import address, inside, ip, namespaces, needs_namespaces, veth
from support.three_hosts import eventually

from edgesbc.kernel_relay.routes import DeviceRoute, NetworkDevice, RouteReader, RouteWatch

pytestmark = needs_namespaces


@pytest.fixture
def host() -> Iterator[str]:
    """A namespace with ``eth0`` at 192.0.2.1 and 2001:db8::1."""
    with namespaces("host", "far") as names:
        veth(names["host"], "eth0", names["far"], "eth0")
        address(names["host"], "eth0", "192.0.2.1/24", "2001:db8::1/64")
        yield names["host"]


def test_a_route_has_its_device_and_its_largest_packet(host: str) -> None:
    ip("-n", host, "route", "add", "198.51.100.0/24", "via", "192.0.2.9", "mtu", "1400")
    ip("-n", host, "route", "add", "prohibit", "198.51.100.7")
    ip("-n", host, "route", "add", "blackhole", "198.51.100.8")
    device = inside(host, lambda: socket.if_nametoindex("eth0"))
    with inside(host, RouteReader) as routes:
        assert routes.device(device) == NetworkDevice(device, "eth0", 1, 1500)
        assert routes.device(1) == NetworkDevice(1, "lo", 772, 65_536)
        assert routes.route("192.0.2.9", "192.0.2.1") == DeviceRoute(device, 1500)
        assert routes.route("2001:db8::9", "2001:db8::1") == DeviceRoute(device, 1500)
        assert routes.route("198.51.100.1", "192.0.2.1") == DeviceRoute(device, 1400)
        assert routes.route("192.0.2.1", "192.0.2.1") == DeviceRoute(1, 65_536)
        for nowhere in ("198.51.100.7", "198.51.100.8", "203.0.113.1"):
            assert routes.route(nowhere, "192.0.2.1") is None
        assert routes.route("2001:db8:7::1", "2001:db8::1") is None
        assert routes.route("192.0.2.9", "192.0.2.77") is None  # not an address of this host
        with pytest.raises(OSError, match="No such device"):
            routes.device(4711)


@pytest.mark.parametrize(
    "change",
    [
        "route add 198.51.100.0/24 via 192.0.2.9",
        "-6 route add 2001:db8:7::/64 via 2001:db8::9",
        "address add 192.0.2.2/24 dev eth0",
        "address add 2001:db8::2/64 dev eth0 nodad",
        "link set eth0 mtu 1280",
        "rule add from 192.0.2.1 lookup 7",
        "-6 rule add from 2001:db8::1 lookup 7",
    ],
)
def test_changes_are_told(host: str, change: str) -> None:
    watch = inside(host, RouteWatch)
    try:
        watch.drain()
        assert not watch.drain()
        ip("-n", host, *change.split())
        assert eventually(watch.drain)  # the kernel may tell of an address of IPv6 a moment later, and of its route
        assert eventually(lambda: not watch.drain())
    finally:
        watch.close()
