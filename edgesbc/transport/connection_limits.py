"""The limits on accepted connections, over all stream listeners: in total, of untrusted peers, and per address."""

from __future__ import annotations

import resource

from edgesbc.base import limits
from edgesbc.base.prefixes import source_key

__all__ = ["ConnectionLimits", "most_connections", "most_media_sections", "reserved_connections"]


def most_connections(configured: int) -> int:
    """Connections that this process accepts in all: as configured, or fewer where it may have few descriptors."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors == resource.RLIM_INFINITY:
        return configured
    return min(configured, int(descriptors * limits.CONNECTIONS_SHARE))


def most_media_sections(connections: int) -> int | None:
    """Media sections that this process has descriptors for beside as many connections as configured; None: any."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors == resource.RLIM_INFINITY:
        return None
    return max(0, descriptors - most_connections(connections) - limits.DESCRIPTORS_OWN) // 4


def reserved_connections(most: int) -> int:
    """How many of ``most`` connections only trunks and the private side may use."""
    return limits.CONNECTIONS_TRUSTED * most // limits.CONNECTIONS


class ConnectionLimits:
    """Counts connections. A part of the total is reserved for trusted peers, and those of one address are counted apart
    from untrusted ones of the same address. An IPv6 address counts as its /64. The total is smaller than
    ``configured`` where the process may have few descriptors, so that the media of calls has some.

    The host is "" while a balancer has not named the peer yet: such a connection counts in total only.
    """

    __slots__ = ("_by_address", "_configured", "_untrusted", "total")

    def __init__(self, configured: int) -> None:
        self._configured = configured
        self._by_address: dict[tuple[str, bool], int] = {}
        self._untrusted = 0
        self.total = 0

    def allows(self, host: str, trusted: bool) -> bool:
        """Whether one more connection from ``host`` is within the limits."""
        if self._by_address.get((source_key(host), trusted), 0) >= limits.CONNECTIONS_PER_ADDRESS:
            return False
        most = most_connections(self._configured)
        if self.total >= most:
            return False
        return trusted or self._untrusted < most - reserved_connections(most)

    def add(self, host: str, trusted: bool) -> None:
        """Count a connection."""
        self._count(host, trusted, 1)

    def remove(self, host: str, trusted: bool) -> None:
        """Count a connection no longer; ``trusted`` as in :meth:`add`, also if the peer's trust has changed since."""
        self._count(host, trusted, -1)

    def _count(self, host: str, trusted: bool, change: int) -> None:
        self.total += change
        self._untrusted += 0 if trusted else change
        if not host:
            return
        key = (source_key(host), trusted)
        connections = self._by_address.get(key, 0) + change
        if connections:
            self._by_address[key] = connections
        else:
            del self._by_address[key]
