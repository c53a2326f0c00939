"""The limits on accepted connections, over all stream listeners: in total, of untrusted peers, and per address."""

from __future__ import annotations

import resource

from edgesbc.base import limits
from edgesbc.base.prefixes import source_key

__all__ = ["ConnectionLimits", "most_connections", "reserved_connections"]


def most_connections() -> int:
    """Connections that this process accepts in all, by the descriptors that it may have now."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors == resource.RLIM_INFINITY:
        return limits.CONNECTIONS
    return min(limits.CONNECTIONS, int(descriptors * limits.CONNECTIONS_SHARE))


def reserved_connections(most: int) -> int:
    """How many of ``most`` connections only trunks and the private side may use."""
    return limits.CONNECTIONS_TRUSTED * most // limits.CONNECTIONS


class ConnectionLimits:
    """Counts connections. A part of the total is reserved for trusted peers, and those of one address are counted apart
    from untrusted ones of the same address. An IPv6 address counts as its /64. The total is smaller than
    ``limits.CONNECTIONS`` where the process may have few descriptors, so that the media of calls has some."""

    __slots__ = ("_by_address", "_untrusted", "total")

    def __init__(self) -> None:
        self._by_address: dict[tuple[str, bool], int] = {}
        self._untrusted = 0
        self.total = 0

    def allows(self, host: str, trusted: bool) -> bool:
        """Whether one more connection from ``host`` is within the limits."""
        if self._by_address.get((source_key(host), trusted), 0) >= limits.CONNECTIONS_PER_ADDRESS:
            return False
        most = most_connections()
        if self.total >= most:
            return False
        return trusted or self._untrusted < most - reserved_connections(most)

    @property
    def allows_unidentified(self) -> bool:
        """Whether one more connection whose peer a balancer has not named yet is within the limits."""
        most = most_connections()
        return self._untrusted < most - reserved_connections(most) and self.total < most

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
