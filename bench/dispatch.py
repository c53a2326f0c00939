"""What dispatch costs among a thousand members, and how true its shares are. In one process, without a peer."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from edgesbc.dispatch.algorithms import ALGORITHMS
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.leases import Lease
from edgesbc.dispatch.selection_request import NO_REQUIREMENTS, SelectionRequest
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings

__all__ = ["bench_dispatch"]

_MEMBERS = 1_000
_WEIGHTS = (1, 1, 1, 2, 5, 30, 70)
_LIVE = 3_000
"""Calls alive while choices are timed."""
_UNWATCHED = HealthSettings(interval=0, slow_start=0)


def bench_dispatch(choices: int = 20_000, swaps: int = 15) -> dict[str, Any]:
    """Times in µs (choices) and ms (swaps), shares in parts of one."""
    rng = random.Random(1)
    members = _members(rng)
    return {
        "choices": {
            f"{name}{', half of them down' if down else ''}": _choices(name, members, down, choices, rng)
            for name in sorted(ALGORITHMS)
            for down in (0, _MEMBERS // 2)
        },
        "shares": _shares(),
        "swaps": _swaps(members, swaps, rng),
    }


def _members(rng: random.Random) -> tuple[MemberSettings, ...]:
    return tuple(
        MemberSettings(f"sip:10.0.{n >> 8}.{n & 255}", weight=rng.choice(_WEIGHTS), max_calls=200)
        for n in range(_MEMBERS)
    )


def _dispatcher(name: str, members: tuple[MemberSettings, ...], draw: Callable[[], float]) -> Dispatcher:
    return Dispatcher([SetSettings("set", members=members, algorithm=name, health=_UNWATCHED)], draw, 0.0)


def _choices(
    name: str, members: tuple[MemberSettings, ...], down: int, count: int, rng: random.Random
) -> dict[str, float]:
    """A choice with its lease, keys all different, while other calls end; the first thousand are not timed."""
    dispatcher = _dispatcher(name, members, rng.random)
    for member in list(dispatcher.members())[:down]:
        for _ in range(member.health.settings.fall):
            dispatcher.health_monitor.failed(member, 0.0, "silence")
    live: list[Lease] = []
    times = []
    for number in range(1_000 + count):
        selection = SelectionRequest(f"{number}@192.0.2.1".encode())
        begun = time.perf_counter_ns()
        lease = dispatcher.acquire("set", 0.0, (), selection)
        took = (time.perf_counter_ns() - begun) / 1e3
        assert lease is not None
        live.append(lease)
        if number >= 1_000:
            times.append(took)
        if len(live) > _LIVE:
            place = rng.randrange(len(live))
            live[place], live[-1] = live[-1], live[place]
            live.pop().release()
    times.sort()
    return {"median_us": times[count // 2], "p99_us": times[count * 99 // 100], "mean_us": statistics.mean(times)}


def _shares() -> dict[str, float]:
    """Of 10,000 calls: by how much a member's part differs from its weight's, at most, in parts of all calls; and of
    20,000 keys, how far a member's part is from its weight's, and how many keys move that need not when one goes."""
    weights = (70, 20, 5, 3, 2)
    members = tuple(MemberSettings(f"sip:10.0.0.{n}", weight=weight) for n, weight in enumerate(weights))
    whole = _dispatcher("weighted", members, random.random)
    calls = Counter(_name(whole, NO_REQUIREMENTS) for _ in range(10_000))
    off = max(abs(calls[each.uri] / 10_000 - each.weight / sum(weights)) for each in members)
    alike = tuple(MemberSettings(f"sip:10.0.0.{n}") for n in range(20))
    keys = [SelectionRequest(str(n).encode()) for n in range(20_000)]
    before, after = _dispatcher("hash", alike, random.random), _dispatcher("hash", alike[1:], random.random)
    first, second = ([_name(each, key) for key in keys] for each in (before, after))
    parts = Counter(first)
    spread = max(abs(parts[each.uri] / len(keys) * len(alike) - 1) for each in alike)
    moved = sum(was != now and was != alike[0].uri for was, now in zip(first, second, strict=True))
    return {
        "weighted, largest error": off,
        "hash, largest error of a share": spread,
        "hash, keys moved needlessly": moved,
    }


def _name(dispatcher: Dispatcher, selection: SelectionRequest) -> str:
    lease = dispatcher.acquire("set", 0.0, (), selection)
    assert lease is not None
    lease.release()
    return lease.member.name


def _swaps(members: tuple[MemberSettings, ...], count: int, rng: random.Random) -> dict[str, dict[str, float]]:
    """A reload of a set of a thousand, the settings read anew each time: as they were, with a tenth changed, and with
    others altogether. What is timed is what stops everything: a policy is read, and members that are new are made, in a
    thread before."""
    kinds: dict[str, Callable[[int], tuple[MemberSettings, ...]]] = {
        "the same": lambda _: tuple(attrs.evolve(each) for each in members),
        "a tenth with other weights": lambda turn: tuple(
            attrs.evolve(each, weight=turn % 50 + 1) if place % 10 == turn % 10 else attrs.evolve(each)
            for place, each in enumerate(members)
        ),
        "all others": lambda turn: tuple(attrs.evolve(each, uri=f"{each.uri}:{6000 + turn}") for each in members),
    }
    found = {}
    for kind, wanted in kinds.items():
        dispatcher = _dispatcher("hash", members, rng.random)
        times, firsts = [], []
        for turn in range(count):
            settings = SetSettings("set", members=wanted(turn), algorithm="hash", health=_UNWATCHED)
            dispatcher.prepare([settings])
            gc.collect()
            gc.disable()  # a running edge has its collector wait
            begun = time.perf_counter_ns()
            dispatcher.reload([settings], float(turn))
            swapped = time.perf_counter_ns()
            dispatcher.acquire("set", float(turn), (), SelectionRequest(b"key"))
            times.append((swapped - begun) / 1e6)
            firsts.append((time.perf_counter_ns() - swapped) / 1e6)
            gc.enable()
        found[kind] = {
            "median_ms": statistics.median(times), "max_ms": max(times), "first_ms": statistics.median(firsts),
        }  # fmt: skip
    return found
