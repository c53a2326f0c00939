"""The kernel filters of a socket: attaches BPF programs, keeps them up to date, and reports whether the kernel took
them."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Callable, Collection, Iterable

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.transport.filter_programs import Listed, Program, device_filter, drop_filter, steering_program

__all__ = ["KERNEL", "USER", "SourceDropFilter", "Steering", "refuse_devices", "steer"]

KERNEL = "kernel"
"""Mode: the kernel runs the program."""
USER = "user"
"""Mode: the kernel refuses such programs, so user space does all the work."""

SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
SO_ATTACH_REUSEPORT_CBPF = 51
"""asm-generic/socket.h; Python's socket module names none of them."""

LEAST = 64
"""A program with fewer instructions is refused for another reason than its length."""


def steer(sock: socket.socket, program: Program) -> str:
    """Let ``program`` choose between the sockets of the SO_REUSEPORT group of ``sock``.

    Returns KERNEL, or USER if the system has no such programs or refuses this one.
    """
    return USER if _refusal(sock, SO_ATTACH_REUSEPORT_CBPF, program) else KERNEL


def refuse_devices(sock: socket.socket, indexes: Collection[int]) -> str:
    """Drop what comes to ``sock``, and to the connections that it accepts, by the devices with these indexes.

    Returns KERNEL, or USER if the system has no such programs.
    """
    return USER if _refusal(sock, SO_ATTACH_FILTER, device_filter(indexes)) else KERNEL


def _refusal(sock: socket.socket, option: int, program: Program) -> int:
    """The errno with which the kernel refuses ``program``; 0 if it accepts it."""
    try:
        if not program:
            try:
                sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
            except FileNotFoundError:
                pass  # there was none
            return 0
        code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
        buffer = ctypes.create_string_buffer(code, len(code))
        # struct sock_fprog; the kernel copies the program before setsockopt returns
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("HP", len(program), ctypes.addressof(buffer)))
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _pause(sources: int, at_once: int) -> float:
    """Seconds between two programs: ``limits.FILTER_SECONDS``, and as much again for every ``at_once`` sources."""
    return limits.FILTER_SECONDS * (1 + min(sources, limits.FILTER_INSTRUCTIONS) // at_once)


class _ProgramSlot:
    """The place of a socket for programs of one kind, with the number of instructions that the kernel accepts: fewer
    than 4,096 with a small ``net.core.optmem_max``."""

    __slots__ = ("_build", "_limit", "_option", "_sock", "covered")

    def __init__(
        self, sock: socket.socket, option: int, build: Callable[[Iterable[Listed], int], tuple[Program, int]]
    ) -> None:
        self._sock = sock
        self._option = option
        self._build = build
        self._limit = limits.FILTER_INSTRUCTIONS
        self.covered = 0
        """The number of sources in the program that the kernel has."""

    def put(self, listed: Collection[Listed]) -> str:
        """Attach the program of ``listed``, or of as many as the kernel accepts; KERNEL, or USER if it refuses."""
        while True:
            program, covered = self._build(listed, self._limit)
            refusal = _refusal(self._sock, self._option, program)
            if refusal != errno.ENOMEM or len(program) < LEAST:
                break
            self._limit = 3 * len(program) // 4
        self.covered = 0 if refusal else covered
        return USER if refusal else KERNEL


class SourceDropFilter:
    """The banned sources of one UDP socket, in its kernel filter.

    :meth:`add` notes a source, :meth:`apply` builds the program: the caller applies at :attr:`due`, which is at most
    every 100 ms, and less often with more sources. Sources that do not fit are left out, the newest
    first; user space still drops their packets.
    """

    __slots__ = ("_applied", "_slot", "_until", "due", "mode")

    def __init__(self, sock: socket.socket) -> None:
        self._slot = _ProgramSlot(sock, SO_ATTACH_FILTER, drop_filter)
        self._until: dict[Source, float] = {}
        self._applied = float("-inf")
        self.due: float | None = None
        """When to call :meth:`apply` (seconds, the plane's clock); None: nothing has changed."""
        self.mode = KERNEL

    def __len__(self) -> int:
        return len(self._until)

    @property
    def covered(self) -> int:
        """The number of sources in the filter."""
        return self._slot.covered

    @property
    def left_out(self) -> int:
        """The number of sources that only user space drops."""
        return max(0, len(self._until) - self.covered)

    def add(self, source: Source, ttl: float, now: float) -> None:
        """Drop ``source`` for ``ttl`` seconds from now; port 0: the whole address."""
        if self.mode == USER or (source not in self._until and len(self._until) >= limits.PENALTIES_WAITING):
            return
        self._until[source] = now + ttl
        self._schedule(now)

    def remove(self, source: Source, now: float) -> None:
        """Drop ``source`` no longer."""
        if self._until.pop(source, None) is not None:
            self._schedule(now)

    def _schedule(self, when: float) -> None:
        when = max(when, self._applied + _pause(len(self._until), 256))  # building takes about 10 µs a source
        self.due = when if self.due is None else min(self.due, when)

    def apply(self, now: float) -> str:
        """Build and attach the filter of the bans that have not ended; returns :attr:`mode`.

        After the kernel has refused once, no further program is tried.
        """
        self._until = {source: until for source, until in self._until.items() if until > now}
        self._applied = now
        self.due = None
        self.update(self._until)
        if self._until and self.mode == KERNEL:
            self._schedule(min(self._until.values()))
        else:
            self._until.clear()
        return self.mode

    def update(self, sources: Collection[Source]) -> str:
        """Replace the sources of the filter by ``sources``, at once."""
        self.mode = self._slot.put(sources)
        return self.mode


class Steering:
    """The trusted sources of a SO_REUSEPORT pair of sockets, which have the first socket to themselves, in the program
    that chooses between the two.

    ``sock`` is either of them. The caller calls :meth:`schedule` when the trusted sources may have changed, and passes
    them to :meth:`apply` at :attr:`due`, which is as rare as for :class:`SourceDropFilter`.
    """

    __slots__ = ("_applied", "_slot", "_trusted", "due", "mode")

    def __init__(self, sock: socket.socket) -> None:
        self._slot = _ProgramSlot(sock, SO_ATTACH_REUSEPORT_CBPF, steering_program)
        self._applied = float("-inf")
        self._trusted: frozenset[Listed] = frozenset()
        self.due: float | None = None
        """When to call :meth:`apply` (seconds, the plane's clock); None: nothing has changed."""
        self.mode = KERNEL

    @property
    def covered(self) -> int:
        """The number of trusted sources in the program."""
        return self._slot.covered

    @property
    def left_out(self) -> int:
        """The number of trusted sources that do not fit, and share the second socket with untrusted ones."""
        return max(0, len(self._trusted) - self.covered)

    def schedule(self, when: float) -> None:
        """Set :attr:`due` to ``when``, or to the earliest time after it that the pause between programs allows."""
        if self.mode == KERNEL:
            when = max(when, self._applied + _pause(len(self._trusted), 64))  # 30 µs a port, over IPv6 70
            self.due = when if self.due is None else min(self.due, when)

    def apply(self, trusted: Collection[Listed], until: float | None, now: float) -> str:
        """Steer the sources ``trusted``, the most important first, to the first socket; returns :attr:`mode`.

        ``until`` is when the list changes next by passing of time, None if it does not. After the kernel has refused
        once, no further program is tried.
        """
        self._applied = now
        self.due = None
        sources = frozenset(trusted)
        if sources != self._trusted:
            self._trusted = sources
            self.mode = self._slot.put(trusted)
        if until is not None:
            self.schedule(until)
        return self.mode
