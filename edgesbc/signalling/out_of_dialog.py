"""Requests outside of dialogs: admitted, routed, and given what carries them on. Screens nothing itself."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.base.reasons import Reason
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.stage import LoadSnapshot, Subject
from edgesbc.screen.standing import Standing
from edgesbc.signalling.dispatched_targets import DispatchedTargets
from edgesbc.signalling.in_dialog import next_hop_to
from edgesbc.signalling.next_hop import SingleTarget
from edgesbc.signalling.response_context import ResponseContext
from edgesbc.signalling.screener import Screener
from edgesbc.signalling.switchboard import Switchboard, reply_flow
from edgesbc.signalling.tokens import RemoteTarget
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Request
from edgesbc.sip.values import unsupported

__all__ = ["OutOfDialogRequests"]

_SUPPORTED = ("path",)
"""Option tags that the edge itself understands; those of others pass it."""


class OutOfDialogRequests:
    """Takes what begins something, by the routes in force; while ``draining``, no new call."""

    __slots__ = ("_board", "_gate", "draining", "lag", "routing")

    def __init__(self, board: Switchboard, gate: Screener, routing: RoutingTable) -> None:
        self._board = board
        self._gate = gate
        self.routing = routing
        self.draining = False
        self.lag = 0.0
        """By how many seconds the edge is late, of late."""

    def start(self, subject: Subject, request: Request, now: float) -> None:
        board, flow, method = self._board, subject.flow, request.method
        if method == "BYE" or method == "PRACK" or method == "UPDATE":
            self._gate.tell(Reason.NO_DIALOG)
            board.refuse(flow, request, Reason.NO_DIALOG.status)
            return
        if method == "OPTIONS" and board.flows.is_ours(request.uri.host, request.uri.port):
            # The edge itself is asked (section 11.2); and whoever asks for a user learns nothing of users.
            lacks = unsupported(request.get_all("Require"), _SUPPORTED)
            if lacks:  # section 8.2.2.3
                board.refuse(flow, request, 420, [("Unsupported", ", ".join(lacks))])
                return
            able = [self._gate.allow(flow), ("Accept", "application/sdp"), ("Supported", ", ".join(_SUPPORTED))]
            board.refuse(flow, request, 200, able)
            return
        if board.is_loop(request, flow.listener):
            self._gate.refuse(flow, request, Reason.LOOP, now)
            return
        subject.load = self._under_way(subject)
        if not self._gate.call(subject, request, now):
            return
        inward = self._token_of(flow, request)
        hops: DispatchedTargets | SingleTarget
        if inward is not None:
            hop = next_hop_to(board, inward, request)
            if hop is None:
                self._gate.refuse(flow, request, Reason.FLOW_GONE, now)
                return
            hops = SingleTarget(hop)
        elif len(request.uri.user or request.uri.opaque) > limits.ROUTE_TEXT:
            # Patterns do not look at it, so that a route which refuses would let it pass (RFC 3261 section 21.4.12).
            self._gate.refuse(flow, request, Reason.TOO_LARGE, now, 414)
            return
        else:
            route = self.routing.choose(flow, request, subject.trunk, board.wall(now))
            self._gate.route(None if route is None else route.where, now)
            if route is None:
                self._gate.refuse(flow, request, Reason.NO_ROUTE, now)
                return
            if not route.to:
                self._gate.refuse(flow, request, Reason.BLOCKED, now, route.answer, route.retry_after)
                return
            hops = DispatchedTargets(board, route, request, flow)
        self._forward(subject, request, hops, now)

    def _under_way(self, subject: Subject) -> LoadSnapshot:
        calls = self._board.calls
        return LoadSnapshot(
            calls.ringing.get(subject.source, 0),
            calls.by_trunk.get(subject.trunk or "", 0),
            len(self._board.transactions),
            self.lag,
        )

    def _token_of(self, flow: Flow, request: Request) -> RemoteTarget | None:
        """The flow that a request from the core names: by the Path it has as Route, or as Request-URI."""
        if flow.listener.zone is not Zone.CORE:
            return None
        route = request.get("Route")
        for uri in ([parse_name_addr(route).uri] if route else []) + [request.uri]:
            if uri.user and self._board.flows.is_ours(uri.host, uri.port):
                target = self._board.sealer.open(uri.user, Zone.CORE)
                if target is not None:
                    return target
        return None

    def _forward(self, subject: Subject, request: Request, hops: DispatchedTargets | SingleTarget, now: float) -> None:
        board, flow = self._board, subject.flow
        trusted = subject.standing is Standing.TRUNK and flow.listener.zone is Zone.PUBLIC
        if request.method != "INVITE":
            server = self.open(subject, request)
            board.promise(server, now)
            ResponseContext(board, server, hops, trusted=trusted).start(now)
            return
        reason = self._refusal_of_call(subject, request)
        if reason is not None:
            self._gate.refuse(flow, request, reason, now)
            return
        server = self.open(subject, request)
        board.promise(server, now)
        source = None if subject.standing is Standing.TRUNK else subject.source
        call = board.calls.open(request, flow, subject.trunk or "", source, now)
        context = ResponseContext(board, server, hops, call, new_call=True, trusted=trusted)
        call.context = context
        context.start(now)

    def open(self, subject: Subject, request: Request) -> ServerTransaction:
        flow = subject.flow
        server = self._board.transactions.open_server(request, flow, reply_flow(request, flow))
        server.proven = subject.standing is not Standing.UNPROVEN
        server.size = self._board.heard
        server.credit = self._board.credit(flow)
        return server

    def _refusal_of_call(self, subject: Subject, request: Request) -> Reason | None:
        """Why a call must not begin now, if so."""
        board = self._board
        if self.draining:
            return Reason.DRAINING
        if board.calls.full:
            return Reason.OVERLOAD
        if board.calls.find(request, subject.flow.listener.zone) is not None:
            return Reason.LOOP  # the same request by another way (RFC 3261 section 8.2.2.2)
        return None
