"""Target sets (RFC 3261 section 16.5): the hops that a request is tried at, one after the other or several at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgesbc.base.address import Flow, Listener, Transport, Zone, family_of
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.hash_keys import hash_key
from edgesbc.dispatch.leases import Lease
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import SetSettings
from edgesbc.routing.numbers import Numbers
from edgesbc.routing.table import Route
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.flows import Flows
from edgesbc.sip.machines import T1
from edgesbc.sip.message import Request
from edgesbc.sip.uri import Param, Uri
from edgesbc.sip.user_part import WrittenUser

__all__ = ["DispatchedTargets", "NamedTarget", "NextHop", "SingleTarget", "TargetSet", "listener_for"]


_TARGET_PARAMS = frozenset({"transport", "maddr", "ttl"})


class NextHop:
    """Where a request goes next: the flow, the Request-URI there, the route set, and the lease of a member.

    ``first`` is the flow by which the request was sent, ``flow`` the one that its peer uses now (``DeviceFlows``).
    ``timeout`` is how many seconds an INVITE may go without any answer; after the statuses in ``failover_on`` the
    next member is tried. ``ring_limit`` and ``call_limit`` are how many seconds a call may ring there, and last, None
    for no limit of its own. ``of_dialog`` is whether it is known by a dialog alone, as the sender of an INVITE is,
    which may have forged its address.
    """

    __slots__ = (
        "call_limit", "failover_on", "first", "flow", "lease", "of_dialog", "ring_limit", "routes", "timeout", "uri",
    )  # fmt: skip

    def __init__(
        self,
        flow: Flow,
        uri: str,
        routes: tuple[str, ...] = (),
        lease: Lease | None = None,
        timeout: float = 64 * T1,
        failover_on: tuple[int, ...] = (),
        ring_limit: float | None = None,
        call_limit: float | None = None,
    ) -> None:
        self.ring_limit = ring_limit
        self.call_limit = call_limit
        self.flow = self.first = flow
        self.of_dialog = False
        self.uri = uri
        self.routes = routes
        self.lease = lease
        self.timeout = timeout
        self.failover_on = failover_on


class TargetSet(Protocol):
    """Gives the hops to send to next: the next *target group* of RFC 3261 section 16.6."""

    def next_group(self, now: float, limit: int) -> Sequence[NextHop]:
        """At most ``limit`` hops, to be tried at the same time; none when there is none left."""

    def alternative(self, hop: NextHop, now: float) -> NextHop | None:
        """Another address of the same host, which is used if a connection to it is open before that of ``hop``."""

    def may_race(self, hop: NextHop) -> bool:
        """Whether that may be one of the other address family."""

    def refusal(self) -> tuple[int, int]:
        """The answer when there was none: the status, and seconds for Retry-After, 0 for none."""

    def set_names(self) -> str:
        """The destination sets that were asked for a member so far, for the operator; "" for none."""

    def family(self) -> str:
        """The address family that the request goes to first, ``IP4`` or ``IP6``; "" where it may be either."""


class SingleTarget:
    """The one hop that a token or a registration leads to."""

    __slots__ = ("_hop",)

    def __init__(self, hop: NextHop) -> None:
        self._hop: NextHop | None = hop

    def next_group(self, now: float, limit: int) -> Sequence[NextHop]:
        hop, self._hop = self._hop, None
        return () if hop is None else (hop,)

    def alternative(self, hop: NextHop, now: float) -> NextHop | None:
        return None

    def may_race(self, hop: NextHop) -> bool:
        return False

    def refusal(self) -> tuple[int, int]:
        return 503, 5

    def set_names(self) -> str:
        return ""

    def family(self) -> str:
        return "" if self._hop is None else family_of(self._hop.flow.peer[0])


class NamedTarget(SingleTarget):
    """The one hop to a server that a token names; if that is a destination, the request holds a lease there."""

    __slots__ = ("_dispatcher", "_selection")

    def __init__(self, hop: NextHop, dispatcher: Dispatcher, selection: SelectionRequest) -> None:
        super().__init__(hop)
        self._dispatcher = dispatcher
        self._selection = selection

    def next_group(self, now: float, limit: int) -> Sequence[NextHop]:
        hops = super().next_group(now, limit)
        for hop in hops:
            lease = self._dispatcher.acquire_at(hop.flow.peer, hop.flow.listener.transport, now, self._selection)
            if lease is not None:
                settings = self._dispatcher.settings(lease.member.set_name)
                hop.lease, hop.ring_limit, hop.call_limit = lease, settings.ring_limit, settings.call_limit
        return hops


class DispatchedTargets:
    """The hops of a request that ``route`` takes; a member that was tried is not tried again.

    When all members of a set were tried or are not able, its fallback is used, and then the route's next set. When no
    member of any set is able, a last round in the same order also uses members that asked for a rest, and sets whose
    members are all down. ``flow`` is the one that the request came by; ``keeps_host`` is whether the host of
    the Request-URI may go on, if it is not the edge's; ``has_account`` is whether the sender has registered, or is a
    trunk or of the private side.
    """

    __slots__ = (
        "_began", "_dispatcher", "_effects", "_flow", "_flows", "_has_account", "_keeps_host", "_last_round", "_names",
        "_request", "_route", "_selection", "_tried", "_visited",
    )  # fmt: skip

    def __init__(
        self,
        dispatcher: Dispatcher,
        flows: Flows,
        effects: EffectQueue,
        route: Route,
        request: Request,
        flow: Flow,
        keeps_host: bool = True,
        has_account: bool = True,
    ) -> None:
        self._dispatcher = dispatcher
        self._flows = flows
        self._effects = effects
        self._route = route
        self._request = request
        self._flow = flow
        self._keeps_host = keeps_host
        self._has_account = has_account
        self._names = list(reversed(route.to))  # the next set to use comes last
        self._visited: dict[str, None] = {}  # sets, in order
        self._last_round = False  # whether all sets were used once
        self._tried: list[Member] = []
        self._began: float | None = None
        self._selection: SelectionRequest | None = None  # of the current set

    def next_group(self, now: float, limit: int) -> Sequence[NextHop]:
        if self._began is None:
            self._began = now
        while self._names or self._begin_last_round():
            settings = self._settings(self._names[-1])
            if settings is not None:
                if self._tried and now - self._began >= settings.total_timeout:
                    return ()  # the caller has waited long enough
                hops = self._hops(settings, now, limit)
                if hops:
                    return hops
            self._leave_set(settings)
        return ()

    def may_race(self, hop: NextHop) -> bool:
        lease, transport = hop.lease, hop.flow.listener.transport
        return lease is not None and transport is not Transport.UDP and self._dispatcher.has_both_families(lease.member)

    def alternative(self, hop: NextHop, now: float) -> NextHop | None:
        selection = self._selection
        if hop.lease is None or selection is None:
            return None
        settings = self._settings(hop.lease.member.set_name)
        while settings is not None:
            lease = self._dispatcher.acquire_alternative(hop.lease.member, now, self._tried, selection)
            if lease is None:
                return None
            other = self._hop(lease, settings)
            if other is not None:
                names = f"{settings.set} {lease.member.name}"
                detail = f"{names}: no connection to {hop.lease.member.target} so far, whichever is open first is used"
                self._effects.record(now, Reason.ROUTED, self._flow, self._request.call_id, detail)
                return other
            lease.withdraw()
        return None

    def refusal(self) -> tuple[int, int]:
        route = self._route
        status = route.answer or Reason.NO_DESTINATION.status
        wait = (5 if status == 503 else 0) if route.retry_after is None else route.retry_after
        return status, wait

    def set_names(self) -> str:
        return ", ".join(dict.fromkeys([*self._visited, *self._names[-1:]]))

    def family(self) -> str:
        return self._dispatcher.family(self._names[-1]) if self._names else ""

    def _settings(self, name: str) -> SetSettings | None:
        try:
            return self._dispatcher.settings(name)
        except KeyError:
            return None  # a reload has taken the set away since the request came

    def _begin_last_round(self) -> bool:
        """Begin the last round, for members that rest or are down; false if it is over, or there is only one set."""
        again = not self._last_round and len(self._visited) > 1
        self._last_round = True
        if again:
            self._names = list(reversed(self._visited))
        return again

    def _leave_set(self, settings: SetSettings | None) -> None:
        """No member of the current set is able: continue with its fallback, or with the next set."""
        self._visited[self._names.pop()] = None
        self._selection = None
        if settings is not None and settings.fallback is not None and settings.fallback not in self._visited:
            self._names.append(settings.fallback)

    def _hops(self, settings: SetSettings, now: float, limit: int) -> list[NextHop]:
        request, selection = self._request, self._selection
        if selection is None:
            call = request.method == "INVITE"
            key = self._hash_key(settings).encode(errors="surrogateescape")
            selection = self._selection = SelectionRequest(key, self._route.resources if call else (), call)
        hops: list[NextHop] = []
        alone = len(self._names) == 1 and not self._visited and settings.fallback is None
        any_state = self._last_round or alone
        while not hops:
            leases = self._dispatcher.acquire_all(settings.set, now, self._tried, selection, limit, any_state)
            if not leases:
                break
            for lease in leases:
                hop = self._hop(lease, settings)
                if hop is None:
                    lease.withdraw()
                else:
                    detail = f"{settings.set} {lease.member.name}"
                    self._effects.record(now, Reason.ROUTED, self._flow, request.call_id, detail)
                    hops.append(hop)
        return hops

    def _hash_key(self, settings: SetSettings) -> str:
        if settings.algorithm != "hash":
            return ""
        try:
            return hash_key(settings.hash_on, self._request, self._flow.peer)
        except WireError:
            return ""  # a malformed address gives no key

    def _hop(self, lease: Lease, settings: SetSettings) -> NextHop | None:
        """The hop to a member; None where no listener can send to it, or too many requests wait for its connection."""
        member = lease.member
        self._tried.append(member)
        listener = listener_for(self._flows, member, self._flow.listener.zone.other)
        if listener is None:
            return None
        flow = self._flows.to(listener, member.target, member.tls_name)
        if self._flows.is_crowded(flow, self._has_account):
            return None
        route = self._route
        return NextHop(
            flow,
            self._uri_at(member),
            (),
            lease,
            settings.try_timeout,
            settings.failover_on,
            _shorter(route.ring_limit, settings.ring_limit),
            _shorter(route.call_limit, settings.call_limit),
        )

    def _uri_at(self, member: Member) -> str:
        """The Request-URI for ``member``: a URI of the edge's own address becomes one of the member's.

        A domain stays, because private servers may serve several. The route rewrites the number first, then the member.
        What would lead a private server elsewhere (RFC 3261 section 16.5) does not go inward.
        """
        uri = self._request.uri
        rules = [rule for rule in (self._route.numbers, member.settings.numbers) if rule is not None]
        if rules:
            uri = _renumbered(uri, rules)
        if uri.opaque:
            return str(uri)
        if self._keeps_host and not self._flows.is_ours(uri.host, uri.port):
            if self._flow.listener.zone is Zone.CORE or not uri.params:
                return str(uri)
            return str(Uri(uri.scheme, uri.user, uri.host, uri.port, _without_target(uri), uri.headers))
        params = _without_target(uri)
        base = member.settings.parsed
        transport = base.param("transport")
        if transport is not None:
            params.append(("transport", transport))
        return str(Uri(base.scheme, uri.user, base.host, base.port, params, uri.headers))


def _shorter(first: float | None, second: float | None) -> float | None:
    """The smaller of two limits, None where there is none."""
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


def _without_target(uri: Uri) -> list[Param]:
    """The parameters of ``uri`` but those that say where a request to it is sent."""
    return [pair for pair in uri.params if pair[0] not in _TARGET_PARAMS]


def _renumbered(uri: Uri, rules: list[Numbers]) -> Uri:
    """``uri`` with another user, or another number where it is a ``tel:`` URI (RFC 3966).

    A URI that names no user stays: that of a REGISTER (RFC 3261 section 10.2), and a service (RFC 5031).
    """
    written = WrittenUser(uri)
    number = written.number
    if not number:
        return uri
    for rule in rules:
        number = rule.apply(number)
    if uri.scheme == "tel":  # which cannot be without a number
        return Uri("tel", None, "", opaque=written.with_number(number)) if number else uri
    user = written.with_number(number) if number else None  # parameters and password have no place without a user
    return Uri(uri.scheme, user, uri.host, uri.port, uri.params, uri.headers)


def listener_for(flows: Flows, member: Member, zone: Zone) -> Listener | None:
    """The listener that leads to a member: the one its settings name, or the first of ``zone`` that can."""
    return flows.listener_to(zone, member.transport, member.target.host, member.settings.socket)
