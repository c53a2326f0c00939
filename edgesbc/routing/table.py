"""Which destination set takes a request: routes in the order of the policy, the first match wins.

It picks a set and nothing more: members are dispatch's affair, and in-dialog requests follow their token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC
from typing import Any
from urllib.parse import unquote

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.base.patterns import check_pattern
from edgesbc.base.prefixes import PrefixSet
from edgesbc.base.validation import between, optional, prefixes, sip_methods
from edgesbc.routing.hours import Hours, zone_of
from edgesbc.routing.numbers import Numbers, Rewrite, check_user
from edgesbc.sip.field_lookup import field_value
from edgesbc.sip.message import Request
from edgesbc.sip.uri import Uri

__all__ = ["Route", "RoutingTable"]

_Search = Callable[[str], object]


def _pattern(_instance: object, _attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None:
        check_pattern(value)


def _patterns(instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, str]) -> None:
    for pattern in value.values():
        _pattern(instance, attribute, pattern)


def _sets(value: object) -> tuple[str, ...]:
    """One name, or several in order, as a policy may write them."""
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
    """A rule of the policy. What is not given matches everything; what is given must all match.

    Patterns are Python regular expressions, searched for: write ``^`` and ``$`` to hold the whole text.
    Users are compared without their password and with escapes resolved (RFC 3261 section 19.1.4).
    """

    name: str
    to: tuple[str, ...] = attrs.field(default=(), converter=_sets, validator=_each_once, metadata={"structure": _sets})
    """The destination set that takes the request, or several: the next one when no member of the one before is able.
    None: the request is refused with :attr:`answer`."""
    from_: str = "public"
    """The zone, or the listener by name, that the request came in on."""
    methods: tuple[str, ...] = attrs.field(default=(), validator=sip_methods)
    request_user: str | None = attrs.field(default=None, validator=_pattern)
    """Pattern for the user of the Request-URI."""
    request_prefix: tuple[str, ...] = ()
    """What that user may begin with; the longest list costs no more than a short one."""
    from_user: str | None = attrs.field(default=None, validator=_pattern)
    """Pattern for the user in From, which a caller may make up."""
    source: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Addresses and prefixes that the request may come from."""
    user_agent: str | None = attrs.field(default=None, validator=_pattern)
    header: Mapping[str, str] = attrs.field(factory=dict, validator=_patterns)
    """Patterns for the first value of header fields, by name in any case."""
    trunk: tuple[str, ...] = ()
    """Trunks by name, of which the request may be."""
    hours: tuple[str, ...] = attrs.field(default=(), validator=_hours)
    """When it holds, as in ``Mon-Fri 08:00-18:00``, ``Sat`` or ``22:00-06:00``."""
    timezone: str = attrs.field(default="UTC", validator=_zone)
    """For :attr:`hours`."""
    strip: int = attrs.field(default=0, validator=between(0, limits.ROUTE_TEXT))
    """Characters that the user of the Request-URI loses at its begin."""
    prepend: str = attrs.field(default="", validator=check_user)
    """What that user has in front, after :attr:`strip` and :attr:`rewrite`."""
    rewrite: Rewrite | None = None
    """A pattern and what takes the place of the text that it matches there."""
    resources: tuple[str, ...] = ()
    """Named resources of which a call by this route takes one each, at the member that it goes to."""
    answer: int | None = attrs.field(default=None, validator=optional(between(400, 699)))
    """The final answer when nothing is able to take the request; None: 503."""
    retry_after: int | None = attrs.field(default=None, validator=optional(between(0, 3600)))
    """Seconds in the Retry-After of that answer; 0: none is sent; None: as long as it may take."""

    @property
    def numbers(self) -> Numbers | None:
        """What becomes of the number called; None: nothing."""
        found = Numbers(self.strip, self.prepend, self.rewrite)
        return None if found == Numbers() else found

    @property
    def where(self) -> str:
        """Its sets in one text, for those who compare."""
        return ", ".join(self.to) or f"answer {self.answer}"


class _Rule:
    """A route, made ready: patterns compiled, prefixes in a set."""

    __slots__ = (
        "from_", "from_user", "header", "hours", "methods", "prefixes", "request_user", "route", "source", "trunks"
    )  # fmt: skip

    def __init__(self, route: Route) -> None:
        self.route = route
        self.from_ = route.from_
        self.methods = frozenset(route.methods)
        self.source = PrefixSet(route.source)
        self.prefixes = route.request_prefix
        self.request_user = _compiled(route.request_user)
        self.from_user = _compiled(route.from_user)
        self.trunks = frozenset(route.trunk)
        self.hours = Hours(route.hours, zone_of(route.timezone)) if route.hours else None
        wanted = dict(route.header)
        if route.user_agent is not None:
            wanted["User-Agent"] = route.user_agent
        self.header = [(name, re.compile(pattern).search) for name, pattern in wanted.items()]

    def matches(self, flow: Flow, request: Request, trunk: str | None, wall: float) -> bool:
        listener = flow.listener
        return (
            (self.from_ == listener.name or self.from_ == listener.zone.value)
            and (not self.methods or request.method in self.methods)
            and (not self.trunks or trunk in self.trunks)
            and (not self.source or flow.peer.host in self.source)
            and (not self.prefixes or _user(request.uri).startswith(self.prefixes))
            and (self.request_user is None or _found(self.request_user, _user(request.uri)))
            and (self.from_user is None or _found(self.from_user, _user(request.from_.uri)))
            and all(_found(search, field_value(request, name)) for name, search in self.header)
            and (self.hours is None or self.hours.holds(wall))
        )


class RoutingTable:
    """The routes of a policy, ready for use; ``set_names`` are its destination sets.

    With no routes, everything from ``public`` goes to the only set. Raises ``ValueError`` where there is
    no route and more or fewer than one set, or where a route names a set that is missing.
    """

    __slots__ = ("_rules",)

    def __init__(self, routes: Sequence[Route], set_names: Collection[str]) -> None:
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

    def choose(self, flow: Flow, request: Request, trunk: str | None, wall: float) -> Route | None:
        """The first route that takes ``request``, or None.

        ``trunk`` is whose request it is, if a trunk's; ``wall`` the time in seconds since 1970.
        Raises WireError when a route looks at From and the URI there is malformed.
        """
        for rule in self._rules:
            if rule.matches(flow, request, trunk, wall):
                return rule.route
        return None


def _compiled(pattern: str | None) -> _Search | None:
    return None if pattern is None else re.compile(pattern).search


def _user(uri: Uri) -> str:
    user = uri.opaque if uri.user is None else uri.user.partition(":")[0]
    return unquote(user, errors="replace") if "%" in user else user


def _found(search: _Search, text: str | None) -> bool:
    return text is not None and len(text) <= limits.ROUTE_TEXT and search(text) is not None
