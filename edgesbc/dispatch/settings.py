"""Settings of destination sets as the policy gives them: frozen values that say what they expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.base.validation import at_most, between, one_of, optional
from edgesbc.dispatch.algorithm_names import ALGORITHM_NAMES
from edgesbc.routing.numbers import Numbers, Rewrite, check_user
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri, parse_server_uri
from edgesbc.sip.uri import Uri, parse_uri

__all__ = ["HealthSettings", "MemberSettings", "SetSettings", "with_fallbacks"]

_Attribute = attrs.Attribute  # short for the signatures below

HASH_ON = ("call-id", "from-uri", "to-uri", "request-user", "source")
_HEADER_KEY = re.compile(r"header:[A-Za-z0-9!%*_+`'~.-]+\Z")


def _reachable(_instance: object, _attribute: _Attribute[str], value: str) -> None:
    parse_server_uri(value)


def _place(member: MemberSettings) -> ServerUri:
    return parse_server_uri(member.uri)


def _target(member: MemberSettings) -> ResolvedAddress | None:
    return member.place.target


def _parsed(member: MemberSettings) -> Uri:
    return parse_uri(member.uri)


def _resources(_instance: object, _attribute: _Attribute[Any], value: Mapping[str, int]) -> None:
    if len(value) > limits.MEMBER_RESOURCES:
        raise ValueError(f"expected at most {limits.MEMBER_RESOURCES} resources, found {len(value)}")
    for name, most in value.items():
        if not name or not 0 <= most <= limits.CALLS:
            raise ValueError(f"expected a name and 0 to {limits.CALLS} calls, found {name!r} = {most}")


def _known_hash_on(_instance: object, _attribute: _Attribute[str], value: str) -> None:
    if value not in HASH_ON and not _HEADER_KEY.match(value):
        raise ValueError(f"expected one of {', '.join(HASH_ON)}, header:NAME; found {value!r}")


def _final_failures(_instance: object, _attribute: _Attribute[Any], value: tuple[int, ...]) -> None:
    for status in value:
        if not 400 <= status <= 699:
            raise ValueError(f"expected final failure statuses from 400 to 699, found {status}")


def _bound_of_load(_instance: object, _attribute: _Attribute[Any], value: float) -> None:
    if value and not 1.01 <= value <= 100:
        raise ValueError(f"expected 1.01 to 100 times the fair share, or 0 for no bound, found {value!r}")


def _named(_instance: object, _attribute: _Attribute[str], value: str) -> None:
    if not value:
        raise ValueError("expected a name, found an empty text")


@attrs.frozen
class MemberSettings:
    """One destination of a set."""

    uri: str = attrs.field(validator=_reachable)
    """Where it is: ``sip:HOST[:PORT][;transport=udp|tcp|tls]``, or ``sips:``. A host name is looked up, and each
    address that it has is watched and counted by itself (RFC 3263)."""
    weight: int = attrs.field(default=1, validator=between(1, limits.MEMBER_WEIGHT))
    """Its share of the calls, in relation to its neighbours. Nothing at all is `destinations disable`."""
    priority: int = attrs.field(default=0, validator=between(0, 1000))
    """Lower numbers are used first; the next number only when none of them can take the call."""
    max_calls: int | None = attrs.field(default=None, validator=optional(between(1, limits.CALLS)))
    """Calls it has at once, at most; None: no bound of its own."""
    max_cps: float | None = attrs.field(default=None, validator=optional(between(0.01, 10_000, "calls a second")))
    """New calls a second, at most; None: no bound of its own."""
    socket: str | None = None
    """Name of the listener to send from; None: the first one of the core with the member's transport."""
    resources: Mapping[str, int] = attrs.field(factory=dict, validator=_resources)
    """How many calls at once may use a thing of which it has only so many, by its name: ``{ pstn = 30 }``. A call
    takes one of each that its route names, and goes to a member that has all of them."""
    strip: int = attrs.field(default=0, validator=between(0, limits.ROUTE_TEXT, "characters"))
    """Characters that the user of the Request-URI loses at its begin."""
    prepend: str = attrs.field(default="", validator=check_user)
    """What that user has in front, after :attr:`strip` and :attr:`rewrite`."""
    rewrite: Rewrite | None = None
    """A pattern and what takes the place of the text that it matches there."""
    tls_name: str | None = attrs.field(default=None)
    """The name that its certificate has to carry, over TLS; None: the host of :attr:`uri`."""
    disabled: bool = False
    """Out of use until the operator enables it."""
    place: ServerUri = attrs.field(init=False, repr=False, eq=False, default=attrs.Factory(_place, takes_self=True))
    """Where :attr:`uri` leads; worked out here, so that a swap of a thousand members need not."""
    target: ResolvedAddress | None = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(_target, takes_self=True)
    )
    """Its one address, where :attr:`uri` has a literal one."""
    parsed: Uri = attrs.field(init=False, repr=False, eq=False, default=attrs.Factory(_parsed, takes_self=True))
    attributes: Mapping[str, str] = attrs.field(factory=dict)
    """Words of the operator's own, kept and shown."""

    @property
    def numbers(self) -> Numbers | None:
        """What becomes of the number called; None: nothing."""
        found = Numbers(self.strip, self.prepend, self.rewrite)
        return None if found == Numbers() else found


@attrs.frozen
class HealthSettings:
    """How the members of a set are watched."""

    interval: float = attrs.field(default=5.0, validator=between(0, 3600, "seconds"))
    """Seconds between two OPTIONS to a member, give or take a tenth; 0: no probes, live traffic decides."""
    timeout: float = attrs.field(default=1.0, validator=between(0.05, 32, "seconds"))
    """Seconds after which a probe without a final answer has failed."""
    fall: int = attrs.field(default=2, validator=between(1, 100))
    """Failures in a row that take a member out."""
    rise: int = attrs.field(default=2, validator=between(1, 100))
    """Good answers in a row that bring it back."""
    failed_on: tuple[int, ...] = attrs.field(default=(408, 502, 503, 504), validator=_final_failures)
    """Answers to OPTIONS that mean "not now": a server in overload, or a proxy that speaks for a dead one.
    Every other final answer, 404 and 405 and 500 included, comes from somebody alive."""
    retry: float = attrs.field(default=30.0, validator=between(1, 3600, "seconds"))
    """Without probes: seconds after which a member that was taken out is tried with live traffic again."""
    panic: int = attrs.field(default=0, validator=between(0, 100, "percent"))
    """When at most this share of the members is up, health is not believed and all are used."""
    slow_start: float = attrs.field(default=10.0, validator=between(0, 3600, "seconds"))
    """Seconds over which a member that came back gets its share again, a little more each second; 0: all at once."""
    damping: float = attrs.field(default=60.0, validator=between(0, 3600, "seconds"))
    """A member that is taken out within so many seconds of its return needs twice as many good answers as the last
    time to come back; 0: it never needs more than :attr:`rise`."""


@attrs.frozen
class SetSettings:
    """A destination set: the members that can take the same calls."""

    set: str = attrs.field(validator=_named)
    """Its name, which routes refer to."""
    members: tuple[MemberSettings, ...] = attrs.field(default=(), validator=at_most(limits.SET_MEMBERS, "members"))
    """Who takes its calls; empty where :attr:`database` has them."""
    database: str | None = None
    """Name of the ``[[database]]`` that has the members; None: they are in the policy."""
    group: str = ""
    """The set's number or name in that database; empty: its name here."""
    algorithm: str = attrs.field(default="weighted", validator=one_of(*ALGORITHM_NAMES))
    hash_on: str = attrs.field(default="call-id", validator=_known_hash_on)
    """For ``hash``: what of a request keeps to one member."""
    hash_bound: float = attrs.field(default=1.25, validator=_bound_of_load)
    """For ``hash``: a member that has this many times its fair share of the live calls is passed over until it has
    less, so that one busy key does not overload it; 0: never."""
    health: HealthSettings = attrs.field(factory=HealthSettings)
    failover_on: tuple[int, ...] = attrs.field(default=(408, 480, 500, 502, 503, 504), validator=_final_failures)
    """Final answers after which a new INVITE goes on to the next member."""
    try_timeout: float = attrs.field(default=2.0, validator=between(0.1, 32, "seconds"))
    """Seconds that a member may stay silent before the next one is tried."""
    total_timeout: float = attrs.field(default=10.0, validator=between(0.1, 180, "seconds"))
    """Seconds after the first try from which on no further member is tried: nobody waits for ever to hear it ring."""
    rest: float = attrs.field(default=30.0, validator=between(0, 3600, "seconds"))
    """Longest time in seconds that a member which answers 503 with Retry-After is passed over; 0: the field is not
    heeded."""
    fallback: str | None = None
    """The set that takes what no member of this one can."""


def with_fallbacks(name: str, sets: Mapping[str, SetSettings]) -> list[str]:
    """The set of that name, and those that it falls back to, in order; what comes round is not named again."""
    names: list[str] = []
    going: str | None = name
    while going is not None and going not in names:
        names.append(going)
        going = sets[going].fallback if going in sets else None
    return names
