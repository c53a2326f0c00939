"""Token buckets by GCRA in integer nanoseconds (ITU-T I.371 annex A), one bucket for each key."""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["TokenBucket"]

SECOND = 1_000_000_000


class TokenBucket:
    """A bucket of ``burst`` tokens for each key, refilled at ``rate`` tokens a second.

    A key's state is one integer, the theoretical arrival time: when its bucket is full again. Looking
    (:meth:`wait`) and taking (:meth:`take`) are two steps, so that a request that another bucket
    refuses takes no token here.

    Keys are kept in two generations of ``keys`` each. When the newer is full, the older is dropped; a key that was
    used lately is in the newer. A key that was dropped has a full bucket.
    """

    __slots__ = ("_interval", "_keys", "_new", "_old", "_tolerance", "name", "rate")

    def __init__(self, name: str, rate: float, burst: int, keys: int) -> None:
        self.name = name
        self.rate = rate
        self._interval = max(1, round(SECOND / rate))
        self._tolerance = (burst - 1) * self._interval
        self._keys = keys
        self._new: dict[Hashable, int] = {}
        self._old: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def wait(self, key: Hashable, now: int) -> int:
        """Nanoseconds until ``key`` has a token; 0 if it has one at ``now`` (nanoseconds)."""
        full = self._new.get(key)
        if full is None:
            full = self._old.get(key)
            if full is None:
                return 0
            self._keep(key, full)
        wait = full - self._tolerance - now
        return wait if wait > 0 else 0

    def take(self, key: Hashable, now: int, tokens: int = 1) -> None:
        """Take ``tokens`` at ``now`` (nanoseconds), also where the bucket has fewer: it then refills from below."""
        full = self._new.get(key)
        if full is None:
            full = self._old.get(key, now)
        self._keep(key, (full if full > now else now) + tokens * self._interval)

    def refill(self, key: Hashable) -> None:
        """Fill the bucket of ``key``."""
        self._new.pop(key, None)
        self._old.pop(key, None)

    def _keep(self, key: Hashable, full: int) -> None:
        if key not in self._new and len(self._new) >= self._keys:
            self._old = self._new
            self._new = {}
        self._new[key] = full
