"""Peers: what each side of a forwarded request sees of the other side, and what the edge learns from answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgesbc.base.address import Flow
from edgesbc.signalling.call import TARGETED, Call, CallState, Leg, learn_target
from edgesbc.signalling.contact_tokens import ContactTokens
from edgesbc.signalling.named_peers import NamedPeers
from edgesbc.signalling.targets import NextHop
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Fields, Request, Response

__all__ = ["DialogPeers", "Peers"]


class Peers(Protocol):
    """The two sides of one request: of a REGISTER, or of any other request (:class:`DialogPeers`)."""

    def request_for(self, receiver: Flow, now: float) -> Request:
        """The request with the fields that cross to ``receiver``."""

    def request_fields(self, receiver: Flow, now: float) -> Fields:
        """The fields that represent the sender of the request to ``receiver``: Contact, or Path."""

    def learn(self, hop: NextHop, response: Response) -> None:
        """Store what a provisional answer or a 2xx from ``hop`` says about its sender."""

    def translate(self, hop: NextHop, response: Response, now: float) -> tuple[Response, Sequence[str], float]:
        """The answer that the sender of the request gets for ``response``, its Contact values, and the time before
        which it is not sent."""


class DialogPeers:
    """``call`` is the call that the request belongs to or sets up, if any; ``new_call``: it sets it up."""

    __slots__ = ("_call", "_named", "_new_call", "_request", "_server", "_tokens")

    def __init__(
        self,
        tokens: ContactTokens,
        named: NamedPeers,
        server: ServerTransaction,
        call: Call | None = None,
        new_call: bool = False,
    ) -> None:
        self._tokens = tokens
        self._named = named
        self._server = server
        self._request = server.request
        self._call = call
        self._new_call = new_call

    def request_for(self, receiver: Flow, now: float) -> Request:
        request = self._request
        if request.get("Refer-To") is None and request.get("Referred-By") is None:
            return request
        return self._named.translated(request, self._server.source, receiver, self._call, now)

    def request_fields(self, receiver: Flow, now: float) -> Fields:
        request, call = self._request, self._call
        if request.method not in TARGETED or not (request.get("Contact") or self._new_call):
            return []
        legs = call.legs_of(request.from_tag, request.to_tag) if call is not None else None
        if legs is not None:
            contact = self._tokens.contact_for(legs[0], request.call_id, receiver, now, self._number)
        else:
            contact = self._tokens.contact_for_sender(request, self._server.source, receiver, now, self._number)
        return [("Contact", contact)] if contact else []

    def learn(self, hop: NextHop, response: Response) -> None:
        """Update the answerer's leg (RFC 3261 section 12.1.2, and section 12.2.1.2 for a target refresh)."""
        call = self._call
        if call is None:
            return
        if self._new_call:
            if call.state is not CallState.SETTING_UP:
                if call.callee is not None and response.to_tag != call.callee.tag and response.status >= 200:
                    fork = Leg(hop.flow)
                    fork.learn_dialog(response, hop.uri)
                    learn_target(fork, response)
                    call.add_fork(fork)
                return
            leg = call.begin_answer(hop.first, response.to_tag)
            if hop.flow is not hop.first:
                leg.flow = hop.flow
            call.flows_changed()
            leg.learn_dialog(response, hop.uri)
            learn_target(leg, response)
            return
        receiver = self._receiver(call)
        # One of RFC 2543 is not the peer of the dialog where another has answered.
        if receiver is not None and receiver.tag == response.to_tag:
            learn_target(receiver, response)

    def translate(self, hop: NextHop, response: Response, now: float) -> tuple[Response, Sequence[str], float]:
        if response.status < 300 and response.get("Contact"):
            contact = self._answer_contact(hop, response, now)
            if contact:
                return response, (contact,), now
        if response.status >= 300 and response.get("Contact"):
            receiver = self._server.flow
            return response, self._named.redirections(response, hop.flow, receiver, self._number, now), now
        return response, (), now

    @property
    def _number(self) -> int:
        return 0 if self._call is None else self._call.number

    def _answer_contact(self, hop: NextHop, response: Response, now: float) -> str:
        """The Contact that stands for the sender of an answer."""
        tokens, sender, holder = self._tokens, hop.flow, self._server.flow
        leg = self._receiver(self._call) if self._call is not None else None
        if leg is not None and self._new_call and (leg.tag != response.to_tag or leg.first != hop.first):
            leg = None  # another fork answered as well
        if leg is None:
            return tokens.contact_for_sender(response, sender, holder, now, self._number)
        return tokens.contact_for(leg, response.call_id, holder, now, self._number)

    def _receiver(self, call: Call) -> Leg | None:
        """The leg that a request inside the call goes to, or that of the callee; None for another fork."""
        legs = call.legs_of(self._request.from_tag, self._request.to_tag)
        leg = legs[1] if legs is not None else None
        return leg if leg is None or self._new_call or leg.tag == self._request.to_tag else None
