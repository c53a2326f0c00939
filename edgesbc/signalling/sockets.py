"""Opens the sockets of listeners, before anything runs, so that an address in use is an error at start."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from edgesbc.base import limits
from edgesbc.base.address import Listener, Transport
from edgesbc.policy.model import ListenSettings

__all__ = ["Opened", "open_listeners", "visible_address"]

# linux/in.h and linux/in6.h; Python's socket module names neither.
IP_RECVERR = 11
IPV6_RECVERR = 25


class Opened:
    """A listener and its bound socket."""

    __slots__ = ("listener", "settings", "sock")

    def __init__(self, listener: Listener, settings: ListenSettings, sock: socket.socket) -> None:
        self.listener = listener
        self.settings = settings
        self.sock = sock


def open_listeners(settings: Sequence[ListenSettings]) -> list[Opened]:
    """Bind every listener. Raises ``OSError`` for the first that cannot be, with none left open."""
    opened: list[Opened] = []
    try:
        for number, each in enumerate(settings):
            opened.append(_open(number, each))
    except OSError:
        for each_opened in opened:
            each_opened.sock.close()
        raise
    return opened


def _open(number: int, settings: ListenSettings) -> Opened:
    host, port = settings.bind
    six = ":" in host
    family = socket.AF_INET6 if six else socket.AF_INET
    datagrams = settings.transport is Transport.UDP
    sock = socket.socket(family, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # an address has one form here
        if datagrams:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.UDP_RECEIVE_BUFFER)
            if settings.zone == "core":
                # A dead destination then says so at once (ICMP); from the public side nobody is asked.
                level, option = (socket.IPPROTO_IPV6, IPV6_RECVERR) if six else (socket.IPPROTO_IP, IP_RECVERR)
                sock.setsockopt(level, option, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        if not datagrams:
            sock.listen(limits.BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{settings.name} cannot listen on {settings.bind}: {error.strerror}") from error
    bound_port = sock.getsockname()[1]
    if settings.advertise is not None:
        shown, shown_port = settings.advertise.host, settings.advertise.port or bound_port
    else:
        shown, shown_port = visible_address(host), bound_port
    listener = Listener(number, settings.name, settings.zone, settings.transport, host, bound_port, shown, shown_port)
    return Opened(listener, settings, sock)


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
