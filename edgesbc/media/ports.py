"""Pool of free port numbers, given out in random order and used again after a rest. Without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from edgesbc.base import limits

__all__ = ["PortPool"]


class PortPool:
    """The even ports of a range, each standing for itself and the odd one above it (RFC 3550 section 11).

    ``random`` gives a float in [0, 1): an attacker that cannot guess the next port cannot send to it in advance.
    ``rest`` is in seconds. Raises :class:`ValueError` for a range without a pair of ports.
    """

    __slots__ = ("_free", "_random", "_rest", "_resting")

    def __init__(
        self,
        first: int,
        last: int,
        random: Callable[[], float],
        rest: float = limits.MEDIA_PORT_REST_SECONDS,
    ) -> None:
        self._free = list(range(first + first % 2, last, 2))
        if not self._free or first < 1 or last > 65_535:
            raise ValueError(f"expected a range of ports from 1 to 65535, found {first}-{last}")
        self._random = random
        self._rest = rest
        self._resting: deque[tuple[float, int]] = deque()

    def take(self, now: float) -> int | None:
        """A free even port, or None when all are in use.

        Where none has rested long enough, the one that has rested longest: calls that end at once, as refused ones do,
        would otherwise use up all ports, and more of them than are in use at any time.
        """
        resting, free = self._resting, self._free
        while resting and resting[0][0] <= now:
            free.append(resting.popleft()[1])
        if not free:
            return resting.popleft()[1] if resting else None
        index = int(self._random() * len(free))
        free[index], free[-1] = free[-1], free[index]
        return free.pop()

    def take_port(self, port: int) -> bool:
        """Take the even port ``port``, whether it rests or not; False if it is in use, or not of the range."""
        for index, free in enumerate(self._free):
            if free == port:
                del self._free[index]
                return True
        for entry in self._resting:
            if entry[1] == port:
                self._resting.remove(entry)
                return True
        return False

    def give_back(self, port: int, now: float) -> None:
        """Return a port that was taken; it rests before it is taken again, if others are free."""
        self._resting.append((now + self._rest, port))
