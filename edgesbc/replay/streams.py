"""One direction of a TCP connection, reassembled (RFC 9293 section 3.4) in bounded memory."""

from __future__ import annotations

from edgesbc.base import limits

__all__ = ["MissingSegment", "TcpStream"]

_MODULUS = 1 << 32
_HALF = 1 << 31


class MissingSegment(Exception):
    """A segment is missing, and the bound on the data after it is reached."""


class TcpStream:
    """Reassembles a stream. ``next`` is the expected sequence number; later segments are kept, up to
    ``limits.REPLAY_STREAM_BYTES``."""

    __slots__ = ("_ahead", "_end", "_held", "next")

    def __init__(self, sequence: int) -> None:
        self.next = sequence % _MODULUS
        self._ahead: dict[int, bytes] = {}
        self._held = 0
        self._end: int | None = None

    @property
    def waiting(self) -> int:
        """The number of segments kept after a missing one."""
        return len(self._ahead)

    @property
    def ended(self) -> bool:
        """Whether everything up to the sender's FIN has arrived."""
        return self._end is not None and self._distance(self._end) <= 0

    def finish(self, sequence: int) -> None:
        """Note the sender's FIN at ``sequence``."""
        self._end = sequence % _MODULUS

    def add(self, sequence: int, data: bytes) -> bytes:
        """The bytes that are in order after ``data`` at ``sequence``; b"" for data that is repeated or early.

        Raises :class:`MissingSegment`.
        """
        ahead = self._distance(sequence)
        if ahead > 0:
            self._hold(sequence % _MODULUS, data)
            return b""
        out = bytearray(data[-ahead:])
        self.next = (self.next + len(out)) % _MODULUS
        while self._ahead and out:
            ready = [at for at in self._ahead if self._distance(at) <= 0]
            if not ready:
                break
            for at in sorted(ready, key=self._distance):
                waited = self._ahead.pop(at)
                self._held -= len(waited)
                new = waited[-self._distance(at) :] if self._distance(at) else waited
                out += new
                self.next = (self.next + len(new)) % _MODULUS
        return bytes(out)

    def _hold(self, sequence: int, data: bytes) -> None:
        before = self._ahead.get(sequence)
        if before is not None:
            if len(before) >= len(data):
                return
            self._held -= len(before)
        self._ahead[sequence] = data
        self._held += len(data)
        if self._held > limits.REPLAY_STREAM_BYTES or len(self._ahead) > limits.REPLAY_STREAM_SEGMENTS:
            raise MissingSegment

    def _distance(self, sequence: int) -> int:
        """The distance of ``sequence`` from the expected one; negative if the data overlaps what has arrived."""
        return (sequence - self.next + _HALF) % _MODULUS - _HALF
