"""Which destination set takes a request: routes in the order of the policy, the first match wins.

It picks a set and nothing more: members are dispatch's affair, and in-dialog requests follow their token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.base.patterns import check_pattern
from edgesbc.base.prefixes import PrefixSet
from edgesbc.dispatch.keys import field_value
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


def _prefixes(_instance: object, _attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for text in value:
        try:
            PrefixSet([text])
        except ValueError as error:
            raise ValueError(f"expected an address or prefix, found {text!r} ({error})") from None


def _methods(_instance: object, _attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for method in value:
        if not re.fullmatch(r"[A-Z]+", method):
            raise ValueError(f"expected methods in capital letters as in INVITE, found {method!r}")


@attrs.frozen
class Route:
    """A rule of the policy. What is not given matches everything; what is given must all match.

    Patterns are Python regular expressions, searched for: write ``^`` and ``$`` to hold the whole text.
    Users are compared without their password and with escapes resolved (RFC 3261 section 19.1.4).
    """

    name: str
    to: str
    """The destination set that takes the request."""
    from_: str = "public"
    """The zone, or the listener by name, that the request came in on."""
    methods: tuple[str, ...] = attrs.field(default=(), validator=_methods)
    request_user: str | None = attrs.field(default=None, validator=_pattern)
    """Pattern for the user of the Request-URI."""
    from_user: str | None = attrs.field(default=None, validator=_pattern)
    """Pattern for the user in From, which a caller may make up."""
    source: tuple[str, ...] = attrs.field(default=(), validator=_prefixes)
    """Addresses and prefixes that the request may come from."""
    user_agent: str | None = attrs.field(default=None, validator=_pattern)
    header: Mapping[str, str] = attrs.field(factory=dict, validator=_patterns)
    """Patterns for the first value of header fields, by name in any case."""


class _Rule:
    """A route, made ready: patterns compiled, prefixes in a set."""

    __slots__ = ("from_", "from_user", "header", "methods", "request_user", "route", "source")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.from_ = route.from_
        self.methods = frozenset(route.methods)
        self.source = PrefixSet(route.source)
        self.request_user = _compiled(route.request_user)
        self.from_user = _compiled(route.from_user)
        wanted = dict(route.header)
        if route.user_agent is not None:
            wanted["User-Agent"] = route.user_agent
        self.header = [(name, re.compile(pattern).search) for name, pattern in wanted.items()]

    def matches(self, zone: Zone, listener: str, request: Request, source: Source) -> bool:
        return (
            (self.from_ == listener or self.from_ == zone.value)
            and (not self.methods or request.method in self.methods)
            and (not self.source or source.host in self.source)
            and (self.request_user is None or _found(self.request_user, _user(request.uri)))
            and (self.from_user is None or _found(self.from_user, _user(request.from_.uri)))
            and all(_found(search, field_value(request, name)) for name, search in self.header)
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
            routes = (Route(name="default", to=only),)
        for route in routes:
            if route.to not in set_names:
                raise ValueError(f"route {route.name} goes to {route.to!r}, which is not a destination set")
        self._rules = tuple(map(_Rule, routes))

    def choose(self, zone: Zone, listener_name: str, request: Request, source: Source) -> Route | None:
        """The first route that takes ``request``, or None.

        Raises WireError when a route looks at From and the URI there is malformed.
        """
        for rule in self._rules:
            if rule.matches(zone, listener_name, request, source):
                return rule.route
        return None


def _compiled(pattern: str | None) -> _Search | None:
    return None if pattern is None else re.compile(pattern).search


def _user(uri: Uri) -> str:
    user = uri.opaque if uri.user is None else uri.user.partition(":")[0]
    return unquote(user, errors="replace") if "%" in user else user


def _found(search: _Search, text: str | None) -> bool:
    return text is not None and len(text) <= limits.ROUTE_TEXT and search(text) is not None
