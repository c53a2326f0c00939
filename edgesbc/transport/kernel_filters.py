"""Puts programs on sockets, and says so where the kernel refuses. The one file of this room that knows sockets."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Callable, Collection, Iterable

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.transport.filter_programs import Listed, Program, drop_filter, steering_program

__all__ = ["KERNEL", "USER", "SourceDropFilter", "Steering", "attach", "steer"]

KERNEL = "kernel"
"""Mode: the kernel does it."""
USER = "user"
"""Mode: the kernel takes no such program here; user space does it all."""

SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
SO_ATTACH_REUSEPORT_CBPF = 51
"""asm-generic/socket.h; Python's socket module names none of them."""

LEAST = 64
"""A program of so few instructions is refused for another reason than its length."""


def attach(sock: socket.socket, program: Program) -> str:
    """Put ``program`` in the place of the socket's filter; an empty one takes the filter off.

    Returns KERNEL, or USER where the system knows no such filters or refuses this one; the socket then
    has the filter it had before.
    """
    return USER if _refusal(sock, SO_ATTACH_FILTER, program) else KERNEL


def steer(sock: socket.socket, program: Program) -> str:
    """Let ``program`` choose between the sockets of the SO_REUSEPORT group of ``sock``; returns as :func:`attach`."""
    return USER if _refusal(sock, SO_ATTACH_REUSEPORT_CBPF, program) else KERNEL


def _refusal(sock: socket.socket, option: int, program: Program) -> int:
    """The number of the error with which the kernel refuses ``program``; 0 where it does not."""
    try:
        if not program:
            try:
                sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
            except FileNotFoundError:
                pass  # there was none
            return 0
        code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
        room = ctypes.create_string_buffer(code, len(code))
        # struct sock_fprog; the kernel copies the program before setsockopt returns
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("HP", len(program), ctypes.addressof(room)))
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _pause(sources: int, at_once: int) -> float:
    """Seconds from one program to the next, longer for every ``at_once`` of the sources that one may hold."""
    return limits.FILTER_SECONDS * (1 + min(sources, limits.FILTER_INSTRUCTIONS) // at_once)


class _SocketGroup:
    """Where on a socket programs of one kind go, and how many instructions the kernel takes there: with a
    small ``net.core.optmem_max``, fewer than 4,096."""

    __slots__ = ("_build", "_most", "_option", "_sock", "covered")

    def __init__(
        self, sock: socket.socket, option: int, build: Callable[[Iterable[Listed], int], tuple[Program, int]]
    ) -> None:
        self._sock = sock
        self._option = option
        self._build = build
        self._most = limits.FILTER_INSTRUCTIONS
        self.covered = 0
        """How many of those listed the program in the kernel holds."""

    def put(self, listed: Collection[Listed]) -> str:
        """Put the program of ``listed`` there, or of as many as the kernel takes; KERNEL, or USER if it refuses."""
        while True:
            program, covered = self._build(listed, self._most)
            refusal = _refusal(self._sock, self._option, program)
            if refusal != errno.ENOMEM or len(program) < LEAST:
                break
            self._most = 3 * len(program) // 4
        self.covered = 0 if refusal else covered
        return USER if refusal else KERNEL


class SourceDropFilter:
    """The penalised sources of one UDP socket, kept in its kernel filter.

    :meth:`add` notes, :meth:`apply` builds: the caller applies when :attr:`due` comes, which is at most
    every 100 ms, and less often the more sources there are. What does not fit is left out, the newest
    first; user space still drops it.
    """

    __slots__ = ("_applied", "_place", "_until", "due", "mode")

    def __init__(self, sock: socket.socket) -> None:
        self._place = _SocketGroup(sock, SO_ATTACH_FILTER, drop_filter)
        self._until: dict[Source, float] = {}
        self._applied = float("-inf")
        self.due: float | None = None
        """When to call :meth:`apply` (seconds, the plane's clock); None: nothing is to be done."""
        self.mode = KERNEL

    def __len__(self) -> int:
        return len(self._until)

    @property
    def covered(self) -> int:
        """How many sources the filter holds now."""
        return self._place.covered

    @property
    def left_out(self) -> int:
        """How many sources are left to user space."""
        return max(0, len(self._until) - self.covered)

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
        when = max(when, self._applied + _pause(len(self._until), 256))  # building takes about 10 µs a source
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

    def update(self, sources: Collection[Source]) -> str:
        """Make ``sources`` what the filter drops, at once."""
        self.mode = self._place.put(sources)
        return self.mode


class Steering:
    """Who has the first socket of a SO_REUSEPORT pair to itself, kept in the program that chooses between the two.

    ``sock`` is either of them. The caller tells by :meth:`ask` that others may be trusted now, and gives
    the list by :meth:`apply` when :attr:`due` comes, which is as seldom as for :class:`SourceDropFilter`.
    """

    __slots__ = ("_applied", "_held", "_place", "due", "mode")

    def __init__(self, sock: socket.socket) -> None:
        self._place = _SocketGroup(sock, SO_ATTACH_REUSEPORT_CBPF, steering_program)
        self._applied = float("-inf")
        self._held: frozenset[Listed] = frozenset()
        self.due: float | None = None
        """When to call :meth:`apply` (seconds, the plane's clock); None: nothing is to be done."""
        self.mode = KERNEL

    @property
    def covered(self) -> int:
        """How many of those trusted the program holds now."""
        return self._place.covered

    @property
    def left_out(self) -> int:
        """How many of those trusted go the strangers' way, since they do not fit."""
        return max(0, len(self._held) - self.covered)

    def ask(self, when: float) -> None:
        """Let the list be asked for at ``when``, or as soon after it as may be."""
        if self.mode == KERNEL:
            when = max(when, self._applied + _pause(len(self._held), 64))  # 30 µs a port, over IPv6 70
            self.due = when if self.due is None else min(self.due, when)

    def apply(self, trusted: Collection[Listed], until: float | None, now: float) -> str:
        """Steer those ``trusted``, the dearest first, to the first socket; returns :attr:`mode`.

        ``until`` is when the list changes by itself, None if it does not. A kernel that refuses is not
        asked again.
        """
        self._applied = now
        self.due = None
        held = frozenset(trusted)
        if held != self._held:
            self._held = held
            self.mode = self._place.put(trusted)
        if until is not None:
            self.ask(until)
        return self.mode
