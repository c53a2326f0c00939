"""Ports for programs that have to be told theirs before they start: a block of numbers that belongs to this process.

A number that is found free by binding port 0 comes from the kernel's ephemeral range. Once that socket is closed, the
kernel may give the number to any other socket before the program binds it. The numbers given out here lie below that
range (``net.ipv4.ip_local_port_range`` begins at 32768), and an abstract Unix socket, which the kernel removes with
the process, holds the block against other tests and benches of the same network namespace.
"""

from __future__ import annotations

import functools
import itertools
import socket
from collections.abc import Iterator

__all__ = ["free_port", "free_range"]

_FIRST, _LAST = 6_100, 9_899
"""The blocks lie here. Four digits are all that sipsak can write into a Request-URI."""
_BLOCK = 100
"""Ports of a process. They are given out in turn, so that a number comes again only after all others."""


@functools.cache
def _block() -> Iterator[int]:
    """The numbers of the block that this process holds, again and again. Raises ``OSError`` when all are held."""
    for first in range(_FIRST, _LAST, _BLOCK):
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            holder.bind(f"\0edgesbc-ports-{first}")
        except OSError:
            holder.close()
            continue
        holder.detach()  # open until the process ends, also when this object is collected
        return itertools.cycle(range(first, first + _BLOCK))
    raise OSError(f"other processes hold all ports from {_FIRST} to {_LAST}")


def _is_free(host: str, port: int) -> bool:
    """Whether both UDP and TCP could bind the port now: a program outside of the tests may have it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(family, kind) as sock:
            try:
                sock.bind((host, port))
            except OSError:
                return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody has at ``host`` and nobody else is given, for UDP and for TCP.

    Raises ``OSError`` when every port of the block is in use.
    """
    return free_range(host, 1)


def free_range(host: str, count: int) -> int:
    """The first of ``count`` such ports in a row; it is even where there are several (RFC 3550 section 11)."""
    found: list[int] = []
    for port in itertools.islice(_block(), 2 * _BLOCK):
        follows = bool(found) and port == found[-1] + 1
        if not _is_free(host, port) or not (follows or count == 1 or port % 2 == 0):
            found = []
            continue
        found = [*found, port] if follows else [port]
        if len(found) == count:
            return found[0]
    raise OSError(f"no {count} ports in a row are free at {host}")
