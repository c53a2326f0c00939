"""The filters in the kernel, on loopback; skipped by name where the kernel takes none."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.lanes.attach import KERNEL, USER, Penalties, attach
from edgesbc.lanes.program import DROP, KEEP, Instruction


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        if attach(sock, (KEEP,)) != KERNEL:
            pytest.skip("the kernel refuses SO_ATTACH_FILTER")
        attach(sock, ())
        yield sock


def arrivals(server: socket.socket, *hosts: str) -> list[str]:
    """Send a datagram from each address in turn; which of them arrived. On loopback, sending is delivery."""
    for host in hosts:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind((host, 0))
            peer.sendto(host.encode(), server.getsockname())
    found = []
    while True:
        try:
            found.append(server.recvfrom(64)[0].decode())
        except BlockingIOError:
            return found


def test_the_kernel_drops_the_listed_and_only_them(server: socket.socket) -> None:
    penalties = Penalties(server)
    crowd = [Source(f"127.1.{n // 250}.{n % 250 + 1}", 0) for n in range(2500)]
    assert penalties.update([Source("127.0.0.66", 0), *crowd]) == KERNEL
    assert penalties.covered == 2501
    assert arrivals(server, "127.0.0.66", "127.0.0.67", "127.1.9.250", "127.1.10.1") == ["127.0.0.67", "127.1.10.1"]
    assert penalties.update([]) == KERNEL
    assert arrivals(server, "127.0.0.66") == ["127.0.0.66"]


def test_one_port_of_an_address(server: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.66", 0))
        Penalties(server).update([Source(*peer.getsockname())])
        peer.sendto(b"dropped", server.getsockname())
        assert arrivals(server, "127.0.0.66") == ["127.0.0.66"]


def test_ipv6(server: socket.socket) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 loopback")
        sock.setblocking(False)
        Penalties(sock).update([Source("::1", 0)])
        sock.sendto(b"dropped", sock.getsockname())
        with pytest.raises(BlockingIOError):
            sock.recv(64)


def test_penalties_end_and_are_rebuilt_no_faster_than_each_100_ms(server: socket.socket) -> None:
    penalties = Penalties(server)
    assert penalties.due is None
    penalties.add(Source("127.0.0.66", 0), 60.0, now=10.0)
    assert penalties.due == 10.0
    assert penalties.apply(10.0) == KERNEL
    assert penalties.due == 70.0
    penalties.add(Source("127.0.0.67", 0), 5.0, now=10.01)
    assert penalties.due == pytest.approx(10.0 + limits.FILTER_SECONDS)
    penalties.apply(10.1)
    assert penalties.covered == 2
    assert penalties.due == pytest.approx(15.01)
    assert arrivals(server, "127.0.0.66", "127.0.0.67") == []
    penalties.apply(15.01)
    assert arrivals(server, "127.0.0.66", "127.0.0.67") == ["127.0.0.67"]
    penalties.remove(Source("127.0.0.66", 0), now=20.0)
    penalties.apply(20.0)
    assert (penalties.due, penalties.covered) == (None, 0)
    assert arrivals(server, "127.0.0.66") == ["127.0.0.66"]


def test_penalties_are_bounded(server: socket.socket) -> None:
    penalties = Penalties(server)
    for n in range(limits.PENALTIES_WAITING + 50):
        penalties.add(Source(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0), 60.0, now=1.0)
    assert len(penalties) == limits.PENALTIES_WAITING
    penalties.apply(1.0)
    assert 0 < penalties.covered < limits.PENALTIES_WAITING
    penalties.add(Source("10.0.0.0", 0), 60.0, now=1.0)
    assert penalties.due == pytest.approx(1.0 + 17 * limits.FILTER_SECONDS)


def test_a_refusal_is_said_and_leaves_the_socket_alone(server: socket.socket) -> None:
    attach(server, (DROP,))
    assert attach(server, (Instruction(0xFFFF, 0, 0, 0),)) == USER
    assert arrivals(server, "127.0.0.66") == []


def test_a_kernel_that_refuses_is_not_asked_again() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.close()
    penalties = Penalties(sock)
    penalties.add(Source("127.0.0.66", 0), 60.0, now=1.0)
    assert penalties.apply(1.0) == USER
    penalties.add(Source("127.0.0.66", 0), 60.0, now=2.0)
    assert (penalties.due, len(penalties), penalties.covered) == (None, 0, 0)
