"""Plays a capture to an edge on the capture's own clock. Verdicts are the core's; this only brings them together."""

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
from edgesbc.policy.compile_policy import routing_of, trunks_of
from edgesbc.policy.model import Policy
from edgesbc.replay.capture import Capture, CapturedFrame, CaptureError
from edgesbc.replay.connections import Connections
from edgesbc.replay.dialogs import Dialogs
from edgesbc.replay.fragments import Fragments
from edgesbc.replay.listeners import ReplayListeners
from edgesbc.replay.packets import Fragment, NotRead, Packet, dissect
from edgesbc.replay.placeholder_addresses import stand_in
from edgesbc.replay.result import ReplayResult, Sources, flat
from edgesbc.replay.simulated_destinations import SimulatedDestinations
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.shadow_policy import VerdictObserver
from edgesbc.screen.standing import Standings
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Close, Effect, Record, Send
from edgesbc.signalling.tokens import Sealer
from edgesbc.sip.framing import PING, StreamFramer
from edgesbc.sip.message import Response
from edgesbc.sip.parse import parse_message

__all__ = ["Entropy", "Replayer"]


class Entropy:
    """Bytes and numbers that look like chance and are the same for the same seed."""

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
    """One replay. ``now`` of the core is seconds since the capture's first packet. Media is not anchored, and
    destinations are not probed: what is judged is what comes from outside.
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
        self._mood = inside
        self._entropy = Entropy(seed)
        self._listening = ReplayListeners(policy, to or {})
        self._inside = SimulatedDestinations(inside)
        self._dialogs = Dialogs()
        self._fragments = Fragments()
        self._first: int | None = None
        self._last = 0
        self.now = 0.0
        self._late = 0
        self._messages = 0
        self._went_in = 0
        self._parts = 0
        self._most = 0
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
        listeners = self._listening.listeners()
        dispatcher = Dispatcher(unprobed, entropy.random, self.now, self._record)
        stand_in(dispatcher, listeners, self.now)
        edge = Edge(
            listeners,
            dispatcher,
            routing_of(policy),
            self._pipeline(policy, self._record),
            Sealer([entropy(32)], entropy),
            entropy,
            anchor=False,
            server=policy.edge.server,
        )
        if self._against is None:
            edge.observe_verdicts(VerdictObserver(self._told))
        else:
            edge.start_shadow(self._pipeline(self._against, _ignore), routing_of(self._against), self._told)
        return edge

    @staticmethod
    def _pipeline(policy: Policy, record: Callable[[Decision], None]) -> Pipeline:
        return Pipeline(policy.screen, Standings(trunks_of(policy)), record, lambda stage, error: None)

    # --- reading -----------------------------------------------------------------------------------------

    def take(self, frame: CapturedFrame) -> None:
        """The next frame of the capture. Time never goes back: what is earlier than before counts as now."""
        if self._first is None:
            self._first = self._last = frame.at
            self._edge.set_wall_clock(frame.at / 1e9)
        self._late += frame.at < self._last
        self._last = max(self._last, frame.at)
        try:
            found: Packet | Fragment | None = dissect(frame.link, frame.data)
            if isinstance(found, Fragment):
                found = self._fragments.add(found)
            if found is None:
                self._parts += 1
            else:
                self._take_packet(found, (self._last - self._first) / 1e9)
                self._went_in += 1
        except NotRead as why:
            self._left_out.add(str(why))

    def _take_packet(self, packet: Packet, now: float) -> None:
        place = self._listening.of_packet(packet)
        if place is None:
            raise NotRead("to and from other addresses")
        number, inward = place
        settings = self._listening.settings(number)
        if settings.zone is Zone.CORE:
            raise NotRead("of the inside, whose part the replay plays")
        if settings.transport.secure:
            raise NotRead("TLS, which cannot be read")
        if settings.transport is Transport.WS:
            raise NotRead("WebSocket, which is not read")
        if not inward:
            self._take_answer(packet, now)
            raise NotRead("of the edge that was captured")
        self._advance(now)
        listener = self._edge.listeners[number]
        if not packet.stream:
            self._receive(Flow(listener, packet.source), packet.payload, now)
        else:
            self._connections.take(listener, packet, now)

    def _take_answer(self, packet: Packet, now: float) -> None:
        """What the captured edge told the outside tells what its inside said.

        Its side of a stream is not put in order: an answer is heard where a segment begins with one.
        """
        if packet.payload[:8] != b"SIP/2.0 ":
            return
        try:
            told = StreamFramer().receive(packet.payload) if packet.stream else [packet.payload]
            answers = [parse_message(each) for each in told if each != PING]
        except WireError:
            return
        self._advance(now)
        for answer in answers:
            if isinstance(answer, Response):
                self._answer(deque(self._inside.captured(answer)))

    # --- the signalling core ---------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Let time pass up to ``now``, deadline by deadline."""
        edge = self._edge
        while (deadline := edge.deadline()) is not None and deadline <= now:
            self.now = max(self.now, deadline)
            self._carry_out(edge.expire(self.now), self.now)
        self.now = now

    def _receive(self, flow: Flow, data: bytes, now: float) -> None:
        self._messages += 1
        self._carry_out(self._edge.receive(flow, self._dialogs.fit(data), now), now)
        self._most = max(self._most, self._edge.calls)

    def _carry_out(self, effects: list[Effect], now: float) -> None:
        """Do what the signalling core asks for, and have the inside answer, until both are silent."""
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
                    waiting.extend(self._inside.take(effect.flow, effect.data))
                elif effect.data[:8] == b"SIP/2.0 ":
                    self._dialogs.learn(effect.data)
            elif isinstance(effect, Record):
                self._record(effect.decision)
            elif isinstance(effect, Close):
                self._connections.closed_by_edge(effect.flow, now)

    # --- sums --------------------------------------------------------------------------------------------

    def _told(self, flow: Flow, call_id: str, verdict: str, now: float) -> None:
        if flow.listener.zone is Zone.PUBLIC:
            self._verdicts.add(verdict)
            self._sources.add(flow.peer.host, verdict)

    def _broken(self, flow: Flow) -> None:
        """A stream that cannot be framed is no message, and is refused all the same."""
        self._told(flow, "", Reason.MALFORMED.code, self.now)

    def _record(self, decision: Decision) -> None:
        self._decisions.add(decision.reason.code)

    def play(
        self, capture: Capture, name: str, progress: Callable[[int], None] | None = None, top: int = 10
    ) -> ReplayResult:
        """The whole of ``capture``; ``progress`` hears now and then how many bytes of it are read."""
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
            inside=self._mood,
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
            forwarded=flat(self._inside.forwarded),
            calls=flat(counters.outcomes),
            calls_left=edge.calls,
            calls_most=self._most,
            decisions=flat(self._decisions),
            otherwise=shadow.report() if shadow is not None else None,
        )

    def _of_public(self, counts: Counts) -> Counts:
        """Those of the core's counts whose first label is the public zone or one of its listeners, by the second."""
        ours = {each.name for each in self._policy.listen if each.zone is Zone.PUBLIC} | {Zone.PUBLIC.value}
        found = Counts()
        for (place, what), count in counts.items():
            if place in ours:
                found.add(what, by=count)
        return found


def replay(
    path: Path,
    player: Replayer,
    progress: Callable[[int], None] | None = None,
    top: int = 10,
) -> ReplayResult:
    """Play the capture in ``path``. Raises :class:`CaptureError` for what is none, and ``OSError``."""
    with path.open("rb") as file:
        return player.play(Capture(file), str(path), progress, top)


def _ignore(decision: Decision) -> None:
    """Of the second policy only the differences are told."""
