"""``bench parse``: reading, writing, screening and a whole pass through the core, in one process, in microseconds."""

from __future__ import annotations

import gc
import statistics
import time
import timeit
import tracemalloc
from collections.abc import Callable, Iterator

from bench.process import say
from bench.replay import CALLER, STRANGER, Replay, invite
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
"""Seconds of one round of a loop."""
_STEADY = 12_000
"""Calls until the tables are as full as they get at 300 calls a second: 32 s of transactions, and some."""
_FEW, _MANY = 1 << 13, 1 << 17
"""Sources that the tracker has room for, and so many that it has forgotten each when it comes again."""
_NOW = 1_000.0
DENYING = ScreenSettings(acl=AclSettings(deny=("192.0.2.0/24", "198.18.0.0/15")))


def bench_parse(rounds: int = 15, calls: int = 3_000) -> dict[str, dict[str, float]]:
    """Best and median of each, in microseconds; ``rounds`` for the loops, ``calls`` for the passes."""
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
    timer = timeit.Timer(work, timer=time.process_time)  # what others run meanwhile does not count
    number = max(1, int(_PER_ROUND / max(timer.timeit(20) / 20, 1e-7)))
    times = [seconds / number * 1e6 for seconds in timer.repeat(rounds, number)]
    return {"best_us": min(times), "median_us": statistics.median(times)}


def _loops() -> dict[str, Callable[[], object]]:
    data = invite(1)
    parsed = _request(data)
    line = f"{parsed.method} {parsed.uri} SIP/2.0"
    assert data.partition(b"\r\n\r\n")[0].count(b"\r\n") == 14
    turn = iter(range(1 << 62))
    # More calls than the parser remembers values of, so that each brings tags, branch and Call-ID of its own.
    invites = [invite(n) for n in range(1 << 12)]
    return {
        "parse an INVITE of 14 header fields": lambda: parse_message(invites[next(turn) & 4095]),
        "serialise it": lambda: serialise(line, parsed.fields, parsed.body),
        **_packet_loops(len(data)),
        **_request_loops(parsed),
    }


def _strangers(count: int) -> list[Flow]:
    """So many flows of different addresses, few of them in one /24."""
    spread = [n * 0x9E3779B1 & 0xFFFFFF for n in range(count)]
    return [Flow(CALLER.listener, Source(f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}", 5060)) for n in spread]


def _packet_loops(size: int) -> dict[str, Callable[[], object]]:
    """Phase PACKET by who sends; with denied prefixes, without which the stage ``acl`` is not asked, once."""
    of_trunk, penal, watched, flooded, denying = (
        Replay(screen).pipeline for screen in (None, None, None, None, DENYING)
    )
    for _ in range(100):
        penal.packet(STRANGER, size, _NOW)
    assert penal.packet(STRANGER, size, _NOW) is BANNED
    few, many = _strangers(_FEW), _strangers(_MANY)
    turns = [iter(range(1 << 62)) for _ in range(3)]
    for n in range(_MANY):  # fills the trackers
        flooded.packet(many[n], size, n / 100_000)
        denying.packet(many[n], size, n / 100_000)
    start = _MANY / 100_000
    return {
        "PACKET phase, trunk": lambda: of_trunk.packet(CALLER, size, _NOW),
        # 1,600 packets a second of 8,192 strangers by turns: watched, and within all limits
        "PACKET phase, strangers": lambda: watched.packet(few[(n := next(turns[0])) % _FEW], size, n / 1_600),
        # 100,000 packets a second, and a table full of others that were heard within the window
        "PACKET phase, strangers never seen before": lambda: flooded.packet(
            many[(n := next(turns[1])) % _MANY], size, start + n / 100_000
        ),
        "the same, with denied prefixes": lambda: denying.packet(
            many[(n := next(turns[2])) % _MANY], size, start + n / 100_000
        ),
        "PACKET phase, a penalised stranger": lambda: penal.packet(STRANGER, size, _NOW),
    }


def _request_loops(parsed: Request) -> dict[str, Callable[[], object]]:
    """Phases REQUEST and CALL with every stage on, each with the look at the source that comes before."""
    pipeline, users = Replay(DENYING).pipeline, _strangers(_FEW)
    for account, each in enumerate(users):
        assert pipeline.standings.prove(each, Standing.REGISTERED, _NOW, 1e9, account)
    turns: list[Iterator[int]] = [iter(range(1 << 62)) for _ in range(3)]

    def trunk() -> object:
        return pipeline.request(pipeline.subject(CALLER, parsed, _NOW), _NOW)

    def user() -> object:  # ten INVITEs a second from each of 8,192 registered users
        number = next(turns[0])
        now = _NOW + number / (10 * _FEW)
        return pipeline.request(pipeline.subject(users[number % _FEW], parsed, now), now)

    def trunks_call() -> object:
        now = _NOW + next(turns[1]) / 300
        return pipeline.call(pipeline.subject(CALLER, parsed, now), now)

    def users_call() -> object:
        number = next(turns[2])
        now = _NOW + number / (5 * _FEW)
        return pipeline.call(pipeline.subject(users[number % _FEW], parsed, now), now)

    loops: dict[str, Callable[[], object]] = {
        "REQUEST phase, trunk": trunk, "REQUEST phase, a user": user,
        "CALL phase, trunk": trunks_call, "CALL phase, a user": users_call,
    }  # fmt: skip
    assert all(work() is PASS for work in loops.values())
    return loops


def tracker_bytes() -> dict[str, float]:
    """Memory that screening takes for each source that it watches, in bytes, its address included."""
    entries, quiet = limits.TRACKER_ENTRIES, lambda *_: None
    tracemalloc.start()
    try:
        pipeline = Pipeline(ScreenSettings(), Standings(), quiet, quiet)
        empty, found = tracemalloc.get_traced_memory()[0], {}
        steps = {
            "one request of each source": range(entries),
            "four times as many sources, one by one": range(4 * entries),
            "as many requests of each as it may make": (n % entries for n in range(30 * entries)),
        }
        for name, numbers in steps.items():
            for number in numbers:
                host = f"203.{number >> 16}.{number >> 8 & 255}.{number & 255}"
                pipeline.packet(Flow(CALLER.listener, Source(host, 5060)), 500, _NOW)
            gc.collect()
            found[name] = (tracemalloc.get_traced_memory()[0] - empty) / entries
    finally:
        tracemalloc.stop()
    return found


def _request(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def _passes(calls: int) -> dict[str, list[float]]:
    """The core's time for each of so many calls, with its tables as full as at 300 calls a second for long."""
    replay = Replay()
    spent: dict[str, list[float]] = {"core: an INVITE": [], "core: a whole call": [], "core: timers of a call": []}
    gc.collect()
    for number in range(_STEADY + calls):
        replay.expire()
        timers = replay.take_spent()
        forwarded = replay.start(number)
        begun = replay.take_spent()
        replay.finish(number, forwarded)
        rest = replay.take_spent()
        if number >= _STEADY:
            for name, figure in zip(spent, (begun, begun + rest, timers), strict=True):
                spent[name].append(figure)
    return spent
