"""Offer and answer of one request and its responses, on their way through the media plane (RFC 3264)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from edgesbc.base import limits
from edgesbc.base.address import Flow, family_of
from edgesbc.media.commands import Answer, MediaError
from edgesbc.screen.standing import Standing
from edgesbc.signalling.bodies import body_error, has_sdp, multipart_error, sdp_of
from edgesbc.signalling.call import Call, CallState
from edgesbc.signalling.media_client import MediaCallback, MediaClient
from edgesbc.signalling.open_offer import OpenOffer
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Message, Request, Response

__all__ = ["OfferAnswer", "answer_in_ack"]

_CALLED = Standing.TRUNK
"""The standing of those that calls go to: their answers repeat the branch of the request, so they are not forged."""
# Requests whose SDP is an offer or an answer (RFC 3261, RFC 3311, RFC 3262); ACK has no transaction.
_NEGOTIATING = frozenset({"INVITE", "UPDATE", "PRACK"})

AnswerCallback = Callable[[Response, bytes | MediaError, float], None]
"""Called with the response, the description to forward in it or why there is none, and the time (seconds)."""


class OfferAnswer:
    """Offer and answer of one transaction. While :attr:`waiting`, a reply of the media plane is pending.

    ``call`` is None outside of calls: then there is no media session, and SDP does not pass. An offer is the open one
    of its call until it is answered; if it never is, it is taken back.
    """

    __slots__ = (
        "_answers", "_call", "_family", "_held", "_media", "_negotiates", "_offer", "_server", "_standing",
        "offer_in_request", "waiting",
    )  # fmt: skip

    def __init__(
        self, media: MediaClient, server: ServerTransaction, call: Call | None, standing: Standing, family: str
    ) -> None:
        """``standing`` is that of the sender of the request, ``family`` the address family that the request goes to, ""
        where it may be either."""
        self._family = family
        self._standing = standing
        self._media = media
        self._server = server
        self._call = call
        self._negotiates = server.request.method in _NEGOTIATING
        self._answers: dict[str, _Described] = {}  # by the tag of their sender, that whose media are relayed last
        self._held: Answer | None = None  # what stays once its response was sent
        self._offer: OpenOffer | None = None
        self.offer_in_request = False  # the request carries the offer, so its responses carry the answer
        self.waiting = False

    # --- what passes -------------------------------------------------------------------------------------

    def request_error(self) -> MediaError | None:
        """Why the body of the request cannot cross: it is malformed, or could carry SDP past the media plane. BYE is
        not refused for that."""
        request = self._server.request
        if self._media.enabled and self._call is not None and self._negotiates:
            return body_error(request)
        return None if request.method == "BYE" else multipart_error(request)

    def answer_error(self, response: Response) -> MediaError | None:
        """Why a 2xx cannot be used that may have the answer to an open offer: the media plane could not see it."""
        offer = self._offer
        is_open = self._call is not None and offer is not None and self._call.open_offer is offer
        hides = is_open and self.offer_in_request and 200 <= response.status < 300
        return body_error(response) if hides else None

    def should_anchor(self, message: Message) -> bool:
        """Whether the SDP of ``message`` describes the session of the call and goes through the media plane."""
        call = self._call
        alive = call is not None and call.state is not CallState.ENDED
        return self._media.enabled and alive and self._negotiates and has_sdp(message)

    def should_anchor_response(self, response: Response) -> bool:
        """The same, for a response to the request: only one to an INVITE carries an offer (RFC 6337 section 2.2)."""
        return (self.offer_in_request or self._server.request.method == "INVITE") and self.should_anchor(response)

    def sdp_outside_session(self) -> bytes | None:
        """What takes the place of SDP in a message that is not anchored: b"" for nothing, None where SDP stays.

        Such SDP has addresses of the sender's side, which no media session replaces.
        """
        return b"" if self._media.enabled else None

    # --- offers and answers ------------------------------------------------------------------------------

    def has_lost_dialog(self) -> bool:
        """Whether the dialog of the request has ended since it came, or a BYE has gone to its receiver."""
        call, request = self._call, self._server.request
        return call is not None and request.in_dialog and call.is_hung_up(request.from_tag, request.to_tag)

    def conflict(self) -> MediaError | None:
        """Why the offer in the request is to be refused: another one in its dialog has no answer yet."""
        call, request = self._call, self._server.request
        if call is None or (call.open_offer is None and not call.late_offers) or not self.should_anchor(request):
            return None
        if _offer_answered_by(request, call) is not None:
            return None
        for other in call.unanswered_offers:
            refusal = other.reason_against(request.from_tag, request.to_tag)
            if refusal is not None:
                return refusal
        return None

    def send(self, callback: MediaCallback, now: float) -> bool:
        """Give the request's SDP to the media plane; False, without a callback, if it has none."""
        request, call = self._server.request, self._call
        sdp = sdp_of(request)
        if call is None or sdp is None or not self.should_anchor(request):
            self.offer_in_request = sdp is not None
            return False
        sender, answered = self._server.source, _offer_answered_by(request, call)
        self.waiting = True
        if answered is not None:
            _ask_for_answer(self._media, call, answered, sdp, sender, self._standing, self._replied(callback), now)
        else:
            self.offer_in_request = True
            tags = request.from_tag, request.to_tag
            self._open_offer(call, *tags)
            zone, reply = sender.listener.zone.other, self._replied(callback)
            self._media.offer(call, sdp, *tags, sender, self._standing, zone, self._family, reply, now)
        return True

    def awaits_hop(self) -> bool:
        """Whether the request has an offer that depends on the hop: some may have addresses of the one family, and some
        of the other."""
        return not self._family and self.should_anchor(self._server.request)

    def offer_to(self, family: str, callback: MediaCallback, now: float) -> bool:
        """Give the request's offer to the media plane, for a hop with an address of ``family``, "" for either; False,
        without a callback, where that has it, or the request has none."""
        request, call, offer = self._server.request, self._call, self._offer
        sdp = sdp_of(request)
        if call is None or sdp is None or not self.should_anchor(request):
            return False
        if family == self._family and (family or offer is not None):
            return False
        self._family = family
        if offer is None:
            return self.send(callback, now)
        if call.open_offer is not offer:
            return False
        self.waiting = True
        sender, zone = self._server.source, self._server.source.listener.zone.other
        tags, reply = (request.from_tag, request.to_tag), self._replied(callback)
        self._media.offer(call, sdp, *tags, sender, self._standing, zone, family, reply, now)
        return True

    def answer(self, response: Response, sender: Flow, callback: AnswerCallback, now: float) -> None:
        """Give a response's SDP to the media plane; ``callback`` gets the response and the description for it."""
        request, call, sdp = self._server.request, self._call, sdp_of(response)
        final = not self.offer_in_request or _is_final(request, response)
        caller, callee = request.from_tag, response.to_tag
        last = self._answers.get(callee)
        if last is not None and last.sdp == sdp and (last.stays or not final) and self._is_relayed(callee):
            callback(response, last.relayed, now)  # a 200 with the SDP of its 183, or a retransmission
            return
        if call is None or sdp is None:
            return
        if self.offer_in_request:
            described, may_fail = _Described(sdp, final), final and self._may_not_be_sent(response)
            final = final and not may_fail
            reply = partial(self._answer_replied, response, described, final, callback)
            self.waiting = True
            described.command = self._media.answer(call, sdp, caller, callee, sender, _CALLED, reply, now, final)
            self._held = described.command if may_fail else None
            return
        other = call.open_offer
        refusal = other.reason_against(callee, caller) if other is not None and other is not self._offer else None
        if refusal is not None:
            callback(response, refusal, now)
            return
        offer = self._open_offer(call, callee, caller)
        self.waiting = True
        reply = partial(self._answer_replied, response, _Described(sdp, True), False, callback)
        zone, family = self._server.flow.listener.zone, family_of(self._server.source.peer[0])
        command = self._media.offer(call, sdp, callee, caller, sender, _CALLED, zone, family, reply, now)
        if not request.in_dialog:
            offer.command = command  # other callees may make offers of their own

    def _may_not_be_sent(self, response: Response) -> bool:
        """Whether an answer within a dialog may turn out to be too long for its receiver: a datagram has no room for
        it, or its address may be forged. Both sides keep what they had then (RFC 3261 section 14.1)."""
        server = self._server
        if not server.request.in_dialog or server.flow.serial:
            return False
        return server.credit != math.inf or len(response.body) > limits.DATAGRAM_BYTES - limits.HEADER_BLOCK_BYTES

    def _is_relayed(self, callee: str) -> bool:
        """Whether the media plane has nothing to do for a description that it had before: it relays the media of that
        callee, or those of another one that has the call."""
        has_call = self._server.answered or not self.offer_in_request
        return has_call or next(reversed(self._answers), "") == callee

    def on_final(self, status: int, now: float) -> None:
        """The sender of the request has its final response, or is gone (status 0): what was offered and not answered is
        taken back, unless the ACK can still answer it."""
        call, offer = self._call, self._offer
        if call is None or offer is None or call.open_offer is not offer:
            return
        if self._held is not None and 200 <= status < 300:
            self._media.confirm(call, self._held)
            call.close_offer(offer)
            call.callee_media = {}
            return
        if offer.in_response and 200 <= status < 300:
            self._media.await_ack(call, offer, now)
        else:
            self._media.roll_back(call, offer)

    def _open_offer(self, call: Call, offerer: str, answerer: str) -> OpenOffer:
        """Make it the open offer of the call, and return it."""
        in_response = not self.offer_in_request
        offer = self._offer = call.open_offer = OpenOffer(offerer, answerer, self._server.request.cseq, in_response)
        if in_response:
            self._media.expect_answer(call, offer)
        return offer

    def _replied(self, callback: MediaCallback) -> MediaCallback:
        """What the reply to the description in the request is given to."""
        return partial(self._on_reply, callback)

    def _on_reply(self, callback: MediaCallback, sdp: bytes | MediaError, now: float) -> None:
        self.waiting = False
        callback(sdp, now)

    def _answer_replied(
        self,
        response: Response,
        described: _Described,
        final: bool,
        callback: AnswerCallback,
        sdp: bytes | MediaError,
        now: float,
    ) -> None:
        self.waiting = False
        if not isinstance(sdp, MediaError):
            described.relayed = sdp
            self._answers.pop(response.to_tag, None)
            if len(self._answers) < limits.FORK_BRANCHES:
                self._answers[response.to_tag] = described
            call = self._call
            if final and self._offer is not None and call is not None:
                call.close_offer(self._offer)
                if self._server.request.in_dialog:
                    call.callee_media = {}  # the media are those of this dialog, and nothing leads back
                elif len(self._answers) > 1:
                    self._note_callees(call, response.to_tag)
        callback(response, sdp, now)

    def _note_callees(self, call: Call, latest: str) -> None:
        """Several callees have described their media, the latest those that are relayed now. Those of the callee that
        has the call are, once there is one; the others need the answer all the same."""
        for tag, described in self._answers.items():
            if described.command is not None:
                call.callee_media[tag] = (described.command,)
        call.media_holder = latest
        if call.state is CallState.ESTABLISHED and call.callee is not None:
            self._media.return_to(call, call.callee.tag)


class _Described:
    """The description in a response as it came, and as relayed; ``stays`` is whether a refusal of the request leaves
    it, ``command`` what the media plane was told, None for an offer."""

    __slots__ = ("command", "relayed", "sdp", "stays")

    def __init__(self, sdp: bytes, stays: bool) -> None:
        self.sdp = sdp
        self.stays = stays
        self.relayed = b""
        self.command: Answer | None = None


def _offer_answered_by(request: Request, call: Call) -> OpenOffer | None:
    """The offer in a reliable provisional response that a PRACK with SDP answers (RFC 3262 section 5); None for any
    other request."""
    if request.method != "PRACK":
        return None
    offers = call.unanswered_offers
    return next((offer for offer in offers if offer.in_response and offer.offerer == request.to_tag), None)


def _is_final(request: Request, response: Response) -> bool:
    """Whether the answer in a response stays, even if the request is refused later.

    That in a provisional response to a re-INVITE does not, unless it is reliable (RFC 3262 section 5). Before there is
    a call, there is nothing to return to.
    """
    return not request.in_dialog or response.status >= 200 or response.get("RSeq") is not None


def answer_in_ack(
    media: MediaClient, call: Call, ack: Request, sender: Flow, standing: Standing, callback: MediaCallback, now: float
) -> bool:
    """Give the SDP of an ACK to the media plane, which answers the offer in the 2xx (RFC 3261 section 13.2.1).

    False, without a callback, if there is no such offer. An ACK that is repeated while the reply to the first one is
    pending has no callback either; later the callback gets the description that the first one had, whatever has been
    offered since.
    """
    answer, wanted = sdp_of(ack), (ack.cseq, ack.to_tag, ack.from_tag)
    offers = [offer for offer in call.late_offers if (offer.cseq, offer.offerer, offer.answerer) == wanted]
    if not offers or answer is None:
        return False
    offer = offers[0]
    if offer.relayed is not None and offer.sdp == answer:
        callback(offer.relayed, now)
    elif offer.relayed is not None:
        return False
    elif offer.sdp != answer:  # otherwise it is repeated before the media plane has replied: the first one goes on then
        offer.sdp = answer
        _ask_for_answer(
            media, call, offer, answer, sender, standing, partial(_ack_replied, media, call, offer, callback), now
        )
    return True


def _ack_replied(
    media: MediaClient, call: Call, offer: OpenOffer, callback: MediaCallback, sdp: bytes | MediaError, now: float
) -> None:
    if isinstance(sdp, MediaError):
        media.roll_back(call, offer)
    callback(sdp, now)


def _ask_for_answer(
    media: MediaClient, call: Call, offer: OpenOffer, answer: bytes, sender: Flow, standing: Standing,
    callback: MediaCallback, now: float,
) -> None:  # fmt: skip
    """Give the answer of a PRACK or an ACK to the media plane."""
    media.reopen(call, offer)
    answered = _AnsweredOffer(media, call, offer, answer, callback)
    answered.command = media.answer(
        call, answer, offer.offerer, offer.answerer, sender, standing, answered.on_reply, now
    )


class _AnsweredOffer:
    """An offer in a response, while the media plane has the answer to it."""

    __slots__ = ("_answer", "_call", "_callback", "_media", "_offer", "command")

    def __init__(
        self, media: MediaClient, call: Call, offer: OpenOffer, answer: bytes, callback: MediaCallback
    ) -> None:
        self._media = media
        self._call = call
        self._offer = offer
        self._answer = answer
        self._callback = callback
        self.command: Answer | None = None

    def on_reply(self, sdp: bytes | MediaError, now: float) -> None:
        call, offer = self._call, self._offer
        if not isinstance(sdp, MediaError):
            offer.sdp, offer.relayed = self._answer, sdp
            call.close_offer(offer)
            self._note_callee(call, offer)
        self._callback(sdp, now)

    def _note_callee(self, call: Call, offer: OpenOffer) -> None:
        """The media of this callee are relayed now. Those of another that has answered before are again."""
        if offer.command is None or self.command is None:
            call.callee_media = {}  # of an exchange inside the dialog: nothing leads back
            return
        former = call.media_holder
        call.callee_media[offer.offerer] = (offer.command, self.command)
        call.media_holder = offer.offerer
        if call.state is CallState.ESTABLISHED and call.has_fork(former):
            self._media.return_to(call, former)
