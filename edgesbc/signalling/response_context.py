"""ResponseContext: a forwarded request, from its server transaction to its final answer (RFC 3261 section 16.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import attrs

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.leases import Lease
from edgesbc.media.commands import MediaError
from edgesbc.screen.standing import Standing
from edgesbc.signalling.best_response import BestResponse
from edgesbc.signalling.bodies import SDP
from edgesbc.signalling.branch import Branch
from edgesbc.signalling.call import Call
from edgesbc.signalling.calls import CallSetup
from edgesbc.signalling.context_parts import ContextParts
from edgesbc.signalling.member_health import HealthFeedback
from edgesbc.signalling.offer_answer import OfferAnswer
from edgesbc.signalling.peers import Peers
from edgesbc.signalling.request_branches import RequestBranches
from edgesbc.signalling.sender_responses import Forwarding, SenderResponses, warning
from edgesbc.signalling.targets import NextHop, TargetSet
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.signalling.unreadable_response import UnreadableResponse
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.machines import TransactionState
from edgesbc.sip.message import Request, Response

__all__ = ["ResponseContext"]

_UNREADABLE = frozenset({400, 481})
"""What the media plane says of an answer that its sender got wrong: a 502 for the caller, whose request was right."""
_RETRY_AFTER = 5  # seconds
_COMPLETED_ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'


class ResponseContext:
    """Has one request sent on, to one hop, to several at once, or to one after the other, and answers it once.

    ``call`` is the call that the request belongs to or sets up; ``setup`` is given where it sets one up.
    ``evidence`` is whether what becomes of the request may count for and against members; that of an unproven source
    never does. ``mark`` ends the branches of a request outside a dialog (RFC 5393). ``standing`` is that of the sender.
    ``on_completed`` is called with the status of the final answer, or 0 where the sender is gone, and the time.
    """

    __slots__ = (
        "_answer_forwarded", "_answer_tag", "_best", "_branches", "_cancelled", "_crowded", "_failover_ended",
        "_health", "_is_invite", "_lost_bodies", "_on_completed", "_parts", "_peers", "_queue", "_responses", "_sdp",
        "_setup", "_stop_at", "_tags", "_timed_out", "_too_large", "_unusable", "due", "queued", "request", "server",
    )  # fmt: skip

    def __init__(
        self,
        parts: ContextParts,
        server: ServerTransaction,
        targets: TargetSet,
        peers: Peers,
        standing: Standing,
        call: Call | None = None,
        setup: CallSetup | None = None,
        mark: str = "",
        on_completed: Callable[[int, float], None] | None = None,
        evidence: bool = True,
    ) -> None:
        self._parts = parts
        self.server = server
        self.request: Request = server.request
        self._is_invite = self.request.method == "INVITE"
        self._peers = peers
        self._setup = setup
        self._on_completed = on_completed
        self._sdp = OfferAnswer(parts.media, server, call, standing, targets.family())
        evidence = evidence and server.proven
        self._health = HealthFeedback(parts.dispatcher, parts.effects, server, call, evidence)
        on_hop = setup.on_sent if setup is not None else None
        self._responses = SenderResponses(parts, server, peers, self._sdp)
        self._branches = RequestBranches(parts, server, targets, peers, standing, on_hop, mark, evidence)
        self._queue: list[tuple[Branch, Response]] = []  # they wait behind one that is at the media plane
        self._answer_forwarded = False
        self._answer_tag = ""  # in the To of the final answer
        self._tags: dict[str, str] = {}  # the tag of each 2xx that sets up a dialog, and the branch that it came by
        self._cancelled = False
        self._failover_ended = False  # a refusal, or a failure, after which no other hop is tried
        self._timed_out = False
        self._crowded = False  # whether too many wait for the connection of a hop
        self._lost_bodies = 0  # hops that may not get a body which the request requires
        self._too_large = 0  # hops whose datagrams the request does not fit into
        self._unusable: MediaError | None = None  # why the last answer could not be used
        self._best: BestResponse | None = None
        self._stop_at = 0.0  # when a re-INVITE ends, however often it gets a provisional answer
        self.due: float | None = None
        self.queued: float | None = None
        server.user = self

    # --- forward -----------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Send the request on; where it has SDP, by way of the media plane."""
        if self._is_invite and self._setup is None:
            # A re-INVITE. That of a call is bounded by the call's own set-up.
            self._stop_at = now + limits.RING_SECONDS
            self._restart_timer_c(now)
        conflict, error = self._sdp.conflict(), self._sdp.request_error()
        if conflict is not None:
            # RFC 3261 section 14.2: one offer at a time in a dialog, and a 500 says when to try again.
            wait = _RETRY_AFTER if conflict.status == 500 else 0
            self._refuse(Reason.OPEN_OFFER, now, conflict.status, conflict.reason, wait)
        elif error is not None:
            reason = Reason.NO_MEDIA if error.status == Reason.NO_MEDIA.status else Reason.BODY
            self._refuse(reason, now, error.status, error.reason, extra=warning(error, self.server))
        elif self._sdp.awaits_hop():
            self._try_next(now)
        elif not self._sdp.send(self._on_anchored, now):
            self._branches.sdp = self._sdp.sdp_outside_session()
            self._try_next(now)

    def _on_anchored(self, sdp: bytes | MediaError, now: float) -> None:
        if self.server.answered:
            return  # cancelled meanwhile
        if self._sdp.has_lost_dialog():
            self._refuse(Reason.NO_DIALOG, now, 487)  # RFC 3261 section 15.1.2
        elif isinstance(sdp, MediaError):
            self._refuse_media(sdp, now)
        else:
            self._branches.sdp = sdp
            self._try_next(now)

    def _try_next(self, now: float) -> None:
        if self._branches.breadth_used_up:
            self._refuse(Reason.LOOP, now, 440, "Max-Breadth is used up")
        elif not self._branches.choose_next(self, now):
            self._answer_best(Reason.NO_DESTINATION, now)
        elif not self._sdp.offer_to(self._branches.family, self._on_anchored_for_hop, now):
            self._branches.send_chosen(now)

    def _on_anchored_for_hop(self, sdp: bytes | MediaError, now: float) -> None:
        """The hop that was chosen has another address family than the one before, or than others of its set."""
        if not self.server.answered and self._branches.pending:
            if isinstance(sdp, MediaError):
                self._refuse_media(sdp, now)
            else:
                self._branches.sdp = sdp
                self._branches.send_chosen(now)

    def on_slow_connection(self, branch: Branch, now: float) -> None:
        self._branches.race(branch, self, now)

    def on_connected(self, branch: Branch, now: float) -> None:
        self._branches.end_race(branch, now)

    # --- answers -----------------------------------------------------------------------------------------

    def on_response(self, branch: Branch, response: Response, now: float) -> None:
        """A branch has an answer. It waits while an earlier answer is at the media plane."""
        if not self._sdp.waiting:
            self._process(branch, response, now)
        elif len(self._queue) < limits.PENDING_MEDIA:
            self._queue.append((branch, response))

    def _process(self, branch: Branch, response: Response, now: float) -> None:
        status = response.status
        if status == 100 or (status < 200 and not self._is_invite):
            return  # RFC 4320 section 4.1: no other provisional answer to a request that is no INVITE
        if (
            branch.abandoned
            or self._is_refused
            or self._is_like_another(branch, response)
            or not self._may_forward(response)
        ):
            if status >= 200 and self.server.answered:
                self._branches.remove(branch)
            branch.end_unwanted(response, now)
            return
        if isinstance(response, UnreadableResponse):
            self._process_unreadable(branch, response, now)
            return
        if status >= 300:
            self._process_refusal(branch, response, now)
            return
        if status < 200 and not (self._cancelled or self.server.answered):
            self._restart_timer_c(now)
        if not branch.forwarded:  # one success for the member, however often it rings
            self._health.on_success(branch.hop, now)
        repeated = self._is_repeated(response)
        self._peers.learn(branch.hop, response)
        if self._sdp.should_anchor_response(response):
            callback = partial(self._on_answer_anchored, branch, repeated)
            self._sdp.answer(response, branch.hop.flow, callback, now)
        elif (error := self._sdp.answer_error(response)) is not None:
            self._fail_over(branch, response, repeated, error, now)
        else:
            self._forward(branch, response, None, now)

    def _is_repeated(self, response: Response) -> bool:
        """Whether the sender has had a 2xx of the same dialog: another one that cannot be used must not end that."""
        if not self.server.answered:
            return False
        setup = self._setup
        return setup.call.has_fork(response.to_tag) if setup is not None else response.to_tag == self._answer_tag

    def _is_like_another(self, branch: Branch, response: Response) -> bool:
        """Whether the sender could not tell the dialog of this 2xx from one that it has: another callee gave the same
        tag. Those of RFC 2543 give none."""
        return 200 <= response.status < 300 and self._tags.get(response.to_tag, branch.id) != branch.id

    def _may_forward(self, response: Response) -> bool:
        """Whether an answer may still go to the sender. One whose address may be forged gets the 2xx of one peer only
        (:meth:`CallSetup.may_forward`), to a re-INVITE too."""
        if self._setup is not None:
            return self._setup.may_forward(response, self.server)
        server = self.server
        if server.proven or not server.answered or not self._is_invite or not 200 <= response.status < 300:
            return True
        return response.to_tag == self._answer_tag

    def _process_unreadable(self, branch: Branch, response: UnreadableResponse, now: float) -> None:
        """A response cannot be parsed. A provisional one means nothing then, and a refusal that says by its fields what
        to do is a 502 (RFC 3261 section 21.5.3)."""
        if response.status >= 300:
            self._process_refusal(branch, response.without_fields(), now)
        elif response.status >= 200:
            error = MediaError(502, f"a response that cannot be read: {response.reason}")
            self._fail_over(branch, response, self._is_repeated(response), error, now)

    def _restart_timer_c(self, now: float) -> None:
        """Each provisional answer but 100 begins Timer C anew (RFC 3261 section 16.7 step 2)."""
        if self._setup is not None:
            self._setup.on_provisional(now)
        elif self._is_invite:
            self._parts.deadlines.schedule(self, min(now + limits.SET_UP_SECONDS, self._stop_at))

    def _process_refusal(self, branch: Branch, response: Response, now: float) -> None:
        """A branch is refused: which answer the sender gets is decided when all are (RFC 3261 section 16.7 step 5)."""
        status, hop = response.status, branch.hop
        self._branches.remove(branch)
        if self.server.answered:
            return  # another branch has the call
        if status == 408 and not self._is_invite and not self._branches.pending:
            branch.release()
            self._finish(408, "timeout", now)  # RFC 4320 section 4.2: it comes too late to be of use
            return
        fails_over = self._fails_over(status, hop)
        self._health.on_refusal(hop, response, branch.forwarded, fails_over, now)
        if not fails_over and not self._branches.pending and self._best is None:
            self._forward(branch, response, None, now)  # the usual case: one branch, one answer
            return
        if self._best is None:
            self._best = BestResponse()
        self._best.add(branch, response, not fails_over)
        branch.release()
        self._failover_ended = self._failover_ended or not fails_over
        if not fails_over and status >= 600:
            self._branches.cancel_all(now, [f"SIP;cause={status}"])  # a 6xx holds for all places (step 5)
        self._go_on(now)

    def _fails_over(self, status: int, hop: NextHop) -> bool:
        return (
            hop.lease is not None and status in hop.failover_on and not self._answer_forwarded and not self._cancelled
        )

    def _go_on(self, now: float) -> None:
        """A branch has ended: wait for the others, or try the next, or answer."""
        if self._branches.pending:
            return
        if not (self._answer_forwarded or self._cancelled or self._failover_ended):
            self._try_next(now)
        else:
            self._answer_best(None, now)

    def _answer_best(self, reason: Reason | None, now: float) -> None:
        """No hop is left: forward the best refusal, or refuse for ``reason``; None: as the last branch ended."""
        response = self._best.gather() if self._best is not None else None
        if self._best is not None and response is not None and self._best.branch is not None:
            self._forward(self._best.branch, response, None, now)
        elif self._cancelled:
            self._finish(487, "cancelled", now)
        elif self._unusable is not None:
            error = self._unusable
            self._refuse_media(error, now)
        elif self._too_large and self._too_large == self._branches.tried:
            self._refuse(Reason.TOO_LARGE, now)  # RFC 3261 section 21.5.7
        elif self._lost_bodies and self._lost_bodies == self._branches.tried:
            # RFC 3261 sections 20.11 and 21.4.13.
            self._refuse(Reason.BODY, now, extra=[("Accept", SDP)])
        elif self._crowded:
            self._refuse(Reason.OVERLOAD, now)
        elif reason is not None:
            self._refuse(reason, now)
        else:
            self._finish(408 if self._timed_out else 480, "timeout" if self._timed_out else "failed", now)

    def _on_answer_anchored(
        self, branch: Branch, repeated: bool, response: Response, sdp: bytes | MediaError, now: float
    ) -> None:
        if branch.abandoned or self._is_refused:
            branch.end_unwanted(response, now)  # cancelled meanwhile
        elif not isinstance(sdp, MediaError):
            self._forward(branch, response, sdp, now)
        elif response.status < 200 and response.get("RSeq") is None:
            self._forward(branch, response, b"", now)  # nothing depends on it (RFC 3261 section 13.2.1)
        else:
            self._fail_over(branch, response, repeated, sdp, now)
        while self._queue and not self._sdp.waiting:
            self._process(*self._queue.pop(0), now)

    @property
    def _is_refused(self) -> bool:
        """Whether the sender has had a final answer, and it was no 2xx to an INVITE."""
        return self.server.answered and self.server.state is not TransactionState.ACCEPTED

    def _fail_over(self, branch: Branch, response: Response, repeated: bool, error: MediaError, now: float) -> None:
        """An answer cannot be used: end its branch, and try the next hop, unless it is ``repeated``."""
        if not repeated and self._drop_answer(branch, response, now):
            self._unusable = error if error.status not in _UNREADABLE else attrs.evolve(error, status=502)
            self._health.on_unusable(branch.hop, response, error.reason, now)
            # A trunk or device has no other hop, and where the media plane has no room, none helps.
            no_room = error.status in (500, 503)
            self._failover_ended = self._failover_ended or branch.hop.lease is None or no_room
            self._go_on(now)

    def _drop_answer(self, branch: Branch, response: Response, now: float) -> bool:
        """An answer cannot be forwarded: end its branch. False if another one has the call."""
        if self.server.answered:
            branch.end_unwanted(response, now)
            return False
        branch.abandon(now)
        branch.end_unwanted(response, now)
        self._branches.remove(branch)
        return True

    def _forward(self, branch: Branch, response: Response, sdp: bytes | None, now: float) -> None:
        """Send an answer on to the sender; ``sdp`` takes the place of its SDP, None where that was not anchored."""
        forwarded, size = self._responses.forward(branch, response, sdp, now)
        status = response.status
        if forwarded is Forwarding.SENT:
            if status < 300:
                branch.forwarded = self._answer_forwarded = True
            if status >= 200:
                if status < 300 and self._setup is not None and len(self._tags) < limits.FORK_BRANCHES:
                    self._tags.setdefault(response.to_tag, branch.id)
                self._on_answered(branch, status, response.to_tag, now)
        elif forwarded is Forwarding.WITHHELD:
            self._withhold(branch, response, size, now)
        elif forwarded is Forwarding.TOO_LARGE and status >= 200:
            dropped = self._drop_answer(branch, response, now)
            if dropped and not self._branches.pending:
                detail = f"the response is larger than a datagram: {size} bytes"
                self._refuse(Reason.TOO_LARGE, now, Reason.INTERNAL.status, detail)
            elif not dropped and self._setup is not None:
                self._setup.call.remove_fork(response.to_tag)

    def _withhold(self, branch: Branch, response: Response, size: int, now: float) -> None:
        """Do not forward a 2xx: end what it set up, unless the sender has had it before."""
        call = self._setup.call if self._setup is not None else None
        if not self.server.answered:
            if self._drop_answer(branch, response, now) and not self._branches.pending:
                asked = f"a request of {self.server.size}, from an address without proof"
                detail = f"a 2xx of {size} bytes for {asked}"
                self._refuse(Reason.TOO_LARGE, now, detail=detail)
        elif call is not None and not self.server.repeated and call.remove_fork(response.to_tag):
            branch.end_unwanted(response, now)

    def _on_answered(self, branch: Branch, status: int, tag: str, now: float) -> None:
        """The sender has its final answer, which ``branch`` gave, with that tag in To."""
        setup = self._setup
        self._branches.remove(branch)
        self._best = None  # its branch refers to this context
        self._answer_tag = tag
        if setup is None:
            branch.release()
            self._end_branches(now)
        elif status < 300:
            for other in tuple(self._branches.pending):
                # Step 10. The Reason says that no call was missed (RFC 3326 section 3.1). A 2xx that comes all the same
                # is forwarded (step 5).
                self._branches.cancel(other, now, [_COMPLETED_ELSEWHERE])
                other.release()
            setup.on_answered(branch.hop, now)
        else:
            setup.on_failed("cancelled" if self._cancelled else "refused", now)
        self._sdp.on_final(status, now)
        if self._on_completed is not None:
            self._on_completed(status, now)

    # --- failure -----------------------------------------------------------------------------------------

    def on_failure(self, branch: Branch, timeout: bool, now: float) -> None:
        """A branch will get no answer, because of a time-out or (``timeout`` False) of a transport error."""
        self._branches.remove(branch)
        lease = branch.hop.lease
        if not (self.server.answered or self._cancelled or branch.forwarded) and lease is not None:
            too_late = timeout and not self._is_invite  # its sender has no time left for another
            self._health.on_no_answer(branch.hop, branch.failure, timeout, too_late, now)
            self._failover_ended = self._failover_ended or too_late
        self._crowded = self._crowded or branch.failure is SendFailure.CROWDED
        self._too_large += branch.failure is SendFailure.TOO_LARGE
        self._lost_bodies += branch.failure is SendFailure.BODY
        self._failover_ended = self._failover_ended or lease is None
        self._timed_out = timeout
        branch.abandon(now)
        if not self.server.answered:
            self._go_on(now)
        elif self._setup is None:
            self._end_branches(now)

    def _refuse(
        self,
        reason: Reason,
        now: float,
        status: int = 0,
        detail: str = "",
        retry_after: int = 0,
        extra: Sequence[tuple[str, str]] = (),
    ) -> None:
        """No hop is left to try: refuse the request, for a reason that an operator can look up."""
        request, outcome = self.request, reason.code
        if reason is Reason.NO_DESTINATION:
            outcome = "failed"
            status, retry_after = self._branches.refusal()
        status = status or reason.status
        if reason is Reason.NO_MEDIA and status == 503:
            retry_after = _RETRY_AFTER  # RFC 3261 section 21.5.4: ports or descriptors are short for a moment
        if not detail:
            detail = self._branches.describe()
        self._parts.effects.record(now, reason, self.server.source, request.call_id, detail, answer=status)
        self._finish(status, outcome, now, retry_after, extra)

    def _refuse_media(self, error: MediaError, now: float) -> None:
        """The media plane has refused the description. Where it has no room, or is away, another attempt may succeed
        soon (RFC 3261 section 21.5.4)."""
        wait = _RETRY_AFTER if error.status == 503 else 0
        self._refuse(Reason.NO_MEDIA, now, error.status, error.reason, wait, warning(error, self.server))

    def _finish(
        self, status: int, outcome: str, now: float, retry_after: int = 0, more: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Send the edge's own final answer, and end the call that the request was to set up."""
        self._abandon_branches(now)
        self._responses.refuse(status, retry_after, more, now)
        self._end(status, outcome, now)

    def _end(self, status: int, outcome: str, now: float) -> None:
        self._best = None
        if self._setup is not None:
            self._setup.on_failed(outcome, now)
        else:
            self._end_branches(now)
        self._sdp.on_final(status, now)
        if self._on_completed is not None:
            self._on_completed(status, now)

    def _abandon_branches(self, now: float) -> None:
        self._branches.abandon_all(now)
        queue, self._queue = self._queue, []
        for branch, response in queue:
            branch.end_unwanted(response, now)

    def _end_branches(self, now: float) -> None:
        """End the branches of a request that sets up no call: their leases are held until the answer only."""
        self._parts.deadlines.schedule(self, None)
        self._abandon_branches(now)

    def leases(self) -> list[Lease]:
        """The leases that the request itself holds; those of a call's INVITE are the call's."""
        return [] if self._setup is not None else self._branches.leases()

    # --- ended by its sender, or from here ---------------------------------------------------------------

    def on_cancel(self, reasons: Sequence[str], now: float) -> None:
        """The sender has cancelled the request (RFC 3261 section 16.10); ``reasons`` are the Reason fields of its
        CANCEL."""
        if self.server.answered or self._cancelled:
            return
        self._cancelled = True
        self._branches.cancel_all(now, reasons)
        if not self._branches.pending:
            self._finish(487, "cancelled", now)  # nothing was sent yet

    def on_connection_lost(self, now: float) -> None:
        """The sender's connection is closed: no answer can reach it, so end what the request began."""
        self._cancelled = True
        self._abandon_branches(now)
        self._end(0, "cancelled", now)

    def on_internal_error(self, now: float) -> None:
        self.stop(Reason.INTERNAL, "failed", now)

    def expire(self, now: float) -> None:
        """A re-INVITE has had no answer for too long (Timer C, RFC 3261 section 16.8)."""
        self.stop(Reason.SET_UP_TIMEOUT, "timeout", now)

    def stop(self, reason: Reason, outcome: str, now: float) -> None:
        """End it from here, with the status of ``reason``."""
        if not self.server.answered:
            self._cancelled = True
            self._finish(reason.status, outcome, now)
