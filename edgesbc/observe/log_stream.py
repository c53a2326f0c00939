"""The stream that log records are written to. A record that cannot be written is lost, and nothing else is."""

from __future__ import annotations

import os
import select
from typing import Final, TextIO

__all__ = ["LogStream"]

_PIECE: Final = select.PIPE_BUF
"""Bytes that a pipe takes without blocking once it is writable at all (pipe(7))."""


class LogStream:
    """Writes lines to a stream, directly to its descriptor where it has one. It never raises, and never waits.

    A line is lost where the disk is full, where the reader is gone or does not read, and where the descriptor is
    closed. ``None`` for a stream, as Python has where standard error was closed before it began, loses every line.
    """

    __slots__ = ("_descriptor", "_in_part", "_stream", "lost", "unreported")

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._descriptor = _descriptor_of(stream)
        self._in_part = False
        self.lost = 0
        """Lines lost so far."""
        self.unreported = 0
        """Of these, the ones since the last line that was written."""

    def msg(self, line: str) -> None:
        """Write ``line``."""
        try:
            written = self._write(line)
        except (OSError, ValueError, MemoryError):  # ValueError: the stream is closed
            written = False
        if written:
            self.unreported = 0
        else:
            self.lose()

    log = debug = info = warn = warning = error = critical = fatal = failure = exception = err = msg
    """The names by which structlog calls it, one for each level."""

    def lose(self) -> None:
        """Count a line that is lost."""
        self.lost += 1
        self.unreported += 1

    def _write(self, line: str) -> bool:
        if self._descriptor is not None:
            return self._write_bytes(f"{line}\n".encode(errors="backslashreplace"))
        if self._stream is not None:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        return self._stream is not None

    def _write_bytes(self, data: bytes) -> bool:
        """Write what the descriptor takes without waiting; whether that was all."""
        if self._in_part:
            data = b"\n" + data  # the last line was cut, and this one must not be taken for its end
        descriptor, start = self._descriptor or 0, 0
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        try:
            # A reader that does not read would otherwise stop every call.
            while start < len(data) and poll.poll(0):
                start += _write_now(descriptor, data[start : start + _PIECE])
        finally:
            if start:
                self._in_part = start < len(data)
        return start == len(data)


def _write_now(descriptor: int, data: bytes) -> int:
    """Write to what is writable, and return the number of bytes. Raises ``BlockingIOError`` instead of waiting.

    A terminal counts as writable when it has room for a byte, and a pipe may have other writers, so that poll(2) alone
    does not keep the write from waiting. O_NONBLOCK is a setting of all processes that have inherited the descriptor,
    which do not expect it: it is set for the time of this call.
    """
    blocking = os.get_blocking(descriptor)
    if blocking:
        os.set_blocking(descriptor, False)
    try:
        return os.write(descriptor, data)
    finally:
        if blocking:
            os.set_blocking(descriptor, True)


def _descriptor_of(stream: TextIO | None) -> int | None:
    """The descriptor of ``stream`` after what it has buffered is written; None where it has none."""
    if stream is None:
        return None
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
    try:
        stream.flush()
    except (OSError, ValueError):
        pass  # it is full or closed already; what it has buffered is lost
    return descriptor
