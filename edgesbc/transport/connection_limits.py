"""The limits on accepted connections, over all stream listeners: in total, of untrusted peers, and per address."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.prefixes import source_key

__all__ = ["ConnectionLimits"]


class ConnectionLimits:
    """Counts connections. A part of the total is reserved for trusted peers, and those of one address are counted apart
    from untrusted ones of the same address. An IPv6 address counts as its /64."""

    __slots__ = ("_by_address", "_untrusted", "total")

    def __init__(self) -> None:
        self._by_address: dict[tuple[str, bool], int] = {}
        self._untrusted = 0
        self.total = 0

    def allows(self, host: str, trusted: bool) -> bool:
        """Whether one more connection from ``host`` is within the limits."""
        if self._by_address.get((source_key(host), trusted), 0) >= limits.CONNECTIONS_PER_ADDRESS:
            return False
        if self.total >= limits.CONNECTIONS:
            return False
        return trusted or self._untrusted < limits.CONNECTIONS - limits.CONNECTIONS_TRUSTED

    @property
    def allows_unidentified(self) -> bool:
        """Whether one more connection whose peer a balancer has not named yet is within the limits."""
        return self._untrusted < limits.CONNECTIONS - limits.CONNECTIONS_TRUSTED and self.total < limits.CONNECTIONS

    def add_unidentified(self) -> None:
        """Count such a connection: as that of an untrusted peer, in total, and at no address."""
        self.total += 1
        self._untrusted += 1

    def remove_unidentified(self) -> None:
        """Count such a connection no longer."""
        self.total -= 1
        self._untrusted -= 1

    def add(self, host: str, trusted: bool) -> None:
        """Count a connection."""
        self.total += 1
        self._untrusted += not trusted
        key = (source_key(host), trusted)
        self._by_address[key] = self._by_address.get(key, 0) + 1

    def remove(self, host: str, trusted: bool) -> None:
        """Count a connection no longer; ``trusted`` as in :meth:`add`, also if the peer's trust has changed since."""
        self.total -= 1
        self._untrusted -= not trusted
        key = (source_key(host), trusted)
        left = self._by_address[key] - 1
        if left:
            self._by_address[key] = left
        else:
            del self._by_address[key]
