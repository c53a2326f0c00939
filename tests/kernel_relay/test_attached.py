"""The kernel relay between real hosts: network namespaces with devices of several kinds between them."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from support.bpf import can_attach, foreign_program, ingress_links, ingress_programs, link_ids, program_ids
from support.namespaces import address, inside, ip, needs_namespaces
from support.relay_model import LINK, RelayModel, checksums_are_right, rtp, udp_packet
from support.three_hosts import (
    A6,
    B6,
    DEADLINE,
    EDGE_A,
    EDGE_A6,
    EDGE_B,
    EDGE_B6,
    SLOTS,
    TRAFFIC_CLASS,
    A,
    B,
    Hosts,
    eventually,
    three_hosts,
)  # fmt: skip

import edgesbc
from edgesbc.base.address import Source
from edgesbc.kernel_relay.attached import attach_relay
from edgesbc.kernel_relay.bpf_calls import KernelRefusal, attach_ingress
from edgesbc.kernel_relay.flow_map import FlowMap
from edgesbc.kernel_relay.flows import KernelFlow
from edgesbc.kernel_relay.mode import KernelMode
from edgesbc.kernel_relay.routes import RouteReader

pytestmark = [
    needs_namespaces,
    pytest.mark.skipif(bool(can_attach()), reason=f"no eBPF here: {can_attach()}"),
]

ROOT = Path(edgesbc.__file__).parents[1]
LEGS = {"IPv4": (A, EDGE_A, EDGE_B, B), "IPv6": (A6, EDGE_A6, EDGE_B6, B6)}
FAMILIES = pytest.mark.parametrize("family", ["IPv4", "IPv6"])


@pytest.fixture
def hosts(request: pytest.FixtureRequest) -> Iterator[Hosts]:
    with three_hosts(getattr(request, "param", "veth")) as found:
        yield found


def flows_of(hosts: Hosts, family: str) -> tuple[KernelFlow, KernelFlow]:
    a, edge_a, edge_b, b = LEGS[family]
    return (
        KernelFlow(a, edge_a, edge_b, b, hosts.public, hosts.internal, 0),
        KernelFlow(b, edge_b, edge_a, a, hosts.internal, hosts.public, 1),
    )


def next_packet(wire: socket.socket, port: int) -> bytes:
    """The next UDP packet on the wire to that port."""
    while True:
        frame, origin = wire.recvfrom(65_535)
        header = {b"\x08\x00": 20, b"\x86\xdd": 40}.get(frame[12:14])
        if origin[2] == socket.PACKET_OUTGOING or header is None:
            continue
        protocol = frame[LINK + (9 if header == 20 else 6)]
        if protocol == 17 and int.from_bytes(frame[LINK + header + 2 : LINK + header + 4]) == port:
            return frame


@FAMILIES
@pytest.mark.parametrize("hosts", ["veth", "bridge", "macvlan"], indirect=True)
def test_a_call_is_relayed_packet_by_packet_both_ways(hosts: Hosts, family: str) -> None:
    """Ordinary sockets, whose checksums the devices compute; then packets from the wire, each compared with the
    model."""
    relay = hosts.attach()
    try:
        flow_map = FlowMap(relay.maps)
        flows = flows_of(hosts, family)
        for flow in flows:
            flow_map.put(flow)
        a, edge_a, edge_b, b = LEGS[family]
        one, two = hosts.udp(hosts.a, a), hosts.udp(hosts.b, b)
        for number in range(50):
            one.sendto(rtp(number), edge_a)
            data, source = two.recvfrom(2048)
            assert (data, source[:2]) == (rtp(number), edge_b)
            two.sendto(rtp(number, ssrc=7), edge_b)
            data, source = one.recvfrom(2048)
            assert (data, source[:2]) == (rtp(number, ssrc=7), edge_a)
        assert [flow_map.counters(slot)[:2] for slot in (0, 1)] == [(50, 50 * 172)] * 2
        assert [flow_map.counters(slot).expected for slot in (0, 1)] == [50, 50]

        model = RelayModel([flows[0]], hosts.public, TRAFFIC_CLASS)
        sender, receiver = hosts.wire(hosts.a), hosts.wire(hosts.b)
        link = hosts.link_address(hosts.edge, hosts.public_name) + hosts.link_address(hosts.a, "eth0")
        for number in range(20):
            packet = udp_packet(a, edge_a, rtp(100 + number, size=12 + number), ttl=20 + number)
            result, expected = model.relay(packet)
            assert result == 7
            sender.send(link + packet[12:])
            relayed = next_packet(receiver, b.port)
            assert relayed[12:] == expected[12:]
            assert checksums_are_right(relayed)
    finally:
        relay.close()


@FAMILIES
def test_0_of_1000_forged_packets_are_relayed(hosts: Hosts, family: str) -> None:
    """From other ports and addresses, and from the address and port of the other peer, by the wrong device. They come
    to the socket of the relay, which is connected and does not get them; one that nobody forged comes through."""
    relay = hosts.attach()
    try:
        flow_map = FlowMap(relay.maps)
        for flow in flows_of(hosts, family):
            flow_map.put(flow)
        a, edge_a, edge_b, b = LEGS[family]
        sockets = [hosts.udp(hosts.edge, edge_a, a), hosts.udp(hosts.edge, edge_b, b)]
        link = hosts.link_address(hosts.edge, "pub0") + hosts.link_address(hosts.a, "eth0")
        sender, receiver = hosts.wire(hosts.a), hosts.udp(hosts.b, b)
        one = hosts.udp(hosts.a, a)
        for number in range(1000):
            forged = [
                udp_packet(Source(a.host, 1024 + number if 1024 + number != a.port else 999), edge_a, rtp(number)),
                udp_packet(Source(a.host[:-1] + "7", a.port), edge_a, rtp(number)),
                udp_packet(Source(b.host, b.port), edge_b, rtp(number)),
                udp_packet(Source(b.host, b.port), edge_a, rtp(number)),
            ][number % 4]
            sender.send(link + forged[12:])
        one.sendto(rtp(5000), edge_a)
        assert receiver.recv(2048) == rtp(5000)
        assert [flow_map.counters(slot).packets for slot in range(SLOTS)] == [1] + [0] * (SLOTS - 1)
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(2048)
        sockets[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            sockets[0].recv(2048)
    finally:
        relay.close()


def test_what_is_no_rtp_comes_to_the_socket(hosts: Hosts) -> None:
    relay = hosts.attach()
    try:
        flow_map = FlowMap(relay.maps)
        for flow in flows_of(hosts, "IPv4"):
            flow_map.put(flow)
        ours, one = hosts.udp(hosts.edge, EDGE_A, A), hosts.udp(hosts.a, A)
        for payload in (b"\x00\x01" + bytes(18), b"\x16\xfe\xfd" + bytes(20), rtp(first=b"\x80\xc8"), b"\x80\x00short"):
            one.sendto(payload, EDGE_A)
            assert ours.recv(2048) == payload
        flow_map.clear()
        one.sendto(rtp(), EDGE_A)
        assert ours.recv(2048) == rtp()
        assert flow_map.counters(0).packets == 0
    finally:
        relay.close()


def test_a_packet_that_the_next_link_does_not_take_comes_to_the_socket(hosts: Hosts) -> None:
    relay = hosts.attach()
    try:
        ip("-n", hosts.edge, "link", "set", "int0", "mtu", "1280")
        with inside(hosts.edge, RouteReader) as routes:
            route = routes.route(B.host, EDGE_B.host)
        assert route is not None
        assert (route.device, route.mtu) == (hosts.internal, 1280)
        flow_map = FlowMap(relay.maps)
        flow_map.put(attrs.evolve(flows_of(hosts, "IPv4")[0], largest=route.mtu))
        ours, one, two = hosts.udp(hosts.edge, EDGE_A, A), hosts.udp(hosts.a, A), hosts.udp(hosts.b, B)
        fits, too_large = rtp() + bytes(1280 - 28 - 172), rtp() + bytes(1281 - 28 - 172)
        one.sendto(fits, EDGE_A)
        assert two.recv(2048) == fits
        one.sendto(too_large, EDGE_A)
        assert ours.recv(2048) == too_large
    finally:
        relay.close()


@pytest.mark.parametrize("peer", ["203.0.113.9", "127.0.0.1"])
def test_a_peer_may_be_on_this_machine(hosts: Hosts, peer: str) -> None:
    """A server of the private side beside the edge: over ``lo`` from a peer outside, and from another program."""
    relay = hosts.attach()
    try:
        flow_map = FlowMap(relay.maps)
        server, ours_in = Source("127.0.0.1", 5002), Source("127.0.0.1", 30_006)
        caller = Source(peer, 4002)
        local = peer == "127.0.0.1"
        ours_out = Source("127.0.0.1" if local else EDGE_A.host, 30_004)
        device = 1 if local else hosts.public
        flow_map.put(KernelFlow(caller, ours_out, ours_in, server, device, 1, 0, largest=65_536))
        flow_map.put(KernelFlow(server, ours_in, ours_out, caller, 1, device, 1))
        one = hosts.udp(hosts.edge if local else hosts.a, caller)
        two = hosts.udp(hosts.edge, server)
        for number in range(5):
            one.sendto(rtp(number), ours_out)
            assert two.recvfrom(2048) == (rtp(number), tuple(ours_in))
            two.sendto(rtp(number), ours_in)
            assert one.recvfrom(2048) == (rtp(number), tuple(ours_out))
        assert [flow_map.counters(slot).packets for slot in (0, 1)] == [5, 5]
    finally:
        relay.close()


def open_tun(link_type: int = 65_534) -> int:
    """A new TUN device ``tun0``: its other end, which does not wait."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    fcntl.ioctl(descriptor, 0x400454CD, link_type)  # TUNSETLINK
    return descriptor


@FAMILIES
def test_a_device_without_link_header_is_relayed_from_and_to(hosts: Hosts, family: str) -> None:
    """A TUN device, as WireGuard's are; its other end is a descriptor."""
    _, _, edge_b, b = LEGS[family]
    far = Source("192.0.2.9" if family == "IPv4" else "2001:db8:3::9", 4000)
    near = Source("192.0.2.1" if family == "IPv4" else "2001:db8:3::1", 30_000)

    descriptor = inside(hosts.edge, open_tun)
    ip("-n", hosts.edge, "link", "set", "tun0", "up")
    address(hosts.edge, "tun0", f"{near.host}/{24 if family == 'IPv4' else 64}")
    device = inside(hosts.edge, lambda: socket.if_nametoindex("tun0"))
    relay = hosts.attach(device, hosts.internal)
    try:
        assert set(relay.maps.devices) == {device, hosts.internal}
        flow_map = FlowMap(relay.maps)
        there = KernelFlow(far, near, edge_b, b, device, hosts.internal, 0)
        back = KernelFlow(b, edge_b, near, far, hosts.internal, device, 1)
        flow_map.put(there)
        flow_map.put(back)
        two, receiver = hosts.udp(hosts.b, b), hosts.wire(hosts.b)
        packet = udp_packet(far, near, rtp())
        os.write(descriptor, packet[LINK:])
        relayed = next_packet(receiver, b.port)
        assert relayed[12:] == RelayModel([there], device, TRAFFIC_CLASS).relay(packet)[1][12:]
        assert two.recv(2048) == rtp()
        two.sendto(rtp(9), edge_b)
        read: list[bytes] = []

        def came() -> bool:
            try:
                read.append(os.read(descriptor, 2048))
            except BlockingIOError:
                return False
            return read[-1][-172:] == rtp(9)

        assert eventually(came)
        expected = udp_packet(near, far, rtp(9), ttl=63, traffic_class=TRAFFIC_CLASS)[LINK:]
        if family == "IPv4":
            assert read[-1][12:24] == expected[12:24]
            assert read[-1][8] == 63
        else:
            assert read[-1][8:44] == expected[8:44]
        assert [flow_map.counters(slot).packets for slot in (0, 1)] == [1, 1]
    finally:
        relay.close()
        os.close(descriptor)


OWNER = """
import sys
from edgesbc.kernel_relay.attached import AttachedRelay
relay = AttachedRelay([int(number) for number in sys.argv[1:]], 8, 0xB8)
print("attached", flush=True)
sys.stdin.read()
"""


def test_after_sigkill_nothing_is_left(hosts: Hosts) -> None:
    devices = [1, hosts.public, hosts.internal]
    command = ["ip", "netns", "exec", hosts.edge, sys.executable, "-c", OWNER, *map(str, devices)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "attached\n"
        programs = inside(hosts.edge, lambda: [ingress_programs(device) for device in devices])
        links = inside(hosts.edge, lambda: [ingress_links(device) for device in devices])
        assert [len(of_device) for of_device in programs + links] == [1] * 6
        owner.send_signal(signal.SIGKILL)  # of the owner itself: `ip` has become it
        owner.wait(DEADLINE)
    gone = [[], [], []]
    assert eventually(lambda: inside(hosts.edge, lambda: [ingress_programs(device) for device in devices]) == gone)
    left = {number for of_device in programs for number in of_device}
    assert eventually(lambda: program_ids().isdisjoint(left))
    left_links = {number for of_device in links for number in of_device}
    assert eventually(lambda: link_ids().isdisjoint(left_links))


def test_programs_of_others_stay_and_come_first(hosts: Hosts) -> None:
    foreign = foreign_program()
    link = inside(hosts.edge, lambda: attach_ingress(foreign, hosts.public))
    try:
        before = inside(hosts.edge, lambda: ingress_programs(hosts.public))
        relay = hosts.attach()
        during = inside(hosts.edge, lambda: ingress_programs(hosts.public))
        assert (len(during), during[:1]) == (2, before)
        relay.close()
        assert eventually(lambda: inside(hosts.edge, lambda: ingress_programs(hosts.public)) == before)
    finally:
        os.close(link)
        os.close(foreign)


def test_descriptors_that_another_process_has_keep_it_attached(hosts: Hosts) -> None:
    relay = hosts.attach()
    kept = [os.dup(descriptor) for descriptor in relay.descriptors]
    relay.close()
    assert len(inside(hosts.edge, lambda: ingress_programs(hosts.public))) == 1
    for descriptor in kept:
        os.close(descriptor)
    assert eventually(lambda: inside(hosts.edge, lambda: ingress_programs(hosts.public)) == [])


WITHOUT_RIGHTS = """
import os, sys
from edgesbc.base.address import Source
from edgesbc.kernel_relay.attached import AttachedRelay
from edgesbc.kernel_relay.flow_map import FlowMap, RelayMaps
from edgesbc.kernel_relay.flows import KernelFlow
os.setgroups([]); os.setgid(65534); os.setuid(65534)
flows, counters, slots = map(int, sys.argv[1:])
flow_map = FlowMap(RelayMaps(flows, counters, slots, ()))
a, b = Source("192.0.2.1", 1), Source("192.0.2.2", 2)
flow_map.put(KernelFlow(a, b, a, b, 1, 1, 0))
print(flow_map.remove(a, b), flow_map.remove(a, b), flow_map.counters(0).packets)
try:
    AttachedRelay([1], 8, 0)
except OSError as error:
    print(error)
"""


def test_the_maps_take_no_capability_and_the_program_does(hosts: Hosts) -> None:
    relay = hosts.attach()
    try:
        child = subprocess.run(
            [sys.executable, "-c", WITHOUT_RIGHTS, str(relay.flows), str(relay.counters), str(SLOTS)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            pass_fds=(relay.flows, relay.counters),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert child.stdout.splitlines()[0] == "True False 0", child.stderr
        assert "expected the capabilities CAP_BPF and CAP_NET_ADMIN" in child.stdout
    finally:
        relay.close()


def test_a_full_map_refuses_and_says_so(hosts: Hosts) -> None:
    relay = hosts.attach()
    try:
        flow_map = FlowMap(relay.maps)
        flow = flows_of(hosts, "IPv4")[0]
        for number in range(SLOTS):
            flow_map.put(attrs.evolve(flow, source=Source(A.host, 6000 + number), slot=number))
        with pytest.raises(KernelRefusal, match="an entry of a map"):
            flow_map.put(attrs.evolve(flow, source=Source(A.host, 7000)))
        flow_map.put(attrs.evolve(flow, source=Source(A.host, 6000), largest=1000))  # one that is there can change
        flow_map.clear()
        flow_map.put(attrs.evolve(flow, source=Source(A.host, 7000)))
    finally:
        relay.close()


def test_a_device_that_takes_no_program_is_told_and_the_others_have_it(hosts: Hosts) -> None:
    relay = hosts.attach(hosts.public)
    try:
        assert (relay.maps.devices, relay.refused) == ((hosts.public,), {})
    finally:
        relay.close()
    descriptor = inside(hosts.edge, lambda: open_tun(512))  # as of PPP
    other = inside(hosts.edge, lambda: socket.if_nametoindex("tun0"))
    relay = hosts.attach(hosts.public, other)
    try:
        assert relay.maps.devices == (hosts.public,)
        reason = "expected Ethernet or no link header, found type 512"
        assert relay.refused == {other: reason}
        automatic, why = inside(hosts.edge, lambda: attach_relay(KernelMode.AUTO, [hosts.public, other], SLOTS, 0))
        assert automatic is not None
        automatic.close()
        assert why == f"device {other}: {reason}"
        with pytest.raises(OSError, match=f"not everywhere possible: device {other}: {reason}"):
            inside(hosts.edge, lambda: attach_relay(KernelMode.REQUIRE, [hosts.public, other], SLOTS, 0))
    finally:
        relay.close()
        os.close(descriptor)
    with pytest.raises(OSError, match="No such device"):
        hosts.attach(hosts.public, 4711)
    assert eventually(lambda: inside(hosts.edge, lambda: ingress_programs(hosts.public)) == [])
