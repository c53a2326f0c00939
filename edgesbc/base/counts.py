"""Counters cheap enough for the hot path; ``observe`` reads them when the metrics are scraped."""

from __future__ import annotations

from bisect import bisect_left

__all__ = ["Counts", "Histogram"]


class Counts(dict[tuple[str, ...], int]):
    """Number of events by label values.

    Labels are names from the policy and from this program, never a peer's text: the number of series must not
    depend on traffic.
    """

    __slots__ = ()

    def add(self, *labels: str, by: int = 1) -> None:
        self[labels] = self.get(labels, 0) + by


class Histogram:
    """Numbers of values up to each bound, in the unit of the value; the last bucket has no bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
