"""CoreParts: builds the parts of the signalling core and connects them. Only ``edge.py`` uses it.

Each part takes in its constructor what it uses; none can reach all others. Arrows say "uses"::

    Edge -> Screener -> Responder -> EffectQueue
         -> InviteRequests, RegisterRequests, OtherRequests -> OutOfDialogAdmission -> RequestRouter
         -> InDialogRequests
            all four -> ResponseContext -> Branch -> RequestSender -> Transactions
         -> Calls -> ByeSender, MediaClient
         -> HealthProbes
    RegisterRequests, ContactTokens -> DeviceFlows -> Transactions, Branch
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.deadlines import Deadlines, Expiring
from edgesbc.base.latch_mode import LatchMode
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.pipeline import Pipeline
from edgesbc.signalling.adopted_calls import AdoptedCalls
from edgesbc.signalling.branch import Branch, BranchParts
from edgesbc.signalling.calls import CallLimits, Calls
from edgesbc.signalling.contact_tokens import ContactTokens
from edgesbc.signalling.context_parts import ContextParts
from edgesbc.signalling.core_sources import CoreRules, CoreSources
from edgesbc.signalling.device_flows import DeviceFlows
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.flow_secrets import FlowSecrets
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.header_rules import HeaderRules
from edgesbc.signalling.identifiers import Identifiers, LoopDetector
from edgesbc.signalling.in_dialog import InDialogRequests
from edgesbc.signalling.invite import InviteRequests
from edgesbc.signalling.keep_alives import KeepAlives
from edgesbc.signalling.latch_modes import LatchModes
from edgesbc.signalling.live_pipeline import LivePipeline
from edgesbc.signalling.media_client import MediaClient
from edgesbc.signalling.member_health import HealthProbes
from edgesbc.signalling.named_peers import NamedPeers
from edgesbc.signalling.open_connections import OpenConnections
from edgesbc.signalling.out_of_dialog import OtherRequests, OutOfDialogAdmission, RequestRouter
from edgesbc.signalling.registration_rules import RegistrationRules
from edgesbc.signalling.registrations import ChallengeMemory, RegisterRequests
from edgesbc.signalling.request_sender import ByeSender, RequestSender
from edgesbc.signalling.responder import Responder
from edgesbc.signalling.screener import Screener
from edgesbc.signalling.statistics import CallStatistics
from edgesbc.signalling.tokens import Sealer
from edgesbc.signalling.transactions import ClientTransaction
from edgesbc.signalling.wall_clock import WallClock
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.message import Request
from edgesbc.sip.transactions import Transactions

__all__ = ["CoreParts"]


class CoreParts:
    """Builds all parts; holds those that ``Edge`` itself calls, and some that tests look at.

    The arguments are those of ``Edge``.
    """

    __slots__ = (
        "admission", "adopted", "calls", "challenges", "clock", "core_sources", "deadlines", "device_flows",
        "dispatcher", "effects", "flows", "identifiers", "in_dialog", "invites", "keep_alives", "live", "loops",
        "media", "open_connections", "others", "probes", "registrations", "responder", "router", "screener", "sealer",
        "statistics", "transactions",
    )  # fmt: skip

    def __init__(
        self,
        listeners: Sequence[Listener],
        dispatcher: Dispatcher,
        routing: RoutingTable,
        pipeline: Pipeline,
        sealer: Sealer,
        entropy: Callable[[int], bytes],
        anchor: bool,
        server_name: str,
        registrations: RegistrationRules,
        headers: HeaderRules,
        core: CoreRules,
        max_calls: int,
        latch: LatchMode,
    ) -> None:
        def name_at(source: Source, transport: Transport) -> str:
            member = dispatcher.member_at(source, transport)
            return member.tls_name if member is not None else ""

        def set_at(flow: Flow) -> str:
            member = dispatcher.member_at(flow.peer, flow.listener.transport)
            return member.set_name if member is not None else ""

        def is_trunk(flow: Flow) -> bool:
            return flow.listener.zone is Zone.CORE or live.standings.trunk(flow) is not None

        def related(flow: Flow, other: Flow) -> bool:
            return flow.listener.zone is other.listener.zone and live.standings.related(flow, other)

        def is_inside(host: str) -> bool:
            return not self.router.table.serves(host) and self.core_sources.hides(host)

        def reopen(flow: Flow, request: Request) -> Flow | None:
            return flows.instead(flow, request.via.port or flow.listener.transport.default_port)

        def again(flow: Flow, client: ClientTransaction) -> Flow | SendFailure | None:
            user = client.user
            return flows.again(flow, len(client.data), not isinstance(user, Branch) or user.has_account)

        self.dispatcher = dispatcher
        self.sealer = sealer
        effects = self.effects = EffectQueue()
        deadlines = self.deadlines = Deadlines[Expiring]()
        self.clock = WallClock()
        self.statistics = CallStatistics()
        live = self.live = LivePipeline(pipeline, headers)
        identifiers = self.identifiers = Identifiers(entropy)
        flows = self.flows = Flows(listeners, entropy(6).hex(), effects.emit, name_at, is_trunk, dispatcher.backoffs)
        transactions = self.transactions = Transactions(
            effects.send, deadlines, reopen=reopen, again=again, related=related
        )
        key = entropy(16)
        self.loops = LoopDetector(key)
        self.responder = Responder(effects, deadlines, transactions, live, server_name, key)
        device_flows = self.device_flows = DeviceFlows(
            flows, transactions, effects, deadlines, live, registrations.reconnect_wait
        )
        tokens = ContactTokens(flows, sealer, device_flows.instead, live, set_at)
        sender = RequestSender(transactions, flows, live, identifiers, effects)
        keep_alives = self.keep_alives = KeepAlives(
            registrations.keep_alive, deadlines, effects, live, sender, identifiers
        )
        self.probes = HealthProbes(dispatcher, flows, sender, identifiers, server_name)
        byes = ByeSender(effects, sender, tokens)
        media = self.media = MediaClient(effects, deadlines, anchor, LatchModes(live, dispatcher, latch))
        bounds = CallLimits(max_calls, limits.SET_UP_SECONDS, limits.RING_SECONDS, limits.CALL_SECONDS)
        calls = self.calls = Calls(effects, deadlines, media, byes, self.statistics, bounds, flows.epoch)
        self.adopted = AdoptedCalls(effects)
        live.standings.look_for_secret = FlowSecrets(calls, transactions).find
        self.core_sources = CoreSources(listeners, dispatcher, core)
        screener = self.screener = Screener(
            live, self.responder, effects, flows, self.statistics.attempts, self.clock, self.core_sources
        )
        named = NamedPeers(tokens, calls, live, dispatcher, is_inside)
        self.open_connections = OpenConnections(live, effects, flows, self.core_sources, calls.of_connections)
        self.router = RequestRouter(routing, self.clock, tokens, dispatcher, flows, effects, screener, named)
        self.router.registrations = registrations
        self.admission = OutOfDialogAdmission(self.router, self.loops, screener, calls, transactions, live)
        branches = BranchParts(sender, byes, deadlines)
        context = ContextParts(effects, deadlines, dispatcher, live, media, self.responder, tokens, branches, named)
        self.challenges = ChallengeMemory(entropy)
        self.invites = InviteRequests(context, self.admission, calls, screener)
        self.registrations = RegisterRequests(context, self.admission, self.challenges, device_flows, keep_alives)
        self.registrations.contact = registrations.contact
        self.others = OtherRequests(context, self.admission, flows, screener)
        self.in_dialog = InDialogRequests(context, calls, self.adopted, screener)
