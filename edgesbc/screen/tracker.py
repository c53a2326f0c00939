"""The pike-style tracker: counts requests per key in a sliding window, with exact thresholds in fixed memory."""

from __future__ import annotations

from array import array
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["NEVER", "TrackedSource", "Tracker"]

NEVER = float("-inf")
SAMPLE = 4
"""Entries examined to find the one to replace when the table is full."""

K = TypeVar("K", bound=Hashable)


class TrackedSource:
    """The entry of one key: the times of its last admitted requests, at most as many as the density."""

    __slots__ = ("at", "borrowed", "changed", "member", "refused", "stamps", "tripped")

    def __init__(self) -> None:
        self.stamps: array[float] = array("d")
        self.at = 0
        """The index of the oldest stamp, once there are as many as the density allows."""
        self.borrowed = 0
        """Stamps inherited from the entry that this one replaced, and not yet overwritten."""
        self.tripped = NEVER
        self.refused = 0
        """Requests refused since the first trip of this window."""
        self.member = -1
        self.changed = NEVER
        """When the member last changed; NEVER for a key of one member."""

    @property
    def newest(self) -> float:
        """The time of the last admitted request."""
        return self.stamps[self.at - 1]


class Tracker(Generic[K]):
    """Admits at most ``density`` requests of a key in any ``window`` seconds: request density + 1 trips.

    The window is half open: a request made exactly ``window`` seconds ago is out of it. Refused requests
    do not count, so a key that goes on too fast is held to the threshold and not refused for ever.

    Memory is bounded to ``entries`` keys. When it is full, a new key replaces one that has been idle for
    a window or, if there is none, the least busy of the next ``SAMPLE``. With ``inherit`` it then takes over the
    stamps of that one, as space-saving counters do (Metwally 2005), so that a busy key cannot hide among more
    keys than the table holds. Without ``inherit`` a new key starts empty, which suits keys that cannot be forged.
    """

    __slots__ = ("_density", "_entries", "_inherit", "_next", "_ring", "_table", "_window")

    def __init__(self, density: int, window: float, entries: int, inherit: bool) -> None:
        self._density = density
        self._window = window
        self._entries = entries
        self._inherit = inherit
        self._table: dict[K, TrackedSource] = {}
        self._ring: list[K] = []
        """The keys of the table; a key keeps its index until it is replaced."""
        self._next = 0
        """Where in the ring the next sample begins."""

    def __len__(self) -> int:
        return len(self._table)

    def admit(self, key: K, now: float, member: int = 0) -> TrackedSource | None:
        """Count a request of ``key`` at ``now`` (seconds, monotonic). None if it is admitted, else the key's entry.

        ``member`` distinguishes sources that share the key, as the ports of an address. The caller may read the
        entry with :meth:`first_trip`, :meth:`certain` and :meth:`one_member`.
        """
        entry = self._table.get(key)
        if entry is None:
            entry = self._enter(key, now)
            entry.member = member
        elif entry.member != member:
            entry.member = member
            entry.changed = now
        stamps = entry.stamps
        if len(stamps) < self._density:
            stamps.append(now)
            return None
        at = entry.at
        if stamps[at] > now - self._window:
            entry.refused += 1
            return entry
        stamps[at] = now
        at += 1
        entry.at = at if at < self._density else 0
        if entry.borrowed:
            entry.borrowed -= 1
        return None

    def first_trip(self, entry: TrackedSource, now: float) -> bool:
        """Whether this is the entry's first trip in a window: only that one is recorded."""
        if entry.tripped > now - self._window:
            return False
        entry.tripped = now
        entry.refused = 1
        return True

    def certain(self, entry: TrackedSource) -> bool:
        """Whether the key itself made every counted request: no stamp was inherited from another key."""
        return entry.borrowed == 0

    def one_member(self, entry: TrackedSource, now: float) -> bool:
        """Whether one member made every request of the last window."""
        return entry.changed <= now - self._window

    def busiest(self, now: float, count: int) -> list[tuple[K, int, bool]]:
        """The ``count`` keys with the most requests in the window before ``now``, those that tripped in it first:
        (key, requests, tripped). Reads every entry: for an operator's command, not for the path of a message."""
        since = now - self._window
        rows = [
            (key, sum(stamp > since for stamp in entry.stamps), entry.tripped > since)
            for key, entry in self._table.items()
            if entry.stamps and entry.newest > since
        ]
        rows.sort(key=lambda row: (row[2], row[1]), reverse=True)
        return rows[:count]

    def _enter(self, key: K, now: float) -> TrackedSource:
        ring = self._ring
        if len(ring) < self._entries:
            ring.append(key)
            entry = TrackedSource()
        else:
            at = self._victim(now)
            entry = self._table.pop(ring[at])
            ring[at] = key
            stamps = entry.stamps
            entry.tripped = entry.changed = NEVER
            entry.refused = 0
            if self._inherit and stamps[entry.at - 1] > now - self._window:
                entry.borrowed = len(stamps)
            else:
                del stamps[:]
                entry.at = entry.borrowed = 0
        self._table[key] = entry
        return entry

    def _victim(self, now: float) -> int:
        """The index in the ring of the key to replace: the first idle key of a sample, or else the least busy one of
        it. The next sample begins where this one ended."""
        table, ring, entries = self._table, self._ring, self._entries
        since = now - self._window
        index, fewest = self._next, self._density + 1
        victim = index
        for _ in range(SAMPLE):
            entry = table[ring[index]]
            stamps = entry.stamps
            if stamps[entry.at - 1] <= since:
                victim = index
                break
            if len(stamps) < fewest:
                victim, fewest = index, len(stamps)
            index = index + 1 if index + 1 < entries else 0
        self._next = index
        return victim
