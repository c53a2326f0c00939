"""Clock: virtual time. Two events at the same moment happen in the order in which they were scheduled."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial

__all__ = ["Clock", "Timer"]


class Timer:
    """A scheduled event, which can be cancelled."""

    __slots__ = ("act",)

    def __init__(self, act: Callable[[], None]) -> None:
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        self.act = None


class Clock:
    """Seconds since the start of the simulation, and the queue of events."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Timer]] = []
        self._count = 0

    def after(self, seconds: float, act: Callable[..., None], *arguments: object) -> Timer:
        self._count += 1
        timer = Timer(partial(act, *arguments))
        heapq.heappush(self._queue, (self.now + max(0.0, seconds), self._count, timer))
        return timer

    def next(self) -> float | None:
        """The time of the next event, or None."""
        while self._queue and self._queue[0][2].act is None:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def step(self) -> None:
        """Set the time to that of the next event, and run it."""
        self.now, _, timer = heapq.heappop(self._queue)
        if timer.act is not None:
            timer.act()
