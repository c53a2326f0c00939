"""Offer and answer of one request and its responses, on their way through the media plane (RFC 3264)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from edgesbc.base.address import Flow
from edgesbc.media.commands import MediaError
from edgesbc.screen.standing import Standing
from edgesbc.signalling.call import Call, CallState
from edgesbc.signalling.media_client import MediaCallback, MediaClient, has_sdp, hides_sdp
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Message, Response

__all__ = ["OfferAnswer"]

_CALLED = Standing.TRUNK
"""The standing of those that calls go to: their answers repeat the branch of the request, so they are not forged."""
# Requests whose SDP is an offer or an answer (RFC 3261, RFC 3311, RFC 3262); ACK has no transaction.
_NEGOTIATING = frozenset({"INVITE", "UPDATE", "PRACK"})

AnswerCallback = Callable[[Response, bytes | MediaError, float], None]
"""Called with the response, the description to forward in it or why there is none, and the time (seconds)."""


class OfferAnswer:
    """Offer and answer of one transaction. While :attr:`waiting`, a reply of the media plane is pending.

    ``call`` is None outside of calls: then there is no media session, and SDP does not pass.
    """

    __slots__ = (
        "_call",
        "_last_answer",
        "_media",
        "_negotiates",
        "_server",
        "_standing",
        "offer_in_request",
        "waiting",
    )

    def __init__(self, media: MediaClient, server: ServerTransaction, call: Call | None, standing: Standing) -> None:
        """``standing`` is that of the sender of the request."""
        self._standing = standing
        self._media = media
        self._server = server
        self._call = call
        self._negotiates = server.request.method in _NEGOTIATING
        self._last_answer: tuple[bytes, bytes] | None = None  # the SDP of the last response, as it came and relayed
        self.offer_in_request = False  # the request carries the offer, so its responses carry the answer
        self.waiting = False

    def hides_sdp_from_media(self) -> bool:
        """Whether the request could carry SDP past the media plane."""
        request = self._server.request
        return self._media.enabled and self._call is not None and self._negotiates and hides_sdp(request)

    def should_anchor(self, message: Message) -> bool:
        """Whether the SDP of ``message`` describes the session of the call and goes through the media plane."""
        call = self._call
        alive = call is not None and call.state is not CallState.ENDED
        return self._media.enabled and alive and self._negotiates and has_sdp(message)

    def body_without_sdp(self, message: Message) -> bytes | None:
        """The body to forward of a message that is not anchored: None for its own, b"" in the place of SDP.

        Such SDP has addresses of the sender's side, which no media session replaces.
        """
        if not self._media.enabled:
            return None
        hidden = self._negotiates and hides_sdp(message)
        return b"" if hidden or has_sdp(message) else None

    def send(self, callback: MediaCallback, now: float) -> bool:
        """Give the request's SDP to the media plane; False, without a callback, if it has none."""
        request, call = self._server.request, self._call
        if call is None or not self.should_anchor(request):
            self.offer_in_request = has_sdp(request)
            return False
        sender = self._server.source
        reply = partial(self._offer_replied, callback)
        self.waiting = True
        if request.method == "PRACK" and call.late_offer:
            self._media.answer(call, request, request.to_tag, request.from_tag, sender, self._standing, reply, now)
        else:
            self.offer_in_request = True
            zone = sender.listener.zone.other
            tags = request.from_tag, request.to_tag
            self._media.offer(call, request, *tags, sender, self._standing, zone, reply, now)
        return True

    def answer(self, response: Response, sender: Flow, callback: AnswerCallback, now: float) -> None:
        """Give a response's SDP to the media plane; ``callback`` gets the response and the description for it."""
        last, call = self._last_answer, self._call
        if last is not None and last[0] == response.body:
            callback(response, last[1], now)  # a 200 with the SDP of its 183, or a retransmission
            return
        if call is None:
            return
        request, zone = self._server.request, self._server.flow.listener.zone
        caller, callee = request.from_tag, response.to_tag
        reply = partial(self._answer_replied, response, callback)
        self.waiting = True
        if self.offer_in_request:
            self._media.answer(call, response, caller, callee, sender, _CALLED, reply, now)
        else:
            self._media.offer(call, response, callee, caller, sender, _CALLED, zone, reply, now)

    def _offer_replied(self, callback: MediaCallback, sdp: bytes | MediaError, now: float) -> None:
        self.waiting = False
        callback(sdp, now)

    def _answer_replied(
        self, response: Response, callback: AnswerCallback, sdp: bytes | MediaError, now: float
    ) -> None:
        self.waiting = False
        if not isinstance(sdp, MediaError):
            self._last_answer = (response.body, sdp)
        callback(response, sdp, now)
