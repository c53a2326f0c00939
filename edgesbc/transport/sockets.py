"""Opens the sockets of listeners, before anything runs, so that an address in use is an error at start."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from edgesbc.base import limits
from edgesbc.base.address import Listener, Transport, Zone
from edgesbc.policy.model import ListenSettings
from edgesbc.transport.filter_programs import steering_program
from edgesbc.transport.kernel_filters import KERNEL, steer

__all__ = ["OpenedListener", "open_listeners", "visible_address"]

# linux/in.h and linux/in6.h; Python's socket module names neither.
IP_RECVERR = 11
IPV6_RECVERR = 25


class OpenedListener:
    """A listener and its bound socket; ``strangers`` is a second one at the same address, for all but trusted
    sources, where the kernel can tell them apart."""

    __slots__ = ("listener", "settings", "sock", "strangers")

    def __init__(
        self,
        listener: Listener,
        settings: ListenSettings,
        sock: socket.socket,
        strangers: socket.socket | None = None,
    ) -> None:
        self.listener = listener
        self.settings = settings
        self.sock = sock
        self.strangers = strangers

    @property
    def sockets(self) -> list[socket.socket]:
        return [self.sock] if self.strangers is None else [self.sock, self.strangers]

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


def open_listeners(settings: Sequence[ListenSettings]) -> list[OpenedListener]:
    """Bind every listener. Raises ``OSError`` for the first that cannot be, with none left open."""
    opened: list[OpenedListener] = []
    try:
        for number, each in enumerate(settings):
            opened.append(_open(number, each))
    except OSError:
        for each_opened in opened:
            each_opened.close()
        raise
    return opened


def _open(number: int, settings: ListenSettings) -> OpenedListener:
    host, port = settings.bind
    datagrams = settings.transport is Transport.UDP
    sock = _socket(settings)
    try:
        sock.bind((host, port))  # alone: whoever holds the address already is not joined but an error
        if not datagrams:
            sock.listen(limits.BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{settings.name} cannot listen on {settings.bind}: {error.strerror}") from error
    strangers = _beside(sock, settings) if settings.zone is Zone.PUBLIC else None
    bound_port = sock.getsockname()[1]
    if settings.advertise is not None:
        shown, shown_port = settings.advertise.host, settings.advertise.port or bound_port
    else:
        shown, shown_port = visible_address(host), bound_port
    listener = Listener(number, settings.name, settings.zone, settings.transport, host, bound_port, shown, shown_port)
    return OpenedListener(listener, settings, sock, strangers)


def _socket(settings: ListenSettings) -> socket.socket:
    """A socket of the listener's kind that is not bound yet."""
    six = ":" in settings.bind.host
    datagrams = settings.transport is Transport.UDP
    sock = socket.socket(
        socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
    )
    sock.setblocking(False)
    if six:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # an address has one form here
    if datagrams:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.UDP_RECEIVE_BUFFER)
        if settings.zone is Zone.CORE:
            # A dead destination then says so at once (ICMP); from the public side nobody is asked.
            level, option = (socket.IPPROTO_IPV6, IPV6_RECVERR) if six else (socket.IPPROTO_IP, IP_RECVERR)
            sock.setsockopt(level, option, 1)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock


def _beside(first: socket.socket, settings: ListenSettings) -> socket.socket | None:
    """A second socket at the address of ``first``, which the kernel gives all that is not steered to the first.

    None where the kernel does not do that; then ``first`` is as it was. That both are bound with
    SO_REUSEPORT lets other processes with the effective user of this one bind the address as well, and
    nobody else; it is set on the first only once it has the address.
    """
    second = _socket(settings)
    try:
        for sock in (first, second):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        second.bind(first.getsockname())
        if settings.transport is not Transport.UDP:
            second.listen(limits.BACKLOG)
        if steer(first, steering_program(())[0]) == KERNEL:
            return second
    except OSError:
        pass
    second.close()
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    return None


def visible_address(host: str) -> str:
    """``host``, or for a wildcard the address that this machine sends from by default: what peers can be told."""
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return host
    six = ":" in host
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # Connecting a datagram socket sends nothing; it only asks the routing table (RFC 5737, RFC 3849).
            sock.connect(("2001:db8::1" if six else "192.0.2.1", 9))
        except OSError:
            return "::1" if six else "127.0.0.1"
        return str(sock.getsockname()[0])
