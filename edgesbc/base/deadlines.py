"""Deadlines of everything that waits in a sans-I/O package, in a calendar queue of short slots."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["Deadlines", "Due", "Expiring"]

_SLOTS_A_SECOND = 50


class Due(Protocol):
    """An item of :class:`Deadlines`; items are compared by identity."""

    due: float | None
    """When the item is due (seconds, monotonic clock); None: never."""
    queued: float | None
    """For the calendar queue alone: the time under which it holds the item. Starts as None."""


class Expiring(Due, Protocol):
    """An item that acts itself when its deadline has passed."""

    def expire(self, now: float) -> None:
        """The deadline has passed."""


_Item = TypeVar("_Item", bound=Due)


class Deadlines(Generic[_Item]):
    """Items by the time at which they are due.

    A calendar queue: items that are due within the same 20 ms share a slot, and only slots are kept in order, so
    that setting and cancelling a deadline costs one dict access, whatever the number of items. An item is in at most
    one slot. Moving a deadline later costs nothing: the item is checked again when its slot is reached. A cancelled
    item leaves nothing behind.
    """

    __slots__ = ("_count", "_slots", "_soonest", "_times")

    def __init__(self) -> None:
        self._slots: dict[int, dict[_Item, None]] = {}
        self._times: list[int] = []  # a heap of the keys of slots; some slots are empty by now
        self._soonest: float | None = None  # of all items; None: not computed yet
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def schedule(self, item: _Item, when: float | None) -> None:
        """Make ``item`` due at ``when`` (seconds); None cancels its deadline."""
        item.due = when
        queued = item.queued
        if queued is not None:
            if when is not None and when >= queued:
                return
            self._take_out(item, queued)
        if when is not None:
            self._put(item, when)

    def _put(self, item: _Item, when: float) -> None:
        key = int(when * _SLOTS_A_SECOND)
        slot = self._slots.get(key)
        if slot is None:
            self._slots[key] = {item: None}
            heapq.heappush(self._times, key)
        else:
            slot[item] = None
        item.queued = when
        if not self._count or (self._soonest is not None and when < self._soonest):
            self._soonest = when
        self._count += 1

    def _take_out(self, item: _Item, queued: float) -> None:
        key = int(queued * _SLOTS_A_SECOND)
        slot = self._slots[key]
        del slot[item]
        if not slot:
            del self._slots[key]
        item.queued = None
        self._count -= 1
        if queued == self._soonest:
            self._soonest = None

    def next(self) -> float | None:
        """When :meth:`pop_due` has to be called next; never later than the earliest deadline. None: no items."""
        if self._soonest is None and self._count:
            self._soonest = min(item.queued for item in self._first()[1] if item.queued is not None)
        return self._soonest

    def _first(self) -> tuple[int, dict[_Item, None]]:
        """The key and items of the earliest slot; at least one item must be scheduled."""
        times, slots = self._times, self._slots
        while True:
            slot = slots.get(times[0])
            if slot is not None:
                return times[0], slot
            heapq.heappop(times)

    def pop_due(self, now: float) -> Iterator[_Item]:
        """Remove and yield every item whose deadline is at or before ``now``, the earliest first.

        The deadline of a yielded item is None until it is scheduled again. Items that are scheduled for
        ``now`` or before during the iteration are yielded as well.
        """
        while self._count:
            soonest = self.next()
            if soonest is None or soonest > now:
                return
            _, slot = self._first()
            for item in sorted(slot, key=_queued):
                queued, due = item.queued, item.due
                if queued is None or queued > now or item not in slot:
                    continue  # not due yet, or moved by an item that was yielded before it
                self._take_out(item, queued)
                if due is None or due > now:
                    if due is not None:
                        self._put(item, due)
                    continue
                item.due = None
                yield item


def _queued(item: Due) -> float:
    return item.queued or 0.0
