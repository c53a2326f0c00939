"""Destinations as rows for people and programs, and the selection of destinations by an operator's text."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import TypedDict

from edgesbc.base import limits
from edgesbc.base.address import Source, split_host_port
from edgesbc.control.protocol import CommandRefused
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.operator_overrides import Override
from edgesbc.observe.text import shown

__all__ = ["BY_ADDRESS", "DestinationRow", "destination_row", "display_name", "select_members"]

_MOST = 200

BY_ADDRESS = "an address"

_SELECTORS: dict[str, Callable[[Member, str], bool]] = {
    "a set": lambda member, selector: member.set_name == selector,
    "a URI": lambda member, selector: member.settings.uri == selector,
    "a set and a URI": lambda member, selector: f"{member.set_name}/{member.settings.uri}" == selector,
    BY_ADDRESS: lambda member, selector: str(member.target) == selector,
}
"""The kinds of selector, and for each whether it selects a member."""


class DestinationRow(TypedDict):
    """One member of a destination set. Times are seconds; None stands for what is not known, or has no bound."""

    set: str
    uri: str
    address: str
    transport: str
    state: str
    health: str
    """What the state would be without an operator's order."""
    since: float | None
    """How long it has been in its state."""
    usable: bool
    """Whether it takes new calls now."""
    resting: float | None
    """For how long it has asked for no calls (Retry-After)."""
    connect_failures: int
    """How many connections to it have failed in a row; 0 over UDP."""
    connect_after: float | None
    """For how long calls leave it alone because of that."""
    order: str | None
    """``enabled``, ``draining`` or ``disabled`` by an operator's order, with ``by`` and ``why``."""
    by: str
    why: str
    calls: int
    max_calls: int | None
    resources: dict[str, list[int]]
    """By name: in use, and how many there are."""
    cps: int | None
    """Calls begun in the last second, where ``max_cps`` is set."""
    max_cps: float | None
    weight: int
    priority: int
    answer: float | None
    """The smoothed time of its answers."""
    failure: str
    """The last failure, and how long ago it ``failed``."""
    failed: float | None
    failures: dict[str, int]
    """How many, by kind."""
    attributes: dict[str, str]


def select_members(selector: str, members: Iterable[Member]) -> tuple[str, list[Member]]:
    """The kind of ``selector``, and the members that it selects: SET/URI, URI in all sets, SET, or an address and port.

    Raises :class:`CommandRefused`, which lists the members, where it selects none or is ambiguous.
    """
    candidates = list(members)
    selector = _address(selector) or selector
    selected: dict[str, list[Member]] = {}
    for kind, selects in _SELECTORS.items():
        if matching := [member for member in candidates if selects(member, selector)]:
            selected[kind] = matching
    if not selected:
        raise CommandRefused(f"no destination is called {shown(selector, _MOST)!r}; {_listed(candidates)}")
    (kind, first), *others = selected.items()
    if any(other != first for _, other in others):
        raise CommandRefused(
            f"{shown(selector, _MOST)!r} is {' and also '.join(selected)}; say SET/URI: {_listed(candidates)}"
        )
    return kind, first


def display_name(member: Member) -> str:
    """The member as an operator may call it, with the address where the URI has a host name."""
    return shown(f"{member.set_name}/{member.name}", _MOST)


def destination_row(member: Member, override: Override | None, now: float) -> DestinationRow:
    """``member`` at ``now`` (seconds, the clock of the signalling plane), with the operator's order for it."""
    settings = member.settings
    backoff = member.backoff
    connect_after = 0.0 if backoff is None or not backoff.failures else max(backoff.until - now, 0.0)
    by_order = override is not None and member.state is override.admin_state.value
    began = override.since if override is not None and by_order else member.health.since
    return {
        "set": shown(member.set_name, _MOST), "uri": shown(settings.uri, _MOST), "address": str(member.target),
        "transport": member.transport.value, "state": member.state.value, "health": member.health.state.value,
        "since": None if began is None else max(now - began, 0.0), "usable": member.usable,
        "resting": member.resting_until - now if member.resting_until > now else None,
        "connect_failures": 0 if backoff is None else backoff.failures, "connect_after": connect_after or None,
        "order": None if override is None else override.admin_state.name.lower(),
        "by": "" if override is None else shown(override.by, _MOST),
        "why": "" if override is None else shown(override.why, _MOST),
        "calls": member.load, "max_calls": settings.max_calls,
        "resources": {
            shown(name, _MOST): [member.used.get(name, 0), most] for name, most in settings.resources.items()
        },
        "cps": None if settings.max_cps is None else sum(now - start < 1 for start in member.starts),
        "max_cps": settings.max_cps, "weight": settings.weight, "priority": settings.priority,
        "answer": member.latency, "failure": shown(member.failure, _MOST),
        "failed": None if member.failed is None else max(now - member.failed, 0.0),
        "failures": {kind.value: count for kind, count in member.failures.items()},
        "attributes": {shown(name, _MOST): shown(text, _MOST) for name, text in settings.attributes.items()},
    }  # fmt: skip


def _address(selector: str) -> str | None:
    """An address with a port as members have it; None for anything else."""
    try:
        source = split_host_port(selector)
        return str(Source(str(ipaddress.ip_address(source.host)), source.port))
    except ValueError:
        return None


def _listed(members: list[Member]) -> str:
    if not members:
        return "there is none"
    names = [display_name(member) for member in members[: limits.DESTINATIONS_NAMED]]
    more = len(members) - len(names)
    return f"there are {', '.join(names)}{f', and {more} more' if more else ''}"
