"""The filter programs in the kernel, on loopback; skipped if the kernel refuses them."""

from __future__ import annotations

import ipaddress
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.transport import kernel_filters
from edgesbc.transport.filter_programs import TRUSTED, UNTRUSTED, Instruction
from edgesbc.transport.kernel_filters import KERNEL, USER, SourceDropFilter, Steering, steer


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        if SourceDropFilter(sock).update([Source("192.0.2.1", 0)]) != KERNEL:
            pytest.skip("the kernel refuses SO_ATTACH_FILTER")
        SourceDropFilter(sock).update([])
        yield sock


def arrivals(server: socket.socket, *hosts: str) -> list[str]:
    """Send a datagram from each address; return those that arrived. Loopback delivers before sendto() returns."""
    for host in hosts:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind((host, 0))
            peer.sendto(host.encode(), server.getsockname())
    arrived = []
    while True:
        try:
            arrived.append(server.recvfrom(64)[0].decode())
        except BlockingIOError:
            return arrived


def test_the_kernel_drops_the_listed_and_only_them(server: socket.socket) -> None:
    penalties = SourceDropFilter(server)
    crowd = [Source(f"127.1.{n // 250}.{n % 250 + 1}", 0) for n in range(2500)]
    assert penalties.update([Source("127.0.0.66", 0), *crowd]) == KERNEL
    assert penalties.covered == 2501
    assert arrivals(server, "127.0.0.66", "127.0.0.67", "127.1.9.250", "127.1.10.1") == ["127.0.0.67", "127.1.10.1"]
    assert penalties.update([]) == KERNEL
    assert arrivals(server, "127.0.0.66") == ["127.0.0.66"]


def test_one_port_of_an_address(server: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.66", 0))
        SourceDropFilter(server).update([Source(*peer.getsockname())])
        peer.sendto(b"dropped", server.getsockname())
        assert arrivals(server, "127.0.0.66") == ["127.0.0.66"]


def test_ipv6(server: socket.socket) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 loopback")
        sock.setblocking(False)
        SourceDropFilter(sock).update([Source("::1", 0)])
        sock.sendto(b"dropped", sock.getsockname())
        with pytest.raises(BlockingIOError):
            sock.recv(64)


def test_penalties_end_and_are_rebuilt_no_faster_than_each_100_ms(server: socket.socket) -> None:
    penalties = SourceDropFilter(server)
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
    penalties = SourceDropFilter(server)
    for n in range(limits.PENALTIES_WAITING + 50):
        penalties.add(Source(f"10.{n >> 8}.{n & 255}.1", 0), 60.0, now=1.0)
    assert len(penalties) == limits.PENALTIES_WAITING
    penalties.apply(1.0)
    assert 0 < penalties.covered < limits.PENALTIES_WAITING
    penalties.add(Source("10.0.0.1", 0), 60.0, now=1.0)
    assert penalties.due == pytest.approx(1.0 + 17 * limits.FILTER_SECONDS)


def test_a_refused_program_is_reported_and_changes_nothing(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source("127.0.0.66", 0)
    assert SourceDropFilter(server).update([source]) == KERNEL
    monkeypatch.setattr(kernel_filters, "drop_filter", lambda listed, limit: ((Instruction(0xFFFF, 0, 0, 0),), 1))
    assert SourceDropFilter(server).update([source]) == USER
    assert arrivals(server, "127.0.0.66") == []


def test_no_program_is_tried_after_the_kernel_has_refused_one() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.close()
    penalties = SourceDropFilter(sock)
    penalties.add(Source("127.0.0.66", 0), 60.0, now=1.0)
    assert penalties.apply(1.0) == USER
    penalties.add(Source("127.0.0.66", 0), 60.0, now=2.0)
    assert (penalties.due, len(penalties), penalties.covered) == (None, 0, 0)


# --- steering ----------------------------------------------------------------------------------------------


class Pair:
    """Two sockets at one address, and peers that send to it."""

    def __init__(self, host: str) -> None:
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.first, self.second = (socket.socket(self.family, socket.SOCK_DGRAM) for _ in range(2))
        self.peers: list[socket.socket] = []
        for sock in (self.first, self.second):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setblocking(False)
        self.first.bind((host, 0))
        self.second.bind(self.first.getsockname())

    def peer(self, host: str) -> Source:
        peer = socket.socket(self.family, socket.SOCK_DGRAM)
        self.peers.append(peer)
        peer.bind((host, 0))
        return Source(*peer.getsockname()[:2])

    def receivers(self) -> dict[Source, str]:
        """The socket at which a datagram of each peer arrives."""
        for peer in self.peers:
            peer.sendto(b"x", self.first.getsockname())
        receivers = {}
        for lane, sock in (("trusted", self.first), ("untrusted", self.second)):
            while True:
                try:
                    receivers[Source(*sock.recvfrom(64)[1][:2])] = lane
                except BlockingIOError:
                    break
        return receivers

    def close(self) -> None:
        for sock in (self.first, self.second, *self.peers):
            sock.close()


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    try:
        pair = Pair(request.param)
    except OSError:
        pytest.skip(f"no two sockets at {request.param}")
    if steer(pair.first, (UNTRUSTED,)) != KERNEL:
        pair.close()
        pytest.skip("the kernel refuses SO_ATTACH_REUSEPORT_CBPF")
    yield pair
    pair.close()


def test_the_first_socket_is_for_the_listed_and_the_second_for_all_others(pair: Pair) -> None:
    """In the kernel as in the interpreter: prefixes, addresses, and single ports, among many others."""
    draw = random.Random(7)
    four = pair.family == socket.AF_INET
    hosts = [f"127.{draw.randrange(3)}.0.{draw.randrange(2, 250)}" for _ in range(60)] if four else ["::1"] * 60
    peers = [pair.peer(host) for host in hosts]
    ports = draw.sample(peers, 20)
    prefix = ipaddress.ip_network("127.1.0.0/16" if four else "2001:db8::/32")
    crowd = [Source(f"10.{n >> 8}.{n & 255}.1" if four else f"2001:db8:{n:x}::1", 5060) for n in range(300)]
    alone = Source(hosts[0], 0) if four else Source("::2", 0)
    steering = Steering(pair.first)
    assert steering.apply([prefix, alone, *ports, *crowd], None, 1.0) == KERNEL
    assert (steering.covered, steering.left_out) == (322, 0)
    trusted = {
        peer for peer in peers if peer in ports or peer.host == alone.host or ipaddress.ip_address(peer.host) in prefix
    }
    assert 20 <= len(trusted) < 60
    assert pair.receivers() == {peer: "trusted" if peer in trusted else "untrusted" for peer in peers}
    steering.apply([], None, 2.0)
    assert set(pair.receivers().values()) == {"untrusted"}


def test_steering_is_rebuilt_no_faster_than_each_100_ms_and_only_for_others(pair: Pair) -> None:
    trusted, other = pair.peer(pair.first.getsockname()[0]), pair.peer(pair.first.getsockname()[0])
    steering = Steering(pair.first)
    steering.schedule(10.0)
    assert steering.due == 10.0
    steering.apply([trusted], 70.0, 10.0)
    assert steering.due == 70.0
    steering.schedule(10.01)
    steering.schedule(10.02)
    assert steering.due == pytest.approx(10.0 + limits.FILTER_SECONDS)
    steer(pair.first, (TRUSTED,))
    steering.apply([trusted], None, 10.1)
    assert steering.due is None
    assert pair.receivers() == {trusted: "trusted", other: "trusted"}  # the same list is not built again
    steering.apply([other], None, 10.2)
    assert pair.receivers() == {trusted: "untrusted", other: "trusted"}


def test_trusted_sources_that_do_not_fit_are_counted(pair: Pair) -> None:
    steering = Steering(pair.first)
    crowd = [Source(f"10.{n >> 8}.{n & 255}.1", 5060) for n in range(3000)]
    assert steering.apply(crowd, None, 1.0) == KERNEL
    assert 1000 < steering.covered < 3000
    assert steering.left_out == 3000 - steering.covered
    steering.schedule(1.0)
    assert steering.due == pytest.approx(1.0 + 47 * limits.FILTER_SECONDS)


def test_no_steering_program_is_tried_after_the_kernel_has_refused_one(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_filters, "SO_ATTACH_REUSEPORT_CBPF", 0x7F00)
    steering = Steering(pair.first)
    assert steering.apply([Source("192.0.2.1", 0)], 70.0, 1.0) == USER
    steering.schedule(2.0)
    assert (steering.due, steering.covered) == (None, 0)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="a network namespace takes root")
def test_a_kernel_with_little_memory_for_programs_gets_smaller_ones() -> None:
    """The default of ``net.core.optmem_max`` was 20 KiB, which is less than 4,096 instructions need."""
    child = """
import socket
from edgesbc.base.address import Source
from edgesbc.transport.kernel_filters import SourceDropFilter, Steering
open("/proc/sys/net/core/optmem_max", "w").write("20480")
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
penalties, steering = SourceDropFilter(sock), Steering(sock)
crowd = [Source(f"192.{n >> 8}.{n & 255}.1", 5060) for n in range(3000)]
print(penalties.update(crowd), penalties.covered, steering.apply(crowd, None, 1.0), steering.covered)
"""
    command = ["unshare", "--net", sys.executable, "-c", child]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "optmem_max" in ended.stderr or "unshare" in ended.stderr:
        pytest.skip("the bound is not to be set in a network namespace here")
    penalties, dropped, steering, steered = ended.stdout.split()
    assert (penalties, steering) == (KERNEL, KERNEL)
    assert 100 < int(dropped) < 1300
    assert 100 < int(steered) < 1300
