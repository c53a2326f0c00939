"""Who the two sides of a request are to each other: what its answers tell of them, and the Contact that each sees.

Sends nothing.
"""

from __future__ import annotations

from edgesbc.base.address import Flow
from edgesbc.signalling.branch import Branch
from edgesbc.signalling.calls import TARGETED, Call, CallState, Leg, learn_target
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Response

__all__ = ["DialogPeers"]


class DialogPeers:
    """Of one request; ``call`` is the call that it belongs to or sets up, and ``new_call`` tells which."""

    __slots__ = ("_board", "_call", "_new_call", "_request", "_server")

    def __init__(self, board: Switchboard, server: ServerTransaction, call: Call | None, new_call: bool) -> None:
        self._board = board
        self._server = server
        self._request = server.request
        self._call = call
        self._new_call = new_call

    def contact(self, holder: Flow) -> str:
        """The Contact that stands for the sender of the request in front of ``holder``; "" where it has none."""
        request, call = self._request, self._call
        if request.method not in TARGETED or not (request.get("Contact") or self._new_call):
            return ""
        legs = call.legs_of(request.from_tag) if call is not None else None
        if legs is not None:
            return self._board.calls.contact_for(legs[0], holder)
        return self._board.calls.lone_contact(request, self._server.source, holder)

    def learn(self, branch: Branch, response: Response) -> None:
        """Take what an answer says of its sender (RFC 3261 section 12.1.2, and 12.2.1.2 for a target refresh)."""
        call = self._call
        if call is None:
            return
        if self._new_call:
            if call.state is not CallState.SETTING_UP:
                if call.callee is not None and response.to_tag != call.callee.tag and response.status >= 200:
                    other = Leg(branch.hop.flow)
                    other.answered_by(response, branch.hop.uri)
                    learn_target(other, response)
                    call.fork(other)
                return
            leg = call.callee
            if leg is None or leg.first != branch.hop.flow:
                leg = call.callee = Leg(branch.hop.flow)
            if response.to_tag or not leg.address:  # servers of RFC 2543 put no tag there
                leg.answered_by(response, branch.hop.uri)
        else:
            leg = self._receiver(call)
        if leg is not None:
            learn_target(leg, response)

    def answer_contact(self, branch: Branch, response: Response, holder: Flow) -> str:
        """The Contact that stands for the sender of an answer."""
        calls, sender = self._board.calls, branch.hop.flow
        if self._call is None:
            return calls.lone_contact(response, sender, holder)
        leg = self._receiver(self._call)
        if self._new_call and leg is not None and (leg.tag != response.to_tag or leg.first != sender):
            return calls.lone_contact(response, sender, holder)  # another fork answered as well
        return calls.contact_for(leg, holder) if leg is not None else ""

    def _receiver(self, call: Call) -> Leg | None:
        legs = call.legs_of(self._request.from_tag)
        return legs[1] if legs is not None else None
