"""Sockets of listeners and connections: pairs at one address, which other processes may bind it, and TCP options."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport, Zone
from edgesbc.policy.model import ListenSettings
from edgesbc.transport import kernel_filters
from edgesbc.transport.sockets import (
    OpenedListener,
    client_socket,
    open_listeners,
    visible_address,
    visible_addresses,
)

ESTABLISHED = b"\x01"
"""The first byte of ``struct tcp_info`` is the state of the connection."""


def settings(
    bind: str = "127.0.0.1", port: int = 0, zone: Zone = Zone.PUBLIC, transport: str = "udp"
) -> ListenSettings:
    return ListenSettings(zone=zone, transport=Transport(transport), bind=Source(bind, port), name="l")


@contextmanager
def opened(of: ListenSettings) -> Iterator[OpenedListener]:
    try:
        (listener,) = open_listeners([of])
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            pytest.skip(f"no address {of.bind.host}")
        raise
    try:
        yield listener
    finally:
        listener.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_public_udp_listener_has_two_sockets_at_one_address(host: str) -> None:
    """Without a filter program, the kernel treats every source as untrusted."""
    with opened(settings(host)) as pair:
        if pair.untrusted is None:
            pytest.skip("the kernel refuses SO_ATTACH_REUSEPORT_CBPF")
        assert pair.untrusted.getsockname() == pair.sock.getsockname()
        assert pair.listener.port == pair.sock.getsockname()[1] != 0
        with socket.socket(pair.sock.family, socket.SOCK_DGRAM) as peer:
            for _ in range(20):
                peer.sendto(b"x", pair.sock.getsockname())
        assert [pair.untrusted.recv(9) for _ in range(20)] == [b"x"] * 20
        with pytest.raises(BlockingIOError):
            pair.sock.recv(9)


def test_a_core_listener_has_one() -> None:
    with opened(settings(zone=Zone.CORE)) as core:
        assert core.untrusted is None
        assert not core.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("zone", list(Zone))
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_second_edge_at_the_address_is_refused(host: str, zone: Zone, transport: str) -> None:
    """The kernel would let it join the group, since both belong to the same user."""
    with opened(settings(host, transport=transport)) as first, pytest.raises(OSError, match="cannot listen") as refused:
        open_listeners([settings(host, first.listener.port, zone, transport)])
    assert refused.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_program_that_would_share_the_address_is_not_joined(transport: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        if transport == "tcp":
            other.listen()
        with pytest.raises(OSError, match="cannot listen"):
            open_listeners([settings(port=other.getsockname()[1], transport=transport)])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_untrusted_connections_fill_an_accept_queue_that_is_not_the_trunks(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More untrusted connections than the backlog holds do not keep a trunk from connecting."""
    monkeypatch.setattr(limits, "BACKLOG", 4)
    with opened(settings(host, transport="tcp")) as pair, ExitStack() as stack:
        if pair.untrusted is None:
            pytest.skip("the kernel refuses SO_ATTACH_REUSEPORT_CBPF")
        kin = "127.0.0.5" if host == "127.0.0.1" else "::1"
        trunk, *untrusted = (stack.enter_context(socket.socket(pair.sock.family)) for _ in range(13))
        trunk.bind((kin, 0))
        steering = kernel_filters.Steering(pair.sock)
        steering.apply([Source(*trunk.getsockname()[:2])], None, 1.0)
        for client in untrusted:
            client.bind(("127.0.0.66" if kin != "::1" else kin, 0))
            client.setblocking(False)
            client.connect_ex(pair.sock.getsockname())
        states = [client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) for client in untrusted]
        assert set(states) != {ESTABLISHED}, "the backlog of untrusted sources is full"
        trunk.settimeout(8)
        trunk.connect(pair.sock.getsockname())
        with pair.sock.accept()[0] as accepted:
            assert accepted.getpeername() == trunk.getsockname()
        with pytest.raises(BlockingIOError):
            pair.sock.accept()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_earlier_connections_do_not_keep_a_restarted_edge_from_its_pair(host: str) -> None:
    with opened(settings(host, transport="tcp")) as pair, socket.socket(pair.sock.family) as peer:
        port = pair.listener.port
        peer.connect(pair.sock.getsockname())
        waiting = pair.untrusted or pair.sock
        waiting.setblocking(True)
        waiting.settimeout(8)
        waiting.accept()[0].close()  # it stays in TIME-WAIT, since this side closes first (RFC 9293 section 3.6.1)
        assert peer.recv(1) == b""
        both = pair.untrusted is not None
    with opened(settings(host, port, transport="tcp")) as second:
        assert (second.untrusted is not None) == both


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_kernel_finds_peers_that_are_gone_in_both_directions(host: str) -> None:
    with opened(settings(host, transport="tcp")) as pair:
        waiting = pair.untrusted or pair.sock
        waiting.settimeout(8)
        with client_socket(Source(host, pair.listener.port)) as outgoing:
            outgoing.connect_ex(pair.sock.getsockname())
            accepted = waiting.accept()[0]
            with accepted:
                for sock in (outgoing, accepted):
                    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                    idle, lost = (
                        sock.getsockopt(socket.IPPROTO_TCP, option)
                        for option in (socket.TCP_KEEPIDLE, socket.TCP_USER_TIMEOUT)
                    )
                    assert (idle, lost) == (limits.TCP_KEEPALIVE_SECONDS, limits.TCP_USER_TIMEOUT_SECONDS * 1000)


def test_one_socket_where_the_kernel_does_not_steer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_filters, "SO_ATTACH_REUSEPORT_CBPF", 0x7F00)  # an option that no kernel knows
    with opened(settings()) as alone:
        assert alone.untrusted is None
        assert not alone.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for _ in range(20):
                peer.sendto(b"x", alone.sock.getsockname())
        assert [alone.sock.recv(9) for _ in range(20)] == [b"x"] * 20


def test_the_addresses_that_are_shown() -> None:
    named = ["203.0.113.10", "2001:db8::1", "127.0.0.1", "::1"]
    assert visible_addresses(named) == named
    for host in ("0.0.0.0", "::"):
        assert visible_addresses([host]) == [visible_address(host)]
    # Without a route of IPv6, that family is left out; with one, an address is shown that others reach.
    first, *more = visible_addresses(["203.0.113.10", "::"])
    assert first == "203.0.113.10"
    assert [host for host in more if host == "::1" or host.startswith("fe80:")] == []
