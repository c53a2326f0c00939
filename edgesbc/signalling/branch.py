"""Branch: a request as it was sent to one hop, until its transaction there has ended (RFC 3261 section 16.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.base.deadlines import Deadlines, Expiring
from edgesbc.signalling import topology
from edgesbc.signalling.request_sender import ByeSender, RequestSender
from edgesbc.signalling.targets import NextHop
from edgesbc.signalling.transactions import ClientTransaction
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.machines import T1, TransactionState
from edgesbc.sip.message import Request, Response

__all__ = ["Branch", "BranchListener", "BranchParts"]


class BranchListener(Protocol):
    """The response context of a branch."""

    def on_response(self, branch: Branch, response: Response, now: float) -> None: ...

    def on_failure(self, branch: Branch, timeout: bool, now: float) -> None: ...

    def on_slow_connection(self, branch: Branch, now: float) -> None: ...

    def on_connected(self, branch: Branch, now: float) -> None: ...


class BranchParts:
    """The parts of the core that every branch uses."""

    __slots__ = ("byes", "deadlines", "sender")

    def __init__(self, sender: RequestSender, byes: ByeSender, deadlines: Deadlines[Expiring]) -> None:
        self.sender: Final = sender
        self.byes: Final = byes
        self.deadlines: Final = deadlines


class Branch:
    """A client transaction, and whether its answer is still wanted.

    While the answer is wanted, it goes to the response context. The branch is abandoned when another branch has the
    call, or when the caller was refused. From then on it undoes what late answers set up: it cancels a phone that
    begins to ring, and acknowledges a 2xx and ends its call with BYE. Otherwise a call that only the callee's side
    knows of would ring, or be billed, for ever.

    ``id`` is the branch parameter, made here from random bytes. ``measured`` is whether the member's response time
    counts. ``failure`` is why the request was never sent, None where it was. ``forwarded`` is whether an answer of this
    branch went to the caller. ``has_account`` is whether the sender of the request has one. ``due`` is when the hop has
    been silent for too long; after a 100 alone, it is when to check whether the member is down.

    A request to a member whose connection is not open yet is sent when it is. Until then the branch is ``waiting``, and
    may be left for another without a trace at the member. ``race`` is the same text for the branches of which only the
    one whose connection is open first is sent.
    """

    __slots__ = (
        "_acknowledged", "_cancelling", "_client", "_context", "_data", "_give_up_at", "_only_trying", "_parts",
        "_reasons", "_request", "_sent_at", "due", "failure", "forwarded", "has_account", "hop", "id", "measured",
        "queued", "race",
    )  # fmt: skip

    def __init__(
        self,
        parts: BranchParts,
        context: BranchListener,
        request: Request,
        hop: NextHop,
        measured: bool = True,
        has_account: bool = True,
    ) -> None:
        self._parts = parts
        self._context: BranchListener | None = context
        self._request = request
        self._client: ClientTransaction | None = None
        self._cancelling = False
        self._acknowledged: set[str] | None = None  # the tags of the 2xx that were acknowledged from here
        self._reasons: Sequence[str] = ()
        self._sent_at: float | None = None  # until the first answer
        self._data: bytes | None = None  # the request, while it waits for its connection
        self._give_up_at = 0.0  # until when it waits
        self._only_trying = request.method == "INVITE"  # no answer so far but 100
        self.hop = hop
        self.has_account = has_account
        self.id = ""
        self.measured = measured
        self.failure: SendFailure | None = None
        self.race = ""
        self.forwarded = False
        self.due: float | None = None
        self.queued: float | None = None

    def send(self, data: bytes, now: float) -> None:
        parts, hop, request = self._parts, self.hop, self._request
        failure = parts.sender.failure(hop.flow, data, self.has_account)
        if failure is not None:
            self.fail(failure, now)
            return
        invite = request.method == "INVITE"
        self._give_up_at = now + (hop.timeout if invite else 64 * T1)
        if hop.lease is not None and parts.sender.wait_for_connection(hop.flow, self, len(data)):
            self._data = data
            parts.deadlines.schedule(self, min(now + limits.CONNECT_ATTEMPT_SECONDS, self._give_up_at))
        else:
            self._transmit(data, now)

    def fail(self, failure: SendFailure, now: float) -> None:
        """The request cannot be sent to its hop."""
        self.failure = failure
        if self._context is not None:
            self._context.on_failure(self, False, now)

    def _transmit(self, data: bytes, now: float) -> None:
        parts, hop, request = self._parts, self.hop, self._request
        method = request.method
        client = self._client = parts.sender.send(
            self.id, method, hop.flow, data, self, now, request.in_dialog, hop.of_dialog
        )
        self._sent_at = now
        if method == "INVITE":
            client.ack = self._refusal_ack
            if hop.timeout < 64 * T1:
                parts.deadlines.schedule(self, self._give_up_at)

    # --- while its connection is opened ------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether the request waits for its connection, or for a description."""
        return self._data is not None or not self.id

    def on_connected(self, now: float) -> None:
        data, self._data = self._data, None
        if data is None or self._context is None:
            return
        self._parts.deadlines.schedule(self, None)
        self._context.on_connected(self, now)
        self._transmit(data, now)

    def on_connect_failed(self, failure: SendFailure | None, now: float) -> None:
        data, self._data = self._data, None
        if data is not None and self._context is not None:
            self.failure = failure
            self._context.on_failure(self, False, now)

    def _refusal_ack(self, response: Response) -> bytes:
        hop = self.hop
        return topology.refusal_ack(hop.uri, hop.routes, self._via(), self._request, response)

    def _via(self) -> str:
        """The Via of the request, which its CANCEL and the ACK of a refusal share (RFC 3261 section 9.1)."""
        return topology.via(self.hop.first.listener, self.id)

    # --- what becomes of it ------------------------------------------------------------------------------

    def on_response(self, client: ClientTransaction, response: Response, now: float) -> None:
        deadlines, lease = self._parts.deadlines, self.hop.lease
        self.hop.flow = client.flow  # it was sent again if its connection closed
        if self.due is not None:
            deadlines.schedule(self, None)
        if self._sent_at is not None and lease is not None:
            # A member that cannot take calls refuses them fast, which must not count as a short response time.
            if self.measured and response.status not in self.hop.failover_on:
                lease.member.answered_after(now - self._sent_at)
            self._sent_at = None
        self._only_trying = self._only_trying and response.status == 100
        if self._only_trying and self._context is not None and lease is not None:
            deadlines.schedule(self, now + self.hop.timeout)
        if self._cancelling and response.status < 200:
            self._send_cancel(client, now)
        if self._context is not None:
            self._context.on_response(self, response, now)
        else:
            self.end_unwanted(response, now)

    def on_failure(self, client: ClientTransaction, timeout: bool, now: float) -> None:
        self.failure = client.failure
        if self._context is not None:
            self._context.on_failure(self, timeout, now)

    def expire(self, now: float) -> None:
        """The hop has not answered in time, or it has answered only 100 and may have failed since.

        Every server answers 100 at once, so a 100 alone must not keep a call at a member that is down.
        """
        if self._context is None:
            return
        if self._data is not None and now < self._give_up_at:
            self._parts.deadlines.schedule(self, self._give_up_at)
            self._context.on_slow_connection(self, now)
        elif self._sent_at is None and self._data is None and not self._is_down():
            self._parts.deadlines.schedule(self, now + self.hop.timeout)
        else:
            self.failure = None if self._client is None else self._client.failure
            self._context.on_failure(self, True, now)

    def _is_down(self) -> bool:
        """Whether its member is down, and is not used in spite of that because nearly all are (``panic``)."""
        lease = self.hop.lease
        return lease is not None and not lease.member.health.up and not lease.member.usable

    @property
    def call_id(self) -> str:
        """The Call-ID of its request."""
        return self._request.call_id

    def redirect(self, flow: Flow) -> None:
        """Its transaction goes on by another flow of the same peer."""
        self.hop.flow = flow

    # --- when its answer is not wanted -------------------------------------------------------------------

    @property
    def abandoned(self) -> bool:
        """Whether its answer is not wanted any more."""
        return self._context is None

    def cancel(self, now: float, reasons: Sequence[str] = ()) -> None:
        """Send CANCEL (RFC 3261 section 9.1); the answer to the INVITE is still waited for.

        ``reasons`` are the Reason fields of the CANCEL (RFC 3326); those of the first call stay.
        """
        client = self._client
        if client is None or client.method != "INVITE":
            return
        client.wanted = False
        self._cancelling = True
        self._reasons = self._reasons or reasons
        if client.state is TransactionState.PROCEEDING:
            self._send_cancel(client, now)
        # In Calling, CANCEL waits for a provisional answer (section 9.1).

    def abandon(self, now: float) -> None:
        """Cancel, release the lease, and from now on undo what late answers set up."""
        self._context = None
        if self.due is not None:
            self._parts.deadlines.schedule(self, None)
        if self.waiting and self.hop.lease is not None:
            self.hop.lease.withdraw()
        if self._data is not None:
            self._data = None
            self._parts.sender.stop_waiting(self.hop.flow, self)
        self.release()
        if self._client is not None:
            self._client.wanted = False
        self.cancel(now)

    def release(self) -> None:
        """Release the lease of its member, if it has one."""
        if self.hop.lease is not None:
            self.hop.lease.release()

    def _send_cancel(self, client: ClientTransaction, now: float) -> None:
        if client.state is not TransactionState.PROCEEDING or client.timeout_at is not None:
            return  # answered, or cancelled before
        hop = self.hop
        data = topology.cancel(hop.uri, hop.routes, self._via(), self._request, self._reasons)
        self._parts.sender.send_cancel(client, data, now)

    def end_unwanted(self, response: Response, now: float) -> None:
        """Acknowledge a 2xx to INVITE that is not wanted, and end the call it sets up (RFC 3261 section 13.2.2.4).

        A 2xx inside a dialog sets up no call. A repeated 2xx gets its ACK again, and no second BYE.
        """
        if not 200 <= response.status < 300 or self._request.method != "INVITE":
            return
        tags = self._acknowledged = self._acknowledged or set()
        bye = not self._request.in_dialog and response.to_tag not in tags and len(tags) < limits.FORK_BRANCHES
        if bye:
            tags.add(response.to_tag)  # a callee may answer with other tags without end
        hop = self.hop
        self._parts.byes.acknowledge(self._request, hop.flow, hop.uri, hop.routes, response, bye, now)
