"""The routing table: routes in the order of the policy, of which the first match names the destination sets.

``dispatch`` selects the member. Requests inside a dialog are not routed here: they follow their token.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC
from typing import Any
from urllib.parse import unquote

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.base.patterns import check_pattern, compile_pattern, has_control
from edgesbc.base.prefixes import PrefixSet
from edgesbc.base.validation import at_most, between, optional, prefixes, sip_methods
from edgesbc.routing.domains import DomainSettings, HostSet, host_names, plain_host
from edgesbc.routing.hours import Hours, zone_of
from edgesbc.routing.numbers import Numbers, Rewrite, check_user
from edgesbc.sip.field_lookup import field_value
from edgesbc.sip.message import Request
from edgesbc.sip.uri import Uri
from edgesbc.sip.user_part import spellings

__all__ = ["Route", "RoutingTable"]

_Search = Callable[[str], object]
_HOSTS = [at_most(limits.DOMAINS, "domains"), host_names]


def _pattern(_instance: object, _attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None:
        check_pattern(value)


def _patterns(instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, str]) -> None:
    for pattern in value.values():
        _pattern(instance, attribute, pattern)


def _sets(value: object) -> tuple[str, ...]:
    """Convert one name or a list of names, as a policy may have them, to a tuple. Raises ``ValueError``."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"expected the name of a destination set, or a list of them, found {value!r}")
    return tuple(names)


def _each_once(_instance: object, _attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for number, name in enumerate(value):
        if name in value[:number]:
            raise ValueError(f"expected each set once, found {name!r} again")


def _hours(_instance: object, _attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    Hours(value, UTC)


def _zone(_instance: object, _attribute: attrs.Attribute[Any], value: str) -> None:
    zone_of(value)


@attrs.frozen
class Route:
    """A route of the policy. All given conditions must match; a condition that is not given always matches.

    Patterns are Python regular expressions that match anywhere in the text: ``^`` and ``$`` anchor them.
    Users are compared without password and with escapes decoded. A telephone number is compared without separators and
    parameters (:func:`edgesbc.sip.user_part.plain_user`), and as it was written as well. A user that has a control
    character matches nothing.
    """

    name: str
    to: tuple[str, ...] = attrs.field(default=(), converter=_sets, validator=_each_once, metadata={"structure": _sets})
    """The destination set for the request, or several, each used when no member of the one before can take it.
    Empty: the request is refused with :attr:`answer`."""
    from_: str = "public"
    """The zone, or the name of the listener, at which the request arrived."""
    methods: tuple[str, ...] = attrs.field(default=(), validator=sip_methods)
    request_user: str | None = attrs.field(default=None, validator=_pattern)
    """Pattern for the user of the Request-URI."""
    request_prefix: tuple[str, ...] = ()
    """Prefixes: that user must begin with one of them. A long list costs no more than a short one."""
    from_user: str | None = attrs.field(default=None, validator=_pattern)
    """Pattern for the user in From, which a caller may forge."""
    request_host: tuple[str, ...] = attrs.field(default=(), validator=_HOSTS)
    """Hosts of the Request-URI: domains, addresses, or ``*.example.com`` for the names below one."""
    from_host: tuple[str, ...] = attrs.field(default=(), validator=_HOSTS)
    """The same for the URI in From, which a caller may forge."""
    to_host: tuple[str, ...] = attrs.field(default=(), validator=_HOSTS)
    """The same for the URI in To, which a caller may forge."""
    source: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Addresses and prefixes of the request's source."""
    user_agent: str | None = attrs.field(default=None, validator=_pattern)
    header: Mapping[str, str] = attrs.field(factory=dict, validator=_patterns)
    """Patterns for the first value of header fields, by name in any case."""
    trunk: tuple[str, ...] = ()
    """Names of trunks: the request must come from one of them."""
    hours: tuple[str, ...] = attrs.field(default=(), validator=_hours)
    """When the route applies, as in ``Mon-Fri 08:00-18:00``, ``Sat`` or ``22:00-06:00``."""
    timezone: str = attrs.field(default="UTC", validator=_zone)
    """The time zone of :attr:`hours`."""
    strip: int = attrs.field(default=0, validator=between(0, limits.ROUTE_TEXT))
    """Characters to remove from the start of the user of the Request-URI."""
    prepend: str = attrs.field(default="", validator=check_user)
    """Text to put in front of that user, after :attr:`strip` and :attr:`rewrite`."""
    rewrite: Rewrite | None = None
    """A pattern, and the replacement of the text that it matches in that user."""
    resources: tuple[str, ...] = ()
    """Named resources: a call by this route takes one of each at its member."""
    ring_limit: float | None = attrs.field(default=None, validator=optional(between(1, limits.RING_SECONDS, "seconds")))
    """Seconds that a call by this route may ring at a member; the shorter of this and that of the set holds."""
    call_limit: float | None = attrs.field(default=None, validator=optional(between(1, limits.CALL_SECONDS, "seconds")))
    """Seconds that a call by this route may last; the shorter of this and that of the set holds."""
    answer: int | None = attrs.field(default=None, validator=optional(between(400, 699)))
    """The status of the final response when no member can take the request; None: 503."""
    retry_after: int | None = attrs.field(default=None, validator=optional(between(0, 3600)))
    """Seconds in the Retry-After of that response; 0: no such field; None: the estimated time."""

    @property
    def numbers(self) -> Numbers | None:
        """The rewriting of the called number; None if it stays as it is."""
        rewrites = self.strip or self.prepend or self.rewrite is not None  # it is asked for each request
        return Numbers(self.strip, self.prepend, self.rewrite) if rewrites else None

    @property
    def where(self) -> str:
        """The sets of the route as one text, for comparisons."""
        return ", ".join(self.to) or f"answer {self.answer}"


class _Rule:
    """A compiled route: patterns as search functions, prefixes as a set."""

    __slots__ = (
        "from_", "from_hosts", "from_user", "header", "hours", "methods", "prefixes", "request_hosts", "request_user",
        "route", "source", "to_hosts", "trunks",
    )  # fmt: skip

    def __init__(self, route: Route) -> None:
        self.route = route
        self.from_ = route.from_
        self.methods = frozenset(route.methods)
        self.source = PrefixSet(route.source)
        self.prefixes = route.request_prefix
        self.request_user = _compiled(route.request_user)
        self.from_user = _compiled(route.from_user)
        self.request_hosts = HostSet(route.request_host)
        self.from_hosts = HostSet(route.from_host)
        self.to_hosts = HostSet(route.to_host)
        self.trunks = frozenset(route.trunk)
        self.hours = Hours(route.hours, zone_of(route.timezone)) if route.hours else None
        patterns = dict(route.header)
        if route.user_agent is not None:
            patterns["User-Agent"] = route.user_agent
        self.header = [(name, compile_pattern(pattern).search) for name, pattern in patterns.items()]

    def matches(self, flow: Flow, request: Request, trunk: str | None, wall: float) -> bool:
        listener = flow.listener
        return (
            (self.from_ == listener.name or self.from_ == listener.zone)
            and (not self.methods or request.method in self.methods)
            and (not self.trunks or trunk in self.trunks)
            and (not self.source or flow.peer.host in self.source)
            and (not self.request_hosts or request.uri.host in self.request_hosts)
            and (not self.from_hosts or request.from_.uri.host in self.from_hosts)
            and (not self.to_hosts or request.to.uri.host in self.to_hosts)
            and (not self.prefixes or any(user.startswith(self.prefixes) for user in spellings(request.uri)))
            and (self.request_user is None or _matches_user(self.request_user, request.uri))
            and (self.from_user is None or _matches_user(self.from_user, request.from_.uri))
            and (not self.header or all(_matches(search, field_value(request, name)) for name, search in self.header))
            and (self.hours is None or self.hours.contains(wall))
        )


class RoutingTable:
    """The compiled routes of a policy; ``set_names`` are the names of its destination sets, ``domains`` what the
    public side may ask for.

    Without routes, every request from ``public`` goes to the only set. Raises ``ValueError`` if there is
    no route and not exactly one set, or if a route names a set that does not exist.
    """

    __slots__ = ("_domains", "_rules", "domain_answer")

    def __init__(
        self, routes: Sequence[Route], set_names: Collection[str], domains: DomainSettings | None = None
    ) -> None:
        domains = DomainSettings() if domains is None else domains
        self._domains = frozenset(map(plain_host, domains.names))
        self.domain_answer = domains.answer
        """The status for a request to a host that is neither the edge nor one of the domains."""
        if not routes:
            if len(set_names) != 1:
                raise ValueError(f"expected a route for each of the {len(set_names)} sets, found none")
            (only,) = set_names
            routes = (Route(name="default", to=(only,)),)
        for route in routes:
            for name in route.to:
                if name not in set_names:
                    raise ValueError(f"route {route.name} goes to {name!r}, which is not a destination set")
        self._rules = tuple(map(_Rule, routes))

    @property
    def has_domains(self) -> bool:
        """Whether the policy says which hosts the public side may ask for."""
        return bool(self._domains)

    def serves(self, host: str) -> bool:
        """Whether the host of a Request-URI is one of the domains."""
        return host in self._domains or (bool(self._domains) and plain_host(host) in self._domains)

    def choose(self, flow: Flow, request: Request, trunk: str | None, wall: float) -> Route | None:
        """The first route that matches ``request``, or None.

        ``trunk`` is the name of the trunk that sent it, if any; ``wall`` is the time in seconds since 1970 (UTC).
        Raises :class:`WireError` when a route reads From or To and the URI in it is malformed.
        """
        uri = request.uri
        text = uri.user or uri.opaque
        if "%" in text and has_control(unquote(text, errors="replace")):
            return None  # an escaped line feed would end a number early for one reader, and not for another
        for rule in self._rules:
            if rule.matches(flow, request, trunk, wall):
                return rule.route
        return None


def _compiled(pattern: str | None) -> _Search | None:
    return None if pattern is None else compile_pattern(pattern).search


def _matches_user(search: _Search, uri: Uri) -> bool:
    return any(_matches(search, user) for user in spellings(uri))


def _matches(search: _Search, text: str | None) -> bool:
    if text is None or len(text) > limits.ROUTE_TEXT or search(text) is None:
        return False
    return has_control(text) is None
