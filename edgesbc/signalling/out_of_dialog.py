"""OutOfDialogAdmission: what every request outside a dialog passes: loop detection, phase CALL, and routing.

The paths of INVITE (``invite.py``) and REGISTER (``registrations.py``) begin here; that of all other methods, such as
OPTIONS and MESSAGE, is :class:`OtherRequests`.
"""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.stage import LoadSnapshot, Subject
from edgesbc.screen.standing import Standing
from edgesbc.signalling.calls import Calls
from edgesbc.signalling.contact_tokens import ContactTokens
from edgesbc.signalling.context_parts import ContextParts
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.identifiers import LoopDetector
from edgesbc.signalling.incoming import Incoming
from edgesbc.signalling.live_pipeline import LivePipeline
from edgesbc.signalling.named_peers import NamedPeers
from edgesbc.signalling.peers import DialogPeers
from edgesbc.signalling.registration_rules import RegistrationRules
from edgesbc.signalling.response_context import ResponseContext
from edgesbc.signalling.screener import Screener
from edgesbc.signalling.targets import DispatchedTargets, SingleTarget, TargetSet
from edgesbc.signalling.tokens import RemoteTarget
from edgesbc.signalling.transactions import Transactions
from edgesbc.signalling.wall_clock import WallClock
from edgesbc.sip.message import Request
from edgesbc.sip.values import unsupported

__all__ = ["OtherRequests", "OutOfDialogAdmission", "RequestRouter"]


class RequestRouter:
    """Finds where a request outside a dialog goes: a registered flow or another peer that a token names, or a route of
    the policy."""

    __slots__ = (
        "_clock",
        "_dispatcher",
        "_effects",
        "_flows",
        "_named",
        "_screener",
        "_tokens",
        "registrations",
        "table",
    )

    def __init__(
        self,
        table: RoutingTable,
        clock: WallClock,
        tokens: ContactTokens,
        dispatcher: Dispatcher,
        flows: Flows,
        effects: EffectQueue,
        screener: Screener,
        named: NamedPeers,
    ) -> None:
        self.table = table
        self.registrations = RegistrationRules()
        self._named = named
        self._clock = clock
        self._tokens = tokens
        self._dispatcher = dispatcher
        self._flows = flows
        self._effects = effects
        self._screener = screener

    def targets(self, incoming: Incoming, now: float) -> TargetSet | None:
        """The hops to try; None where there is none: the request was refused."""
        request, flow, screener = incoming.message, incoming.flow, self._screener
        registered = self._tokens.registered_target(request, flow)
        if registered is not None:
            hop = self._tokens.next_hop(registered, request, now)
            if hop is None:
                screener.refuse(incoming, Reason.FLOW_GONE, now, self.registrations.gone_status)
                return None
            hop.ring_limit = self.registrations.ring_limit
            hop.call_limit = self.registrations.call_limit
            return SingleTarget(hop)
        named = self._named.target_of(request, flow)
        if named is not None:
            return self._named_targets(named, incoming, now)
        if len(request.uri.user or request.uri.opaque) > limits.ROUTE_TEXT:
            # Patterns do not match so long a text, so a route that refuses would let it pass (RFC 3261 section
            # 21.4.12).
            screener.refuse(incoming, Reason.TOO_LARGE, now, 414)
            return None
        table = self.table
        served = table.serves(request.uri.host)
        if table.has_domains and not served and self._flows.is_foreign(flow, request.uri):
            screener.on_route(None, now)
            screener.refuse(incoming, Reason.DOMAIN, now, table.domain_answer)
            return None
        route = table.choose(flow, request, incoming.subject.trunk, self._clock.at(now))
        screener.on_route(None if route is None else route.where, now)
        if route is None:
            screener.refuse(incoming, Reason.NO_ROUTE, now)
            return None
        if not route.to:
            screener.refuse(incoming, Reason.BLOCKED, now, route.answer, route.retry_after)
            return None
        # Private servers may serve any domain that a peer with an account asks for; they know a phone that registers by
        # its domain. For others they would be a relay to any host.
        has_account = incoming.subject.standing >= Standing.REGISTERED
        keeps_host = served or has_account or request.method == "REGISTER"
        return DispatchedTargets(
            self._dispatcher, self._flows, self._effects, route, request, flow, keeps_host, has_account
        )

    def _named_targets(self, named: RemoteTarget, incoming: Incoming, now: float) -> TargetSet | None:
        """The hop to the server that leads to a named peer; None where the request was refused."""
        if not self._named.may_reach(named, incoming.flow, incoming.subject.standing, now):
            self._screener.refuse_token(incoming, "a new request of another peer", now)
            return None
        target = self._named.hop_to(named, incoming.message, incoming.subject.standing, now)
        if target is None:
            self._screener.refuse(incoming, Reason.FLOW_GONE, now)
        else:
            detail = "to the server behind a Contact, past the routes"
            self._effects.record(now, Reason.ROUTED, incoming.flow, incoming.message.call_id, detail)
        return target


class OutOfDialogAdmission:
    """Admits and routes requests. ``lag`` is by how many seconds the event loop is late, for the stage ``overload``."""

    __slots__ = ("_calls", "_live", "_loops", "_router", "_screener", "_transactions", "lag")

    def __init__(
        self,
        router: RequestRouter,
        loops: LoopDetector,
        screener: Screener,
        calls: Calls,
        transactions: Transactions,
        live: LivePipeline,
    ) -> None:
        self._live = live
        self._router = router
        self._loops = loops
        self._screener = screener
        self._calls = calls
        self._transactions = transactions
        self.lag = 0.0

    def admit(self, incoming: Incoming, now: float) -> TargetSet | None:
        """The hops to try; None where the request was refused."""
        if self._loops.is_loop(incoming.message, incoming.flow.listener):
            self._screener.refuse(incoming, Reason.LOOP, now)
            return None
        incoming.subject.load = self._load(incoming.subject, now)
        if not self._screener.call(incoming, now):
            return None
        return self._router.targets(incoming, now)

    def loop_marks(self, incoming: Incoming) -> str:
        """The marks at the end of the request's branches (RFC 5393)."""
        return self._loops.marks(incoming.message, incoming.flow.listener)

    def _load(self, subject: Subject, now: float) -> LoadSnapshot:
        calls = self._calls
        holder = self._live.standings.call_holder(subject.flow, subject.with_secret, now)
        return LoadSnapshot(
            calls.ringing.get(subject.source, 0),
            calls.by_trunk.get(subject.trunk or "", 0),
            len(self._transactions),
            self.lag,
            0 if holder is None else calls.by_holder.get(holder, 0),
        )


_SUPPORTED = ("path",)
"""Option tags that the edge itself supports; it forwards all others."""


class OtherRequests:
    """The path of requests of all other methods. OPTIONS for the edge itself is answered here."""

    __slots__ = ("_admission", "_flows", "_parts", "_screener")

    def __init__(self, parts: ContextParts, admission: OutOfDialogAdmission, flows: Flows, screener: Screener) -> None:
        self._parts = parts
        self._admission = admission
        self._flows = flows
        self._screener = screener

    def forward(self, incoming: Incoming, now: float) -> None:
        """Answer the request, or send it on."""
        request, method = incoming.message, incoming.message.method
        if method == "BYE" or method == "PRACK" or method == "UPDATE":  # they belong to a dialog
            self._screener.on_refusal(Reason.NO_DIALOG)
            self._parts.responder.answer_stateless(incoming, Reason.NO_DIALOG.status, now)
            return
        for_edge = method == "OPTIONS" and self._flows.is_ours(request.uri.host, request.uri.port)
        if for_edge and not self._is_for_peer(request, incoming.flow):
            self._answer_options(incoming, now)
            return
        targets = self._admission.admit(incoming, now)
        if targets is None:
            return
        parts = self._parts
        server = parts.responder.open_transaction(incoming, now)
        peers = DialogPeers(parts.tokens, parts.named_peers, server)
        context = ResponseContext(
            parts,
            server,
            targets,
            peers,
            incoming.subject.standing,
            mark=self._admission.loop_marks(incoming),
        )
        context.start(now)

    def _is_for_peer(self, request: Request, sender: Flow) -> bool:
        """Whether OPTIONS with the edge's address is for the peer that a token of the edge names: in the Request-URI,
        or in the Path that a private server has as Route."""
        parts = self._parts
        return (
            parts.named_peers.is_named(request, sender) or parts.tokens.registered_target(request, sender) is not None
        )

    def _answer_options(self, incoming: Incoming, now: float) -> None:
        """Answer with the edge's own capabilities (RFC 3261 section 11.2), also where the Request-URI has a user: an
        answer that depended on the user would show which users exist."""
        responder = self._parts.responder
        missing = unsupported(incoming.message.get_all("Require"), _SUPPORTED)
        if missing:  # section 8.2.2.3
            responder.answer_stateless(incoming, 420, now, [("Unsupported", ", ".join(missing))])
            return
        capabilities = [
            self._screener.allow(incoming.flow), ("Accept", "application/sdp"), ("Supported", ", ".join(_SUPPORTED)),
        ]  # fmt: skip
        responder.answer_stateless(incoming, 200, now, capabilities)
