"""``bench parse``: parsing, serialising, screening and whole calls through the core, in one process."""

from __future__ import annotations

import gc
import statistics
import time
import timeit
import tracemalloc
from collections.abc import Callable, Iterator

from bench.process import say
from bench.replay import CALLER, UNPROVEN, Replay, invite
from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.screen.pipeline import BANNED, Pipeline, ScreenSettings
from edgesbc.screen.stage import PASS
from edgesbc.screen.stages.acl import AclSettings
from edgesbc.screen.standing import Standing, Standings
from edgesbc.sip.message import Request, serialise
from edgesbc.sip.parse import parse_message

__all__ = ["bench_parse", "tracker_bytes"]

_PER_ROUND = 0.05
"""Seconds that one round of a loop takes."""
_FILLING_CALLS = 12_000
"""Calls until the tables have their steady size at 300 calls a second, with transactions of 32 s."""
_FITTING, _EXCEEDING = 1 << 13, 1 << 17
"""Sources that fit into the tracker, and so many that each is evicted before its next packet."""
_NOW = 1_000.0
DENYING = ScreenSettings(acl=AclSettings(deny=("192.0.2.0/24", "198.18.0.0/15")))


def bench_parse(rounds: int = 15, calls: int = 3_000) -> dict[str, dict[str, float]]:
    """Best and median of each row, in microseconds, from ``rounds`` of each loop and ``calls`` whole calls."""
    figures: dict[str, dict[str, float]] = {}
    for name, work in _loops().items():
        figures[name] = _loop(work, rounds)
        say(f"parse: {name}: {figures[name]['median_us']:.2f} µs")
    for name, spent in _passes(calls).items():
        figures[name] = {
            "best_us": min(spent),
            "median_us": statistics.median(spent),
            "mean_us": statistics.mean(spent),
        }
        say(f"parse: {name}: {figures[name]['median_us']:.1f} µs")
    return figures


def _loop(work: Callable[[], object], rounds: int) -> dict[str, float]:
    timer = timeit.Timer(work, timer=time.process_time)  # other processes do not count
    number = max(1, int(_PER_ROUND / max(timer.timeit(20) / 20, 1e-7)))
    times = [seconds / number * 1e6 for seconds in timer.repeat(rounds, number)]
    return {"best_us": min(times), "median_us": statistics.median(times)}


def _loops() -> dict[str, Callable[[], object]]:
    data = invite(1)
    parsed = _request(data)
    line = f"{parsed.method} {parsed.uri} SIP/2.0"
    assert data.partition(b"\r\n\r\n")[0].count(b"\r\n") == 14
    counter = iter(range(1 << 62))
    # More calls than the parser's cache holds, so that tags, branch and Call-ID are new in each.
    invites = [invite(n) for n in range(1 << 12)]
    return {
        "parse an INVITE of 14 header fields": lambda: parse_message(invites[next(counter) & 4095]),
        "serialise it": lambda: serialise(line, parsed.fields, parsed.body),
        **_packet_loops(len(data)),
        **_request_loops(parsed),
    }


def _unproven_flows(count: int) -> list[Flow]:
    """Flows of ``count`` different addresses, few of them in one /24."""
    spread = [n * 0x9E3779B1 & 0xFFFFFF for n in range(count)]
    return [Flow(CALLER.listener, Source(f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}", 5060)) for n in spread]


def _packet_loops(size: int) -> dict[str, Callable[[], object]]:
    """Phase PACKET by kind of source, and once with denied prefixes, without which the stage ``acl`` is skipped."""
    trunk_pipeline, banned, tracked, flooded, denying = (
        Replay(screen).pipeline for screen in (None, None, None, None, DENYING)
    )
    for _ in range(100):
        banned.packet(UNPROVEN, size, _NOW)
    assert banned.packet(UNPROVEN, size, _NOW) is BANNED
    fitting, exceeding = _unproven_flows(_FITTING), _unproven_flows(_EXCEEDING)
    counters = [iter(range(1 << 62)) for _ in range(3)]
    for n in range(_EXCEEDING):  # fills the trackers
        flooded.packet(exceeding[n], size, n / 100_000)
        denying.packet(exceeding[n], size, n / 100_000)
    start = _EXCEEDING / 100_000
    return {
        "PACKET phase, trunk": lambda: trunk_pipeline.packet(CALLER, size, _NOW),
        # 1,600 packets a second of 8,192 unproven sources in turn: tracked, and within all limits
        "PACKET phase, strangers": lambda: tracked.packet(
            fitting[(n := next(counters[0])) % _FITTING], size, n / 1_600
        ),
        # 100,000 packets a second, with a table full of other sources of the same window
        "PACKET phase, new strangers": lambda: flooded.packet(
            exceeding[(n := next(counters[1])) % _EXCEEDING], size, start + n / 100_000
        ),
        "the same, with denied prefixes": lambda: denying.packet(
            exceeding[(n := next(counters[2])) % _EXCEEDING], size, start + n / 100_000
        ),
        "PACKET phase, a banned stranger": lambda: banned.packet(UNPROVEN, size, _NOW),
    }


def _request_loops(parsed: Request) -> dict[str, Callable[[], object]]:
    """Phases REQUEST and CALL with all stages, each with the lookup of the source before it."""
    pipeline, users = Replay(DENYING).pipeline, _unproven_flows(_FITTING)
    for account, user_flow in enumerate(users):
        assert pipeline.standings.prove(user_flow, Standing.REGISTERED, _NOW, 1e9, account)
    counters: list[Iterator[int]] = [iter(range(1 << 62)) for _ in range(3)]

    def trunk() -> object:
        return pipeline.request(pipeline.subject(CALLER, parsed, _NOW), _NOW)

    def user() -> object:  # ten INVITEs a second from each of 8,192 registered users
        number = next(counters[0])
        now = _NOW + number / (10 * _FITTING)
        return pipeline.request(pipeline.subject(users[number % _FITTING], parsed, now), now)

    def trunks_call() -> object:
        now = _NOW + next(counters[1]) / 300
        return pipeline.call(pipeline.subject(CALLER, parsed, now), now)

    def users_call() -> object:
        number = next(counters[2])
        now = _NOW + number / (5 * _FITTING)
        return pipeline.call(pipeline.subject(users[number % _FITTING], parsed, now), now)

    loops: dict[str, Callable[[], object]] = {
        "REQUEST phase, trunk": trunk, "REQUEST phase, a user": user,
        "CALL phase, trunk": trunks_call, "CALL phase, a user": users_call,
    }  # fmt: skip
    assert all(work() is PASS for work in loops.values())
    return loops


def tracker_bytes() -> dict[str, float]:
    """Memory of screening for each tracked source, in bytes, its address included."""
    entries, ignore = limits.TRACKER_ENTRIES, lambda *_: None
    tracemalloc.start()
    try:
        pipeline = Pipeline(ScreenSettings(), Standings(), ignore, ignore)
        empty, sizes = tracemalloc.get_traced_memory()[0], {}
        steps = {
            "one request of each source": range(entries),
            "four times as many sources, one by one": range(4 * entries),
            "as many requests of each as are allowed": (n % entries for n in range(30 * entries)),
        }
        for name, numbers in steps.items():
            for number in numbers:
                host = f"203.{number >> 16}.{number >> 8 & 255}.{number & 255}"
                pipeline.packet(Flow(CALLER.listener, Source(host, 5060)), 500, _NOW)
            gc.collect()
            sizes[name] = (tracemalloc.get_traced_memory()[0] - empty) / entries
    finally:
        tracemalloc.stop()
    return sizes


def _request(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def _passes(calls: int) -> dict[str, list[float]]:
    """The core's time for each of ``calls`` calls, with tables of the size that 300 calls a second lead to."""
    replay = Replay()
    spent: dict[str, list[float]] = {"core: an INVITE": [], "core: a whole call": [], "core: timers of a call": []}
    gc.collect()
    for number in range(_FILLING_CALLS + calls):
        replay.expire()
        timers = replay.take_spent()
        forwarded = replay.start(number)
        started = replay.take_spent()
        replay.finish(number, forwarded)
        rest = replay.take_spent()
        if number >= _FILLING_CALLS:
            for name, figure in zip(spent, (started, started + rest, timers), strict=True):
                spent[name].append(figure)
    return spent
