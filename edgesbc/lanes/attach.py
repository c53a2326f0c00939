"""Puts programs on sockets, and says so where the kernel refuses. The one file of this room that knows sockets."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterable

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.lanes.program import Program, drop_filter

__all__ = ["KERNEL", "USER", "Penalties", "attach"]

KERNEL = "kernel"
"""Mode: the kernel drops penalised sources."""
USER = "user"
"""Mode: the kernel takes no filter here; user space drops them all."""

SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
"""asm-generic/socket.h; Python's socket module names neither."""


def attach(sock: socket.socket, program: Program) -> str:
    """Put ``program`` in the place of the socket's filter; an empty one takes the filter off.

    Returns KERNEL, or USER where the system knows no such filters or refuses this one; the socket then
    has the filter it had before.
    """
    try:
        if not program:
            try:
                sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
            except FileNotFoundError:
                pass  # there was none
            return KERNEL
        code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
        room = ctypes.create_string_buffer(code, len(code))
        # struct sock_fprog; the kernel copies the program before setsockopt returns
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(room)))
    except OSError:
        return USER
    return KERNEL


class Penalties:
    """The penalised sources of one UDP socket, kept in its kernel filter.

    :meth:`add` notes, :meth:`apply` builds: the caller applies when :attr:`due` comes, which is at most
    every 100 ms, and less often the more sources there are. What does not fit is left out, the newest
    first; user space still drops it.
    """

    __slots__ = ("_applied", "_sock", "_until", "covered", "due", "mode")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._until: dict[Source, float] = {}
        self._applied = float("-inf")
        self.due: float | None = None
        """When to call :meth:`apply` (seconds, the plane's clock); None: nothing is to be done."""
        self.mode = KERNEL
        self.covered = 0
        """How many sources the filter holds now."""

    def __len__(self) -> int:
        return len(self._until)

    def add(self, source: Source, ttl: float, now: float) -> None:
        """Drop ``source`` for ``ttl`` seconds from now; port 0: the whole address."""
        if self.mode == USER or (source not in self._until and len(self._until) >= limits.PENALTIES_WAITING):
            return
        self._until[source] = now + ttl
        self._ask(now)

    def remove(self, source: Source, now: float) -> None:
        """Let ``source`` in again."""
        if self._until.pop(source, None) is not None:
            self._ask(now)

    def _ask(self, when: float) -> None:
        pause = limits.FILTER_SECONDS * (1 + len(self._until) // 256)  # building costs about 10 µs a source
        when = max(when, self._applied + pause)
        self.due = when if self.due is None else min(self.due, when)

    def apply(self, now: float) -> str:
        """Build and attach the filter of those whose time is not up; returns :attr:`mode`.

        A kernel that refuses is not asked again.
        """
        self._until = {source: until for source, until in self._until.items() if until > now}
        self._applied = now
        self.due = None
        self.update(self._until)
        if self._until and self.mode == KERNEL:
            self._ask(min(self._until.values()))
        else:
            self._until.clear()
        return self.mode

    def update(self, sources: Iterable[Source]) -> str:
        """Make ``sources`` what the filter drops, at once."""
        program, self.covered = drop_filter(sources)
        self.mode = attach(self._sock, program)
        if self.mode == USER:
            self.covered = 0
        return self.mode
