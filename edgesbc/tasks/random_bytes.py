"""RandomBytes: random bytes of the kernel, which is asked once for many."""

from __future__ import annotations

import os

from edgesbc.base import limits

__all__ = ["RandomBytes"]


class RandomBytes:
    """Random bytes that nobody can guess; each is given out once. For one thread, and for no process that forks: its
    child would give out the same ones."""

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def __call__(self, size: int) -> bytes:
        """``size`` bytes."""
        at = self._at
        end = at + size
        if end > len(self._bytes):
            if size > limits.RANDOM_BYTES:
                return os.urandom(size)
            self._bytes = os.urandom(limits.RANDOM_BYTES)
            at, end = 0, size
        self._at = end
        return self._bytes[at:end]

    def random(self) -> float:
        """A float in [0, 1)."""
        return int.from_bytes(self(4)) / 2**32
