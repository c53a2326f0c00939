"""What all parts of the signalling core share: the effects going out, transactions, flows, tokens and counters."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.counts import Counts, Histogram
from edgesbc.base.deadlines import Deadlines
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.standing import Standing, Standings
from edgesbc.signalling import topology
from edgesbc.signalling.call_attempts import CallAttempts
from edgesbc.signalling.effects import Effect, Record, Send
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.tokens import Sealer
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.build import COOKIE
from edgesbc.sip.message import Fields, Request
from edgesbc.sip.transactions import Transactions

if TYPE_CHECKING:
    from edgesbc.signalling.calls import Calls
    from edgesbc.signalling.media_client import MediaClient
    from edgesbc.signalling.registrations import ChallengeMemory

__all__ = ["Switchboard", "vias_of"]

_SET_UP_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_LONGER_THAN_TRYING = 40
"""Bytes that a refusal has over a 100: the tag in To, and a longer phrase."""


class Switchboard:
    """One an edge. Holds no decision of its own."""

    __slots__ = (
        "_heard_at", "_server_field", "_tag_key", "anchor", "attempts", "calls", "challenges", "counts", "deadlines",
        "dispatcher", "effects", "entropy", "flows", "heard", "outcomes", "pipeline", "responses", "sealer", "server",
        "set_up", "transactions", "wall_offset",
    )  # fmt: skip

    anchor: MediaClient
    calls: Calls
    challenges: ChallengeMemory

    def __init__(
        self,
        listeners: Iterable[Listener],
        dispatcher: Dispatcher,
        pipeline: Pipeline,
        sealer: Sealer,
        entropy: Callable[[int], bytes],
        server: str = "",
    ) -> None:
        self.server = server
        self._server_field: list[tuple[str, str]] = [("Server", server)] if server else []
        self.effects: list[Effect] = []
        self.deadlines = Deadlines()
        self.entropy = entropy
        self.dispatcher = dispatcher
        self.pipeline = pipeline
        self.sealer = sealer
        self.flows = Flows(listeners, entropy(6).hex(), self.emit, self._name_at)
        self.transactions = Transactions(self.send, self.deadlines)
        self._tag_key = entropy(16)
        self.counts = Counts()  # (listener, method) of requests taken in
        self.responses = Counts()  # (zone, class) of answers sent
        self.outcomes = Counts()  # (outcome,) of calls
        self.attempts = CallAttempts()
        self.set_up = Histogram(_SET_UP_BOUNDS)
        self.wall_offset = 0.0
        """What the world's clock (seconds since 1970) is ahead of the plane's, as its shell says now and then."""
        self.heard = 0
        """The bytes of the message at hand."""
        self._heard_at = 0.0

    def _name_at(self, source: Source, transport: Transport) -> str:
        member = self.dispatcher.member_at(source, transport)
        return member.tls_name if member is not None else ""

    @property
    def standings(self) -> Standings:
        return self.pipeline.standings

    def wall(self, now: float) -> float:
        """The time of the world at ``now``, for what goes by the time of day."""
        return now + self.wall_offset

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def send(self, flow: Flow, data: bytes) -> None:
        self.effects.append(Send(flow, data))

    def take(self) -> list[Effect]:
        """The effects since the last time, in order."""
        effects, self.effects = self.effects, []
        return effects

    def record(
        self,
        now: float,
        reason: Reason,
        flow: Flow | None = None,
        call_id: str = "",
        detail: str = "",
        limit: float | None = None,
        value: float | None = None,
        answer: int | None = None,
    ) -> None:
        source, listener = (str(flow.peer), flow.listener.name) if flow is not None else ("", "")
        self.effects.append(
            Record(Decision(now, reason, source, listener, call_id, "brain", limit, value, False, detail, answer))
        )

    def may_repeat(self, flow: Flow, now: float) -> bool:
        """Whether a timer may send a request inside a dialog again to ``flow``.

        Not to a stranger that has not even acknowledged its call: its INVITE may have been forged, and the
        BYE of whoever answered it would go eleven times to a third party.
        """
        return flow.listener.zone is Zone.CORE or self.standings.of(flow, now) is not Standing.UNPROVEN

    def new_branch(self) -> str:
        """A branch that nobody can guess (RFC 3261 section 8.1.1.7)."""
        return COOKIE + self.entropy(12).hex()

    def loop_mark(self, request: Request, listener: Listener) -> str:
        """What ends the branch of a request that begins something (RFC 5393 section 4.2).

        A keyed hash of all that its way through the edge depends on: the same request by the same way has
        the same mark, by which it is known when it comes round; a *spiral*, which goes elsewhere, has another.
        """
        text = "\n".join((
            listener.name, request.method, str(request.uri), request.call_id, request.from_tag, str(request.cseq),
            *request.get_all("Route"),
        ))  # fmt: skip
        return hashlib.blake2s(text.encode("utf-8", "surrogateescape"), key=self._tag_key, digest_size=6).hexdigest()

    def is_loop(self, request: Request, listener: Listener) -> bool:
        """Whether the request was here before and would go the same way again: a loop."""
        vias = request.get_all("Via")
        if len(vias) < 2:
            return False  # the usual case: who sent it made it
        mark = self.loop_mark(request, listener)
        return any(mark in value for value in vias)

    def new_tag(self) -> str:
        return self.entropy(8).hex()

    def stateless_tag(self, request: Request) -> str:
        """The To tag of an answer without state: the same for each retransmission (RFC 3261 section 8.2.7)."""
        text = f"{request.via.branch}\n{request.call_id}\n{request.from_tag}".encode("utf-8", "surrogateescape")
        return hashlib.blake2s(text, key=self._tag_key, digest_size=8).hexdigest()

    def hear(self, size: int, now: float) -> None:
        """A message of ``size`` bytes is at hand."""
        self.heard = size
        self._heard_at = now

    def credit(self, flow: Flow) -> float:
        """How many bytes our own answers to the message at hand may have: no bound for who is known to be there."""
        if flow.serial or self.standings.of(flow, self._heard_at) is not Standing.UNPROVEN:
            return math.inf
        return limits.AMPLIFICATION * self.heard

    def refuse(self, flow: Flow, request: Request, status: int, extra: Iterable[tuple[str, str]] = ()) -> None:
        """Answer without keeping any state; an ACK is never answered."""
        if request.method != "ACK":
            data = self._answer(request, vias_of(request, flow), status, extra, self.credit(flow))
            if data:
                self.responses.add(flow.listener.zone, f"{status // 100}xx")
                self.send(reply_flow(request, flow), data)

    def _answer(
        self, request: Request, vias: Fields, status: int, extra: Iterable[tuple[str, str]], credit: float
    ) -> bytes:
        """An answer of our own within ``credit`` bytes.

        Where it is too long, ``extra`` gives way from its end; where it is too long without it, b"".
        """
        tag, more = self.stateless_tag(request), [*extra, *self._server_field]
        data = topology.answer(request, vias, status, tag, more)
        if len(data) <= credit:
            return data
        size = len(data)
        while more and size > credit:
            name, value = more.pop()
            size -= len(f"{name}: {value}\r\n".encode("utf-8", "surrogateescape"))
        return topology.answer(request, vias, status, tag, more) if size <= credit else b""

    def respond(
        self, server: ServerTransaction, status: int, now: float, extra: Iterable[tuple[str, str]] = ()
    ) -> None:
        """An answer of the edge's own in a transaction."""
        data = self._answer(server.request, self.vias(server), status, extra, server.credit)
        server.credit -= len(data)
        self.deliver(server, status, data, now)

    def promise(self, server: ServerTransaction, now: float) -> None:
        """Let a request that gets no answer soon have 100."""
        self.transactions.schedule_trying(server, partial(self._trying, server), now)

    def _trying(self, server: ServerTransaction) -> bytes:
        data = topology.answer(server.request, self.vias(server), 100, "")
        if 2 * len(data) + _LONGER_THAN_TRYING > server.credit:
            return b""  # what is left is kept for a refusal
        server.credit -= len(data)
        self.responses.add(server.flow.listener.zone, "1xx")
        return data

    @staticmethod
    def vias(server: ServerTransaction) -> Fields:
        """The Via fields of the answers in a transaction; worked out once."""
        if not server.vias:
            server.vias = vias_of(server.request, server.source)
        return server.vias

    def deliver(self, server: ServerTransaction, status: int, data: bytes, now: float) -> None:
        if data:
            self.responses.add(server.flow.listener.zone, f"{status // 100}xx")
        self.transactions.respond(server, status, data, now)


def vias_of(request: Request, flow: Flow) -> Fields:
    """The request's Via fields, the topmost with the address the edge saw (RFC 3261 section 18.2.1, RFC 3581)."""
    top = ("Via", str(request.via.received_from(flow.peer[0], flow.peer[1])))
    vias = [pair for pair in request.fields if pair[0] == "Via"]
    vias[0] = top
    return vias


def reply_flow(request: Request, flow: Flow) -> Flow:
    """Where answers go (RFC 3261 section 18.2.2, RFC 3581 section 4).

    Over UDP without ``rport`` the port is that of the Via; the address is always the one that the packet
    came from, whatever Via says (``maddr`` included), so that no request steers answers to a third party.
    """
    if flow.serial or request.via.param("rport") is not None:
        return flow
    port = request.via.port or flow.listener.transport.default_port
    if port == flow.peer[1]:
        return flow
    return Flow(flow.listener, Source(flow.peer[0], port))
