"""The environment of a fuzzed edge: listeners, peers, destination sets, a media table and a clock."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Protocol

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.media.commands import (
    Acknowledge,
    Delete,
    Establish,
    MediaError,
    MediaReply,
    MediaTimeout,
    Offer,
    Refresh,
    Restore,
    Rollback,
)
from edgesbc.media.session_table import SessionTable
from edgesbc.policy.scanners import shipped_scanners
from edgesbc.routing.table import Route, RoutingTable
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.stages.admission import AdmissionSettings
from edgesbc.screen.stages.method import CALLS, MethodSettings
from edgesbc.screen.stages.scanner import ScannerSettings
from edgesbc.screen.standing import Standings
from edgesbc.screen.trunk import Trunk
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Close, Effect, Media, Open, Send
from edgesbc.signalling.tokens import Sealer
from fuzz.dsl import DslPolicy
from fuzz.recorded import INTERFACES, RecordedPorts

__all__ = ["EDGE_HOSTS", "FuzzEnvironment", "Oracle", "Peer"]

PUBLIC = Listener(0, "public", Zone.PUBLIC, Transport.UDP, "192.0.2.1", 5060)
CORE = Listener(1, "core", Zone.CORE, Transport.UDP, "10.0.0.1", 5060)
BROWSERS = Listener(2, "browsers", Zone.PUBLIC, Transport.WSS, "192.0.2.1", 443)
CARRIERS = Listener(3, "carriers", Zone.PUBLIC, Transport.TCP, "192.0.2.1", 5060)
CORE_TCP = Listener(4, "core-tcp", Zone.CORE, Transport.TCP, "10.0.0.1", 5060)
LISTENERS = (PUBLIC, CORE, BROWSERS, CARRIERS, CORE_TCP)
EDGE_HOSTS = {Zone.PUBLIC: "192.0.2.1", Zone.CORE: "10.0.0.1"}

_START = 1000.0
_LIMITED_TRANSACTIONS, _LIMITED_CALLS = 8, 3
_DEADLINES = 400
"""Deadlines of one clock step that are met one by one; a step with more of them ends with a jump."""
_MOST_EXPIRIES = 2000
"""Rounds of :meth:`FuzzEnvironment.expire_all` after which deadlines count as endless."""


class Peer:
    """An address that sends to a listener and receives from it."""

    def __init__(self, letter: str, name: str, listener: Listener, host: str, port: int) -> None:
        self.letter = letter
        self.name = name
        self.listener = listener
        self.source = Source(host, port)
        self.flow = None if listener.transport.reliable else Flow(listener, self.source)

    @property
    def zone(self) -> Zone:
        return self.listener.zone


def build_peers() -> dict[str, Peer]:
    """The peers, by the letters that programs use for them."""
    all_peers = (
        Peer("t", "trunk", PUBLIC, "198.51.100.7", 5060),
        Peer("s", "unproven", PUBLIC, "203.0.113.9", 5070),
        Peer("v", "forger", PUBLIC, "203.0.113.66", 5060),
        Peer("w", "browser", BROWSERS, "203.0.113.5", 40000),
        Peer("c", "carrier", CARRIERS, "198.51.100.8", 40001),
        Peer("1", "pbx1", CORE, "10.0.0.11", 5060),
        Peer("2", "pbx2", CORE, "10.0.0.12", 5060),
        Peer("3", "pbx3", CORE_TCP, "10.0.0.13", 5060),
        Peer("p", "proxy", CORE, "10.0.0.50", 5060),
        Peer("x", "neighbour", CORE, "10.0.0.99", 5062),
    )
    return {peer.letter: peer for peer in all_peers}


_MEMBER_URIS = {"1": "sip:10.0.0.11:5060", "2": "sip:10.0.0.12:5060", "3": "sip:10.0.0.13:5060;transport=tcp"}
_OUTWARD = "sip:198.51.100.7:5060"


@cache
def _sets(algorithm: str, members: str, probes: bool) -> tuple[SetSettings, ...]:
    health = HealthSettings(interval=30.0 if probes else 0)
    inside = tuple(
        MemberSettings(_MEMBER_URIS[letter], priority=n if algorithm == "priority" else 0, max_calls=4)
        for n, letter in enumerate(members)
    )
    return (
        SetSettings("pbx", members=inside, health=health, algorithm=algorithm),
        SetSettings("carriers", members=(MemberSettings(_OUTWARD),), health=HealthSettings(interval=0)),
    )


_ROUTING = RoutingTable((Route("in", "pbx", "public"), Route("out", "carriers", "core")), ["pbx", "carriers"])
_SCREENS = {
    every_method: ScreenSettings(
        method=MethodSettings(public=(*CALLS, "MESSAGE", "SUBSCRIBE") if every_method else CALLS),
        admission=AdmissionSettings(open=("public",)),
        scanner=ScannerSettings(list=shipped_scanners()),
    )
    for every_method in (False, True)
}
_TRUNKS = [Trunk("carrier", ("198.51.100.7", "198.51.100.8"), max_calls=4)]


class Oracle(Protocol):
    """Observes every input of the edge before it is given, and the effects after it."""

    def before(self, flow: Flow | None, data: bytes) -> None: ...

    def after(self, effects: list[Effect], now: float) -> None: ...

    def opened(self, flow: Flow) -> None: ...

    def lost(self, flow: Flow) -> None: ...

    def relayed(self, zone: Zone, sdp: bytes) -> None: ...


class FuzzEnvironment:
    """The edge and its peers; the oracle that ``make_oracle`` builds observes all inputs and effects."""

    def __init__(
        self, policy: DslPolicy, make_oracle: Callable[[FuzzEnvironment], Oracle], make_edge: Callable[..., Edge]
    ) -> None:
        random = Random(1)
        self.policy = policy
        self.now = _START
        self.standings = Standings(_TRUNKS)
        self.dispatcher = Dispatcher(_sets(policy.algorithm, policy.members, policy.probes), random.random, self.now)
        self.edge = make_edge(
            LISTENERS,
            self.dispatcher,
            _ROUTING,
            Pipeline(_SCREENS[policy.every_method], self.standings, lambda decision: None, _stage_failed),
            Sealer([b"k" * 16], random.randbytes),
            random.randbytes,
            policy.anchor,
        )
        self.edge.assume_challenges(["pbx", "carriers"])
        if policy.limited:
            self.edge.parts.transactions._limit = _LIMITED_TRANSACTIONS
            self.edge.parts.calls.limits.count = _LIMITED_CALLS
        self.ports = RecordedPorts()
        self.table = SessionTable(self.ports, {zone: of_zone[:1] for zone, of_zone in INTERFACES.items()})
        self.peers = build_peers()
        self._offered_from: dict[tuple[str, str], Zone] = {}
        self.pending: list[tuple[int, MediaReply | MediaError, Zone | None]] = []
        """Replies of the media plane that the edge has not got yet."""
        self.replied: list[tuple[int, MediaReply | MediaError, Zone | None]] = []
        self._last_sent: dict[Source, bytes] = {}
        """The last datagram to each address of the private side."""
        self._oracle = make_oracle(self)

    # --- inputs ------------------------------------------------------------------------------------------

    def receive(self, flow: Flow, data: bytes) -> None:
        self._oracle.before(flow, data)
        self._carry_out(self.edge.receive(flow, data, self.now))

    def break_stream(self, flow: Flow, data: bytes) -> None:
        """Report a stream that cannot be framed any more, and close it as the shell does."""
        self._oracle.before(flow, data)
        self._carry_out(self.edge.stream_broken(flow, data, WireError("a stream that broke"), self.now))
        self.disconnect(flow)

    def _run(self, step: Callable[[], list[Effect]]) -> None:
        self._oracle.before(None, b"")
        self._carry_out(step())

    def unreachable(self, peer: Peer) -> None:
        """Report an ICMP error that quotes the last datagram to a peer, which the edge uses on core listeners only."""
        if peer.listener is CORE:
            self._oracle.lost(Flow(CORE, peer.source))
            quote = self._last_sent.get(peer.source, b"")[:520]
            self._run(lambda: self.edge.unreachable(peer.source, quote, self.now))

    def end_calls(self) -> None:
        self._run(lambda: self.edge.end_calls(self.now))

    def set_admin_state(self, letter: str, state: AdminState) -> None:
        for member in self.dispatcher.members():
            if member.name == _MEMBER_URIS.get(letter, _OUTWARD):
                self.dispatcher.set_admin_state(member, state, self.now)

    def reload(self, members: str) -> None:
        """Apply a new policy with other members, and with a pipeline that keeps only standings and bans."""
        policy = self.policy
        self.dispatcher.reload(_sets(policy.algorithm, members, policy.probes), self.now)
        self.standings = Standings(_TRUNKS)
        self.edge.adopt(
            _ROUTING,
            Pipeline(_SCREENS[policy.every_method], self.standings, lambda decision: None, _stage_failed),
        )

    # --- connections -------------------------------------------------------------------------------------

    def flow_of(self, peer: Peer) -> Flow | None:
        """The flow of a peer; opens a connection if the peer has none and the edge accepts it."""
        if peer.flow is None and self.edge.accept(peer.listener, peer.source, self.now):
            peer.flow = self.edge.new_flow(peer.listener, peer.source)
            self.edge.flow_opened(peer.flow)
            self._oracle.opened(peer.flow)
        return peer.flow

    def disconnect(self, flow: Flow | None) -> None:
        if flow is None or not flow.serial:
            return
        for peer in self.peers.values():
            if peer.flow == flow:
                peer.flow = None
        self._oracle.lost(flow)
        self._run(lambda: self.edge.flow_closed(flow, self.now))

    # --- effects -----------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[Effect]) -> None:
        self._oracle.after(effects, self.now)
        for effect in effects:
            if isinstance(effect, Media):
                self._ask_media(effect)
            elif isinstance(effect, Send) and effect.flow.listener is CORE:
                self._last_sent[effect.flow.peer] = effect.data
            elif isinstance(effect, Open):
                self._open(effect.flow)
            elif isinstance(effect, Close):
                self.disconnect(effect.flow)

    def _open(self, flow: Flow) -> None:
        for peer in self.peers.values():
            if peer.listener is flow.listener and peer.source == flow.peer:
                peer.flow = flow
        self._run(lambda: self.edge.flow_connected(flow, self.now))

    def _ask_media(self, effect: Media) -> None:
        command = effect.command
        reply = self.table.receive(command, self.now)
        if reply is None or isinstance(command, Delete | Acknowledge | Establish | Refresh | Rollback | Restore):
            return
        if isinstance(command, Offer):
            self._offered_from[command.session_id, command.offerer] = command.offerer_zone
            zone: Zone | None = command.answerer_zone
        else:
            # Two calls may have one Call-ID, and share a session. An answer to no offer is refused, and if a test gives
            # it a description instead, that may be for either side.
            zone = self._offered_from.get((command.session_id, command.offerer))
        self.pending.append((effect.cookie, reply, zone))
        if self.policy.media_at_once:
            self.reply(0)

    def reply(self, index: int, instead: MediaReply | MediaError | None = None) -> None:
        """Give the edge the media plane's reply to a pending command, 0 being the latest, or ``instead`` of it."""
        if self.pending:
            position = len(self.pending) - 1 - index % len(self.pending)
            cookie, reply, zone = self.pending.pop(position)
            self.replied.append((cookie, reply, zone))
            self._reply(cookie, reply if instead is None else instead, zone)

    def reply_again(self, index: int) -> None:
        if self.replied:
            self._reply(*self.replied[len(self.replied) - 1 - index % len(self.replied)])

    def _reply(self, cookie: int, reply: MediaReply | MediaError, zone: Zone | None) -> None:
        if isinstance(reply, MediaReply):
            for side in Zone if zone is None else (zone,):
                self._oracle.relayed(side, reply.sdp)
        self._run(lambda: self.edge.media_replied(cookie, reply, self.now))

    def media_timeout(self, index: int) -> None:
        """Report that the media plane closed a session that got no packet for too long."""
        sessions = list(self.table.sessions())
        if sessions:
            session = sessions[index % len(sessions)]
            tags = tuple(side.tag for side in session.sides if side.tag)
            self.table.receive(Delete(session.session_id, tags[0]), self.now)
            self._run(lambda: self.edge.media_event(MediaTimeout(session.session_id, tags), self.now))

    # --- time --------------------------------------------------------------------------------------------

    def wait(self, seconds: float, in_one_jump: bool = False) -> None:
        """Let ``seconds`` pass, deadline by deadline, or in one jump as after a suspension of the machine."""
        until = self.now + seconds
        steps_left = 1 if in_one_jump else _DEADLINES
        while (deadline := self.edge.deadline()) is not None and deadline <= until:
            steps_left -= 1
            self.now = max(self.now, deadline if steps_left else until)
            self._run(lambda: self.edge.expire(self.now))
        self.now = until

    def wait_for_deadline(self) -> None:
        deadline = self.edge.deadline()
        if deadline is not None:
            self.wait(max(0.0, deadline - self.now))

    def expire_all(self) -> None:
        """Let all deadlines pass: health checks are off, and the longest call ends."""
        for member in self.dispatcher.members():
            self.dispatcher.set_admin_state(member, AdminState.DISABLED, self.now)
        for _ in range(_MOST_EXPIRIES):
            deadline = self.edge.deadline()
            if deadline is None:
                return
            self.wait(max(0.0, deadline - self.now) + 40.0)
        raise AssertionError("deadlines never end")


def _stage_failed(stage: str, error: Exception) -> None:
    raise AssertionError(f"stage {stage} failed") from error
