"""One branch of a response context: a request at one place, until nobody can answer it there any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgesbc.base import limits
from edgesbc.signalling import topology
from edgesbc.signalling.next_hop import NextHop
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.signalling.transactions import ClientTransaction
from edgesbc.sip.message import Request, Response
from edgesbc.sip.transaction import T1, TransactionState
from edgesbc.sip.transactions import NOBODY

__all__ = ["Branch"]


class _Context(Protocol):
    """Who waits for what becomes of a branch."""

    def on_answer(self, branch: Branch, response: Response, now: float) -> None: ...

    def on_failure(self, branch: Branch, timeout: bool, now: float) -> None: ...


class Branch:
    """A client transaction with a memory of whether its answer is still wanted.

    While somebody waits, answers go to the context. When nobody does any more, because another place has
    the call or the caller was refused, what the far side does late is undone from here: a phone that
    begins to ring is cancelled, and a 2xx is acknowledged and ended with BYE. A network delays, and a
    call that only one side knows of would ring, or bill, for ever.

    ``id`` is the branch parameter, ours and not to be guessed. ``heard`` is whether the caller was told of
    anything that came from here. ``due`` is when the far side has been silent for too long, or, where it has said
    nothing but 100, when to look whether it is still alive.
    """

    __slots__ = (
        "_board", "_cancelling", "_client", "_context", "_hung_up", "_reasons", "_request", "_sent", "_trying",
        "due", "heard", "hop", "id", "queued",
    )  # fmt: skip

    def __init__(self, board: Switchboard, context: _Context, request: Request, hop: NextHop) -> None:
        self._board = board
        self._context: _Context | None = context
        self._request = request
        self._client: ClientTransaction | None = None
        self._cancelling = False
        self._hung_up: set[str] | None = None
        self._reasons: Sequence[str] = ()
        self._sent: float | None = None  # when, until the first answer
        self._trying = request.method == "INVITE"  # until it says more than 100
        self.hop = hop
        self.id = ""
        self.heard = False
        self.due: float | None = None
        self.queued: float | None = None

    def send(self, data: bytes, now: float) -> None:
        board, hop, method = self._board, self.hop, self._request.method
        if not board.flows.is_open(hop.flow):
            if self._context is not None:
                self._context.on_failure(self, False, now)  # it was closed while the media plane was asked
            return
        repeat = not self._request.in_dialog or board.may_repeat(hop.flow, now)
        client = self._client = board.transactions.open_client(self.id, method, hop.flow, data, self, now, repeat)
        self._sent = now
        if method == "INVITE":
            client.ack = self._refusal_ack
            if hop.timeout < 64 * T1:
                board.deadlines.schedule(self, now + hop.timeout)

    def _refusal_ack(self, response: Response) -> bytes:
        hop = self.hop
        return topology.refusal_ack(hop.uri, hop.routes, self._via(), self._request, response)

    def _via(self) -> str:
        return topology.via(self.hop.flow.listener, self.id)

    # --- what becomes of it ------------------------------------------------------------------------------

    def on_response(self, client: ClientTransaction, response: Response, now: float) -> None:
        if self.due is not None:
            self._board.deadlines.schedule(self, None)
        if self._sent is not None and self.hop.lease is not None:
            if response.status not in self.hop.failover_on:  # who cannot take calls refuses them soonest
                self.hop.lease.member.answered_after(now - self._sent)
            self._sent = None
        self._trying = self._trying and response.status == 100
        if self._trying and self._context is not None and self.hop.lease is not None:
            self._board.deadlines.schedule(self, now + self.hop.timeout)
        if self._cancelling and response.status < 200:
            self._send_cancel(client, now)
        if self._context is not None:
            self._context.on_answer(self, response, now)
        else:
            self.hang_up(response, now)

    def on_failure(self, client: ClientTransaction, timeout: bool, now: float) -> None:
        if self._context is not None:
            self._context.on_failure(self, timeout, now)

    def expire(self, now: float) -> None:
        """The far side has said nothing for as long as it may, or it said 100 and is dead by now.

        Every server says 100 at once, so that alone must not hold a call to one that has died since.
        """
        if self._context is None:
            return
        if self._sent is None and not self._is_out():
            self._board.deadlines.schedule(self, now + self.hop.timeout)
        else:
            self._context.on_failure(self, True, now)

    def _is_out(self) -> bool:
        """Whether its member is believed dead, and is not used all the same because nearly all are."""
        lease = self.hop.lease
        return lease is not None and not lease.member.health.up and not lease.member.usable

    # --- when its answer is not wanted -------------------------------------------------------------------

    @property
    def left(self) -> bool:
        """Whether nobody waits for its answer."""
        return self._context is None

    def cancel(self, now: float, reasons: Sequence[str] = ()) -> None:
        """Ask the far side to stop (RFC 3261 section 9.1); its answer is still waited for.

        ``reasons`` are the Reason fields of the CANCEL (RFC 3326); those that were given first stay.
        """
        client = self._client
        if client is None or client.method != "INVITE":
            return
        self._cancelling = True
        self._reasons = self._reasons or reasons
        if client.state is TransactionState.PROCEEDING:
            self._send_cancel(client, now)
        # In Calling, CANCEL waits for a provisional answer (section 9.1).

    def leave(self, now: float) -> None:
        """Wait no more: cancel, give the place at the destination back, and clean up after late answers."""
        self._context = None
        if self.due is not None:
            self._board.deadlines.schedule(self, None)
        self.release()
        self.cancel(now)

    def release(self) -> None:
        if self.hop.lease is not None:
            self.hop.lease.release()

    def _send_cancel(self, client: ClientTransaction, now: float) -> None:
        if client.state is not TransactionState.PROCEEDING or client.timeout_at is not None:
            return  # answered, or cancelled before
        hop = self.hop
        data = topology.cancel(hop.uri, hop.routes, self._via(), self._request, self._reasons)
        # Its key differs from the INVITE's, which has the same branch (section 9.1).
        self._board.transactions.open_client(self.id, "CANCEL", hop.flow, data, NOBODY, now)
        self._board.transactions.limit_wait(client, 64 * T1, now)

    def hang_up(self, response: Response, now: float) -> None:
        """Acknowledge a 2xx that nobody waits for, and end the call it sets up (RFC 3261 section 13.2.2.4).

        A 2xx inside a dialog sets none up. One that is repeated needs its ACK again, and no other BYE.
        """
        if not 200 <= response.status < 300 or self._request.method != "INVITE":
            return
        ended = self._hung_up = self._hung_up or set()
        fresh = not self._request.in_dialog and response.to_tag not in ended and len(ended) < limits.FORK_BRANCHES
        ended.add(response.to_tag)
        self._board.calls.end_answered(self._request, self.hop.flow, self.hop.uri, response, fresh, now)
