"""OutOfDialogAdmission: what every request outside a dialog passes: loop detection, phase CALL, and routing.

The paths of INVITE (``invite.py``), REGISTER (``registrations.py``) and all others (``other_requests.py``) begin here.
"""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.stage import LoadSnapshot, Subject
from edgesbc.signalling.calls import Calls
from edgesbc.signalling.contact_tokens import ContactTokens
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.identifiers import LoopDetector
from edgesbc.signalling.incoming import Incoming
from edgesbc.signalling.screener import Screener
from edgesbc.signalling.targets import DispatchedTargets, SingleTarget, TargetSet
from edgesbc.signalling.transactions import Transactions
from edgesbc.signalling.wall_clock import WallClock

__all__ = ["OutOfDialogAdmission", "RequestRouter"]


class RequestRouter:
    """Finds where a request outside a dialog goes: a registered flow that a token names, or a route of the policy."""

    __slots__ = ("_clock", "_dispatcher", "_effects", "_flows", "_screener", "_tokens", "table")

    def __init__(
        self,
        table: RoutingTable,
        clock: WallClock,
        tokens: ContactTokens,
        dispatcher: Dispatcher,
        flows: Flows,
        effects: EffectQueue,
        screener: Screener,
    ) -> None:
        self.table = table
        self._clock = clock
        self._tokens = tokens
        self._dispatcher = dispatcher
        self._flows = flows
        self._effects = effects
        self._screener = screener

    def targets(self, incoming: Incoming, now: float) -> TargetSet | None:
        """The hops to try; None where there is none, and the request was refused."""
        request, flow, screener = incoming.message, incoming.flow, self._screener
        registered = self._tokens.registered_target(request, flow)
        if registered is not None:
            hop = self._tokens.next_hop(registered, request)
            if hop is None:
                screener.refuse(incoming, Reason.FLOW_GONE, now)
                return None
            return SingleTarget(hop)
        if len(request.uri.user or request.uri.opaque) > limits.ROUTE_TEXT:
            # Patterns do not look at it, so that a route which refuses would let it pass (RFC 3261 section 21.4.12).
            screener.refuse(incoming, Reason.TOO_LARGE, now, 414)
            return None
        route = self.table.choose(flow, request, incoming.subject.trunk, self._clock.at(now))
        screener.on_route(None if route is None else route.where, now)
        if route is None:
            screener.refuse(incoming, Reason.NO_ROUTE, now)
            return None
        if not route.to:
            screener.refuse(incoming, Reason.BLOCKED, now, route.answer, route.retry_after)
            return None
        return DispatchedTargets(self._dispatcher, self._flows, self._effects, route, request, flow)


class OutOfDialogAdmission:
    """``lag`` is by how many seconds the edge is late; the stage ``overload`` asks for it."""

    __slots__ = ("_calls", "_loops", "_router", "_screener", "_transactions", "lag")

    def __init__(
        self,
        router: RequestRouter,
        loops: LoopDetector,
        screener: Screener,
        calls: Calls,
        transactions: Transactions,
    ) -> None:
        self._router = router
        self._loops = loops
        self._screener = screener
        self._calls = calls
        self._transactions = transactions
        self.lag = 0.0

    def admit(self, incoming: Incoming, now: float) -> TargetSet | None:
        """Where the request goes; None where it goes nowhere, and was refused."""
        if self._loops.is_loop(incoming.message, incoming.flow.listener):
            self._screener.refuse(incoming, Reason.LOOP, now)
            return None
        incoming.subject.load = self._load(incoming.subject)
        if not self._screener.call(incoming, now):
            return None
        return self._router.targets(incoming, now)

    def loop_mark(self, incoming: Incoming) -> str:
        """What ends the branches of the request (RFC 5393)."""
        return self._loops.mark(incoming.message, incoming.flow.listener)

    def _load(self, subject: Subject) -> LoadSnapshot:
        calls = self._calls
        return LoadSnapshot(
            calls.ringing.get(subject.source, 0),
            calls.by_trunk.get(subject.trunk or "", 0),
            len(self._transactions),
            self.lag,
        )
