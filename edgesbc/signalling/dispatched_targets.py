"""Requests by a route: its sets in order, one member after the other or several at once, each with a lease."""

from __future__ import annotations

from collections.abc import Sequence

from edgesbc.base.address import Flow, Listener, Zone
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.hash_keys import hash_key
from edgesbc.dispatch.leases import Lease
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import SetSettings
from edgesbc.routing.numbers import Numbers
from edgesbc.routing.table import Route
from edgesbc.signalling.next_hop import NextHop
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.sip.message import Request
from edgesbc.sip.uri import Uri

__all__ = ["DispatchedTargets", "listener_for"]


class DispatchedTargets:
    """The hops of a request that ``route`` takes; what was tried is not tried again.

    A set whose members are all tried or not able gives way to its fallback, and that to the route's next set. When
    nobody is able in any of them, those who asked for a rest, or are down with all of their set, are called all the
    same, in the same order.
    ``flow`` is the one that the request came by.
    """

    __slots__ = ("_began", "_board", "_demand", "_flow", "_last", "_names", "_request", "_route", "_seen", "_tried")

    def __init__(self, board: Switchboard, route: Route, request: Request, flow: Flow) -> None:
        self._board = board
        self._route = route
        self._request = request
        self._flow = flow
        self._names = list(reversed(route.to))  # the set to go on with comes last
        self._seen: dict[str, None] = {}  # in order
        self._last = False  # whether all of them were asked once
        self._tried: list[Member] = []
        self._began: float | None = None
        self._demand: SelectionRequest | None = None  # of the set at hand

    def next(self, now: float, most: int) -> Sequence[NextHop]:
        if self._began is None:
            self._began = now
        while self._names or self._once_more():
            settings = self._settings(self._names[-1])
            if settings is not None:
                if self._tried and now - self._began >= settings.total_timeout:
                    return ()  # whoever has waited so long hears of it now
                hops = self._hops(settings, now, most)
                if hops:
                    return hops
            self._leave(settings)
        return ()

    def answer(self) -> tuple[int, int]:
        route = self._route
        status = route.answer or Reason.NO_DESTINATION.status
        wait = (5 if status == 503 else 0) if route.retry_after is None else route.retry_after
        return status, wait

    def asked(self) -> str:
        return ", ".join(dict.fromkeys([*self._seen, *self._names[-1:]]))

    def _settings(self, name: str) -> SetSettings | None:
        try:
            return self._board.dispatcher.settings(name)
        except KeyError:
            return None  # a reload has taken the set away since the request came

    def _once_more(self) -> bool:
        """Whether the sets are to be gone through again, for those that rest or are down: where there are several."""
        again = not self._last and len(self._seen) > 1
        self._last = True
        if again:
            self._names = list(reversed(self._seen))
        return again

    def _leave(self, settings: SetSettings | None) -> None:
        """Nobody in the set at hand is able: go on with its fallback, or with the next one."""
        self._seen[self._names.pop()] = None
        self._demand = None
        if settings is not None and settings.fallback is not None and settings.fallback not in self._seen:
            self._names.append(settings.fallback)

    def _hops(self, settings: SetSettings, now: float, most: int) -> list[NextHop]:
        board, demand = self._board, self._demand
        if demand is None:
            key = self._key(settings)
            call = self._request.method == "INVITE"
            demand = SelectionRequest(key.encode(errors="surrogateescape"), self._route.resources if call else (), call)
            self._demand = demand
        hops: list[NextHop] = []
        alone = len(self._names) == 1 and not self._seen and settings.fallback is None
        while not hops:
            leases = board.dispatcher.acquire_all(settings.set, now, self._tried, demand, most, self._last or alone)
            if not leases:
                break
            for lease in leases:
                hop = self._hop(lease, settings)
                if hop is None:
                    lease.release()
                else:
                    detail = f"{settings.set} {lease.member.name}"
                    board.record(now, Reason.ROUTED, self._flow, self._request.call_id, detail)
                    hops.append(hop)
        return hops

    def _key(self, settings: SetSettings) -> str:
        if settings.algorithm != "hash":
            return ""
        try:
            return hash_key(settings.hash_on, self._request, self._flow.peer)
        except WireError:
            return ""  # who has no readable address has no key; and the call may be under way since long

    def _hop(self, lease: Lease, settings: SetSettings) -> NextHop | None:
        """The way to a member; None where no listener leads there."""
        member = lease.member
        self._tried.append(member)
        listener = listener_for(self._board, member, self._flow.listener.zone.other)
        if listener is None:
            return None
        flow = self._board.flows.to(listener, member.target, member.tls_name)
        return NextHop(flow, self._uri_at(member), (), lease, settings.try_timeout, settings.failover_on)

    def _uri_at(self, member: Member) -> str:
        """The Request-URI for ``member``: a URI of the edge's own address becomes one of the member's.

        A domain stays, since the servers inside may serve several. The number is first what the route makes of it,
        and then what the member wants.
        """
        uri = self._request.uri
        numbers = [each for each in (self._route.numbers, member.settings.numbers) if each is not None]
        if numbers:
            uri = _renumbered(uri, numbers)
        if uri.opaque or not self._board.flows.is_ours(uri.host, uri.port):
            return str(uri)
        params = [pair for pair in uri.params if pair[0] not in ("transport", "maddr")]
        there = member.settings.parsed
        transport = there.param("transport")
        if transport is not None:
            params.append(("transport", transport))
        return str(Uri(there.scheme, uri.user, there.host, there.port, params, uri.headers))


def _renumbered(uri: Uri, numbers: list[Numbers]) -> Uri:
    """``uri`` with another user, or another number where it is a ``tel:`` URI (RFC 3966).

    What names nobody stays: the Request-URI of a REGISTER (RFC 3261 section 10.2), and a service (RFC 5031).
    """
    is_tel = uri.scheme == "tel"
    text, mark = (uri.opaque, ";") if is_tel else (uri.user or "", ":")
    if not text:
        return uri
    number, mark, rest = text.partition(mark)
    for each in numbers:
        number = each.apply(number)
    if is_tel:  # which cannot be without a number
        return Uri(uri.scheme, None, "", opaque=number + mark + rest) if number else uri
    user = number + mark + rest if number else None  # a password has no place without a user
    return Uri(uri.scheme, user, uri.host, uri.port, uri.params, uri.headers)


def listener_for(board: Switchboard, member: Member, zone: Zone) -> Listener | None:
    """The listener that leads to a member: the one its settings name, or the first of ``zone`` that can."""
    host = member.target.host
    return board.flows.listener_to(zone, member.transport, host, member.settings.socket)
