"""SenderResponses: the responses that the sender of a forwarded request gets, from a hop or from the edge itself."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.media.commands import MediaError
from edgesbc.screen.standing import Standing
from edgesbc.signalling import topology
from edgesbc.signalling.bodies import CrossingBody, crossing_body
from edgesbc.signalling.branch import Branch
from edgesbc.signalling.context_parts import ContextParts
from edgesbc.signalling.offer_answer import OfferAnswer
from edgesbc.signalling.peers import Peers
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Fields, Response

__all__ = ["Forwarding", "SenderResponses", "warning"]


_REFUSES_BODY = frozenset({400, 415, 488, 513})


class Forwarding(enum.Enum):
    """What became of a response."""

    SENT = "sent"
    LEFT_OUT = "left out"
    """A provisional one, too long for an address that may be forged."""
    TOO_LARGE = "too large"
    """No datagram has room for it."""
    WITHHELD = "withheld"
    """A 2xx to INVITE, or with the answer to an offer, too long for an address that may be forged."""


class SenderResponses:
    """Sends the responses to one request; which ones is decided in ``response_context.py``."""

    __slots__ = ("_parts", "_peers", "_sdp", "_server")

    def __init__(self, parts: ContextParts, server: ServerTransaction, peers: Peers, sdp: OfferAnswer) -> None:
        self._parts = parts
        self._server = server
        self._peers = peers
        self._sdp = sdp

    def forward(self, branch: Branch, response: Response, sdp: bytes | None, now: float) -> tuple[Forwarding, int]:
        """Send the response of a branch on; ``sdp`` takes the place of its SDP, None where that was not anchored.

        Returns what became of it, and its size in bytes."""
        parts, server, request = self._parts, self._server, self._server.request
        response, contacts, due = self._peers.translate(branch.hop, response, now)
        status = response.status
        if status >= 200 and server.source.listener.zone is Zone.PUBLIC:
            # As the sender gets it: an answer that shows nothing about users is no guess.
            parts.live.pipeline.answered(server.source, request, response, now)
        if sdp is None:
            sdp = self._sdp.sdp_outside_session()
        vias = parts.responder.vias(server)
        sender = Standing.TRUNK  # a private server, or a carrier that is a member
        if server.flow.listener.zone is Zone.CORE and branch.hop.lease is None:
            sender = parts.live.standings.of(branch.hop.flow, now)
        crossing = parts.live.crossing(sender, server.flow, now)
        body = crossing_body(response, sdp, parts.live.body_rule(sender, server.flow, now))
        data = topology.forward_response(response, request, vias, crossing, contacts, body)
        size, responder = len(data), parts.responder
        if not server.flow.serial and size > limits.DATAGRAM_BYTES:
            return Forwarding.TOO_LARGE, size
        if not responder.may_forward(server, size, status >= 200, now):
            # Its receiver may be the victim of a forged address: it gets the answer without a body, or a brief one.
            if 200 <= status < 300 and (server.method == "INVITE" or (response.body and self._sdp.offer_in_request)):
                return Forwarding.WITHHELD, size  # it is of no use without its description
            data = b""
            if response.body:
                data = topology.forward_response(response, request, vias, crossing, contacts, CrossingBody(b""))
            if not data or not responder.may_forward(server, len(data), status >= 200, now):
                return self._forward_briefly(response, now), size
        responder.send_at(server, status, data, due, now)
        return Forwarding.SENT, size

    def _forward_briefly(self, response: Response, now: float) -> Forwarding:
        responder = self._parts.responder
        if response.status >= 200:
            responder.answer_briefly(self._server, response, now)
            return Forwarding.SENT
        return Forwarding.SENT if responder.ring_briefly(self._server, response, now) else Forwarding.LEFT_OUT

    def refuse(self, status: int, retry_after: int, fields: Sequence[tuple[str, str]], now: float) -> None:
        """Send a refusal of the edge's own; ``retry_after`` is in seconds, 0 for none."""
        responder, server = self._parts.responder, self._server
        if status == 408 and server.method != "INVITE":
            responder.drop(server)  # RFC 4320 section 4.2: its sender has timed out as well
        else:
            extra = [("Retry-After", str(retry_after))] if retry_after else []
            responder.answer(server, status, now, [*extra, *fields])


def warning(error: MediaError, server: ServerTransaction) -> Fields:
    """The field that says why a body, or the description in it, is refused (RFC 3261 section 21.4.26)."""
    if error.status not in _REFUSES_BODY:
        return []
    host = server.flow.listener.advertise_host
    agent = f"[{host}]" if ":" in host else host
    return [("Warning", f'399 {agent} "{error.reason}"')]
