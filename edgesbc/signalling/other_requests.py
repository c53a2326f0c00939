"""OtherRequests: requests outside a dialog that are neither INVITE nor REGISTER, such as OPTIONS and MESSAGE."""

from __future__ import annotations

from edgesbc.base.reasons import Reason
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.incoming import Incoming
from edgesbc.signalling.out_of_dialog import OutOfDialogAdmission
from edgesbc.signalling.peers import DialogPeers
from edgesbc.signalling.response_context import ContextParts, ResponseContext
from edgesbc.signalling.screener import Screener
from edgesbc.sip.values import unsupported

__all__ = ["OtherRequests"]

_SUPPORTED = ("path",)
"""Option tags that the edge itself understands; those of others pass it."""


class OtherRequests:
    """Their path; OPTIONS for the edge itself is answered here."""

    __slots__ = ("_admission", "_flows", "_parts", "_screener")

    def __init__(self, parts: ContextParts, admission: OutOfDialogAdmission, flows: Flows, screener: Screener) -> None:
        self._parts = parts
        self._admission = admission
        self._flows = flows
        self._screener = screener

    def forward(self, incoming: Incoming, now: float) -> None:
        """Answer the request, or send it on."""
        request, method = incoming.message, incoming.message.method
        if method == "BYE" or method == "PRACK" or method == "UPDATE":  # which begin nothing
            self._screener.on_refusal(Reason.NO_DIALOG)
            self._parts.responder.answer_stateless(incoming, Reason.NO_DIALOG.status, now)
            return
        if method == "OPTIONS" and self._flows.is_ours(request.uri.host, request.uri.port):
            self._answer_options(incoming, now)
            return
        targets = self._admission.admit(incoming, now)
        if targets is None:
            return
        parts = self._parts
        server = parts.responder.open_transaction(incoming, now)
        peers = DialogPeers(parts.tokens, server)
        mark = self._admission.loop_mark(incoming)
        ResponseContext(parts, server, targets, peers, trusted=incoming.may_assert_identity, mark=mark).start(now)

    def _answer_options(self, incoming: Incoming, now: float) -> None:
        """The edge's own capabilities (RFC 3261 section 11.2), also where a user is asked for: an answer that depended
        on the user would tell strangers which users exist."""
        responder = self._parts.responder
        missing = unsupported(incoming.message.get_all("Require"), _SUPPORTED)
        if missing:  # section 8.2.2.3
            responder.answer_stateless(incoming, 420, now, [("Unsupported", ", ".join(missing))])
            return
        capabilities = [
            self._screener.allow(incoming.flow), ("Accept", "application/sdp"), ("Supported", ", ".join(_SUPPORTED)),
        ]  # fmt: skip
        responder.answer_stateless(incoming, 200, now, capabilities)
