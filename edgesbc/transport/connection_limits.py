"""How many connections there may be, over all doors: bounds and counts. Accepts none: see ``doors``."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.prefixes import source_key

__all__ = ["ConnectionLimits"]


class ConnectionLimits:
    """Strangers share what trusted peers do not have to themselves, and at one address they take nothing from a
    trusted peer behind it. An address of IPv6 counts for its /64."""

    __slots__ = ("_by_address", "_strangers", "inside")

    def __init__(self) -> None:
        self._by_address: dict[tuple[str, bool], int] = {}
        self._strangers = 0
        self.inside = 0

    def free(self, host: str, trusted: bool) -> bool:
        """Whether one more connection from ``host`` may come in."""
        if self._by_address.get((source_key(host), trusted), 0) >= limits.CONNECTIONS_PER_ADDRESS:
            return False
        if self.inside >= limits.CONNECTIONS:
            return False
        return trusted or self._strangers < limits.CONNECTIONS - limits.CONNECTIONS_TRUSTED

    def take(self, host: str, trusted: bool) -> None:
        self.inside += 1
        self._strangers += not trusted
        key = (source_key(host), trusted)
        self._by_address[key] = self._by_address.get(key, 0) + 1

    def leave(self, host: str, trusted: bool) -> None:
        """What was taken is free again; ``trusted`` as it was then."""
        self.inside -= 1
        self._strangers -= not trusted
        key = (source_key(host), trusted)
        left = self._by_address[key] - 1
        if left:
            self._by_address[key] = left
        else:
            del self._by_address[key]
