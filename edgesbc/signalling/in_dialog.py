"""Requests inside a dialog: the token in their Request-URI says where they go (RFC 3261 section 12.2).

A token is no right of whoever has it: it opens in the dialog that it was made for, for the peer that got it, and while
that dialog lives.
"""

from __future__ import annotations

from functools import partial

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.base.reasons import Reason
from edgesbc.media.commands import MediaError
from edgesbc.screen.standing import Standing
from edgesbc.signalling import topology
from edgesbc.signalling.adopted_calls import AdoptedCall, AdoptedCalls
from edgesbc.signalling.bodies import crossing_body, has_sdp
from edgesbc.signalling.call import Call, GivenToken, Leg, learn_target
from edgesbc.signalling.calls import Calls
from edgesbc.signalling.context_parts import ContextParts
from edgesbc.signalling.incoming import Incoming
from edgesbc.signalling.null_tags import is_null
from edgesbc.signalling.offer_answer import answer_in_ack
from edgesbc.signalling.peers import DialogPeers
from edgesbc.signalling.response_context import ResponseContext
from edgesbc.signalling.screener import Screener
from edgesbc.signalling.targets import NextHop, SingleTarget
from edgesbc.signalling.tokens import SHORTEST_TOKEN, RemoteTarget, TokenKind, dialog_digest
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.message import Request

__all__ = ["InDialogRequests"]

_AFTER_RESTART = frozenset({"ACK", "BYE", "NOTIFY", "OPTIONS", "UPDATE"})
"""Requests of calls from before a restart: what ends a call, refreshes it (RFC 4028), or reports a transfer. UPDATE
without an offer: there is no media session."""
_AFTER_FIRST_FORM = frozenset({"ACK", "BYE"})
"""Requests with a token of the first form, which says neither dialog nor peer; from the private side NOTIFY too."""


class InDialogRequests:
    """The path of a request whose To has a tag, and that of the ACK of a 2xx."""

    __slots__ = ("_adopted", "_calls", "_parts", "_screener")

    def __init__(self, parts: ContextParts, calls: Calls, adopted: AdoptedCalls, screener: Screener) -> None:
        self._parts = parts
        self._adopted = adopted
        self._calls = calls
        self._screener = screener

    def forward(self, incoming: Incoming, now: float) -> None:
        """Send the request to the other side; one that belongs to no dialog of the edge costs no state."""
        request, flow = incoming.message, incoming.flow
        token, call = self._find_call(incoming)
        hop = self._route(incoming, token, call, now)
        if hop is None:
            return
        parts = self._parts
        server = parts.responder.open_transaction(incoming, now)
        on_completed = None
        if call is not None:
            _learn_sender(call, request, flow)
            if request.method == "REFER" or request.method == "SUBSCRIBE":
                call.has_subscription = True
            if request.method == "UPDATE" and not request.body:
                parts.media.refresh(call, request.from_tag)
            if request.method == "BYE" and call.caller.tag in (request.from_tag, request.to_tag):
                call.hung_up = (*call.hung_up, _callee_of(call, request))[-limits.FORK_BRANCHES :]
                on_completed = partial(self._on_bye_completed, call, request)
        elif (adopted := self._adopted.find(request)) is not None:
            if request.method == "BYE":
                on_completed = partial(self._on_adopted_bye_completed, adopted)
            elif request.method == "UPDATE":
                self._adopted.refresh(adopted, request.from_tag)
        peers = DialogPeers(parts.tokens, parts.named_peers, server, call)
        standing = incoming.subject.standing
        ResponseContext(parts, server, SingleTarget(hop), peers, standing, call, on_completed=on_completed).start(now)

    def forward_ack(self, incoming: Incoming, now: float) -> None:
        """Send the ACK of a 2xx on; it has no transaction and no answer (RFC 3261 section 13.2.2.4)."""
        request, flow, media = incoming.message, incoming.flow, self._parts.media
        token, call = self._find_call(incoming)
        standing = incoming.subject.standing
        target = self._find_target(incoming, token, call, now)
        hop = self._parts.tokens.next_hop(target, request, now) if target is not None else None
        if hop is None:
            return
        answers = call is not None and media.enabled and has_sdp(request)
        callback = partial(self._send_ack, request, hop, standing)
        if call is None or not answers or not answer_in_ack(media, call, request, flow, standing, callback, now):
            self._send_ack(request, hop, standing, b"" if media.enabled else None, now)

    def _send_ack(
        self, request: Request, hop: NextHop, standing: Standing, sdp: bytes | MediaError | None, now: float
    ) -> None:
        """Send the ACK, without its SDP if that was refused: the receiver then ends the call, which has no media."""
        sdp = b"" if isinstance(sdp, MediaError) else sdp
        branch = self._parts.branches.sender.new_branch()
        listener = hop.flow.listener
        crossing = self._parts.live.crossing(standing, hop.flow, now)
        body = crossing_body(request, sdp, self._parts.live.body_rule(standing, hop.flow, now))
        data = topology.forward_request(request, listener, branch, hop.uri, crossing, hop.routes, body)
        if self._parts.branches.sender.failure(hop.flow, data) is SendFailure.TOO_LARGE:
            self._parts.effects.record(now, Reason.TOO_LARGE, hop.flow, request.call_id, request.method)
            return
        self._parts.effects.send(hop.flow, data)

    # --- where it goes -----------------------------------------------------------------------------------

    def is_of_call(self, request: Request, flow: Flow) -> bool:
        """Whether a request belongs to a call that is alive, and comes from where its peer is. Screening asks that
        before its token is opened."""
        calls = self._calls.of_tags(request.call_id, request.from_tag, request.to_tag, flow.listener.zone)
        return any(_is_between(call, request, flow) for call in calls)

    def _find_call(self, incoming: Incoming) -> tuple[RemoteTarget | None, Call | None]:
        """What the token in the Request-URI leads to, None without one of the edge, and the call of the request."""
        request, zone, tokens = incoming.message, incoming.flow.listener.zone, self._parts.tokens
        user = request.uri.user or ""
        for call in self._calls.of_tags(request.call_id, request.from_tag, request.to_tag, zone):
            given = _given_token(call, request, zone)
            if given is not None and given.text == user:
                return given.target, call  # the usual case: there is no need to decrypt it
        token = tokens.open(user, incoming.flow)
        return token, self._calls.find(request, zone, tokens.call_named_by(token))

    def _route(self, incoming: Incoming, token: RemoteTarget | None, call: Call | None, now: float) -> NextHop | None:
        """Where a request inside a dialog goes; None if it was refused."""
        request = incoming.message
        target = self._find_target(incoming, token, call, now)
        if target is None:
            return None
        if call is None and request.method == "INVITE":
            # Without the call there is no media session that could relay the media of a new offer.
            self._screener.refuse(incoming, Reason.NO_DIALOG, now)
            return None
        hop = self._parts.tokens.next_hop(target, request, now)
        if hop is None:
            if request.method == "BYE" and call is not None:
                self._end_call(call, request, now)  # its receiver's connection is gone
            self._screener.refuse(incoming, Reason.FLOW_GONE, now)
        return hop

    def _find_target(
        self, incoming: Incoming, token: RemoteTarget | None, call: Call | None, now: float
    ) -> RemoteTarget | None:
        """The target of a request inside a dialog: that of its ``token``, or without a token that of its call; None if
        it was refused.

        Simple clients send to the URI that they called first and not to the Contact. Their call is found by the tags of
        the dialog and by the source address instead. A request with a token that cannot be opened has no target.
        """
        request, flow, target = incoming.message, incoming.flow, token
        shows_receipt = token is not None or flow.serial != 0
        if target is not None:
            if not self._may_use(target, incoming, call, now):
                return None
        elif call is not None and len(request.uri.user or "") < SHORTEST_TOKEN:
            target = self._target_without_token(request, flow, call, now)
        if target is None:
            self._refuse_unknown(incoming, now)
        elif shows_receipt and call is not None and _proves_address(call, request, flow):
            if not flow.serial:
                self._parts.live.standings.prove(flow, Standing.REACHABLE, now)
            if flow.listener.zone is Zone.PUBLIC:
                self._parts.media.acknowledge(call, request.from_tag)
        return target

    def _target_without_token(self, request: Request, flow: Flow, call: Call, now: float) -> RemoteTarget | None:
        legs, tokens = call.legs_of(request.from_tag, request.to_tag), self._parts.tokens
        if legs is None or legs[1] is None or request.to_tag != legs[1].tag:
            return None
        if not _same_peer(legs[0], flow) and not tokens.is_now(legs[0].flow, flow, now):
            return None
        return tokens.target_of(legs[1])

    def _refuse_unknown(self, incoming: Incoming, now: float) -> None:
        """Refuse a request of an unknown dialog. An ACK may be that of a refusal that has left no transaction."""
        if incoming.message.method != "ACK":
            self._screener.refuse(incoming, Reason.NO_DIALOG, now)

    # --- who may use a token -----------------------------------------------------------------------------

    def _may_use(self, target: RemoteTarget, incoming: Incoming, call: Call | None, now: float) -> bool:
        """Whether a token was made for the dialog and the peer of a request, and its dialog lives; refuses it
        otherwise."""
        request = incoming.message
        if target.kind is TokenKind.FIRST_FORM:
            inside = incoming.flow.listener.zone is Zone.CORE
            if request.method in _AFTER_FIRST_FORM or (inside and request.method == "NOTIFY"):
                return True
            self._refuse_unknown(incoming, now)
            return False
        given = _given_token(call, request, incoming.flow.listener.zone) if call is not None else None
        is_given = given is not None and given.target is target  # then it was made for this dialog
        if not is_given and target.dialog != dialog_digest(request.call_id, request.to_tag):
            self._screener.refuse_token(incoming, "another dialog", now, Reason.NO_DIALOG.status)
            return False
        if not self._is_peer(target, request, incoming.flow, call, now):
            self._screener.refuse_token(incoming, "another peer", now)
            return False
        if call is None and target.kind is TokenKind.CALL and not self._outlives_call(target, incoming, now):
            self._refuse_unknown(incoming, now)
            return False
        return True

    def _is_peer(self, target: RemoteTarget, request: Request, flow: Flow, call: Call | None, now: float) -> bool:
        """Whether the sender is the peer that a token was given to, or the same one at another address: the call knows
        by which flow it was there last."""
        tokens = self._parts.tokens
        legs = call.legs_of(request.from_tag, request.to_tag) if call is not None else None
        if legs is not None and _same_peer(legs[0], flow):
            return True
        if tokens.is_holder(target, flow, now):
            return True
        former = legs[0].flow if legs is not None else None
        return former is not None and (tokens.is_now(former, flow, now) or tokens.is_related(former, flow))

    def _outlives_call(self, target: RemoteTarget, incoming: Incoming, now: float) -> bool:
        """Whether a request of a call that is not known may still be sent on: the call has just ended, or it was there
        before the edge started."""
        request = incoming.message
        if self._parts.tokens.is_of_this_run(target):
            return self._calls.has_just_ended(target.call, request.method, now)
        return request.method in _AFTER_RESTART and not has_sdp(request)

    # --- the end of a call -------------------------------------------------------------------------------

    def _on_bye_completed(self, call: Call, bye: Request, status: int, now: float) -> None:
        """End the call when its BYE was answered, whatever the status is (RFC 3261 section 15.1.1), except for a
        challenge, after which the BYE is repeated."""
        if status not in (401, 407):
            self._end_call(call, bye, now)
        else:
            callee = _callee_of(call, bye)
            call.hung_up = tuple([tag for tag in call.hung_up if tag != callee])

    def _on_adopted_bye_completed(self, call: AdoptedCall, status: int, now: float) -> None:
        """The same for a call of an earlier run."""
        if status not in (401, 407):
            self._adopted.end(call)

    def _end_call(self, call: Call, bye: Request, now: float) -> None:
        """End the call that ``bye`` hangs up, unless another fork goes on.

        A BYE before the final answer to the INVITE ends an early dialog only, because another fork may still be
        ringing. The call then ends with that final answer (RFC 3261 section 15.1.2), or at the limit of set-up.
        """
        if call.invite is not None:
            return
        if not call.survives_bye((bye.from_tag, bye.to_tag)):
            self._calls.end(call, now)
        elif call.callee is not None:
            self._parts.media.return_to(call, call.callee.tag)


def _given_token(call: Call, request: Request, zone: Zone) -> GivenToken | None:
    """The token that the sender of a request of the call, in that zone, has for the receiver; None where it has none
    for this dialog, or the edge does not have what that opens to."""
    legs = call.legs_of(request.from_tag, request.to_tag)
    receiver = legs[1] if legs is not None else None
    if receiver is None or receiver.flow.listener.zone is zone:
        return None
    given = receiver.given
    return given if given is not None and given.target is not None and given.tag == request.to_tag else None


def _proves_address(call: Call, request: Request, flow: Flow) -> bool:
    """Whether a request with a token shows that its sender has received what the edge sent to its address: it has the
    tag of the other side.

    A token alone is no proof, because its holder may send it from a forged address. A tag alone is none over UDP,
    because the other side knows it, and may have had this side's INVITE forged.
    """
    legs = call.legs_of(request.from_tag, request.to_tag)
    if legs is None or legs[1] is None or is_null(request.to_tag):
        return False
    return request.to_tag == legs[1].tag and flow == legs[0].first


def _is_between(call: Call, request: Request, flow: Flow) -> bool:
    """Whether the request has both tags of the call, and its sender is where that side was last."""
    legs = call.legs_of(request.from_tag, request.to_tag)
    return legs is not None and legs[1] is not None and request.to_tag == legs[1].tag and _same_peer(legs[0], flow)


def _callee_of(call: Call, request: Request) -> str:
    """The tag of the callee in whose dialog a request is."""
    return request.to_tag if request.from_tag == call.caller.tag else request.from_tag


def _same_peer(leg: Leg, flow: Flow) -> bool:
    return leg.flow.listener.zone is flow.listener.zone and leg.flow.peer[0] == flow.peer[0]


def _learn_sender(call: Call, request: Request, flow: Flow) -> None:
    """Store in the sender's leg what its request shows: CSeq, remote target, and the flow that it uses now."""
    legs = call.legs_of(request.from_tag, request.to_tag)
    if legs is None or legs[1] is None or request.to_tag != legs[1].tag:
        return  # of another fork, or of a sender that has a token and guesses tags
    sender = legs[0]
    sender.cseq = max(sender.cseq, request.cseq)
    if flow.listener.zone is sender.flow.listener.zone:
        if flow is not sender.flow:
            sender.flow = flow
            call.flows_changed()
        learn_target(sender, request)
