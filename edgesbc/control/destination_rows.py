"""Destinations as rows for people and programs, and which of them a word of the operator means. Changes none."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from edgesbc.base import limits
from edgesbc.base.address import Source, split_host_port
from edgesbc.control.protocol import CommandRefused
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.operator_overrides import Override
from edgesbc.observe.text import shown

__all__ = ["meant", "named", "row"]

_MOST = 200

_WAYS: dict[str, Callable[[Member, str], bool]] = {
    "a set": lambda member, who: member.set_name == who,
    "a URI": lambda member, who: member.settings.uri == who,
    "a set and a URI": lambda member, who: f"{member.set_name}/{member.settings.uri}" == who,
    "an address": lambda member, who: str(member.target) == who,
}
"""What a word may be, and whether it then means a member."""


def meant(who: str, members: Iterable[Member]) -> tuple[str, list[Member]]:
    """What ``who`` is, and the members that it means: SET/URI, URI in all sets, SET, or an address and port.

    Raises :class:`CommandRefused`, which lists the members, where the word names none or is ambiguous.
    """
    there = list(members)
    who = _address(who) or who
    found = {way: those for way, means in _WAYS.items() if (those := [each for each in there if means(each, who)])}
    if not found:
        raise CommandRefused(f"no destination is called {shown(who, _MOST)!r}; {_listed(there)}")
    (way, those), *others = found.items()
    if any(each != those for _, each in others):
        raise CommandRefused(f"{shown(who, _MOST)!r} is {' and also '.join(found)}; say SET/URI: {_listed(there)}")
    return way, those


def named(member: Member) -> str:
    """The member as the operator may call it, with the address where the URI has a name."""
    return shown(f"{member.set_name}/{member.name}", _MOST)


def row(member: Member, ordered: Override | None, now: float) -> dict[str, Any]:
    """What is known of ``member`` at ``now`` (seconds, the plane's clock); times are seconds ago or to come.

    ``health`` is what it would be without the order; ``answer`` is the smoothed time of its answers. None stands for
    what is not known, or has no bound.
    """
    settings, ordered_state = member.settings, ordered is not None and member.state is ordered.order.value
    began = ordered.since if ordered is not None and ordered_state else member.health.since
    return {
        "set": shown(member.set_name, _MOST), "uri": shown(settings.uri, _MOST), "address": str(member.target),
        "transport": member.transport.value, "state": member.state.value, "health": member.health.state.value,
        "since": None if began is None else max(now - began, 0.0), "usable": member.usable,
        "resting": member.resting_until - now if member.resting_until > now else None,
        "order": None if ordered is None else ordered.order.name.lower(),
        "by": "" if ordered is None else shown(ordered.by, _MOST),
        "why": "" if ordered is None else shown(ordered.why, _MOST),
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


def _address(who: str) -> str | None:
    """An address with a port as members have it; None for anything else."""
    try:
        source = split_host_port(who)
        return str(Source(str(ipaddress.ip_address(source.host)), source.port))
    except ValueError:
        return None


def _listed(members: list[Member]) -> str:
    if not members:
        return "there is none"
    names = [named(each) for each in members[: limits.DESTINATIONS_NAMED]]
    more = len(members) - len(names)
    return f"there are {', '.join(names)}{f', and {more} more' if more else ''}"
