"""Requests to a destination set: one member after the other, each with a lease while it is tried."""

from __future__ import annotations

from edgesbc.base.address import Listener, Source, Zone
from edgesbc.base.reasons import Reason
from edgesbc.brain.hops import Hop
from edgesbc.brain.switchboard import Switchboard
from edgesbc.dispatch.keys import hash_key
from edgesbc.dispatch.member import Member
from edgesbc.sip.message import Request
from edgesbc.sip.uri import Uri

__all__ = ["Dispatched", "listener_for"]


class Dispatched:
    """The hops of a request that a route gives to ``set_name``; what was tried is not tried again.

    ``zone`` is the side that the request came from.
    """

    __slots__ = ("_board", "_key", "_request", "_set_name", "_source", "_tried", "_zone")

    def __init__(self, board: Switchboard, set_name: str, request: Request, source: Source, zone: Zone) -> None:
        self._board = board
        self._set_name = set_name
        self._request = request
        self._zone = zone
        self._source = source
        self._tried: list[Member] = []
        self._key: str | None = None

    def next(self, now: float) -> Hop | None:
        board = self._board
        try:
            settings = board.dispatcher.settings(self._set_name)
        except KeyError:
            return None  # a reload has taken the set away since the request came
        if self._key is None:
            self._key = hash_key(settings.hash_on, self._request, self._source) if settings.algorithm == "hash" else ""
        while True:
            lease = board.dispatcher.acquire(self._set_name, now, self._tried, self._key)
            if lease is None:
                return None
            member = lease.member
            self._tried.append(member)
            listener = listener_for(board, member, self._zone.other)
            if listener is not None:
                break
            lease.release()
        board.record(now, Reason.ROUTED, None, self._request.call_id, f"{self._set_name} {member.name}")
        uri = self._uri_at(member)
        flow = board.flows.to(listener, member.target)
        return Hop(flow, uri, (), lease, settings.try_timeout, frozenset(settings.failover_on))

    def _uri_at(self, member: Member) -> str:
        """The Request-URI for ``member``: a URI of the edge's own address becomes one of the member's.

        A domain stays, since the servers inside may serve several.
        """
        uri = self._request.uri
        if uri.opaque or not self._board.flows.is_ours(uri.host, uri.port):
            return str(uri)
        params = [pair for pair in uri.params if pair[0] not in ("transport", "maddr")]
        transport = member.uri.param("transport")
        if transport is not None:
            params.append(("transport", transport))
        return str(Uri(member.uri.scheme, uri.user, member.uri.host, member.uri.port, params, uri.headers))


def listener_for(board: Switchboard, member: Member, zone: Zone) -> Listener | None:
    """The listener that leads to a member: the one its settings name, or the first of ``zone`` that can."""
    host = member.target.host
    return board.flows.listener_to(zone, member.transport, host, member.settings.socket)
