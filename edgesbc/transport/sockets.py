"""The sockets of listeners, bound before anything runs, so that an address in use is an error at start."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

import trio

from edgesbc.base import limits
from edgesbc.base.address import Listener, Source, Transport, Zone
from edgesbc.policy.model import ANY_DEVICE, ListenSettings
from edgesbc.sip.delivery import SendFailure
from edgesbc.transport.error_queue import request_errors
from edgesbc.transport.filter_programs import steering_program
from edgesbc.transport.interfaces import device_indexes, refused_devices
from edgesbc.transport.kernel_filters import KERNEL, refuse_devices, steer

__all__ = [
    "OpenedListener", "bind_to_device", "client_socket", "connect", "connect_failure", "datagram_failure",
    "open_listeners", "opened_listener", "visible_address", "visible_addresses",
]  # fmt: skip

_NO_RESOURCES = frozenset({
    errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL,
})  # fmt: skip
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM, errno.EINVAL})


class OpenedListener:
    """A listener and its bound socket; ``untrusted`` is a second socket at the same address for untrusted sources, if
    the kernel can separate them."""

    __slots__ = ("listener", "settings", "sock", "untrusted")

    def __init__(
        self,
        listener: Listener,
        settings: ListenSettings,
        sock: socket.socket,
        untrusted: socket.socket | None = None,
    ) -> None:
        self.listener = listener
        self.settings = settings
        self.sock = sock
        self.untrusted = untrusted

    @property
    def sockets(self) -> list[socket.socket]:
        return [self.sock] if self.untrusted is None else [self.sock, self.untrusted]

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


def open_listeners(settings: Sequence[ListenSettings]) -> list[OpenedListener]:
    """Bind every listener. Raises ``OSError`` for the first that cannot be bound, after closing the others."""
    opened: list[OpenedListener] = []
    try:
        refused = refused_devices(settings, device_indexes())
    except OSError:
        refused = {}  # there is no netlink here, and then no filter either
    try:
        for number, listen_settings in enumerate(settings):
            opened.append(_open(number, listen_settings, refused.get(number, frozenset())))
    except OSError:
        for listener in opened:
            listener.close()
        raise
    return opened


def _open(number: int, settings: ListenSettings, refused: frozenset[int]) -> OpenedListener:
    """``refused`` are the devices from which it takes nothing."""
    host, port = settings.bind
    datagrams = settings.transport is Transport.UDP
    sock = _socket(settings)
    try:
        bind_to_device(sock, settings.device)
        if refused:
            refuse_devices(sock, refused)  # before it is bound, so that nothing comes earlier
        sock.bind((host, port))  # without SO_REUSEPORT: an address that another process has bound is an error
        if not datagrams:
            sock.listen(limits.BACKLOG)
    except OSError as error:
        sock.close()
        place = f"{settings.bind} of {settings.device}" if settings.device else str(settings.bind)
        raise OSError(error.errno, f"{settings.name} cannot listen on {place}: {error.strerror}") from error
    untrusted = _open_second(sock, settings) if settings.zone is Zone.PUBLIC else None
    return opened_listener(number, settings, sock, untrusted)


def opened_listener(
    number: int, settings: ListenSettings, sock: socket.socket, untrusted: socket.socket | None
) -> OpenedListener:
    """The listener of bound sockets, which another process may have bound."""
    host = settings.bind.host
    bound_port = sock.getsockname()[1]
    if settings.advertise is not None:
        shown, shown_port = settings.advertise.host, settings.advertise.port or bound_port
    else:
        shown, shown_port = visible_address(host), bound_port
    listener = Listener(number, settings.name, settings.zone, settings.transport, host, bound_port, shown, shown_port)
    return OpenedListener(listener, settings, sock, untrusted)


def _socket(settings: ListenSettings) -> socket.socket:
    """A socket of the listener's kind, not bound yet."""
    six = ":" in settings.bind.host
    datagrams = settings.transport is Transport.UDP
    sock = socket.socket(
        socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
    )
    sock.setblocking(False)
    if six:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # no IPv4 peers as IPv4-mapped addresses
    if datagrams:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.UDP_RECEIVE_BUFFER)
        if settings.zone is Zone.CORE:
            request_errors(sock)  # they report a dead destination at once
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _set_stream_options(sock)  # accepted connections inherit them
    return sock


def _set_stream_options(sock: socket.socket) -> None:
    """Send at once, and find peers that are gone without a word."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, limits.TCP_KEEPALIVE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, limits.TCP_KEEPALIVE_SECONDS // 4)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.TCP_USER_TIMEOUT_SECONDS * 1000)


def client_socket(peer: Source, device: str = "") -> socket.socket:
    """A socket for a connection to ``peer`` by ``device``, not connected yet; "" or ``any``: by the route. Raises
    ``OSError``."""
    sock = socket.socket(socket.AF_INET6 if ":" in peer.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        bind_to_device(sock, device)
        _set_stream_options(sock)
    except OSError:
        sock.close()
        raise
    return sock


def bind_to_device(sock: socket.socket, device: str) -> None:
    """Let ``sock`` receive and send by ``device`` alone; "" or ``any``: by all. Raises ``OSError``."""
    if device and device != ANY_DEVICE:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())


async def connect(sock: socket.socket, peer: Source, scope: trio.CancelScope) -> None:
    """Connect ``sock``, waiting within ``scope``. Raises ``OSError``, also where the scope ends first."""
    await trio.lowlevel.checkpoint_if_cancelled()  # an edge that stops connects to nobody
    error = sock.connect_ex(peer)
    if error == errno.EINPROGRESS:
        with scope:
            await trio.lowlevel.wait_writable(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error == errno.EINPROGRESS:
        error = errno.ETIMEDOUT
    if error:
        raise OSError(error, os.strerror(error))


def datagram_failure(error: OSError) -> SendFailure:
    """Why the kernel has not sent a datagram."""
    if error.errno == errno.EMSGSIZE:
        return SendFailure.TOO_LARGE
    return SendFailure.NO_RESOURCES if error.errno in _NO_RESOURCES else SendFailure.NO_ROUTE


def connect_failure(error: OSError) -> SendFailure | None:
    """Why a connection was not even tried; None where the network or the peer has refused it, or been silent."""
    if error.errno in _NO_RESOURCES:
        return SendFailure.NO_RESOURCES
    return SendFailure.NO_ROUTE if error.errno in _NO_ROUTE else None


def _open_second(first: socket.socket, settings: ListenSettings) -> socket.socket | None:
    """A second socket at the address of ``first``, for everything that is not steered to ``first``.

    None if the kernel does not support that; ``first`` is unchanged then. SO_REUSEPORT on both lets other processes
    with the effective user of this one bind the address as well, but no other user; it is set on ``first`` only after
    that is bound.
    """
    second = _socket(settings)
    try:
        bind_to_device(second, settings.device)
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


def visible_addresses(hosts: Iterable[str]) -> list[str]:
    """:func:`visible_address` of each. A wildcard of a family in which this machine has no route is left out, if there
    is another address."""
    addresses = [(host, visible_address(host)) for host in hosts]
    routed = [shown for host, shown in addresses if host == shown or not _is_local(shown)]
    return routed or [shown for _, shown in addresses]


def _is_local(host: str) -> bool:
    address = ip_address(host.partition("%")[0])
    return address.is_loopback or (address.version == 6 and address.is_link_local)


def visible_address(host: str) -> str:
    """``host`` or, for a wildcard, the address from which this machine sends by default: the address to advertise."""
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return host
    six = ":" in host
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # Connecting a datagram socket sends nothing; it only reads the routing table (RFC 5737, RFC 3849).
            sock.connect(("2001:db8::1" if six else "192.0.2.1", 9))
        except OSError:
            return "::1" if six else "127.0.0.1"
        return str(sock.getsockname()[0])
