"""The response context of a forwarded request (RFC 3261 section 16.7): try, fail over, answer once."""

from __future__ import annotations

from collections import deque
from functools import partial

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.base.reasons import Reason
from edgesbc.brain import topology
from edgesbc.brain.anchoring import Refusal
from edgesbc.brain.calls import Call, CallState, Leg, learn_target
from edgesbc.brain.hops import Hop, Hops
from edgesbc.brain.negotiation import Negotiation
from edgesbc.brain.registrations import contacts_of_sender, path_value, registered_seconds
from edgesbc.brain.switchboard import Switchboard
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Request, Response
from edgesbc.sip.transaction import T1, State
from edgesbc.sip.transactions import NOBODY, ClientTransaction, ServerTransaction

__all__ = ["Context"]

# Requests whose Contact is the remote target of a dialog (RFC 3261 table 2, RFC 3311, RFC 6665, RFC 3515).
_TARGETED = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER", "PRACK"})


class Context:
    """One request on its way through the edge, from its server transaction to the answer that ends it.

    ``call`` is the call that the request belongs to or sets up; ``new_call`` tells which. ``trusted`` is
    whether the sender may assert identities.
    """

    __slots__ = (
        "_best", "_board", "_body", "_branch", "_cancel_sent", "_cancelled", "_client", "_heard", "_hop", "_hops",
        "_queue", "_sdp", "_tried", "call", "due", "new_call", "queued", "request", "server", "trusted",
    )  # fmt: skip

    def __init__(
        self,
        board: Switchboard,
        server: ServerTransaction,
        hops: Hops,
        call: Call | None = None,
        new_call: bool = False,
        trusted: bool = False,
    ) -> None:
        self._board = board
        self.server = server
        self.request: Request = server.request
        self.call = call
        self.new_call = new_call
        self.trusted = trusted
        self._hops = hops
        self._hop: Hop | None = None
        self._client: ClientTransaction | None = None
        self._branch = ""
        self._tried = 0
        self._body: bytes | None = None
        self._sdp = Negotiation(board, server, call)
        self._queue: deque[Response] = deque()  # behind one that waits for the media plane
        self._heard = False
        self._cancelled = False
        self._cancel_sent = False
        self._best: Response | None = None  # of the refusals that led to another try
        self.due: float | None = None
        self.queued: float | None = None
        server.context = self

    # --- forward -----------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Send the request on; where it has SDP, by way of the media plane."""
        board, call, request = self._board, self.call, self.request
        if request.method == "INVITE" and not self.new_call:
            board.deadlines.schedule(self, now + limits.SET_UP_SECONDS)  # the call's own set-up bounds the first one
        if self._sdp.evades():
            self._give_up(Reason.NO_MEDIA, now, detail="SDP inside a multipart body")
        elif not self._sdp.send(self._anchored, now):
            self._body = self._sdp.plain(request)
            if call is not None and self.new_call:
                call.late_offer = not self._sdp.offer_here
            self._try_next(now)

    def _anchored(self, sdp: bytes | Refusal, now: float) -> None:
        if self.server.answered:
            return  # cancelled meanwhile
        if isinstance(sdp, Refusal):
            self._give_up(Reason.NO_MEDIA, now, sdp.status, sdp.why)
        else:
            self._body = sdp
            self._try_next(now)

    def _try_next(self, now: float) -> None:
        hop = self._hops.next(now) if self._tried < limits.FORK_BRANCHES else None
        if hop is None:
            if self._best is not None:
                self._forward(self._best, None, now)
            else:
                self._give_up(Reason.NO_DESTINATION, now)
            return
        self._tried += 1
        self._hop = hop
        board, request, listener = self._board, self.request, hop.flow.listener
        if self.call is not None and self.new_call:
            self.call.lease = hop.lease
            self.call.callee = Leg(hop.flow)
        self._branch = board.new_branch()
        data = topology.forward_request(
            request,
            listener,
            self._branch,
            hop.uri,
            hop.routes,
            self._contact(hop.flow),
            self._body,
            path_value(board, request, self.server.source, listener) if request.method == "REGISTER" else (),
            self.trusted or (hop.lease is not None and listener.zone is Zone.PUBLIC),
        )
        invite = request.method == "INVITE"
        timeout = hop.timeout if invite else 64 * T1
        client = board.transactions.open_client(self._branch, request.method, hop.flow, data, self, now, timeout)
        if invite:
            via = topology.via(listener, self._branch)
            client.ack = partial(topology.refusal_ack, hop.uri, hop.routes, via, request)
        self._client = client

    def _contact(self, holder: Flow) -> str:
        """The Contact that stands for the sender of the request."""
        request = self.request
        if request.method not in _TARGETED or not request.get("Contact"):
            return ""
        legs = self.call.legs_of(request.from_tag) if self.call is not None else None
        if legs is not None:
            return self._board.calls.contact_for(legs[0], holder)
        return self._board.calls.lone_contact(request, self.server.source, holder)

    # --- answers -----------------------------------------------------------------------------------------

    def on_response(self, client: ClientTransaction, response: Response, now: float) -> None:
        """An answer to the try under way; those to earlier tries are late and change nothing."""
        if client is not self._client:
            return
        if self._cancelled and response.status < 200 and client.state is State.PROCEEDING:
            self._send_cancel(client, now)
        if self._sdp.waiting:
            if len(self._queue) < limits.PENDING_MEDIA:
                self._queue.append(response)
            return
        self._take(response, now)

    def _take(self, response: Response, now: float) -> None:
        status, hop = response.status, self._hop
        if hop is None or status == 100 or (status < 200 and self.request.method != "INVITE"):
            return  # RFC 4320 section 4.1: no other provisional answer to a request that is no INVITE
        if status >= 300 and self._fails_over(status, hop):
            self._keep_best(response)
            self._fail_over(f"answered {status}", status == 503, now)
            return
        if hop.lease is not None:
            self._board.dispatcher.succeeded(hop.lease.member, now)
        if self._refused and self.new_call:
            if 200 <= status < 300 and self.call is not None:
                self._board.calls.hang_up_late(self.call, hop.flow, hop.uri, self.request, response, now)
            return
        self._heard = True
        call = self.call
        if call is not None and status < 300:
            self._learn(call, response)
            if self._sdp.takes(response):
                self._sdp.answer(response, hop.flow, self._answer_anchored, now)
                return
        self._forward(response, None, now)

    def _fails_over(self, status: int, hop: Hop) -> bool:
        return hop.lease is not None and status in hop.failover_on and not self._heard and not self._cancelled

    def _keep_best(self, response: Response) -> None:
        """Remember what to answer if nobody takes the request: the lowest class (RFC 3261 section 16.7 step 6).

        Never a 503 or 408 of one destination: they would say that the edge itself is to be avoided.
        """
        best = self._best
        if response.status not in (408, 503) and (best is None or response.status // 100 < best.status // 100):
            self._best = response

    def _fail_over(self, why: str, evidence: bool, now: float) -> None:
        """Leave the member that did not take the request, and try the next."""
        hop = self._hop
        if hop is None or hop.lease is None:
            return
        member = hop.lease.member
        if evidence:
            self._board.dispatcher.failed(member, now, why)
        hop.lease.release()
        detail = f"{member.name} {why}"
        self._board.record(now, Reason.FAILOVER, self.server.source, self.request.call_id, detail)
        self._try_next(now)

    def _learn(self, call: Call, response: Response) -> None:
        """Take what an answer says of its sender (RFC 3261 section 12.1.2, and 12.2.1.2 for a target refresh)."""
        if self.new_call:
            leg = call.callee
            if call.state is not CallState.SETTING_UP:
                return  # the answer of another fork, or the same again
            if leg is not None and response.to_tag:
                leg.answered_by(response)
        else:
            legs = call.legs_of(self.request.from_tag)
            leg = legs[1] if legs is not None else None
        if leg is not None:
            learn_target(leg, response)

    def _answer_anchored(self, response: Response, sdp: bytes | Refusal, now: float) -> None:
        if isinstance(sdp, Refusal):
            self._refuse_answer(response, sdp, now)
            return
        if self._refused and self.new_call:
            self._take(response, now)  # cancelled meanwhile
        else:
            self._forward(response, sdp, now)
        while self._queue and not self._sdp.waiting:
            self._take(self._queue.popleft(), now)

    @property
    def _refused(self) -> bool:
        """Whether the sender has had a final answer, and it was not this call's 2xx."""
        return self.server.answered and self.server.state is not State.ACCEPTED

    def _refuse_answer(self, response: Response, refusal: Refusal, now: float) -> None:
        """The far side's SDP cannot be used: end what it has begun, and refuse the call."""
        call, client, hop = self.call, self._client, self._hop
        self._queue.clear()
        if call is None or client is None or hop is None or self.server.answered:
            return
        if response.status < 200:
            self._cancelled = True
            self._send_cancel(client, now)
        elif self.new_call:
            self._board.calls.hang_up_late(call, hop.flow, hop.uri, self.request, response, now)
        self._give_up(Reason.NO_MEDIA, now, refusal.status, refusal.why)

    def _forward(self, response: Response, body: bytes | None, now: float) -> None:
        board, call, server, status = self._board, self.call, self.server, response.status
        holder = server.flow
        contact, contacts = "", []
        if self.request.method == "REGISTER":
            contacts = contacts_of_sender(self.request, response)
            self._prove(response, now)
        elif status < 300 and response.get("Contact"):
            contact = self._answer_contact(response, holder)
        if body is None:
            body = self._sdp.plain(response)
        vias = board.vias(server)
        data = topology.forward_response(response, self.request, vias, holder.listener.zone, contact, body, contacts)
        board.deliver(server, status, data, now)
        if call is None or not self.new_call:
            if status >= 200:
                self._let_go()
            return
        if 200 <= status < 300:
            call.context = None
            board.calls.establish(call, now)
        elif status >= 300:
            board.calls.end(call, "cancelled" if self._cancelled else "refused")

    def _prove(self, response: Response, now: float) -> None:
        """An upstream accepted the sender's credentials on its flow; a registrar that asks for none proves nothing."""
        if not 200 <= response.status < 300 or not self.request.get("Authorization"):
            return
        seconds = registered_seconds(self.request, response)
        if seconds:
            self._board.standings.prove(self.server.source, Standing.REGISTERED, now, seconds)

    def _answer_contact(self, response: Response, holder: Flow) -> str:
        calls = self._board.calls
        if self.call is None:
            assert self._client is not None  # noqa: S101 - it has just answered
            return calls.lone_contact(response, self._client.flow, holder)
        legs = self.call.legs_of(self.request.from_tag)
        leg = legs[1] if legs is not None else None
        if self.new_call and leg is not None and leg.tag != response.to_tag and self._client is not None:
            return calls.lone_contact(response, self._client.flow, holder)  # another fork answered as well
        return calls.contact_for(leg, holder) if leg is not None else ""

    # --- failure -----------------------------------------------------------------------------------------

    def on_failure(self, client: ClientTransaction, timeout: bool, now: float) -> None:
        if client is not self._client:
            return
        if self.server.answered:
            if not self.new_call:
                self._let_go()
            return
        hop = self._hop
        why = "gave no answer in time" if timeout else "could not be reached"
        if self._cancelled:
            self._finish(487, "cancelled", now)
        elif self._heard or hop is None or hop.lease is None:
            self._finish(408 if timeout else 480, "timeout" if timeout else "failed", now)
        elif timeout and self.request.method != "INVITE":
            self._board.dispatcher.failed(hop.lease.member, now, why)
            hop.lease.release()
            self._finish(408, "timeout", now)
        else:
            self._fail_over(why, True, now)

    def _give_up(self, reason: Reason, now: float, status: int = 0, detail: str = "") -> None:
        """No place is left to try: refuse the request, for a reason that an operator can look up."""
        request = self.request
        self._board.record(now, reason, self.server.source, request.call_id, detail or f"{self._tried} tried")
        outcome = "failed" if reason is Reason.NO_DESTINATION else reason.code
        self._finish(status or reason.status, outcome, now)

    def _finish(self, status: int, outcome: str, now: float) -> None:
        """Answer from here, and end the call that the request was to set up."""
        board = self._board
        if status == 408 and self.request.method != "INVITE":
            board.transactions.forget(self.server)  # RFC 4320: its sender has timed out as well
        else:
            extra = [("Retry-After", "5")] if status == 503 else []
            board.respond(self.server, status, now, extra)
        if self.call is not None and self.new_call:
            board.calls.end(self.call, outcome)
        else:
            self._let_go()

    def _let_go(self) -> None:
        """Without a call, a place at a destination is held until the answer and no longer."""
        self._board.deadlines.schedule(self, None)
        if self._hop is not None and self._hop.lease is not None:
            self._hop.lease.release()

    # --- CANCEL ------------------------------------------------------------------------------------------

    def cancel(self, now: float) -> None:
        """The sender no longer wants an answer (RFC 3261 section 16.10)."""
        if self.server.answered or self._cancelled:
            return
        self._cancelled = True
        if self._client is None or self._client.state is State.TERMINATED:
            self._finish(487, "cancelled", now)
        elif self._client.state is State.PROCEEDING:
            self._send_cancel(self._client, now)
        # In Calling, CANCEL waits for a provisional answer (section 9.1); time-out ends it otherwise.

    def abandon(self, now: float) -> None:
        """The sender's connection is gone: nobody waits for an answer, so stop what an INVITE began."""
        if self.request.method == "INVITE" and not self._cancelled:
            self._cancelled = True
            if self._client is not None:
                self._send_cancel(self._client, now)  # in Calling, on_response does when a provisional comes
        if self.call is not None and self.new_call:
            self._board.calls.end(self.call, "cancelled")
        else:
            self._let_go()

    def expire(self, now: float) -> None:
        """The call has rung too long (Timer C, RFC 3261 section 16.8)."""
        self.cancel(now)
        if not self.server.answered:
            self._finish(408, "timeout", now)

    def _send_cancel(self, client: ClientTransaction, now: float) -> None:
        hop = self._hop
        if hop is None or client.state is not State.PROCEEDING or self._cancel_sent:
            return
        self._cancel_sent = True
        via = topology.via(hop.flow.listener, self._branch)
        data = topology.cancel(hop.uri, hop.routes, via, self.request)
        # Its key differs from the INVITE's, which has the same branch (section 9.1).
        self._board.transactions.open_client(self._branch, "CANCEL", hop.flow, data, NOBODY, now)
        self._board.transactions.limit_wait(client, 64 * T1, now)
