"""The network between a user agent and the edge: delay, loss, duplicates, reordering, outages."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from simulation.clock import Clock

__all__ = ["Link"]


class Link:
    """The path between a user agent and the edge. Datagrams may be lost; a stream is only delayed, in order."""

    def __init__(self, random: Random, clock: Clock, rough: bool) -> None:
        self._random = random
        self._clock = clock
        self.loss = random.choice((0.0, 0.0, 0.02, 0.1)) if rough else 0.0
        self.doubling = random.choice((0.0, 0.0, 0.05, 0.3)) if rough else 0.0
        self.delay = random.choice((0.001, 0.02, 0.15))
        self.jitter = random.choice((0.0, 0.01, 0.4)) if rough else 0.0
        self.cut: list[tuple[float, float]] = []
        self._stream_free = {"in": 0.0, "out": 0.0}

    @property
    def harmless(self) -> bool:
        """Whether a message that is retransmitted will arrive."""
        return not self.cut

    def _is_cut(self) -> bool:
        return any(start <= self._clock.now < end for start, end in self.cut)

    def datagram(self, deliver: Callable[[], None]) -> None:
        random = self._random
        if self._is_cut() or random.random() < self.loss:
            return
        for _ in range(2 if random.random() < self.doubling else 1):
            self._clock.after(self.delay + random.random() * self.jitter, deliver)

    def stream(self, way: str, deliver: Callable[[], None]) -> None:
        at = max(self._clock.now + self.delay, self._stream_free[way])
        self._stream_free[way] = at
        self._clock.after(at - self._clock.now, deliver)
