"""The replayer: passes a capture to an edge on the capture's clock, and sums up the edge's verdicts."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import attrs

from edgesbc.base.address import Flow, Source, Transport, Zone
from edgesbc.base.counts import Counts
from edgesbc.base.decision import Decision
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.policy.compile_policy import core_rules_of, header_rules_of, routing_of, trunks_of
from edgesbc.policy.model import Policy
from edgesbc.replay.capture import Capture, CapturedFrame, CaptureError
from edgesbc.replay.connections import Connections
from edgesbc.replay.dialogs import Dialogs
from edgesbc.replay.fragments import Fragments
from edgesbc.replay.listeners import ReplayListeners
from edgesbc.replay.packets import Fragment, NotReadable, Packet, dissect
from edgesbc.replay.placeholder_addresses import assign_placeholders
from edgesbc.replay.result import ReplayResult, Sources, flat
from edgesbc.replay.simulated_destinations import SimulatedDestinations
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.shadow_policy import VerdictObserver
from edgesbc.screen.standing import Standings
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Close, Effect, Open, Record, Send
from edgesbc.signalling.keep_alives import NO_KEEP_ALIVES
from edgesbc.signalling.tokens import Sealer
from edgesbc.sip.framing import PING, StreamFramer
from edgesbc.sip.message import Response
from edgesbc.sip.parse import parse_message

__all__ = ["Entropy", "Replayer"]


class Entropy:
    """Pseudo-random bytes and numbers, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._seed = f"{seed}/"
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return hashlib.shake_128(f"{self._seed}{self._count}".encode()).digest(size)

    def random(self) -> float:
        """A number in [0, 1)."""
        return int.from_bytes(self(6), "big") / (1 << 48)


class Replayer:
    """One replay. ``now`` of the core is in seconds since the capture's first packet. Media is not anchored, and
    destinations are not probed: only messages from the public side are judged.
    """

    def __init__(
        self,
        policy: Policy,
        against: Policy | None = None,
        to: Mapping[Source, str] | None = None,
        inside: str = "obliging",
        seed: int = 1,
    ) -> None:
        self._policy = policy
        self._against = against
        self._mode = inside
        self._entropy = Entropy(seed)
        self._listeners = ReplayListeners(policy, to or {})
        self._destinations = SimulatedDestinations(inside)
        self._dialogs = Dialogs()
        self._fragments = Fragments()
        self._first: int | None = None
        self._last = 0
        self.now = 0.0
        self._late = 0
        self._messages = 0
        self._went_in = 0
        self._parts = 0
        self._calls_most = 0
        self._left_out = Counts()
        self._verdicts = Counts()
        self._sources = Sources()
        self._decisions = Counts()
        self._edge = self._build()
        self._connections = Connections(self._edge, self._receive, self._broken, self._carry_out)

    # --- building ----------------------------------------------------------------------------------------

    def _build(self) -> Edge:
        policy, entropy = self._policy, self._entropy
        unprobed = [attrs.evolve(s, health=attrs.evolve(s.health, interval=0.0)) for s in policy.destinations]
        listeners = self._listeners.listeners()
        dispatcher = Dispatcher(unprobed, entropy.random, self.now, self._record)
        assign_placeholders(dispatcher, listeners, self.now)
        edge = Edge(
            listeners,
            dispatcher,
            routing_of(policy),
            self._pipeline(policy, self._record),
            Sealer([entropy(32)], entropy),
            entropy,
            anchor=False,
            server=policy.edge.server,
            registrations=policy.registrations.rules._replace(keep_alive=NO_KEEP_ALIVES),
            headers=header_rules_of(policy),
            core=core_rules_of(policy),
        )
        edge.assume_challenges(settings.set for settings in policy.destinations)
        if self._against is None:
            edge.observe_verdicts(VerdictObserver(self._add_verdict))
        else:
            edge.start_shadow(self._pipeline(self._against, _ignore), routing_of(self._against), self._add_verdict)
        return edge

    @staticmethod
    def _pipeline(policy: Policy, record: Callable[[Decision], None]) -> Pipeline:
        return Pipeline(policy.screen, Standings(trunks_of(policy)), record, lambda stage, error: None)

    # --- reading -----------------------------------------------------------------------------------------

    def take(self, frame: CapturedFrame) -> None:
        """Take the next frame of the capture. Time never goes back: an earlier frame gets the time of the frame before
        it."""
        if self._first is None:
            self._first = self._last = frame.at
            self._edge.set_wall_clock(frame.at / 1e9)
        self._late += frame.at < self._last
        self._last = max(self._last, frame.at)
        try:
            packet: Packet | Fragment | None = dissect(frame.link, frame.data)
            if isinstance(packet, Fragment):
                packet = self._fragments.add(packet)
            if packet is None:
                self._parts += 1
            else:
                self._take_packet(packet, (self._last - self._first) / 1e9)
                self._went_in += 1
        except NotReadable as why:
            self._left_out.add(str(why))

    def _take_packet(self, packet: Packet, now: float) -> None:
        listener_and_direction = self._listeners.of_packet(packet)
        if listener_and_direction is None:
            raise NotReadable("to and from other addresses")
        number, inward = listener_and_direction
        settings = self._listeners.settings(number)
        if settings.zone is Zone.CORE:
            raise NotReadable("of the inside, whose part the replay plays")
        if settings.transport.secure:
            raise NotReadable("TLS, which cannot be read")
        if settings.transport is Transport.WS:
            raise NotReadable("WebSocket, which is not read")
        if not inward:
            self._take_answer(packet, now)
            raise NotReadable("of the edge that was captured")
        self._advance(now)
        listener = self._edge.listeners[number]
        if not packet.stream:
            self._receive(Flow(listener, packet.source), packet.payload, now)
        else:
            self._connections.take(listener, packet, now)

    def _take_answer(self, packet: Packet, now: float) -> None:
        """Pass a response of the captured edge to the simulated destinations, which repeat it.

        This side of a stream is not reassembled: a response is found where a segment begins with one.
        """
        if packet.payload[:8] != b"SIP/2.0 ":
            return
        try:
            messages = StreamFramer().receive(packet.payload) if packet.stream else [packet.payload]
            answers = [parse_message(message) for message in messages if message != PING]
        except WireError:
            return
        self._advance(now)
        for answer in answers:
            if isinstance(answer, Response):
                self._answer(deque(self._destinations.captured(answer)))

    # --- the signalling core ---------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Advance the core's time to ``now``, deadline by deadline."""
        edge = self._edge
        while (deadline := edge.deadline()) is not None and deadline <= now:
            self.now = max(self.now, deadline)
            self._carry_out(edge.expire(self.now), self.now)
        self.now = now

    def _receive(self, flow: Flow, data: bytes, now: float) -> None:
        self._messages += 1
        self._carry_out(self._edge.receive(flow, self._dialogs.fit(data), now), now)
        self._calls_most = max(self._calls_most, self._edge.calls)

    def _carry_out(self, effects: list[Effect], now: float) -> None:
        """Carry out effects of the core and pass it the responses of the destinations, until there are no more."""
        waiting: deque[tuple[Flow, bytes]] = deque()
        self._do(effects, waiting, now)
        self._answer(waiting)

    def _answer(self, waiting: deque[tuple[Flow, bytes]]) -> None:
        while waiting:
            flow, data = waiting.popleft()
            self._do(self._edge.receive(flow, data, self.now), waiting, self.now)

    def _do(self, effects: Iterable[Effect], waiting: deque[tuple[Flow, bytes]], now: float) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                if effect.flow.listener.zone is Zone.CORE:
                    waiting.extend(self._destinations.take(effect.flow, effect.data))
                elif effect.data[:8] == b"SIP/2.0 ":
                    self._dialogs.learn(effect.data)
            elif isinstance(effect, Record):
                self._record(effect.decision)
            elif isinstance(effect, Close):
                self._connections.closed_by_edge(effect.flow, now)
            elif isinstance(effect, Open):
                self._do(self._edge.flow_connected(effect.flow, now), waiting, now)

    # --- sums --------------------------------------------------------------------------------------------

    def _add_verdict(self, flow: Flow, call_id: str, verdict: str, now: float) -> None:
        if flow.listener.zone is Zone.PUBLIC:
            self._verdicts.add(verdict)
            self._sources.add(flow.peer.host, verdict)

    def _broken(self, flow: Flow) -> None:
        """Count a stream that cannot be framed as a malformed message."""
        self._add_verdict(flow, "", Reason.MALFORMED.code, self.now)

    def _record(self, decision: Decision) -> None:
        self._decisions.add(decision.reason.code)

    def play(
        self, capture: Capture, name: str, progress: Callable[[int], None] | None = None, top: int = 10
    ) -> ReplayResult:
        """Replay all of ``capture``; ``progress`` is called from time to time with the number of bytes read."""
        broken = ""
        try:
            for frame in capture:
                self.take(frame)
                if progress is not None and not frame.number & 1023:
                    progress(capture.position)
        except CaptureError as error:
            broken = str(error)
        return self._result(name, capture.number, broken, top)

    def _result(self, name: str, packets: int, broken: str, top: int) -> ReplayResult:
        edge, connections = self._edge, self._connections
        counters, shadow = edge.counters, edge.shadow_policy
        notes = {
            "packets earlier than the one before them, taken as of the same time": self._late,
            "requests that got the tag and Contact of this replay's dialog": self._dialogs.fitted,
            "IP fragments that were not the last of their packet": self._parts,
            "IP packets of which fragments are missing": len(self._fragments) + self._fragments.given_up,
            "TCP segments behind a hole": connections.waiting,
        }
        return ReplayResult(
            capture=name,
            policy=self._policy.file,
            against=self._against.file if self._against is not None else "",
            inside=self._mode,
            packets=packets,
            seconds=(self._last - (self._first or self._last)) / 1e9,
            broken=broken,
            went_in=self._went_in,
            messages=self._messages,
            connections=connections.opened,
            left_out=flat(self._left_out),
            notes={note: count for note, count in notes.items() if count},
            verdicts=flat(self._verdicts),
            sources=self._sources.top(top),
            source_count=self._sources.count,
            bans=self._decisions.get((Reason.BAN.code,), 0),
            requests=flat(self._of_public(counters.requests)),
            answers=flat(self._of_public(counters.responses)),
            forwarded=flat(self._destinations.forwarded),
            calls=flat(counters.outcomes),
            calls_left=edge.calls,
            calls_most=self._calls_most,
            decisions=flat(self._decisions),
            otherwise=shadow.report() if shadow is not None else None,
        )

    def _of_public(self, counts: Counts) -> Counts:
        """The counts whose first label is the public zone or one of its listeners, by the second label."""
        listeners = {settings.name for settings in self._policy.listen if settings.zone is Zone.PUBLIC}
        public = listeners | {Zone.PUBLIC.value}
        public_counts = Counts()
        for (label, second), count in counts.items():
            if label in public:
                public_counts.add(second, by=count)
        return public_counts


def replay(
    path: Path,
    replayer: Replayer,
    progress: Callable[[int], None] | None = None,
    top: int = 10,
) -> ReplayResult:
    """Replay the capture in ``path``. Raises :class:`CaptureError` for a file that is no capture, and ``OSError``."""
    with path.open("rb") as file:
        return replayer.play(Capture(file), str(path), progress, top)


def _ignore(decision: Decision) -> None:
    """Decisions of the second policy are not recorded: only its differences are reported."""
