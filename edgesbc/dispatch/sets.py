"""Settings of destination sets as the policy gives them: frozen values that say what they expected."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport
from edgesbc.base.errors import WireError
from edgesbc.dispatch.algorithms import ALGORITHMS
from edgesbc.sip.uri import parse_uri

__all__ = ["HealthSettings", "MemberSettings", "SetSettings", "member_target"]

_Attribute = attrs.Attribute  # short for the signatures below

HASH_ON = ("call-id", "from-uri", "to-uri", "request-user", "source")
_HEADER_KEY = re.compile(r"header:[A-Za-z0-9!%*_+`'~.-]+\Z")


def member_target(uri: str) -> tuple[Source, Transport]:
    """Address and transport that ``uri`` names (RFC 3261 section 19.1.1); the host is a literal address.

    Raises ``ValueError`` that says what was found and what was expected.
    """
    try:
        parsed = parse_uri(uri)
    except WireError as error:
        raise ValueError(f"expected a SIP URI as in sip:10.0.0.11:5060, found {uri!r} ({error})") from None
    if parsed.scheme not in ("sip", "sips"):
        raise ValueError(f"expected a sip: or sips: URI, found {uri!r}")
    named = parsed.param("transport")
    secure = parsed.scheme == "sips"
    transport = (named or ("tls" if secure else "udp")).lower()
    if transport not in ("udp", "tcp", "tls"):
        raise ValueError(f"expected transport udp, tcp or tls, found {transport!r} in {uri!r}")
    if secure:
        if transport == "udp":
            raise ValueError(f"a sips: URI cannot go over udp, found {uri!r}")
        transport = "tls"  # sips over tcp means TLS over TCP (RFC 3261 section 26.2.2)
    try:
        address = ip_address(parsed.host.strip("[]"))
    except ValueError:
        raise ValueError(
            f"expected a literal IP address as host, found {parsed.host!r}; host names are not looked up yet"
        ) from None
    if address.is_multicast or address.is_unspecified:
        raise ValueError(f"expected the address of one host, found {parsed.host!r}")
    kind = Transport(transport)
    port = kind.default_port if parsed.port is None else parsed.port
    if not 0 < port < 65536:
        raise ValueError(f"expected a port from 1 to 65535, found {port} in {uri!r}")
    return Source(str(address), port), kind


def _in_range(low: float, high: float, unit: str = "") -> Callable[[object, _Attribute[Any], Any], None]:
    """A validator: ``low`` <= value <= ``high``, or None where the field may be None."""

    def check(_instance: object, _attribute: _Attribute[Any], value: float | None) -> None:
        if value is not None and not (low <= value <= high and math.isfinite(value)):
            raise ValueError(f"expected {low:g} to {high:g}{unit}, found {value!r}")

    return check


def _reachable(_instance: object, _attribute: _Attribute[str], value: str) -> None:
    member_target(value)


def _known_algorithm(_instance: object, _attribute: _Attribute[str], value: str) -> None:
    if value not in ALGORITHMS:
        raise ValueError(f"expected one of {', '.join(sorted(ALGORITHMS))}; found {value!r}")


def _known_hash_on(_instance: object, _attribute: _Attribute[str], value: str) -> None:
    if value not in HASH_ON and not _HEADER_KEY.match(value):
        raise ValueError(f"expected one of {', '.join(HASH_ON)}, header:NAME; found {value!r}")


def _final_failures(_instance: object, _attribute: _Attribute[Any], value: tuple[int, ...]) -> None:
    for status in value:
        if not 400 <= status <= 699:
            raise ValueError(f"expected final failure statuses from 400 to 699, found {status}")


def _number_of_members(_instance: object, _attribute: _Attribute[Any], value: tuple[object, ...]) -> None:
    if not value:
        raise ValueError("expected at least one member, found none")
    if len(value) > limits.SET_MEMBERS:
        raise ValueError(f"expected at most {limits.SET_MEMBERS} members, found {len(value)}")


def _named(_instance: object, _attribute: _Attribute[str], value: str) -> None:
    if not value:
        raise ValueError("expected a name, found an empty text")


@attrs.frozen
class MemberSettings:
    """One destination of a set."""

    uri: str = attrs.field(validator=_reachable)
    """Where it is: ``sip:ADDRESS[:PORT][;transport=udp|tcp|tls]``, or ``sips:``."""
    weight: int = attrs.field(default=1, validator=_in_range(1, limits.MEMBER_WEIGHT))
    """Its share of the calls, in relation to its neighbours. Nothing at all is `destinations disable`."""
    priority: int = attrs.field(default=0, validator=_in_range(0, 1000))
    """Lower numbers are used first; the next number only when none of them can take the call."""
    max_calls: int | None = attrs.field(default=None, validator=_in_range(1, limits.CALLS))
    """Calls it has at once, at most; None: no bound of its own."""
    max_cps: float | None = attrs.field(default=None, validator=_in_range(0.01, 10_000, " calls a second"))
    """New calls a second, at most; None: no bound of its own."""
    socket: str | None = None
    """Name of the listener to send from; None: the first one of the core with the member's transport."""
    attributes: Mapping[str, str] = attrs.field(factory=dict)
    """Words of the operator's own, kept and shown."""


@attrs.frozen
class HealthSettings:
    """How the members of a set are watched."""

    interval: float = attrs.field(default=5.0, validator=_in_range(0, 3600, " seconds"))
    """Seconds between two OPTIONS to a member, give or take a tenth; 0: no probes, live traffic decides."""
    timeout: float = attrs.field(default=1.0, validator=_in_range(0.05, 32, " seconds"))
    """Seconds after which a probe without a final answer has failed."""
    fall: int = attrs.field(default=2, validator=_in_range(1, 100))
    """Failures in a row that take a member out."""
    rise: int = attrs.field(default=2, validator=_in_range(1, 100))
    """Good answers in a row that bring it back."""
    failed_on: tuple[int, ...] = attrs.field(default=(408, 502, 503, 504), validator=_final_failures)
    """Answers to OPTIONS that mean "not now": a server in overload, or a proxy that speaks for a dead one.
    Every other final answer, 404 and 405 and 500 included, comes from somebody alive."""
    retry: float = attrs.field(default=30.0, validator=_in_range(1, 3600, " seconds"))
    """Without probes: seconds after which a member that was taken out is tried with live traffic again."""
    panic: int = attrs.field(default=0, validator=_in_range(0, 100, " percent"))
    """When at most this share of the members is up, health is not believed and all are used."""


@attrs.frozen
class SetSettings:
    """A destination set: the members that can take the same calls."""

    set: str = attrs.field(validator=_named)
    """Its name, which routes refer to."""
    members: tuple[MemberSettings, ...] = attrs.field(validator=_number_of_members)
    algorithm: str = attrs.field(default="weighted", validator=_known_algorithm)
    hash_on: str = attrs.field(default="call-id", validator=_known_hash_on)
    """For ``hash``: what of a request keeps to one member."""
    health: HealthSettings = attrs.field(factory=HealthSettings)
    failover_on: tuple[int, ...] = attrs.field(default=(408, 480, 500, 502, 503, 504), validator=_final_failures)
    """Final answers after which a new INVITE goes on to the next member."""
    try_timeout: float = attrs.field(default=2.0, validator=_in_range(0.1, 32, " seconds"))
    """Seconds that a member may stay silent before the next one is tried."""
