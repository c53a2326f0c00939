"""Edge: the whole of signalling as one state machine (DESIGN: one way through). No I/O, no clock, no entropy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source
from edgesbc.base.counts import Counts
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.media.commands import MediaError, MediaReply, MediaTimeout
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.stage import Subject
from edgesbc.screen.standing import Standing
from edgesbc.signalling.branch import Branch
from edgesbc.signalling.calls import Call, Calls, CallState, check_addresses
from edgesbc.signalling.effects import Effect
from edgesbc.signalling.in_dialog import forward_ack, forward_in_dialog, route_in_dialog
from edgesbc.signalling.media_client import MediaClient, PendingMediaReply
from edgesbc.signalling.out_of_dialog import OutOfDialogRequests
from edgesbc.signalling.probes import send_probe
from edgesbc.signalling.registrations import ChallengeMemory, DelayedResponse
from edgesbc.signalling.response_context import ResponseContext
from edgesbc.signalling.screener import Screener
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.signalling.tokens import Sealer
from edgesbc.sip.build import response_to_malformed
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri
from edgesbc.sip.transaction import Transaction

__all__ = ["Edge"]

# Whatever else a request is called counts as "other": a stranger's word is no label.
_COUNTED = frozenset(
    "INVITE ACK CANCEL BYE OPTIONS REGISTER PRACK UPDATE INFO REFER NOTIFY MESSAGE SUBSCRIBE PUBLISH".split()
)


class Edge:
    """Receives messages, connection news, media replies and the time; returns effects, in order.

    Everything it stands on is handed in. ``entropy`` gives n random bytes. ``anchor`` says whether
    media is to go through the media plane, ``server`` what the edge calls itself in messages of its own.
    """

    __slots__ = ("_beginnings", "_board", "_late", "gate", "malformed")

    def __init__(
        self,
        listeners: Sequence[Listener],
        dispatcher: Dispatcher,
        routing: RoutingTable,
        pipeline: Pipeline,
        sealer: Sealer,
        entropy: Callable[[int], bytes],
        anchor: bool = True,
        server: str = "",
    ) -> None:
        board = self._board = Switchboard(listeners, dispatcher, pipeline, sealer, entropy, server)
        board.calls = Calls(board, (limits.CALLS, limits.SET_UP_SECONDS, limits.CALL_SECONDS))
        board.anchor = MediaClient(board, anchor)
        board.challenges = ChallengeMemory(entropy)
        self.gate = Screener(board)
        self._beginnings = OutOfDialogRequests(board, self.gate, routing)
        self._late = 0.0
        self.malformed = Counts()

    # --- looking in (metrics, readiness, tests) ----------------------------------------------------------

    @property
    def board(self) -> Switchboard:
        """The tables, to be read."""
        return self._board

    @property
    def dispatcher(self) -> Dispatcher:
        return self._board.dispatcher

    @property
    def pipeline(self) -> Pipeline:
        return self._board.pipeline

    @property
    def calls(self) -> int:
        return len(self._board.calls)

    @property
    def idle(self) -> bool:
        """Whether nothing is left: no call, no transaction, nobody waiting for media."""
        board = self._board
        return not (board.calls or board.transactions or board.anchor)

    @property
    def draining(self) -> bool:
        """Whether new calls are refused because the edge stops."""
        return self._beginnings.draining

    @property
    def lag(self) -> float:
        """By how many seconds the edge is late, of late."""
        return self._beginnings.lag

    # --- connections -------------------------------------------------------------------------------------

    def new_flow(self, listener: Listener, peer: Source, names: tuple[str, ...] = ()) -> Flow:
        """A flow for a connection that a listener accepted; ``names`` are those of its verified certificate."""
        return Flow(listener, peer, self._board.flows.new_serial(), names)

    def accept(self, listener: Listener, peer: Source, now: float) -> bool:
        """Phase ACCEPT: whether a connection may go on to its handshakes."""
        return self.gate.accept(listener, peer, now)

    def flow_opened(self, flow: Flow) -> None:
        self._board.flows.opened(flow)

    def flow_closed(self, flow: Flow, now: float) -> list[Effect]:
        """A connection is closed, or could not be opened: what waits for it fails."""
        self._board.flows.closed(flow)
        self.pipeline.standings.withdraw(flow)
        for context in self._board.transactions.fail_connection(flow.serial, now):
            if isinstance(context, ResponseContext):
                context.abandon(now)
        return self._board.take()

    def located(self, place: ServerUri, targets: Sequence[ResolvedAddress], now: float) -> list[Effect]:
        """A destination's name has these addresses now, in order."""
        self.dispatcher.resolved(place, targets, now)
        return self._board.take()

    def unreachable(self, listener: Listener, peer: Source, now: float) -> list[Effect]:
        """The network reports that no socket listens at a destination (ICMP, seen by a core listener)."""
        self._board.transactions.fail_endpoint(Flow(listener, peer), now)
        return self._board.take()

    # --- messages ----------------------------------------------------------------------------------------

    def receive(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        """One datagram, or one message that framing has cut from a stream. Raises nothing that bytes can cause."""
        if self.gate.packet(flow, len(data), now):
            self._parse(flow, data, now)
        elif data.startswith(b"INVITE "):
            self.gate.missed(flow, now)
        self.gate.done(now)
        return self._board.take()

    def _parse(self, flow: Flow, data: bytes, now: float) -> None:
        if not data.strip(b"\r\n\0"):
            return  # a keep-alive (RFC 5626 section 3.5.1, and what older clients send)
        self._board.hear(len(data), now)
        try:
            message = parse_message(data)
            check_addresses(message)
            if isinstance(message, Request):
                self._take_request(flow, message, now)
            else:
                self._take_response(flow, message, now)
        except WireError as error:
            self._refuse_malformed(flow, data, error, now)

    def broken(self, flow: Flow, data: bytes, error: WireError, now: float) -> list[Effect]:
        """A stream cannot be framed any more; ``data`` is what it broke at. The shell closes it after the answer."""
        self._refuse_malformed(flow, data, error, now)
        self.gate.done(now)
        return self._board.take()

    def faulted(self, data: bytes, now: float) -> list[Effect]:
        """A fault of ours ended :meth:`receive` half-way: a request that was opened gets 500, and what it began ends.

        Without it, its sender would wait for ever, and its place at a destination would be lost.
        """
        message = parse_message(data)
        if isinstance(message, Request) and message.method != "ACK":
            server = self._board.transactions.find_server(message)
            if server is not None and not server.answered:
                self._board.record(now, Reason.INTERNAL, server.source, message.call_id, message.method)
                if isinstance(server.context, ResponseContext):
                    server.context.stop(Reason.INTERNAL, "failed", now)
                else:
                    self._board.respond(server, Reason.INTERNAL.status, now)
        return self._board.take()

    def _refuse_malformed(self, flow: Flow, data: bytes, error: WireError, now: float) -> None:
        """Answer what could not be read, if that can be done (RFC 3261 section 16.3)."""
        self.malformed.add()
        self.gate.tell(Reason.MALFORMED)
        self._board.record(now, Reason.MALFORMED, flow, detail=error.reason)
        self.pipeline.malformed(flow, now)
        answer = response_to_malformed(data, error.status_hint)
        if answer is not None and len(answer) <= self._board.credit(flow):
            self._board.send(flow, answer)

    def _take_response(self, flow: Flow, response: Response, now: float) -> None:
        client = self._board.transactions.receive(response, flow, now)
        if client is not None and not flow.serial:
            self.pipeline.standings.prove(flow, Standing.REACHABLE, now)

    def _take_request(self, flow: Flow, request: Request, now: float) -> None:
        board, method = self._board, request.method
        if board.transactions.absorb(request, now, board.heard):
            return  # before screening: it costs no state, and a bucket must not answer for a call under way
        board.counts.add(flow.listener.name, method if method in _COUNTED else "other")
        if method == "CANCEL":
            self._cancel(flow, request, now)
            return
        subject = self.pipeline.subject(flow, request, now)
        if not self.gate.request(subject, request, now):
            return
        if request.max_forwards == 0:  # also where screening only looks on: there is no number below it
            self.gate.refuse(flow, request, Reason.TOO_MANY_HOPS, now)
            return
        # Those whom nothing proves share half of the tables, and the rest is for the others.
        bound = board.transactions.half_full if subject.standing is Standing.UNPROVEN else board.transactions.full
        if method == "ACK":
            forward_ack(board, request, flow, now)
        elif bound:
            self.gate.refuse(flow, request, Reason.OVERLOAD, now)
        elif request.in_dialog:
            self._continue(subject, request, now)
        else:
            self._beginnings.start(subject, request, now)

    def _continue(self, subject: Subject, request: Request, now: float) -> None:
        """A request inside a dialog; one that names none of ours costs no state."""
        board, flow = self._board, subject.flow
        call = board.calls.find(request, flow.listener.zone)
        hop = route_in_dialog(board, request, flow, call, now)
        if isinstance(hop, Reason):
            self.gate.refuse(flow, request, hop, now)
            return
        server = self._beginnings.open(subject, request)
        board.promise(server, now)
        forward_in_dialog(board, server, hop, call, now)

    def _cancel(self, flow: Flow, request: Request, now: float) -> None:
        """CANCEL belongs to one hop: answer it here, and stop what was forwarded (RFC 3261 section 9.2)."""
        server = self._board.transactions.find_server(request, "INVITE")
        if server is None or server.flow.peer[0] != flow.peer[0]:
            self.gate.tell(Reason.UNMATCHED)
            self._board.refuse(flow, request, Reason.UNMATCHED.status)
            return
        self._board.refuse(flow, request, 200)
        if isinstance(server.context, ResponseContext):
            server.context.cancel(now, request.get_all("Reason"))

    # --- media -------------------------------------------------------------------------------------------

    def media_replied(self, cookie: int, reply: MediaReply | MediaError, now: float) -> list[Effect]:
        """The media plane's reply to a :class:`~edgesbc.signalling.effects.Media` effect."""
        self._board.anchor.replied(cookie, reply, now)
        return self._board.take()

    def media_event(self, event: MediaTimeout, now: float) -> list[Effect]:
        """A media session ended because no packet came for too long: so does its call."""
        for call in self._board.calls:
            known = call.media_id == event.session_id and call.caller.tag in event.tags
            if known and call.state is CallState.ESTABLISHED:
                self._board.calls.hang_up(call, Reason.MEDIA_TIMEOUT, now)
        return self._board.take()

    # --- time --------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is next to be called."""
        own, health = self._board.deadlines.next(), self._board.dispatcher.watch.deadline()
        if own is None or health is None:
            return health if own is None else own
        return min(own, health)

    def expire(self, now: float) -> list[Effect]:
        """Do what is due at ``now``."""
        board = self._board
        for item in board.deadlines.pop_due(now):
            if isinstance(item, Transaction):
                item.expire(now)
            elif isinstance(item, PendingMediaReply):
                board.anchor.expire(item, now)
            elif isinstance(item, (Branch, ResponseContext, DelayedResponse)):
                item.expire(now)
            else:
                self._expire_call(cast(Call, item), now)
        for probe in self.dispatcher.watch.expire(now):
            send_probe(board, probe, now)
        return board.take()

    def tell_time(self, offset: float) -> None:
        """The clock of the world (seconds since 1970) is ``offset`` ahead of the plane's: it may be set meanwhile."""
        self._board.wall_offset = offset

    def woken(self, late: float) -> None:
        """The shell was woken ``late`` seconds after it meant to: :attr:`lag` is what that comes to of late.

        Of two in a row the lesser counts, so that a machine that was suspended once is not overloaded.
        """
        self._beginnings.lag += (min(late, self._late) - self.lag) / 4
        self._late = late

    def _expire_call(self, call: Call, now: float) -> None:
        if call.state is CallState.SETTING_UP and isinstance(call.context, ResponseContext):
            call.context.expire(now)
        else:
            self._board.calls.hang_up(call, Reason.DURATION, now)

    # --- ending and changing -----------------------------------------------------------------------------

    def drain(self) -> None:
        """From now on, refuse new calls with 503 and Retry-After; those alive go on."""
        self._beginnings.draining = True

    def end_calls(self, now: float) -> list[Effect]:
        """End every call with a BYE to both sides, and every call that is being set up."""
        for call in self._board.calls:
            if call.state is CallState.SETTING_UP and isinstance(call.context, ResponseContext):
                call.context.stop(Reason.DRAINING, Reason.DRAINING.code, now)
            else:
                self._board.calls.hang_up(call, Reason.DRAINING, now)
        return self._board.take()

    def adopt(self, routing: RoutingTable, pipeline: Pipeline) -> None:
        """Judge and route by a new policy from the next message on."""
        self.gate.adopt(pipeline)
        self._beginnings.routing = routing

    def lift(self, who: str) -> tuple[int, list[Effect]]:
        """End the edge's own bans of ``who``: see :meth:`edgesbc.signalling.screener.Screener.lift`."""
        lifted = self.gate.lift(who)
        return lifted, self._board.take()

    def expel(self, now: float) -> list[Effect]:
        """Close the connections of everybody who is banned, after the operator has ordered something."""
        self.gate.expel(now)
        return self._board.take()
