"""Where a request goes next, and after that. Sends nothing."""

from __future__ import annotations

from typing import Protocol

from edgesbc.base.address import Flow
from edgesbc.dispatch.leases import Lease
from edgesbc.sip.transaction import T1

__all__ = ["Hop", "Hops", "OneHop"]


class Hop:
    """Where a request goes next: the flow, the Request-URI there, the route set, and the lease at a destination."""

    __slots__ = ("failover_on", "flow", "lease", "routes", "timeout", "uri")

    def __init__(
        self,
        flow: Flow,
        uri: str,
        routes: tuple[str, ...] = (),
        lease: Lease | None = None,
        timeout: float = 64 * T1,
        failover_on: frozenset[int] = frozenset(),
    ) -> None:
        self.flow = flow
        self.uri = uri
        self.routes = routes
        self.lease = lease
        self.timeout = timeout  # seconds to the first answer of an INVITE
        self.failover_on = failover_on


class Hops(Protocol):
    """Gives the next place to try, or None when there is none left."""

    def next(self, now: float) -> Hop | None: ...


class OneHop:
    """The one place that a token or a registration leads to."""

    __slots__ = ("_hop",)

    def __init__(self, hop: Hop) -> None:
        self._hop: Hop | None = hop

    def next(self, now: float) -> Hop | None:
        hop, self._hop = self._hop, None
        return hop
