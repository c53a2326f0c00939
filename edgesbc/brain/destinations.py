"""Requests to a destination set: one member after the other, or several at once, each with a lease."""

from __future__ import annotations

from collections.abc import Sequence

from edgesbc.base.address import Flow, Listener, Zone
from edgesbc.base.reasons import Reason
from edgesbc.brain.hops import Hop
from edgesbc.brain.switchboard import Switchboard
from edgesbc.dispatch.demand import Demand
from edgesbc.dispatch.keys import hash_key
from edgesbc.dispatch.leases import Lease
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.sets import SetSettings
from edgesbc.sip.message import Request
from edgesbc.sip.uri import Uri

__all__ = ["Dispatched", "listener_for"]


class Dispatched:
    """The hops of a request that a route gives to ``set_name``; what was tried is not tried again.

    ``flow`` is the one that the request came by.
    """

    __slots__ = ("_board", "_demand", "_flow", "_request", "_set_name", "_tried")

    def __init__(self, board: Switchboard, set_name: str, request: Request, flow: Flow) -> None:
        self._board = board
        self._set_name = set_name
        self._request = request
        self._flow = flow
        self._tried: list[Member] = []
        self._demand: Demand | None = None

    def next(self, now: float, most: int) -> Sequence[Hop]:
        board = self._board
        try:
            settings = board.dispatcher.settings(self._set_name)
        except KeyError:
            return ()  # a reload has taken the set away since the request came
        if self._demand is None:
            key = hash_key(settings.hash_on, self._request, self._flow.peer) if settings.algorithm == "hash" else ""
            self._demand = Demand(key.encode(errors="surrogateescape"))
        hops: list[Hop] = []
        while not hops:
            leases = board.dispatcher.acquire_all(self._set_name, now, self._tried, self._demand, most)
            if not leases:
                break
            for lease in leases:
                hop = self._hop(lease, settings)
                if hop is None:
                    lease.release()
                else:
                    detail = f"{self._set_name} {lease.member.name}"
                    board.record(now, Reason.ROUTED, self._flow, self._request.call_id, detail)
                    hops.append(hop)
        return hops

    def _hop(self, lease: Lease, settings: SetSettings) -> Hop | None:
        """The way to a member; None where no listener leads there."""
        member = lease.member
        self._tried.append(member)
        listener = listener_for(self._board, member, self._flow.listener.zone.other)
        if listener is None:
            return None
        flow = self._board.flows.to(listener, member.target)
        return Hop(flow, self._uri_at(member), (), lease, settings.try_timeout, settings.failover_on)

    def _uri_at(self, member: Member) -> str:
        """The Request-URI for ``member``: a URI of the edge's own address becomes one of the member's.

        A domain stays, since the servers inside may serve several.
        """
        uri = self._request.uri
        if uri.opaque or not self._board.flows.is_ours(uri.host, uri.port):
            return str(uri)
        params = [pair for pair in uri.params if pair[0] not in ("transport", "maddr")]
        transport = member.settings.parsed.param("transport")
        if transport is not None:
            params.append(("transport", transport))
        return str(
            Uri(
                member.settings.parsed.scheme,
                uri.user,
                member.settings.parsed.host,
                member.settings.parsed.port,
                params,
                uri.headers,
            )
        )


def listener_for(board: Switchboard, member: Member, zone: Zone) -> Listener | None:
    """The listener that leads to a member: the one its settings name, or the first of ``zone`` that can."""
    host = member.target.host
    return board.flows.listener_to(zone, member.transport, host, member.settings.socket)
