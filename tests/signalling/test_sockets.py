"""Pairs of sockets at one address: whose they are, who cannot join, and what is done without them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edgesbc.base.address import Source, Transport, Zone
from edgesbc.lanes import attach
from edgesbc.policy.model import ListenSettings
from edgesbc.signalling.sockets import Opened, open_listeners


def settings(
    bind: str = "127.0.0.1", port: int = 0, zone: Zone = Zone.PUBLIC, transport: str = "udp"
) -> ListenSettings:
    return ListenSettings(zone=zone, transport=Transport(transport), bind=Source(bind, port), name="l")


@contextmanager
def opened(of: ListenSettings) -> Iterator[Opened]:
    try:
        (each,) = open_listeners([of])
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            pytest.skip(f"no address {of.bind.host}")
        raise
    try:
        yield each
    finally:
        each.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_public_udp_listener_has_two_sockets_at_one_address(host: str) -> None:
    """Until the kernel is told whom to trust, everybody is a stranger."""
    with opened(settings(host)) as pair:
        if pair.strangers is None:
            pytest.skip("the kernel refuses SO_ATTACH_REUSEPORT_CBPF")
        assert pair.strangers.getsockname() == pair.sock.getsockname()
        assert pair.listener.port == pair.sock.getsockname()[1] != 0
        with socket.socket(pair.sock.family, socket.SOCK_DGRAM) as peer:
            for _ in range(20):
                peer.sendto(b"x", pair.sock.getsockname())
        assert [pair.strangers.recv(9) for _ in range(20)] == [b"x"] * 20
        with pytest.raises(BlockingIOError):
            pair.sock.recv(9)


def test_a_core_listener_has_one() -> None:
    with opened(settings(zone=Zone.CORE)) as core:
        assert core.strangers is None
        assert not core.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


@pytest.mark.parametrize("zone", list(Zone))
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_second_edge_at_the_address_is_refused(host: str, zone: Zone) -> None:
    """It could join the group and get a share of the datagrams: both belong to the same user."""
    with opened(settings(host)) as first, pytest.raises(OSError, match="cannot listen") as refused:
        open_listeners([settings(host, first.listener.port, zone)])
    assert refused.value.errno == errno.EADDRINUSE


def test_a_program_that_would_share_the_address_is_not_joined() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="cannot listen"):
            open_listeners([settings(port=other.getsockname()[1])])


def test_one_socket_where_the_kernel_does_not_steer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attach, "SO_ATTACH_REUSEPORT_CBPF", 0x7F00)  # an option that no kernel knows
    with opened(settings()) as alone:
        assert alone.strangers is None
        assert not alone.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for _ in range(20):
                peer.sendto(b"x", alone.sock.getsockname())
        assert [alone.sock.recv(9) for _ in range(20)] == [b"x"] * 20
