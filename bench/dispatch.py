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
    """Time selections with different keys, while other calls end; the first thousand are not timed."""
    dispatcher = _dispatcher(name, members, rng.random)
    for member in list(dispatcher.members())[:down]:
        for _ in range(member.health.settings.fall):
            dispatcher.health_monitor.failed(member, 0.0, "silence")
    live: list[Lease] = []
    times = []
    for number in range(1_000 + count):
        selection = SelectionRequest(f"{number}@192.0.2.1".encode())
        started = time.perf_counter_ns()
        lease = dispatcher.acquire("set", 0.0, (), selection)
        duration = (time.perf_counter_ns() - started) / 1e3
        assert lease is not None
        live.append(lease)
        if number >= 1_000:
            times.append(duration)
        if len(live) > _LIVE:
            index = rng.randrange(len(live))
            live[index], live[-1] = live[-1], live[index]
            live.pop().release()
    times.sort()
    return {"median_us": times[count // 2], "p99_us": times[count * 99 // 100], "mean_us": statistics.mean(times)}


def _shares() -> dict[str, float]:
    """The largest error of a member's share of 10,000 calls and of 20,000 keys, and keys that move needlessly.

    A key moves needlessly if its member stays when another member is removed.
    """
    weights = (70, 20, 5, 3, 2)
    members = tuple(MemberSettings(f"sip:10.0.0.{n}", weight=weight) for n, weight in enumerate(weights))
    weighted = _dispatcher("weighted", members, random.random)
    calls = Counter(_name(weighted, NO_REQUIREMENTS) for _ in range(10_000))
    weighted_error = max(abs(calls[member.uri] / 10_000 - member.weight / sum(weights)) for member in members)
    equal_members = tuple(MemberSettings(f"sip:10.0.0.{n}") for n in range(20))
    keys = [SelectionRequest(str(n).encode()) for n in range(20_000)]
    before, after = (
        _dispatcher("hash", equal_members, random.random),
        _dispatcher("hash", equal_members[1:], random.random),
    )
    first, second = ([_name(dispatcher, key) for key in keys] for dispatcher in (before, after))
    shares = Counter(first)
    hash_error = max(abs(shares[member.uri] / len(keys) * len(equal_members) - 1) for member in equal_members)
    moved = sum(old != new and old != equal_members[0].uri for old, new in zip(first, second, strict=True))
    return {
        "weighted, largest error": weighted_error,
        "hash, largest error of a share": hash_error,
        "hash, keys moved needlessly": moved,
    }


def _name(dispatcher: Dispatcher, selection: SelectionRequest) -> str:
    lease = dispatcher.acquire("set", 0.0, (), selection)
    assert lease is not None
    lease.release()
    return lease.member.name


def _swaps(members: tuple[MemberSettings, ...], count: int, rng: random.Random) -> dict[str, dict[str, float]]:
    """Time reloads of a set of 1,000 members: with the same settings, with a tenth changed, and with all others.

    Only the swap is timed, during which the edge handles no message: a policy is read, and new members are created,
    before it in a thread.
    """
    changes: dict[str, Callable[[int], tuple[MemberSettings, ...]]] = {
        "the same": lambda _: tuple(attrs.evolve(member) for member in members),
        "a tenth with other weights": lambda turn: tuple(
            attrs.evolve(member, weight=turn % 50 + 1) if index % 10 == turn % 10 else attrs.evolve(member)
            for index, member in enumerate(members)
        ),
        "all others": lambda turn: tuple(attrs.evolve(member, uri=f"{member.uri}:{6000 + turn}") for member in members),
    }
    figures = {}
    for kind, new_members in changes.items():
        dispatcher = _dispatcher("hash", members, rng.random)
        times, first_choices = [], []
        for turn in range(count):
            settings = SetSettings("set", members=new_members(turn), algorithm="hash", health=_UNWATCHED)
            dispatcher.prepare([settings])
            gc.collect()
            gc.disable()  # a running edge delays the collector as well
            started = time.perf_counter_ns()
            dispatcher.reload([settings], float(turn))
            swapped = time.perf_counter_ns()
            dispatcher.acquire("set", float(turn), (), SelectionRequest(b"key"))
            times.append((swapped - started) / 1e6)
            first_choices.append((time.perf_counter_ns() - swapped) / 1e6)
            gc.enable()
        figures[kind] = {
            "median_ms": statistics.median(times), "max_ms": max(times), "first_ms": statistics.median(first_choices),
        }  # fmt: skip
    return figures
