"""The error queue of a UDP socket: ICMP errors about datagrams that were sent from its port (Linux, ip(7), ipv6(7)).

The socket of a listener is not connected. The kernel then gives it every error that quotes its address and port,
whatever the destination in the quote: it does not compare the quote with what was sent, and of several sockets of one
port any may get it. So an error says only what its quote proves; see :meth:`edgesbc.signalling.edge.Edge.unreachable`.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from edgesbc.base import limits
from edgesbc.base.address import Source

__all__ = ["IcmpError", "read_error", "request_errors"]

# linux/in.h and linux/in6.h; Python's socket module names neither.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
# struct sock_extended_err of linux/errqueue.h, in the byte order of the machine: errno, origin, type, code, padding,
# info, data. The address of the offender follows.
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3
_UNREACHABLE, _UNREACHABLE6 = 3, 1
_FRAGMENTATION_NEEDED = 4
_ANCILLARY_BYTES = 256


class IcmpError(NamedTuple):
    """Something on the way to ``destination`` reports that a datagram cannot get there (RFC 792, RFC 4443 section 3.1).

    ``offender`` is the address that the error came from; ``quote`` is the beginning of the datagram, as far as the
    error has it: routers may quote 8 bytes of UDP and nothing of the datagram, hosts quote some hundred bytes.
    """

    destination: Source
    offender: str
    quote: bytes


def request_errors(sock: socket.socket) -> None:
    """Have the kernel queue ICMP errors for ``sock``."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def read_error(sock: socket.socket) -> IcmpError | None:
    """Take the next entry of the queue; None for one that reports no unreachable destination.

    Raises ``BlockingIOError`` where the queue is empty, and ``OSError`` where it cannot be read.
    """
    quote, ancillary, _, address = sock.recvmsg(limits.ICMP_QUOTE_BYTES, _ANCILLARY_BYTES, socket.MSG_ERRQUEUE)
    offender = _offender(ancillary)
    if offender is None or not address:
        return None
    return IcmpError(Source(address[0], address[1]), offender, quote)


def _offender(ancillary: Iterable[tuple[int, int, bytes]]) -> str | None:
    """The sender of an ICMP error of the type *destination unreachable*; None for all others."""
    for level, kind, data in ancillary:
        if (level, kind) not in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
            continue
        if len(data) < _EXTENDED_ERROR.size:
            continue
        _, origin, icmp_type, code, _, _, _ = _EXTENDED_ERROR.unpack_from(data)
        address = data[_EXTENDED_ERROR.size :]
        if origin == _ORIGIN_ICMP and icmp_type == _UNREACHABLE and code != _FRAGMENTATION_NEEDED:
            return _text(address, socket.AF_INET, slice(4, 8))
        if origin == _ORIGIN_ICMP6 and icmp_type == _UNREACHABLE6:
            return _text(address, socket.AF_INET6, slice(8, 24))
    return None


def _text(address: bytes, family: int, where: slice) -> str | None:
    """The literal address in a ``sockaddr_in`` or ``sockaddr_in6``; None where it has another family."""
    raw = address[where]
    if address[:2] != struct.pack("=H", family) or len(raw) != where.stop - where.start:
        return None
    return str(ipaddress.ip_address(raw))
