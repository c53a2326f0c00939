"""The response context of a forwarded request (RFC 3261 section 16.7): try, fork, fail over, answer once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.leases import Lease
from edgesbc.media.commands import MediaError
from edgesbc.signalling import topology
from edgesbc.signalling.best_response import BestResponse
from edgesbc.signalling.branch import Branch
from edgesbc.signalling.calls import Call, CallState, Leg
from edgesbc.signalling.dialog_peers import DialogPeers
from edgesbc.signalling.health_feedback import HealthFeedback
from edgesbc.signalling.next_hop import NextHop, TargetSet
from edgesbc.signalling.offer_answer import OfferAnswer
from edgesbc.signalling.registrations import (
    contacts_of_sender,
    deliver_at,
    from_stranger,
    note_registration,
    path_value,
)
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Request, Response
from edgesbc.sip.transaction import TransactionState

__all__ = ["ResponseContext"]

_ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'


class ResponseContext:
    """One request on its way through the edge, from its server transaction to the answer that ends it.

    ``call`` is the call that the request belongs to or sets up; ``new_call`` tells which. ``trusted`` is
    whether the sender may assert identities.
    """

    __slots__ = (
        "_best", "_board", "_body", "_branches", "_came", "_cancelled", "_heard", "_hops", "_mark", "_parties",
        "_queue", "_sdp", "_settled", "_testimony", "_timed_out", "_tried", "call", "due", "new_call", "queued",
        "request", "server", "trusted",
    )  # fmt: skip

    def __init__(
        self,
        board: Switchboard,
        server: ServerTransaction,
        hops: TargetSet,
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
        self._branches: list[Branch] = []  # that owe a final answer
        self._tried = 0
        self._came = 0.0
        self._mark = "" if self.request.in_dialog else board.loop_mark(self.request, server.source.listener)
        self._body: bytes | None = None
        self._sdp = OfferAnswer(board, server, call)
        self._parties = DialogPeers(board, server, call, new_call)
        self._testimony = HealthFeedback(board, server, call)
        self._queue: list[tuple[Branch, Response]] = []  # behind one that waits for the media plane
        self._heard = False
        self._cancelled = False
        self._settled = False  # a refusal, or a failure, after which no other place is tried
        self._timed_out = False
        self._best: BestResponse | None = None
        self.due: float | None = None
        self.queued: float | None = None
        server.context = self

    # --- forward -----------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Send the request on; where it has SDP, by way of the media plane."""
        board, call, request = self._board, self.call, self.request
        self._came = now
        if request.method == "INVITE" and not self.new_call:
            board.deadlines.schedule(self, now + limits.SET_UP_SECONDS)  # the call's own set-up bounds the first one
        if self._sdp.hides_sdp_from_media():
            self._give_up(Reason.NO_MEDIA, now, detail="SDP inside a multipart body")
        elif not self._sdp.send(self._anchored, now):
            self._body = self._sdp.body_without_sdp(request)
            if call is not None and self.new_call:
                call.late_offer = not self._sdp.offer_in_request
            self._try_next(now)

    def _anchored(self, sdp: bytes | MediaError, now: float) -> None:
        if self.server.answered:
            return  # cancelled meanwhile
        if isinstance(sdp, MediaError):
            self._give_up(Reason.NO_MEDIA, now, sdp.status, sdp.reason)
        else:
            self._body = sdp
            self._try_next(now)

    def _try_next(self, now: float) -> None:
        """Send to the next target group (RFC 3261 section 16.6): one place, or several at once."""
        most = limits.FORK_BRANCHES - self._tried
        if self.request.get("Max-Breadth") is not None:
            most = min(most, topology.breadth(self.request))
            if not most:
                self._give_up(Reason.LOOP, now, 440, "Max-Breadth is used up")
                return
        hops = self._hops.next(now, most) if most else ()
        if not hops:
            self._answer_best(Reason.NO_DESTINATION, now)
            return
        self._tried += len(hops)
        # All are there before the first is sent: whatever happens then, their places are given back.
        branches = [Branch(self._board, self, self.request, hop) for hop in hops]
        self._branches += branches
        for branch in branches:
            self._send(branch, len(branches), now)

    def _send(self, branch: Branch, abreast: int, now: float) -> None:
        board, request, hop = self._board, self.request, branch.hop
        listener = hop.flow.listener
        branch.id = board.new_branch() + self._mark
        if self.call is not None and self.new_call:
            if hop.lease is not None:
                self.call.leases.append(hop.lease)
            self.call.callee = Leg(hop.flow)
        extra = path_value(board, request, self.server.source, listener) if request.method == "REGISTER" else []
        if abreast > 1 or request.get("Max-Breadth") is not None:
            extra = [*extra, ("Max-Breadth", str(topology.breadth(request) // abreast))]
        data = topology.forward_request(
            request,
            listener,
            branch.id,
            hop.uri,
            hop.routes,
            self._parties.contact(hop.flow),
            self._body,
            extra,
            self.trusted or (hop.lease is not None and listener.zone is Zone.PUBLIC),
        )
        branch.send(data, now)

    # --- answers -----------------------------------------------------------------------------------------

    def on_answer(self, branch: Branch, response: Response, now: float) -> None:
        """A branch has an answer, which waits for those before it that are at the media plane."""
        if not self._sdp.waiting:
            self._take(branch, response, now)
        elif len(self._queue) < limits.PENDING_MEDIA:
            self._queue.append((branch, response))

    def _take(self, branch: Branch, response: Response, now: float) -> None:
        status, method = response.status, self.request.method
        if status == 100 or (status < 200 and method != "INVITE"):
            return  # RFC 4320 section 4.1: no other provisional answer to a request that is no INVITE
        call = self.call
        over = self.new_call and call is not None and (call.state is CallState.ENDED or self._untold(call, response))
        if branch.left or self._refused or over:
            branch.hang_up(response, now)  # nobody waits for it any more
            return
        if status >= 300:
            self._take_refusal(branch, response, now)
            return
        if not branch.heard:  # one sign of life, however often it rings
            self._testimony.alive(branch.hop, now)
        branch.heard = self._heard = True
        self._parties.learn(branch, response)
        if call is not None and self._sdp.should_anchor(response):
            self._sdp.answer(response, branch.hop.flow, partial(self._answer_anchored, branch), now)
            return
        self._forward(branch, response, None, now)

    def _untold(self, call: Call, response: Response) -> bool:
        """Whether it is a 2xx of another fork, and the caller, whose address may be forged, is told of no more."""
        server = self.server
        return server.repeated and 200 <= response.status < 300 and not call.has_fork(response.to_tag)

    def _take_refusal(self, branch: Branch, response: Response, now: float) -> None:
        """A branch is refused: what the sender hears is decided when all are (RFC 3261 section 16.7 step 5)."""
        status, hop = response.status, branch.hop
        if branch in self._branches:
            self._branches.remove(branch)
        if self.server.answered:
            return  # another branch has the call
        if status == 408 and self.request.method != "INVITE" and not self._branches:
            branch.release()
            self._finish(408, "timeout", now)  # RFC 4320 section 4.2: it comes too late to be of use
            return
        settled = not self._fails_over(status, hop)
        if not settled:
            self._testimony.refused(hop, response, now)
        elif status != 503:  # which is no sign of life, and no failure where nobody tries on
            self._testimony.alive(hop, now)
        if settled and not self._branches and self._best is None:
            self._forward(branch, response, None, now)  # as nearly always: one branch, one answer
            return
        if self._best is None:
            self._best = BestResponse()
        self._best.add(branch, response, settled)
        branch.release()
        self._settled = self._settled or settled
        if settled and status >= 600:
            for other in self._branches:
                other.cancel(now, [f"SIP;cause={status}"])  # nobody else is to be asked, says step 5
        self._go_on(now)

    def _fails_over(self, status: int, hop: NextHop) -> bool:
        return hop.lease is not None and status in hop.failover_on and not self._heard and not self._cancelled

    def _go_on(self, now: float) -> None:
        """A branch has ended: wait for the others, or try the next, or answer."""
        if self._branches:
            return
        if not (self._heard or self._cancelled or self._settled):
            self._try_next(now)
        else:
            self._answer_best(None, now)

    def _answer_best(self, reason: Reason | None, now: float) -> None:
        """No place is left: pass the best refusal on, or refuse for ``reason``; None: as the last try ended."""
        response = self._best.gather() if self._best is not None else None
        if self._best is not None and response is not None and self._best.branch is not None:
            self._forward(self._best.branch, response, None, now)
        elif self._cancelled:
            self._finish(487, "cancelled", now)
        elif reason is not None:
            self._give_up(reason, now)
        else:
            self._finish(408 if self._timed_out else 480, "timeout" if self._timed_out else "failed", now)

    def _answer_anchored(self, branch: Branch, response: Response, sdp: bytes | MediaError, now: float) -> None:
        if branch.left or self._refused:
            branch.hang_up(response, now)  # cancelled meanwhile
        elif isinstance(sdp, MediaError):
            self._refuse_answer(branch, response, sdp, now)
        else:
            self._forward(branch, response, sdp, now)
        while self._queue and not self._sdp.waiting:
            self._take(*self._queue.pop(0), now)

    @property
    def _refused(self) -> bool:
        """Whether the sender has had a final answer, and it was no 2xx to an INVITE."""
        return self.server.answered and self.server.state is not TransactionState.ACCEPTED

    def _refuse_answer(self, branch: Branch, response: Response, refusal: MediaError, now: float) -> None:
        """The far side's SDP cannot be used: end what it has begun, and refuse the call if nobody else may answer."""
        if self.server.answered:
            branch.hang_up(response, now)  # another fork has the call, and may have it at the same place
            return
        branch.leave(now)
        branch.hang_up(response, now)
        if branch in self._branches:
            self._branches.remove(branch)
        if not self._branches:
            self._give_up(Reason.NO_MEDIA, now, refusal.status, refusal.reason)

    def _forward(self, branch: Branch, response: Response, body: bytes | None, now: float) -> None:
        board, server, request = self._board, self.server, self.request
        holder, final = server.flow, response.status >= 200
        contact, contacts, due = "", [], now
        if request.method == "REGISTER":
            note_registration(board.standings, server.source, request, response, now)
            if response.status >= 300 and from_stranger(board, server, now) and branch.hop.lease is not None:
                response = board.challenges.disguise(branch.hop.lease.member.set_name, response)
                due = self._came + limits.REGISTER_ANSWER_SECONDS
            if response.status < 300:  # a refusal has no bindings to show
                contacts = contacts_of_sender(request, response)
        elif response.status < 300 and response.get("Contact"):
            contact = self._parties.answer_contact(branch, response, holder)
        if final and server.source.listener.zone is Zone.PUBLIC:
            # As its sender gets it: what tells it nothing is no guess, or the count of guesses would tell.
            board.pipeline.answered(server.source, request, response, now)
        if body is None:
            body = self._sdp.body_without_sdp(response)
        vias = board.vias(server)
        data = topology.forward_response(response, request, vias, holder.listener.zone, contact, body, contacts)
        deliver_at(board, server, response.status, data, due, now)
        if final:
            self._answered(branch, response.status, now)

    def _answered(self, branch: Branch, status: int, now: float) -> None:
        """The sender has its final answer, which ``branch`` gave."""
        call = self.call
        if branch in self._branches:
            self._branches.remove(branch)
        if call is None or not self.new_call:
            branch.release()
            self._let_go(now)
        elif status < 300:
            for other in self._branches:
                # Step 10; what answers all the same is passed on (step 5). No call was missed: RFC 3326 section 3.1.
                other.cancel(now, [_ELSEWHERE])
                other.release()
            call.context = None
            self._board.calls.establish(call, branch.hop.lease, now)
        else:
            self._board.calls.end(call, "cancelled" if self._cancelled else "refused")

    # --- failure -----------------------------------------------------------------------------------------

    def on_failure(self, branch: Branch, timeout: bool, now: float) -> None:
        """A branch will get no answer: of a time-out or (``timeout`` False) of a transport error."""
        if branch in self._branches:
            self._branches.remove(branch)
        lease = branch.hop.lease
        if not self.server.answered and not self._cancelled and not branch.heard and lease is not None:
            if timeout and self.request.method != "INVITE":
                self._testimony.silent(branch.hop, now)
                self._settled = True  # its sender has no time left for another
            else:
                self._testimony.gone(branch.hop, timeout, now)
        self._settled = self._settled or lease is None
        self._timed_out = timeout
        branch.leave(now)
        if not self.server.answered:
            self._go_on(now)
        elif not self.new_call:
            self._let_go(now)

    def _give_up(self, reason: Reason, now: float, status: int = 0, detail: str = "") -> None:
        """No place is left to try: refuse the request, for a reason that an operator can look up."""
        request, outcome, wait = self.request, reason.code, 0
        if reason is Reason.NO_DESTINATION:
            outcome = "failed"
            status, wait = self._hops.answer()
        status = status or reason.status
        if not detail:
            asked = self._hops.asked()
            detail = f"{asked}{': ' if asked else ''}{self._tried} tried"
        self._board.record(now, reason, self.server.source, request.call_id, detail, answer=status)
        self._finish(status, outcome, now, wait)

    def _finish(self, status: int, outcome: str, now: float, retry_after: int = 0) -> None:
        """Answer from here, and end the call that the request was to set up."""
        board = self._board
        self._leave_all(now)
        if status == 408 and self.request.method != "INVITE":
            board.transactions.forget(self.server)  # RFC 4320: its sender has timed out as well
        else:
            extra = [("Retry-After", str(retry_after))] if retry_after else []
            board.respond(self.server, status, now, extra)
        if self.call is not None and self.new_call:
            board.calls.end(self.call, outcome)
        else:
            self._let_go(now)

    def _leave_all(self, now: float) -> None:
        branches, self._branches = self._branches, []
        for branch in branches:
            branch.leave(now)
        queue, self._queue = self._queue, []
        for branch, response in queue:
            branch.hang_up(response, now)

    def places(self) -> list[Lease]:
        """The places at destinations that the request itself holds; those of a call's INVITE are the call's."""
        if self.new_call:
            return []
        return [branch.hop.lease for branch in self._branches if branch.hop.lease is not None and branch.hop.lease.live]

    def _let_go(self, now: float) -> None:
        """Without a call to hold them, places at destinations are held until the answer and no longer."""
        self._board.deadlines.schedule(self, None)
        self._leave_all(now)

    # --- CANCEL ------------------------------------------------------------------------------------------

    def cancel(self, now: float, reasons: Sequence[str] = ()) -> None:
        """The sender no longer wants an answer (RFC 3261 section 16.10), for what its CANCEL has as Reason."""
        if self.server.answered or self._cancelled:
            return
        self._cancelled = True
        if not self._branches:
            self._finish(487, "cancelled", now)  # nothing was sent yet
        for branch in self._branches:
            branch.cancel(now, reasons)

    def abandon(self, now: float) -> None:
        """The sender's connection is gone: nobody waits for an answer, so stop what the request began."""
        self._cancelled = True
        self._leave_all(now)
        if self.call is not None and self.new_call:
            self._board.calls.end(self.call, "cancelled")
        else:
            self._let_go(now)

    def expire(self, now: float) -> None:
        """The call has rung too long (Timer C, RFC 3261 section 16.8)."""
        self.stop(Reason.SET_UP_TIMEOUT, "timeout", now)

    def stop(self, reason: Reason, outcome: str, now: float) -> None:
        """End it from here, with the status of ``reason``."""
        if not self.server.answered:
            self._cancelled = True
            self._finish(reason.status, outcome, now)
