"""Responder: sends answers, stateless and in transactions, and bounds those that the edge makes itself.

A source address that is not proven may be forged, and answers to it may hit a third party. So the edge's own answers
to one message have at most ``limits.AMPLIFICATION`` times its bytes; that is their *credit*. Those of destinations,
which the edge forwards, have as much until the final one, and all together twice as much.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from functools import partial

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.base.counts import Counts
from edgesbc.base.deadlines import Deadlines, Expiring
from edgesbc.screen.standing import Standing
from edgesbc.signalling import topology
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.incoming import Incoming
from edgesbc.signalling.live_pipeline import LivePipeline
from edgesbc.signalling.null_tags import is_null
from edgesbc.signalling.transactions import ServerTransaction, Transactions
from edgesbc.sip.build import response_to_malformed
from edgesbc.sip.machines import TransactionState
from edgesbc.sip.message import Fields, Request, Response

__all__ = ["Responder"]

_CHALLENGES = frozenset((401, 407))
_NEEDED = (
    "WWW-Authenticate", "Proxy-Authenticate", "Retry-After", "Expires", "Min-Expires", "Min-SE", "SIP-ETag",
    "Unsupported",
)  # fmt: skip
"""Fields of final responses without which their receivers cannot do what they say."""
_LONGER_THAN_TRYING = 40
"""Bytes by which a refusal is longer than a 100: the tag in To, and a longer phrase."""


class Responder:
    """Sends answers. ``server_name`` is the value of the Server field in the edge's own answers, "" for none;
    ``tag_key`` is 16 random bytes."""

    __slots__ = ("_deadlines", "_effects", "_live", "_server_field", "_tag_key", "_transactions", "responses")

    def __init__(
        self,
        effects: EffectQueue,
        deadlines: Deadlines[Expiring],
        transactions: Transactions,
        live: LivePipeline,
        server_name: str,
        tag_key: bytes,
    ) -> None:
        self._effects = effects
        self._deadlines = deadlines
        self._transactions = transactions
        self._live = live
        self._server_field: list[tuple[str, str]] = [("Server", server_name)] if server_name else []
        self._tag_key = tag_key
        self.responses = Counts()
        """Answers sent, by (zone, class)."""

    def credit(self, flow: Flow, size: int, now: float) -> float:
        """The bytes that the edge's own answers to a message of ``size`` bytes may have; no bound once the sender's
        address is proven."""
        if flow.serial or not self._live.is_unproven(flow, now):
            return math.inf
        return limits.AMPLIFICATION * size

    # --- without a transaction ---------------------------------------------------------------------------

    def answer_stateless(
        self, incoming: Incoming, status: int, now: float, extra: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Answer without keeping any state (RFC 3261 section 8.2.7); an ACK is never answered."""
        request, flow = incoming.message, incoming.flow
        if request.method != "ACK":
            credit = self.credit(flow, incoming.size, now)
            data = self._own_answer(request, vias_of(request, flow), status, extra, credit)
            if data:
                self.responses.add(flow.listener.zone, f"{status // 100}xx")
                self._effects.send(reply_flow(request, flow), data)

    def answer_malformed(self, flow: Flow, data: bytes, status: int, now: float) -> None:
        """Answer a request that cannot be parsed (RFC 3261 section 16.3), if the fields that an answer needs can be
        read."""
        answer = response_to_malformed(data, status)
        if answer is not None and len(answer) <= self.credit(flow, len(data), now):
            self._effects.send(flow, answer)

    # --- in a transaction --------------------------------------------------------------------------------

    def open_transaction(self, incoming: Incoming, now: float) -> ServerTransaction:
        """The server transaction of a new request; it sends 100 if no other answer comes soon."""
        request, flow, size = incoming.message, incoming.flow, incoming.size
        holder = self._live.holder_of(incoming.subject, now)
        server = self._transactions.open_server(request, flow, reply_flow(request, flow), size, holder)
        server.proven = incoming.subject.standing is not Standing.UNPROVEN
        server.replaceable = incoming.of_stranger
        server.credit = self.credit(flow, size, now)
        self._transactions.schedule_trying(server, partial(self._make_trying, server), now)
        return server

    def _make_trying(self, server: ServerTransaction) -> bytes:
        data = topology.answer(server.request, self.vias(server), 100, "")
        if 2 * len(data) + _LONGER_THAN_TRYING > server.credit:
            return b""  # the rest of the credit is kept for a refusal
        server.credit -= len(data)
        self.responses.add(server.flow.listener.zone, "1xx")
        return data

    def answer(self, server: ServerTransaction, status: int, now: float, extra: Iterable[tuple[str, str]] = ()) -> None:
        """An answer of the edge's own."""
        data = self._own_answer(server.request, self.vias(server), status, extra, server.credit)
        server.credit -= len(data)
        self.send(server, status, data, now)

    def send(self, server: ServerTransaction, status: int, data: bytes, now: float) -> None:
        """Send ``data``, an answer with that status; b"" ends the transaction's wait and sends nothing."""
        if data:
            self.responses.add(server.flow.listener.zone, f"{status // 100}xx")
        self._transactions.respond(server, status, data, now)

    def send_at(self, server: ServerTransaction, status: int, data: bytes, due: float, now: float) -> None:
        """Send an answer, but not before ``due``."""
        if due <= now:
            self.send(server, status, data, now)
        else:
            self._deadlines.schedule(_DelayedResponse(self, server, status, data), due)

    def drop(self, server: ServerTransaction) -> None:
        """End a transaction without an answer (RFC 4320 section 4.2)."""
        self._transactions.forget(server)

    @staticmethod
    def vias(server: ServerTransaction) -> Fields:
        """The Via fields of the answers in a transaction; worked out once."""
        if not server.vias:
            server.vias = vias_of(server.request, server.source)
        return server.vias

    # --- answers of destinations -------------------------------------------------------------------------

    def may_forward(self, server: ServerTransaction, size: int, final: bool, now: float) -> bool:
        """Charge an answer of ``size`` bytes that is forwarded; False if its receiver may get no such answer.

        It may get any once its address is proven, as by a PRACK. Registrations are left out: their challenges prove
        addresses, and phones need all fields of their answers.
        """
        if server.credit == math.inf or server.method == "REGISTER":
            return True
        if not self._live.is_unproven(server.source, now):
            server.credit = math.inf
            return True
        left = server.credit - server.forwarded
        if final:
            left += limits.AMPLIFICATION * server.size
        if size > left:
            return False
        server.forwarded += size
        return True

    def ring_briefly(self, server: ServerTransaction, response: Response, now: float) -> bool:
        """Forward no more of a provisional answer than its status and the tag of the callee; False if that is too long
        as well, or is of no use because the answer is to be acknowledged by PRACK (RFC 3262)."""
        if response.get("RSeq") is not None:
            return False
        tag = "" if is_null(response.to_tag) else response.to_tag
        data = topology.answer(server.request, self.vias(server), response.status, tag)
        if not self.may_forward(server, len(data), False, now):
            return False
        self.send(server, response.status, data, now)
        return True

    def answer_briefly(self, server: ServerTransaction, response: Response, now: float) -> None:
        """Answer with the status of a final response, and the fields without which that is of no use. A challenge is
        sent whatever its length: it is what proves an address."""
        if response.status in _CHALLENGES:
            server.credit = math.inf
        fields = [(name, value) for name in _NEEDED for value in response.get_all(name)]
        self.answer(server, response.status, now, fields)

    # --- the text of an answer ---------------------------------------------------------------------------

    def _own_answer(
        self, request: Request, vias: Fields, status: int, extra: Iterable[tuple[str, str]], credit: float
    ) -> bytes:
        """An answer within ``credit`` bytes.

        Where it is too long, ``extra`` is left out from its end; where it is too long without it, b"".
        """
        tag, more = self._tag(request), [*extra, *self._server_field]
        data = topology.answer(request, vias, status, tag, more)
        if len(data) <= credit:
            return data
        size = len(data)
        while more and size > credit:
            name, value = more.pop()
            size -= len(f"{name}: {value}\r\n".encode("utf-8", "surrogateescape"))
        return topology.answer(request, vias, status, tag, more) if size <= credit else b""

    def _tag(self, request: Request) -> str:
        """The To tag, the same for each retransmission of the request (RFC 3261 section 8.2.7)."""
        text = f"{request.via.branch}\n{request.call_id}\n{request.from_tag}".encode("utf-8", "surrogateescape")
        return hashlib.blake2s(text, key=self._tag_key, digest_size=8).hexdigest()


class _DelayedResponse:
    """An answer that is sent later."""

    __slots__ = ("_data", "_responder", "_server", "_status", "due", "queued")

    def __init__(self, responder: Responder, server: ServerTransaction, status: int, data: bytes) -> None:
        self._responder = responder
        self._server = server
        self._status = status
        self._data = data
        self.due: float | None = None
        self.queued: float | None = None

    def expire(self, now: float) -> None:
        if self._server.state is not TransactionState.TERMINATED:  # its connection may be gone
            self._responder.send(self._server, self._status, self._data, now)


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
