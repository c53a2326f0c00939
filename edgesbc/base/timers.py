"""A heap of deadlines shared by everything that waits in a sans-I/O room. Reads no clock."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Protocol

__all__ = ["Deadlines", "Due"]


class Due(Protocol):
    """What can stand in a :class:`Deadlines` heap."""

    due: float | None
    """When the item wants to be woken (seconds, the plane's monotonic clock), or None: never."""
    queued: float | None
    """For the heap alone: the earliest entry that the item has in it. Starts as None."""


class Deadlines:
    """Items by the time they want to be woken.

    A deadline that moves later costs nothing: the entry in the heap stays where it is and is looked at
    again when it comes up. A transaction that is retransmitted, answered and ended thus stands in the
    heap once or twice, not once for every timer it ever set.
    """

    __slots__ = ("_heap", "_sequence")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Due]] = []
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, item: Due, when: float | None) -> None:
        """Wake ``item`` at ``when``; None takes back what was asked before."""
        item.due = when
        if when is not None and (item.queued is None or when < item.queued):
            self._push(item, when)

    def _push(self, item: Due, when: float) -> None:
        self._sequence += 1
        item.queued = when
        heapq.heappush(self._heap, (when, self._sequence, item))

    def next(self) -> float | None:
        """When :meth:`pop_due` next has something to look at; never later than the true deadline."""
        heap = self._heap
        while heap and heap[0][2].due is None:
            self._forget(heapq.heappop(heap))
        return heap[0][0] if heap else None

    @staticmethod
    def _forget(entry: tuple[float, int, Due]) -> None:
        if entry[2].queued == entry[0]:
            entry[2].queued = None

    def pop_due(self, now: float) -> Iterator[Due]:
        """Take out and yield every item whose deadline is at or before ``now``.

        The deadline of a yielded item is None until it is scheduled again.
        """
        heap = self._heap
        while heap and heap[0][0] <= now:
            entry = heapq.heappop(heap)
            when, _, item = entry
            if item.queued != when:
                continue  # an older entry of an item that has since asked to be woken earlier
            item.queued = None
            if item.due is None:
                continue
            if item.due > now:
                self._push(item, item.due)
                continue
            item.due = None
            yield item
