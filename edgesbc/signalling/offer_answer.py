"""Offer and answer of one request and its responses, on their way through the media plane (RFC 3264)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from edgesbc.base.address import Flow, family_of
from edgesbc.media.commands import MediaError
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
        "_call", "_family", "_last_answer", "_media", "_negotiates", "_offer", "_server", "_standing",
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
        # The SDP of the last response, as it came and as relayed, and whether it stays.
        self._last_answer: tuple[bytes, bytes, bool] | None = None
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

    def conflict(self) -> MediaError | None:
        """Why the offer in the request is to be refused: another one in its dialog has no answer yet."""
        call, request = self._call, self._server.request
        other = call.open_offer if call is not None else None
        if other is None or not self.should_anchor(request) or _answers_by_prack(request, other):
            return None
        return other.reason_against(request.from_tag, request.to_tag)

    def send(self, callback: MediaCallback, now: float) -> bool:
        """Give the request's SDP to the media plane; False, without a callback, if it has none."""
        request, call = self._server.request, self._call
        sdp = sdp_of(request)
        if call is None or sdp is None or not self.should_anchor(request):
            self.offer_in_request = sdp is not None
            return False
        sender, open_offer = self._server.source, call.open_offer
        self.waiting = True
        if open_offer is not None and _answers_by_prack(request, open_offer):
            reply = partial(self._prack_replied, open_offer, callback)
            tags = open_offer.offerer, request.from_tag
            self._media.answer(call, sdp, *tags, sender, self._standing, reply, now)
        else:
            self.offer_in_request = True
            tags = request.from_tag, request.to_tag
            self._open_offer(call, *tags)
            zone, reply = sender.listener.zone.other, partial(self._offer_replied, callback)
            self._media.offer(call, sdp, *tags, sender, self._standing, zone, self._family, reply, now)
        return True

    def answer(self, response: Response, sender: Flow, callback: AnswerCallback, now: float) -> None:
        """Give a response's SDP to the media plane; ``callback`` gets the response and the description for it."""
        request, last, call, sdp = self._server.request, self._last_answer, self._call, sdp_of(response)
        final = not self.offer_in_request or _is_final(request, response)
        if last is not None and last[0] == sdp and (last[2] or not final):
            callback(response, last[1], now)  # a 200 with the SDP of its 183, or a retransmission
            return
        if call is None or sdp is None:
            return
        caller, callee = request.from_tag, response.to_tag
        if self.offer_in_request:
            reply = partial(self._answer_replied, response, sdp, final, callback)
            self.waiting = True
            self._media.answer(call, sdp, caller, callee, sender, _CALLED, reply, now, final)
            return
        other = call.open_offer
        refusal = other.reason_against(callee, caller) if other is not None and other is not self._offer else None
        if refusal is not None:
            callback(response, refusal, now)
            return
        self._open_offer(call, callee, caller)
        self.waiting = True
        reply = partial(self._answer_replied, response, sdp, False, callback)
        zone, family = self._server.flow.listener.zone, family_of(self._server.source.peer[0])
        self._media.offer(call, sdp, callee, caller, sender, _CALLED, zone, family, reply, now)

    def on_final(self, status: int, now: float) -> None:
        """The sender of the request has its final response, or is gone (status 0): what was offered and not answered is
        taken back, unless the ACK can still answer it."""
        call, offer = self._call, self._offer
        if call is None or offer is None or call.open_offer is not offer:
            return
        if offer.in_response and 200 <= status < 300:
            self._media.await_ack(call, offer, now)
        else:
            self._media.roll_back(call, offer)

    def _open_offer(self, call: Call, offerer: str, answerer: str) -> None:
        """Make it the open offer of the call."""
        in_response = not self.offer_in_request
        offer = self._offer = call.open_offer = OpenOffer(offerer, answerer, self._server.request.cseq, in_response)
        if in_response:
            self._media.expect_answer(call, offer)

    def _offer_replied(self, callback: MediaCallback, sdp: bytes | MediaError, now: float) -> None:
        self.waiting = False
        callback(sdp, now)

    def _prack_replied(self, offer: OpenOffer, callback: MediaCallback, sdp: bytes | MediaError, now: float) -> None:
        self.waiting = False
        if not isinstance(sdp, MediaError) and self._call is not None:
            self._call.close_offer(offer)
        callback(sdp, now)

    def _answer_replied(
        self,
        response: Response,
        answer: bytes,
        final: bool,
        callback: AnswerCallback,
        sdp: bytes | MediaError,
        now: float,
    ) -> None:
        self.waiting = False
        if not isinstance(sdp, MediaError):
            self._last_answer = (answer, sdp, final or not self.offer_in_request)
            if final and self._offer is not None and self._call is not None:
                self._call.close_offer(self._offer)
        callback(response, sdp, now)


def _answers_by_prack(request: Request, offer: OpenOffer) -> bool:
    """Whether a request with SDP answers the offer in a reliable provisional response (RFC 3262 section 5)."""
    return request.method == "PRACK" and offer.in_response and offer.offerer == request.to_tag


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
    offer, answer = call.late_offer, sdp_of(ack)
    if (
        offer is None
        or answer is None
        or (offer.cseq, offer.offerer, offer.answerer) != (ack.cseq, ack.to_tag, ack.from_tag)
    ):
        return False
    if offer.relayed is not None and offer.sdp == answer:
        callback(offer.relayed, now)
    elif offer is call.open_offer:
        if offer.sdp == answer:
            return True  # repeated before the media plane has replied: the first one goes on then
        offer.sdp = answer
        reply = partial(_ack_replied, media, call, offer, answer, callback)
        media.answer(call, answer, offer.offerer, offer.answerer, sender, standing, reply, now)
    else:
        return False
    return True


def _ack_replied(
    media: MediaClient,
    call: Call,
    offer: OpenOffer,
    answer: bytes,
    callback: MediaCallback,
    sdp: bytes | MediaError,
    now: float,
) -> None:
    if isinstance(sdp, MediaError):
        media.roll_back(call, offer)
    else:
        offer.sdp, offer.relayed = answer, sdp
        call.close_offer(offer)
    callback(sdp, now)
