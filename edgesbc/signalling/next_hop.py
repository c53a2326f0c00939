"""Where a request goes next, and after that. Sends nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgesbc.base.address import Flow
from edgesbc.dispatch.leases import Lease
from edgesbc.sip.transaction import T1

__all__ = ["NextHop", "SingleTarget", "TargetSet"]


class NextHop:
    """Where a request goes next: the flow, the Request-URI there, the route set, and the lease at a destination."""

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
        self.timeout = timeout  # seconds that an INVITE may go without any answer
        self.failover_on = failover_on


class TargetSet(Protocol):
    """Gives the places to send to next: the next *target group* of RFC 3261 section 16.6."""

    def next(self, now: float, most: int) -> Sequence[NextHop]:
        """At most ``most`` hops, to be tried at the same time; none when there is none left."""

    def answer(self) -> tuple[int, int]:
        """What to say when there was none: the status, and seconds for Retry-After, 0 for none."""

    def asked(self) -> str:
        """Who was asked for a place so far, for the operator: destination sets by name, or nothing."""


class SingleTarget:
    """The one place that a token or a registration leads to."""

    __slots__ = ("_hop",)

    def __init__(self, hop: NextHop) -> None:
        self._hop: NextHop | None = hop

    def next(self, now: float, most: int) -> Sequence[NextHop]:
        hop, self._hop = self._hop, None
        return () if hop is None else (hop,)

    def answer(self) -> tuple[int, int]:
        return 503, 5

    def asked(self) -> str:
        return ""
