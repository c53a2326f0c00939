"""Ports for programs that need their port before they start: a block of numbers reserved for this process.

A free number that is found by binding port 0 is from the kernel's ephemeral range. Once that socket is closed, the
kernel may give the number to any other socket before the program binds it. The numbers of this module are below that
range (``net.ipv4.ip_local_port_range`` begins at 32768), and an abstract Unix socket, which the kernel removes with
the process, reserves the block against other tests and benches of the same network namespace.
"""

from __future__ import annotations

import functools
import itertools
import socket
from collections.abc import Iterator

__all__ = ["free_port", "free_range"]

_FIRST, _LAST = 6_100, 9_899
"""The range of all blocks. sipsak writes at most four digits into a Request-URI."""
_BLOCK = 200
"""Ports of a process. They are given out in rotation, so that a number is reused as late as possible."""


@functools.cache
def _block() -> Iterator[int]:
    """The numbers of the block of this process, in rotation. Raises ``OSError`` if other processes hold all blocks."""
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
    """Whether UDP and TCP can bind the port now: a program outside of the tests may use it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(family, kind) as sock:
            try:
                sock.bind((host, port))
            except OSError:
                return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free at ``host`` for UDP and TCP, and that no other process is given.

    Raises ``OSError`` when every port of the block is in use.
    """
    return free_range(host, 1)


def free_range(host: str, count: int) -> int:
    """The first of ``count`` such ports in a row; it is even where there are several (RFC 3550 section 11)."""
    row: list[int] = []
    for port in itertools.islice(_block(), 2 * _BLOCK):
        follows = bool(row) and port == row[-1] + 1
        if not _is_free(host, port) or not (follows or count == 1 or port % 2 == 0):
            row = []
            continue
        row = [*row, port] if follows else [port]
        if len(row) == count:
            return row[0]
    raise OSError(f"no {count} ports in a row are free at {host}")
