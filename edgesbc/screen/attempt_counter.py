"""How often something was tried in the last while, by key, in bounded memory. Knows no requests, bars nobody."""

from __future__ import annotations

from array import array
from collections.abc import Hashable

__all__ = ["AttemptCounter"]


class _Attempts:
    """The last tries of one key: when, and on what."""

    __slots__ = ("marks", "times", "told")

    def __init__(self) -> None:
        self.times: array[float] = array("d")
        self.marks: array[int] = array("q")
        self.told = False


class AttemptCounter:
    """Counts tries of a key in the last ``window`` seconds, up to ``most``.

    Each try has a mark, a hash of what was tried, so that a success can take back those that led to it and
    no others: who owns one account cannot wash off what it tries on another. ``keys`` bounds the memory; the
    key whose last try is longest ago is forgotten, so that to be forgotten is to have tried nothing while
    that many others did.
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
        tried = self._table.pop(key, None)
        if tried is None:
            tried = _Attempts()
            if len(self._table) >= self._keys:
                del self._table[next(iter(self._table))]
        self._table[key] = tried  # the order of the table is the order of the last tries
        if len(tried.times) == self._most:
            del tried.times[0], tried.marks[0]
        tried.times.append(now)
        tried.marks.append(mark)

    def count(self, key: Hashable, now: float) -> int:
        """The tries of ``key`` in the window, ``most`` at most."""
        tried = self._table.get(key)
        if tried is None:
            return 0
        since, old = now - self._window, 0
        for at in tried.times:
            if at > since:
                break
            old += 1
        if old:
            del tried.times[:old], tried.marks[:old]
            tried.told = False
        if not tried.times:
            del self._table[key]
        return len(tried.times)

    def over(self, key: Hashable, now: float) -> bool:
        """Whether ``key`` has no try left."""
        return key in self._table and self.count(key, now) >= self._most

    def first_told(self, key: Hashable) -> bool:
        """Whether this is the first time that it is asked of a key that is over: the one worth recording."""
        tried = self._table[key]
        first, tried.told = not tried.told, True
        return first

    def forgive(self, key: Hashable, mark: int) -> None:
        """Take back the tries of ``key`` with this mark."""
        tried = self._table.get(key)
        if tried is None:
            return
        kept = [(at, each) for at, each in zip(tried.times, tried.marks, strict=True) if each != mark]
        if not kept:
            del self._table[key]
            return
        tried.times = array("d", [at for at, _ in kept])
        tried.marks = array("q", [each for _, each in kept])
