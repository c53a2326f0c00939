"""InviteRequests: an INVITE outside a dialog, which sets up a call (RFC 3261 section 13)."""

from __future__ import annotations

from edgesbc.base.reasons import Reason
from edgesbc.screen.standing import Standing
from edgesbc.signalling.calls import Calls, CallSetup
from edgesbc.signalling.context_parts import ContextParts
from edgesbc.signalling.incoming import Incoming
from edgesbc.signalling.out_of_dialog import OutOfDialogAdmission
from edgesbc.signalling.peers import DialogPeers
from edgesbc.signalling.response_context import ResponseContext
from edgesbc.signalling.screener import Screener

__all__ = ["InviteRequests"]


class InviteRequests:
    """The path of an INVITE; while ``draining``, no call begins."""

    __slots__ = ("_admission", "_calls", "_parts", "_screener", "draining")

    def __init__(self, parts: ContextParts, admission: OutOfDialogAdmission, calls: Calls, screener: Screener) -> None:
        self._parts = parts
        self._admission = admission
        self._calls = calls
        self._screener = screener
        self.draining = False

    def forward(self, incoming: Incoming, now: float) -> None:
        """Open a call and send the INVITE to the hops that are found for it, unless it is refused."""
        targets = self._admission.admit(incoming, now)
        if targets is None:
            return
        reason = self._reason_against(incoming)
        if reason is not None:
            self._screener.refuse(incoming, reason, now)
            return
        parts, calls, subject = self._parts, self._calls, incoming.subject
        server = parts.responder.open_transaction(incoming, now)
        source = None if subject.standing is Standing.TRUNK else subject.source
        holder = parts.live.standings.call_holder(incoming.flow, subject.with_secret, now)
        call = calls.open(incoming.message, incoming.flow, subject.trunk or "", source, holder, now)
        context = ResponseContext(
            parts,
            server,
            targets,
            DialogPeers(parts.tokens, parts.named_peers, server, call, new_call=True),
            subject.standing,
            call,
            CallSetup(calls, call),
            self._admission.loop_marks(incoming),
        )
        call.invite = context
        context.start(now)

    def _reason_against(self, incoming: Incoming) -> Reason | None:
        """The reason to refuse a new call now; None if there is none."""
        if self.draining:
            return Reason.DRAINING
        has_account = incoming.subject.standing >= Standing.REGISTERED
        if self._calls.full if has_account else self._calls.half_full:
            return Reason.OVERLOAD
        if not self._calls.has_room(incoming.message, incoming.flow):
            return Reason.LOOP  # servers that lead to each other, and remove the marks and Max-Forwards
        return None
