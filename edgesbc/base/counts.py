"""Plain counters that the hot path can afford; ``observe`` turns them into metrics when somebody scrapes."""

from __future__ import annotations

from bisect import bisect_left

__all__ = ["Counts", "Histogram"]


class Counts(dict[tuple[str, ...], int]):
    """How often each combination of label values was seen.

    Labels are names from the policy and from this program, never text that a peer chose: the number of
    series must not depend on traffic.
    """

    __slots__ = ()

    def add(self, *labels: str, by: int = 1) -> None:
        self[labels] = self.get(labels, 0) + by


class Histogram:
    """Counts of values up to each bound, in the units of the value; the last bucket is open."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
