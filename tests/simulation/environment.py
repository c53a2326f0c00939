"""The destination sets behind the edge, as a seed draws them, and their operator."""

from __future__ import annotations

from random import Random

import attrs

from edgesbc.dispatch.algorithms import ALGORITHMS
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.routing.numbers import Rewrite
from edgesbc.routing.table import Route

__all__ = ["Environment", "an_order", "draw_environment", "reloaded"]

_RESOURCES = ("pstn", "transcoder")


class Environment:
    """Sets and routes. ``known`` are the addresses of all members that a set ever has, with their transports."""

    def __init__(self, sets: list[SetSettings], routes: tuple[Route, ...], known: dict[str, dict[str, str]]) -> None:
        self.sets = sets
        self.routes = routes
        self.known = known

    @property
    def transports(self) -> dict[str, str]:
        return {host: transport for transports in self.known.values() for host, transport in transports.items()}


def draw_environment(random: Random) -> Environment:
    """One set without routes, as in most deployments, or several sets with every setting of routes and members."""
    names = ["pbx", "backup", "last"][: random.choice((1, 1, 2, 3))]
    known = {}
    for number, name in enumerate(names):
        hosts = [f"10.0.0.{11 + 10 * number + n}" for n in range(random.randint(1, 4 - number))]
        known[name] = {host: random.choice(("udp", "udp", "tcp")) for host in hosts}
    sets = [_a_set(random, name, known[name]) for name in names]
    for n in range(len(sets) - 1):
        if random.random() < 0.5:
            sets[n] = attrs.evolve(sets[n], fallback=names[n + 1])
    return Environment(sets, _routes(random, names) if len(names) > 1 else (), known)


def _a_set(random: Random, name: str, known: dict[str, str]) -> SetSettings:
    return SetSettings(
        name,
        members=_some(random, known),
        algorithm=random.choice(sorted(ALGORITHMS)),
        hash_on=random.choice(("call-id", "from-uri", "request-user", "source")),
        hash_bound=random.choice((0, 1.25)),
        health=HealthSettings(
            interval=random.choice((0, 0, 0, 0, 10.0)),
            panic=random.choice((0, 50)),
            slow_start=random.choice((0, 10.0)),
        ),
        try_timeout=random.choice((0.5, 2.0)),
        total_timeout=random.choice((2.0, 10.0)),
        rest=random.choice((0, 5.0, 30.0)),
    )


def _some(random: Random, known: dict[str, str]) -> tuple[MemberSettings, ...]:
    """Members at some of the addresses, at least one; in most draws at all of them."""
    hosts = random.sample(sorted(known), random.randint(1, len(known))) if random.random() < 0.3 else sorted(known)
    return tuple(_a_member(random, host, known[host]) for host in hosts)


def _a_member(random: Random, host: str, transport: str) -> MemberSettings:
    return MemberSettings(
        f"sip:{host};transport={transport}",
        weight=random.randint(1, 3),
        priority=random.randint(0, 1),
        max_calls=random.choice((None, None, 3)),
        max_cps=random.choice((None, None, None, None, 1.0)),
        resources={name: random.randint(0, 4) for name in _RESOURCES if random.random() < 0.9},
        strip=random.choice((0, 0, 1)),
        prepend=random.choice(("", "", "9")),
    )


def _routes(random: Random, names: list[str]) -> tuple[Route, ...]:
    """Two routes by the called number: one for ``1..``, one for all others."""
    routes = [
        Route(
            name,
            to=tuple(random.sample(names, random.randint(1, len(names)))),
            request_prefix=prefixes,
            resources=tuple(resource for resource in _RESOURCES if random.random() < 0.3),
            rewrite=Rewrite("^1", "001") if random.random() < 0.2 else None,
            answer=random.choice((None, None, 480)),
        )
        for name, prefixes in (("first", ("1",)), ("second", ()))
    ]
    return tuple(routes)


# --- the operator ----------------------------------------------------------------------------------------


def an_order(random: Random) -> AdminState:
    return random.choice(
        (AdminState.DRAINING, AdminState.DISABLED, AdminState.ENABLED, AdminState.ENABLED, AdminState.ENABLED)
    )


def reloaded(random: Random, environment: Environment) -> list[SetSettings]:
    """The sets with some members removed, added again or changed."""
    return [
        attrs.evolve(settings, members=_some(random, environment.known[settings.set])) for settings in environment.sets
    ]
