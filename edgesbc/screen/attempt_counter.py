"""A counter of attempts in a sliding window, by key, in bounded memory."""

from __future__ import annotations

from array import array
from collections.abc import Hashable

__all__ = ["AttemptCounter"]


class _Attempts:
    """The last attempts of one key: their times, and marks of what was tried."""

    __slots__ = ("marks", "reported", "times")

    def __init__(self) -> None:
        self.times: array[float] = array("d")
        self.marks: array[int] = array("q")
        self.reported = False


class AttemptCounter:
    """Counts the attempts of a key in the last ``window`` seconds, up to ``most``.

    Each attempt has a mark, a hash of what was tried, so that a success takes back the attempts that led to it and
    no others: the owner of one account cannot clear attempts on another. ``keys`` bounds the memory: the key whose
    last attempt is longest ago is dropped first.
    """

    __slots__ = ("_keys", "_most", "_table", "_window")

    def __init__(self, most: int, window: float, keys: int) -> None:
        self._most = most
        self._window = window
        self._keys = keys
        self._table: dict[Hashable, _Attempts] = {}

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._table

    def add(self, key: Hashable, mark: int, now: float) -> None:
        """Count an attempt of ``key`` on what ``mark`` stands for, at ``now`` (seconds)."""
        attempts = self._table.pop(key, None)
        if attempts is None:
            attempts = _Attempts()
            if len(self._table) >= self._keys:
                del self._table[next(iter(self._table))]
        self._table[key] = attempts  # the order of the table is the order of the last attempts
        if len(attempts.times) == self._most:
            del attempts.times[0], attempts.marks[0]
        attempts.times.append(now)
        attempts.marks.append(mark)

    def count(self, key: Hashable, now: float) -> int:
        """The attempts of ``key`` in the window, ``most`` at most."""
        attempts = self._table.get(key)
        if attempts is None:
            return 0
        since, old = now - self._window, 0
        for time in attempts.times:
            if time > since:
                break
            old += 1
        if old:
            del attempts.times[:old], attempts.marks[:old]
            attempts.reported = False
        if not attempts.times:
            del self._table[key]
        return len(attempts.times)

    def over(self, key: Hashable, now: float) -> bool:
        """Whether ``key`` has no attempt left."""
        return key in self._table and self.count(key, now) >= self._most

    def first_report(self, key: Hashable) -> bool:
        """Whether this is the first refusal of a key that has no attempt left, so that only that one is recorded. It is
        the first again after an attempt has left the window."""
        attempts = self._table[key]
        first, attempts.reported = not attempts.reported, True
        return first

    def take_back(self, key: Hashable, mark: int) -> None:
        """Remove the attempts of ``key`` with this mark."""
        attempts = self._table.get(key)
        if attempts is None:
            return
        remaining = [pair for pair in zip(attempts.times, attempts.marks, strict=True) if pair[1] != mark]
        if not remaining:
            del self._table[key]
            return
        attempts.times = array("d", [time for time, _ in remaining])
        attempts.marks = array("q", [other for _, other in remaining])
