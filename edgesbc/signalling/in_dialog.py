"""Requests inside a dialog: the token in their Request-URI says where they go (RFC 3261 section 12.2)."""

from __future__ import annotations

from functools import partial

from edgesbc.base.address import Flow
from edgesbc.base.reasons import Reason
from edgesbc.media.commands import MediaError
from edgesbc.screen.standing import Standing
from edgesbc.signalling import topology
from edgesbc.signalling.branch import Branch
from edgesbc.signalling.calls import Call, Leg, learn_target, remote_target
from edgesbc.signalling.media_client import has_sdp, hides_sdp
from edgesbc.signalling.next_hop import NextHop, SingleTarget
from edgesbc.signalling.response_context import ResponseContext
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.signalling.tokens import SHORTEST_TOKEN, RemoteTarget
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Request, Response

__all__ = ["find_target", "forward_ack", "forward_in_dialog", "next_hop_to", "route_in_dialog"]


def find_target(board: Switchboard, request: Request, flow: Flow, call: Call | None, now: float) -> RemoteTarget | None:
    """Where a request inside a dialog goes: what its token holds, or, without one, what the call knows.

    Simple clients send to the URI that they first called and not to the Contact. The dialog's tags and
    the address that they come from name the call just as well; but a token that does not open is no
    token, and leads nowhere.
    """
    user = request.uri.user or ""
    target = board.sealer.open(user, flow.listener.zone)
    if target is None and call is not None and len(user) < SHORTEST_TOKEN:
        legs = call.legs_of(request.from_tag)
        if legs is None or legs[1] is None or request.to_tag != legs[1].tag or not _same_peer(legs[0], flow):
            return None
        target = remote_target(legs[1], board.flows)
    if target is not None and not flow.serial and call is not None and _knows(call, request, flow):
        board.standings.prove(flow, Standing.REACHABLE, now)
    return target


def _knows(call: Call, request: Request, flow: Flow) -> bool:
    """Whether the sender has had what we sent to this very address: the tag of the other side.

    A token alone proves nothing of the address it comes from: its holder may forge any other.
    """
    legs = call.legs_of(request.from_tag)
    return legs is not None and legs[1] is not None and request.to_tag == legs[1].tag and flow == legs[0].first


def _same_peer(leg: Leg, flow: Flow) -> bool:
    return leg.flow.listener.zone is flow.listener.zone and leg.flow.peer[0] == flow.peer[0]


def next_hop_to(board: Switchboard, target: RemoteTarget, request: Request) -> NextHop | None:
    flow = board.flows.of(target)
    return NextHop(flow, target.uri or str(request.uri), target.routes) if flow is not None else None


def route_in_dialog(
    board: Switchboard, request: Request, flow: Flow, call: Call | None, now: float
) -> NextHop | Reason:
    """Where a request inside a dialog goes, or why it goes nowhere."""
    target = find_target(board, request, flow, call, now)
    if target is None or (call is None and request.method == "INVITE"):
        # Without the call there is no media session that a new offer could go through.
        return Reason.NO_DIALOG
    hop = next_hop_to(board, target, request)
    if hop is not None:
        return hop
    if request.method == "BYE":
        _end_call(board, call, request)  # whoever it was for is not there any more
    return Reason.FLOW_GONE


def forward_in_dialog(
    board: Switchboard, server: ServerTransaction, hop: NextHop, call: Call | None, now: float
) -> None:
    """Carry a request inside a dialog to the other side."""
    request = server.request
    if call is not None:
        _note(call, request, server.source)
        if request.method == "BYE" and call.caller.tag in (request.from_tag, request.to_tag):
            _ByeContext(board, server, SingleTarget(hop), call).start(now)
            return
    ResponseContext(board, server, SingleTarget(hop), call).start(now)


class _ByeContext(ResponseContext):
    """A BYE: whatever becomes of it, the call is over once it is answered (RFC 3261 section 15.1.1).

    See :func:`_end_call` for one that comes earlier.
    """

    __slots__ = ()

    def _forward(self, branch: Branch, response: Response, body: bytes | None, now: float) -> None:
        super()._forward(branch, response, body, now)
        if response.status >= 200 and response.status not in (401, 407):
            self._end()

    def _finish(self, status: int, outcome: str, now: float, retry_after: int = 0) -> None:
        super()._finish(status, outcome, now, retry_after)
        self._end()

    def abandon(self, now: float) -> None:
        super().abandon(now)
        self._end()

    def _end(self) -> None:
        _end_call(self._board, self.call, self.request)


def _end_call(board: Switchboard, call: Call | None, bye: Request) -> None:
    """End the call that ``bye`` hangs up, unless another fork goes on.

    A BYE that comes before the INVITE has its final answer ends an early dialog and leaves the call to that
    answer, which is due (RFC 3261 section 15.1.2), or to the limit of set-up: another fork may still be ringing.
    """
    if call is not None and call.context is None and not call.survives((bye.from_tag, bye.to_tag)):
        board.calls.end(call)


def _note(call: Call, request: Request, flow: Flow) -> None:
    """Keep what the request tells of its sender: number, target, and the flow it now comes from."""
    legs = call.legs_of(request.from_tag)
    if legs is None or legs[1] is None or request.to_tag != legs[1].tag:
        return  # another fork's, or somebody's who holds a token and guesses
    sender = legs[0]
    sender.cseq = max(sender.cseq, request.cseq)
    if flow.listener.zone is sender.flow.listener.zone:
        sender.flow = flow
        learn_target(sender, request)


def forward_ack(board: Switchboard, request: Request, flow: Flow, now: float) -> None:
    """Pass the ACK of a 2xx on; it has no transaction and no answer (RFC 3261 section 13.2.2.4)."""
    call = board.calls.find(request, flow.listener.zone)
    target = find_target(board, request, flow, call, now)
    hop = next_hop_to(board, target, request) if target is not None else None
    if hop is None:
        return
    if call is not None and board.anchor.enabled and has_sdp(request):
        then = partial(_send_ack, board, request, hop)
        board.anchor.answer(call, request, request.to_tag, request.from_tag, flow, then, now)
    else:
        bare = board.anchor.enabled and (has_sdp(request) or hides_sdp(request))
        _send_ack(board, request, hop, b"" if bare else request.body, now)


def _send_ack(board: Switchboard, request: Request, hop: NextHop, body: bytes | MediaError, now: float) -> None:
    """Send the ACK; where its SDP was refused, without: the far side then ends a call that has no media."""
    data = topology.forward_request(
        request,
        hop.flow.listener,
        board.new_branch(),
        hop.uri,
        hop.routes,
        body=b"" if isinstance(body, MediaError) else body,
    )
    board.send(hop.flow, data)
