"""NextHop and TargetSet: where a request goes next, and after that (RFC 3261 section 16.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgesbc.base.address import Flow
from edgesbc.dispatch.leases import Lease
from edgesbc.sip.transaction import T1

__all__ = ["NextHop", "SingleTarget", "TargetSet"]


class NextHop:
    """Where a request goes next: the flow, the Request-URI there, the route set, and the lease of a member.

    ``timeout`` is how many seconds an INVITE may go without any answer; after the statuses in ``failover_on`` the
    next member is tried.
    """

    __slots__ = ("failover_on", "flow", "lease", "routes", "timeout", "uri")

    def __init__(
        self,
        flow: Flow,
        uri: str,
        routes: tuple[str, ...] = (),
        lease: Lease | None = None,
        timeout: float = 64 * T1,
        failover_on: tuple[int, ...] = (),
    ) -> None:
        self.flow = flow
        self.uri = uri
        self.routes = routes
        self.lease = lease
        self.timeout = timeout
        self.failover_on = failover_on


class TargetSet(Protocol):
    """Gives the hops to send to next: the next *target group* of RFC 3261 section 16.6."""

    def next_group(self, now: float, limit: int) -> Sequence[NextHop]:
        """At most ``limit`` hops, to be tried at the same time; none when there is none left."""

    def refusal(self) -> tuple[int, int]:
        """The answer when there was none: the status, and seconds for Retry-After, 0 for none."""

    def set_names(self) -> str:
        """The destination sets that were asked for a member so far, for the operator; "" for none."""


class SingleTarget:
    """The one hop that a token or a registration leads to."""

    __slots__ = ("_hop",)

    def __init__(self, hop: NextHop) -> None:
        self._hop: NextHop | None = hop

    def next_group(self, now: float, limit: int) -> Sequence[NextHop]:
        hop, self._hop = self._hop, None
        return () if hop is None else (hop,)

    def refusal(self) -> tuple[int, int]:
        return 503, 5

    def set_names(self) -> str:
        return ""
