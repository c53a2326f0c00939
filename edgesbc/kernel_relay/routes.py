"""Routes and network devices of the machine, as the kernel has them now (rtnetlink(7))."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["DeviceRoute", "NetworkDevice", "RouteReader", "RouteWatch"]

_BUFFER: Final = 32_768
_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, number, port
_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, lengths, TOS, table, protocol, scope, type, flags
_LINK: Final = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct rtattr: length, type
_GET_LINK, _NEW_LINK, _GET_ROUTE, _NEW_ROUTE, _ERROR, _REQUEST = 18, 16, 26, 24, 2, 1
_DESTINATION, _SOURCE, _OUT_DEVICE, _METRICS, _METRIC_MTU = 1, 2, 4, 8, 2
_NAME, _MTU = 3, 4
_UNICAST, _LOCAL = 1, 2
_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18
"""Links, and addresses, routes and rules of both IP versions (linux/rtnetlink.h)."""
_NO_ROUTE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES, errno.EADDRNOTAVAIL})
"""What the kernel says of a destination that has no route, or one that forbids it."""


class NetworkDevice(NamedTuple):
    """A network device: its number (ifindex), its name, its type (linux/if_arp.h) and the bytes of its largest IP
    packet."""

    number: int
    name: str
    kind: int
    mtu: int


class DeviceRoute(NamedTuple):
    """By which device packets leave for a destination, and the bytes of the largest one."""

    device: int
    mtu: int


class RouteReader:
    """Asks the kernel for routes and devices. Raises ``OSError`` where it has no rtnetlink."""

    def __init__(self) -> None:
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._netlink.settimeout(1)
        self._number = 0

    def __enter__(self) -> RouteReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._netlink.close()

    def device(self, number: int) -> NetworkDevice:
        """The device of a number. Raises ``OSError`` if there is none."""
        message = self._ask(_GET_LINK, _LINK.pack(socket.AF_UNSPEC, 0, number, 0, 0))
        _, kind, number, _, _ = _LINK.unpack_from(message)
        found = dict(_attributes(message[_LINK.size :]))
        name = found.get(_NAME, b"").rstrip(b"\0").decode("ascii", "replace")
        return NetworkDevice(number, name, kind, _number(found.get(_MTU, b"")))

    def route(self, destination: str, source: str) -> DeviceRoute | None:
        """The route that packets from the local address ``source`` take; None where they have none, or one that sends
        them nowhere. ``mtu`` is that of the route, if it has one of its own. Raises ``OSError``."""
        to, of = ipaddress.ip_address(destination).packed, ipaddress.ip_address(source).packed
        family = socket.AF_INET if len(to) == 4 else socket.AF_INET6
        head = _ROUTE.pack(family, 8 * len(to), 8 * len(of), 0, 0, 0, 0, 0, 0)
        try:
            message = self._ask(_GET_ROUTE, head + _attribute(_DESTINATION, to) + _attribute(_SOURCE, of))
        except OSError as error:
            if error.errno in _NO_ROUTE:
                return None
            raise
        kind = _ROUTE.unpack_from(message)[7]
        found = dict(_attributes(message[_ROUTE.size :]))
        if kind not in (_UNICAST, _LOCAL) or _OUT_DEVICE not in found:
            return None
        metrics = dict(_attributes(found.get(_METRICS, b"")))
        device = self.device(_number(found[_OUT_DEVICE]))
        return DeviceRoute(device.number, min(device.mtu, _number(metrics.get(_METRIC_MTU, b"")) or device.mtu))

    def _ask(self, kind: int, body: bytes) -> bytes:
        """The first message of the answer."""
        self._number += 1
        self._netlink.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST, self._number, 0) + body)
        while True:
            data = self._netlink.recv(_BUFFER)
            length, answer, _, number, _ = _HEADER.unpack_from(data)
            if number != self._number:
                continue  # the answer to a request that took too long
            if answer == _ERROR:
                code = -struct.unpack_from("=i", data, _HEADER.size)[0]
                raise OSError(code, os.strerror(code))
            return data[_HEADER.size : length]


class RouteWatch:
    """Tells that devices, addresses, routes or rules have changed; :meth:`fileno` is readable then. Raises ``OSError``
    where the kernel has no rtnetlink."""

    def __init__(self) -> None:
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        try:
            self._netlink.setblocking(False)
            self._netlink.bind((0, _GROUPS))
        except OSError:
            self._netlink.close()
            raise

    def fileno(self) -> int:
        return self._netlink.fileno()

    def drain(self) -> bool:
        """Take what has come; returns whether there was anything."""
        changed = False
        while True:
            try:
                self._netlink.recv(_BUFFER)
            except BlockingIOError:
                return changed
            except OSError:
                pass  # ENOBUFS: so much has changed that the kernel does not say what
            changed = True

    def close(self) -> None:
        self._netlink.close()


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[max((length + 3) & ~3, _ATTRIBUTE.size) :]


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)
