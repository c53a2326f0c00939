"""The SDP of one request and of its answers, on its way through the media plane (RFC 3264). Forwards nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from edgesbc.base.address import Flow
from edgesbc.signalling.calls import Call, CallState
from edgesbc.signalling.media_client import MediaCallback, MediaRefusal, has_sdp, hides_sdp
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Message, Response

__all__ = ["OfferAnswer"]

# Requests whose SDP is an offer or an answer (RFC 3261, RFC 3311, RFC 3262); ACK has no transaction.
_NEGOTIATING = frozenset({"INVITE", "UPDATE", "PRACK"})

AnswerCallback = Callable[[Response, bytes | MediaRefusal, float], None]


class OfferAnswer:
    """Offer and answer of one transaction. While :attr:`waiting`, the media plane owes a reply.

    ``call`` is None outside of calls: then there is no media session, and no SDP that could pass.
    """

    __slots__ = ("_anchor", "_call", "_known", "_negotiates", "_server", "offer_here", "waiting")

    def __init__(self, board: Switchboard, server: ServerTransaction, call: Call | None) -> None:
        self._anchor = board.anchor
        self._server = server
        self._call = call
        self._negotiates = server.request.method in _NEGOTIATING
        self._known: tuple[bytes, bytes] | None = None  # the last SDP of an answer, and what it became
        self.offer_here = False  # the request carries the offer, so its answers carry the answer
        self.waiting = False

    def hides_sdp_from_media(self) -> bool:
        """Whether the request could carry SDP past the media plane."""
        request = self._server.request
        return self._anchor.enabled and self._call is not None and self._negotiates and hides_sdp(request)

    def takes(self, message: Message) -> bool:
        """Whether the SDP of ``message`` describes the session of the call."""
        call = self._call
        alive = call is not None and call.state is not CallState.ENDED
        return self._anchor.enabled and alive and self._negotiates and has_sdp(message)

    def plain(self, message: Message) -> bytes | None:
        """The body of a message that is not negotiated: its own (None), or nothing in the place of SDP.

        Such SDP names addresses of its own side, and no media session stands for it.
        """
        if not self._anchor.enabled:
            return None
        hidden = self._negotiates and hides_sdp(message)
        return b"" if hidden or has_sdp(message) else None

    def send(self, then: MediaCallback, now: float) -> bool:
        """Take the request's SDP to the media plane, which answers to ``then``; False where it has none to take."""
        request, call = self._server.request, self._call
        if call is None or not self.takes(request):
            self.offer_here = has_sdp(request)
            return False
        sender = self._server.source
        zone = sender.listener.zone.other
        reply = partial(self._replied, then)
        self.waiting = True
        if request.method == "PRACK" and call.late_offer:
            self._anchor.answer(call, request, request.to_tag, request.from_tag, sender, zone, reply, now)
        else:
            self.offer_here = True
            self._anchor.offer(call, request, request.from_tag, request.to_tag, sender, zone, reply, now)
        return True

    def answer(self, response: Response, sender: Flow, then: AnswerCallback, now: float) -> None:
        """Take an answer's SDP to the media plane; ``then`` gets the response and what became of its SDP."""
        known, call = self._known, self._call
        if known is not None and known[0] == response.body:
            then(response, known[1], now)  # a 200 that repeats its 183, or itself
            return
        if call is None:
            return
        request, zone = self._server.request, self._server.flow.listener.zone
        offerer, answerer = request.from_tag, response.to_tag
        reply = partial(self._answered, response, then)
        self.waiting = True
        if self.offer_here:
            self._anchor.answer(call, response, offerer, answerer, sender, zone, reply, now)
        else:
            self._anchor.offer(call, response, answerer, offerer, sender, zone, reply, now)

    def _replied(self, then: MediaCallback, sdp: bytes | MediaRefusal, now: float) -> None:
        self.waiting = False
        then(sdp, now)

    def _answered(self, response: Response, then: AnswerCallback, sdp: bytes | MediaRefusal, now: float) -> None:
        self.waiting = False
        if not isinstance(sdp, MediaRefusal):
            self._known = (response.body, sdp)
        then(response, sdp, now)
