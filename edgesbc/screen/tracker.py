"""The pike-style source tracker: exact thresholds in fixed memory. Bans nobody, and knows no sources, only keys."""

from __future__ import annotations

from array import array
from collections.abc import Hashable

__all__ = ["NEVER", "TrackedSource", "Tracker"]

NEVER = float("-inf")
SAMPLE = 4
"""Entries looked at to find the one to give up when the table is full."""


class TrackedSource:
    """What is known of one key: the times of its last admitted requests, at most a window's worth."""

    __slots__ = ("at", "borrowed", "changed", "member", "refused", "stamps", "tripped")

    def __init__(self) -> None:
        self.stamps: array[float] = array("d")
        self.at = 0
        """Where the oldest stamp stands, once there are as many as the density allows."""
        self.borrowed = 0
        """Stamps taken over from the entry that this one replaced, and not yet overwritten."""
        self.tripped = NEVER
        self.refused = 0
        """Requests refused since the first trip of this window."""
        self.member = -1
        self.changed = NEVER
        """When another member than the one before sent something: a key of one member has none."""

    @property
    def newest(self) -> float:
        """The time of the last admitted request."""
        return self.stamps[self.at - 1]


class Tracker:
    """Admits at most ``density`` requests of a key in any ``window`` seconds: request density + 1 trips.

    The window is half open: a request made exactly ``window`` seconds ago is out of it. Refused requests
    do not count, so a key that goes on too fast is held to the threshold, not silenced for ever.

    Memory is ``entries`` keys. When it is full, a new key takes the place of one that has been idle for
    a window; failing that, of the least busy among the next few, and with ``inherit`` takes over that
    one's stamps, as space-saving counters do (Metwally 2005): keys too many to watch cannot hide a busy
    one among them. Without ``inherit`` a new key starts clean, for keys that cannot be made up.
    """

    __slots__ = ("_density", "_entries", "_hand", "_inherit", "_ring", "_table", "_window")

    def __init__(self, density: int, window: float, entries: int, inherit: bool) -> None:
        self._density = density
        self._window = window
        self._entries = entries
        self._inherit = inherit
        self._table: dict[Hashable, TrackedSource] = {}
        self._ring: list[Hashable] = []
        """The keys of the table, each where it stays until it is given up."""
        self._hand = 0

    def __len__(self) -> int:
        return len(self._table)

    def admit(self, key: Hashable, now: float, member: int = 0) -> TrackedSource | None:
        """Count a request of ``key`` at ``now`` (seconds, never going back); its entry if it is one too many.

        ``member`` tells apart those who share the key. The caller may read the entry with
        :meth:`first_trip`, :meth:`surely` and :meth:`alone`.
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
        """Whether this is the entry's first trip in a window: the one worth recording."""
        if entry.tripped > now - self._window:
            return False
        entry.tripped = now
        entry.refused = 1
        return True

    def surely(self, entry: TrackedSource) -> bool:
        """Whether the key made every request held against it: none was another key's, taken over."""
        return entry.borrowed == 0

    def alone(self, entry: TrackedSource, now: float) -> bool:
        """Whether one member made every request of the last window."""
        return entry.changed <= now - self._window

    def busiest(self, now: float, count: int) -> list[tuple[Hashable, int, bool]]:
        """The ``count`` keys with the most requests in the window before ``now``: (key, requests, whether it has
        tripped in it), busiest first. Looks at every entry: for operators, not for the path of a message."""
        since = now - self._window
        found = [
            (key, sum(stamp > since for stamp in entry.stamps), entry.tripped > since)
            for key, entry in self._table.items()
            if entry.stamps and entry.newest > since
        ]
        found.sort(key=lambda row: (row[2], row[1]), reverse=True)
        return found[:count]

    def _enter(self, key: Hashable, now: float) -> TrackedSource:
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
        """Where in the ring the key to give up stands: the first idle one of a sample, else the least busy.
        The next sample begins behind this one."""
        table, ring, entries = self._table, self._ring, self._entries
        since = now - self._window
        hand, fewest = self._hand, self._density + 1
        victim = hand
        for _ in range(SAMPLE):
            entry = table[ring[hand]]
            stamps = entry.stamps
            if stamps[entry.at - 1] <= since:
                victim = hand
                break
            if len(stamps) < fewest:
                victim, fewest = hand, len(stamps)
            hand = hand + 1 if hand + 1 < entries else 0
        self._hand = hand
        return victim
