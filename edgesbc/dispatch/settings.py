"""The settings of destination sets: frozen values, validated with errors that name what was expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.base.address import split_host_port
from edgesbc.base.latch_mode import LatchMode
from edgesbc.base.validation import at_most, between, matching, one_of, optional, sip_methods
from edgesbc.dispatch.algorithm_names import ALGORITHM_NAMES
from edgesbc.routing.numbers import Numbers, Rewrite, check_user
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri, parse_server_uri
from edgesbc.sip.uri import Uri, parse_uri

__all__ = ["HealthSettings", "MemberSettings", "ProbeSettings", "SetSettings", "with_fallbacks"]

_Attribute = attrs.Attribute  # short for the signatures below

COUNTED = ("probes", "silence", "transport", "refusals")
"""What may count against a member, as words of ``counts``."""
HASH_ON = ("call-id", "from-uri", "to-uri", "request-user", "source")
_HEADER_KEY = re.compile(r"header:[A-Za-z0-9!%*_+`'~.-]+\Z")


def _reachable(_instance: object, _attribute: _Attribute[str], value: str) -> None:
    parse_server_uri(value)


def _server_uri(member: MemberSettings) -> ServerUri:
    return parse_server_uri(member.uri)


def _target(member: MemberSettings) -> ResolvedAddress | None:
    return member.server_uri.target


def _parsed(member: MemberSettings) -> Uri:
    return parse_uri(member.uri)


def _resources(_instance: object, _attribute: _Attribute[Any], value: Mapping[str, int]) -> None:
    if len(value) > limits.MEMBER_RESOURCES:
        raise ValueError(f"expected at most {limits.MEMBER_RESOURCES} resources, found {len(value)}")
    for name, most in value.items():
        if not name or not 0 <= most <= limits.CALLS_MOST:
            raise ValueError(f"expected a name and 0 to {limits.CALLS_MOST} calls, found {name!r} = {most}")


def _known_hash_on(_instance: object, _attribute: _Attribute[str], value: str) -> None:
    if value not in HASH_ON and not _HEADER_KEY.match(value):
        raise ValueError(f"expected one of {', '.join(HASH_ON)}, header:NAME; found {value!r}")


def _final_failures(_instance: object, _attribute: _Attribute[Any], value: tuple[int, ...]) -> None:
    for status in value:
        if not 400 <= status <= 699:
            raise ValueError(f"expected final failure statuses from 400 to 699, found {status}")


def _counted(_instance: object, attribute: _Attribute[Any], value: tuple[str, ...]) -> None:
    for word in value:
        if word not in COUNTED:
            raise ValueError(f"{attribute.name}: expected words of {', '.join(COUNTED)}; found {word!r}")


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
    """Its address: ``sip:HOST[:PORT][;transport=udp|tcp|tls]``, or ``sips:``. A host name is resolved, and each
    of its addresses is probed and counted separately (RFC 3263)."""
    weight: int = attrs.field(default=1, validator=between(1, limits.MEMBER_WEIGHT))
    """Its share of the calls, relative to the other members of its priority. For none at all, see ``disabled``."""
    priority: int = attrs.field(default=0, validator=between(0, 1000))
    """Lower numbers are used first; the next number only when none of them can take the call."""
    max_calls: int | None = attrs.field(default=None, validator=optional(between(1, limits.CALLS_MOST)))
    """Calls at once; None: no bound of its own."""
    max_cps: float | None = attrs.field(default=None, validator=optional(between(0.01, 10_000, "calls a second")))
    """New calls a second; None: no bound of its own."""
    socket: str | None = None
    """Name of the listener to send from; None: the first one of the core with the member's transport."""
    resources: Mapping[str, int] = attrs.field(factory=dict, validator=_resources)
    """Calls at once that may use a limited resource of the member, by the resource's name: ``{ pstn = 30 }``. A call
    takes one of each resource that its route names, and goes to a member that has all of them free."""
    strip: int = attrs.field(default=0, validator=between(0, limits.ROUTE_TEXT, "characters"))
    """Characters to remove from the start of the user of the Request-URI."""
    prepend: str = attrs.field(default="", validator=check_user)
    """Text to put in front of that user, after :attr:`strip` and :attr:`rewrite`."""
    rewrite: Rewrite | None = None
    """A pattern, and the replacement of the text that it matches in that user."""
    tls_name: str | None = attrs.field(default=None)
    """The name that its certificate must have, over TLS; None: the host of :attr:`uri`."""
    disabled: bool = False
    """Not used until the operator enables it."""
    server_uri: ServerUri = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(_server_uri, takes_self=True)
    )
    """:attr:`uri` parsed, once when the policy is read: a change of a thousand members then takes less time."""
    target: ResolvedAddress | None = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(_target, takes_self=True)
    )
    """The address in :attr:`uri`; None if that has a host name."""
    parsed: Uri = attrs.field(init=False, repr=False, eq=False, default=attrs.Factory(_parsed, takes_self=True))
    attributes: Mapping[str, str] = attrs.field(factory=dict)
    """Texts of the operator, which are stored and shown."""

    @property
    def numbers(self) -> Numbers | None:
        """The rewriting of the called number; None if it stays as it is."""
        rewrites = self.strip or self.prepend or self.rewrite is not None  # it is asked for each request
        return Numbers(self.strip, self.prepend, self.rewrite) if rewrites else None


@attrs.frozen
class HealthSettings:
    """The health checks of the members of a set."""

    interval: float = attrs.field(default=5.0, validator=between(0, 3600, "seconds"))
    """Seconds between two OPTIONS to a member, plus or minus a tenth; 0: no probes, only live traffic counts."""
    timeout: float = attrs.field(default=1.0, validator=between(0.05, 32, "seconds"))
    """Seconds after which a probe without a final response has failed."""
    fall: int = attrs.field(default=2, validator=between(1, 100))
    """Failures in a row that make a member inactive."""
    rise: int = attrs.field(default=2, validator=between(1, 100))
    """Good responses in a row that make it active again."""
    failed_on: tuple[int, ...] = attrs.field(default=(408, 502, 503, 504), validator=_final_failures)
    """Statuses of responses to OPTIONS that are failures: of a server in overload, or of a proxy in front of a dead
    server. Any other final response, also 404, 405 or 500, shows that the member is alive."""
    counts: tuple[str, ...] = attrs.field(default=COUNTED, validator=_counted)
    """What counts against a member: failed ``probes``, the ``silence`` of a call that gets no response, a failed
    ``transport``, and a large share of ``refusals``."""
    refused_on: tuple[int, ...] = attrs.field(default=(500, 502, 503, 504), validator=_final_failures)
    """Statuses of responses to calls that are refusals. One refusal is the failure of its call only."""
    refused_share: int = attrs.field(default=90, validator=between(1, 100, "percent"))
    """A member becomes inactive when it has refused this share of its last calls."""
    refused_calls: int = attrs.field(default=10, validator=between(2, limits.REFUSAL_CALLS))
    """How many last calls are looked at, no older than ``limits.REFUSAL_SECONDS``; with fewer, none count."""
    refused_spread: int = attrs.field(default=3, validator=between(1, 20))
    """How many callers, and how many numbers, the refused calls must have."""
    retry: float = attrs.field(default=30.0, validator=between(1, 3600, "seconds"))
    """Without probes: seconds after which an inactive member is tried with live traffic again."""
    panic: int = attrs.field(default=0, validator=between(0, 100, "percent"))
    """When at most this share of the members is up, health is ignored and all are used."""
    slow_start: float = attrs.field(default=10.0, validator=between(0, 3600, "seconds"))
    """Seconds over which the share of a member that is active again grows to its full size; 0: at once."""
    damping: float = attrs.field(default=60.0, validator=between(0, 3600, "seconds"))
    """A member that becomes inactive within so many seconds of its return needs twice as many good responses as the
    last time to return; 0: it never needs more than :attr:`rise`."""


def _advertised(_instance: object, attribute: _Attribute[str], value: str) -> None:
    if not value:
        return
    try:
        host = split_host_port(value, 0).host
    except ValueError:
        host = ""
    if ":" not in host and not _HOST.fullmatch(host):
        raise ValueError(f"{attribute.name}: expected a host name or address with an optional port, found {value!r}")


_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!%*_+`'~.-]{1,64}/[A-Za-z0-9!%*_+`'~.-]{1,64}")


def _media_types(_instance: object, attribute: _Attribute[Any], value: tuple[str, ...]) -> None:
    for text in value:
        if not _MEDIA_TYPE.fullmatch(text):
            raise ValueError(f"{attribute.name}: expected media types as in application/sdp, found {text!r}")


@attrs.frozen
class ProbeSettings:
    """The header fields of the OPTIONS to the members of a set (RFC 3261 section 11.1)."""

    host: str = attrs.field(default="", validator=_advertised)
    """Host in From and Contact, with a port if it is not that of the listener; empty: what the listener advertises."""
    user: str = attrs.field(default="edge", validator=check_user)
    """User in From and Contact; empty: none."""
    contact: bool = True
    """Whether there is a Contact."""
    allow: tuple[str, ...] = attrs.field(
        default=("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY"),
        validator=[at_most(limits.HEADER_NAMES, "methods"), sip_methods],
    )
    """Methods in Allow; none: no such field."""
    accept: tuple[str, ...] = attrs.field(
        default=("application/sdp",), validator=[at_most(limits.HEADER_NAMES, "media types"), _media_types]
    )
    """Media types in Accept; none: no such field."""
    user_agent: str | None = attrs.field(
        default=None, validator=optional(matching(r"[\x20-\x7e]{0,64}", "up to 64 plain characters"))
    )
    """User-Agent; empty: no such field, None: ``[edge] server``."""


@attrs.frozen
class SetSettings:
    """A destination set: the members that can take the same calls."""

    set: str = attrs.field(validator=_named)
    """Its name, which routes refer to."""
    members: tuple[MemberSettings, ...] = attrs.field(default=(), validator=at_most(limits.SET_MEMBERS, "members"))
    """Its members; empty if they come from :attr:`database`."""
    database: str | None = None
    """Name of the ``[[database]]`` with the members; None: they are in the policy."""
    group: str = ""
    """The set's number or name in that database; empty: its name here."""
    peer_algorithm: int | None = attrs.field(default=None, validator=optional(between(0, 99)))
    """The number that ``ds_select_dst`` of Kamailio or OpenSIPS was given for the rows of that set: it decides what
    their weights and priorities mean. None: weights hold within a priority."""
    algorithm: str = attrs.field(default="weighted", validator=one_of(*ALGORITHM_NAMES))
    """How a member is selected: a name of :data:`~edgesbc.dispatch.algorithm_names.ALGORITHM_NAMES`."""
    hash_on: str = attrs.field(default="call-id", validator=_known_hash_on)
    """For ``hash``: the part of a request that is the key."""
    hash_bound: float = attrs.field(default=1.25, validator=_bound_of_load)
    """For ``hash``: a member with this many times its fair share of the live calls is skipped until it has fewer,
    so that one busy key does not overload it; 0: never."""
    health: HealthSettings = attrs.field(factory=HealthSettings)
    probe: ProbeSettings = attrs.field(factory=ProbeSettings)
    failover_on: tuple[int, ...] = attrs.field(default=(408, 480, 500, 502, 503, 504), validator=_final_failures)
    """Statuses of final responses after which a new INVITE is sent to the next member."""
    try_timeout: float = attrs.field(default=2.0, validator=between(0.1, 32, "seconds"))
    """Seconds without a response after which the next member is tried."""
    total_timeout: float = attrs.field(default=10.0, validator=between(0.1, 180, "seconds"))
    """Seconds after the first attempt from which on no further member is tried, so that a caller does not wait long."""
    rest: float = attrs.field(default=30.0, validator=between(0, 3600, "seconds"))
    """Longest time in seconds for which a member that responds with a status of :attr:`rest_on` and Retry-After is
    skipped; 0: Retry-After is ignored."""
    rest_on: tuple[int, ...] = attrs.field(default=(503,), validator=_final_failures)
    """Statuses whose Retry-After asks for a rest (RFC 3261 section 21.5.4); none: Retry-After is ignored."""
    ring_limit: float | None = attrs.field(default=None, validator=optional(between(1, limits.RING_SECONDS, "seconds")))
    """Seconds that a call may ring at a member; None: ``limits.RING_SECONDS``."""
    call_limit: float | None = attrs.field(default=None, validator=optional(between(1, limits.CALL_SECONDS, "seconds")))
    """Seconds that a call to a member may last; None: ``limits.CALL_SECONDS``."""
    fallback: str | None = None
    """The set that gets the calls which no member of this one can take."""
    latch: LatchMode | None = None
    """Whether media ports follow the source of a member's packets; None: as ``[media] latch`` says."""


def with_fallbacks(name: str, sets: Mapping[str, SetSettings]) -> list[str]:
    """The set ``name`` and the sets that it falls back to, in order, each once."""
    names: list[str] = []
    following: str | None = name
    while following is not None and following not in names:
        names.append(following)
        following = sets[following].fallback if following in sets else None
    return names
