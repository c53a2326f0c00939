"""``bench parse``: reading, writing, screening and a whole pass through the brain, in one process, in microseconds."""

from __future__ import annotations

import gc
import statistics
import timeit
from collections.abc import Callable

from bench.process import say
from bench.replay import CALLER, STRANGER, Replay, invite
from edgesbc.base.address import Flow, Source
from edgesbc.screen.pipeline import BANNED
from edgesbc.sip.message import Request, serialise
from edgesbc.sip.parse import parse_message

__all__ = ["bench_parse"]

_PER_ROUND = 0.05
"""Seconds of one round of a loop."""
_STEADY = 12_000
"""Calls until the tables are as full as they get at 300 calls a second: 32 s of transactions, and some."""


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
    timer = timeit.Timer(work)
    number = max(1, int(_PER_ROUND / max(timer.timeit(20) / 20, 1e-7)))
    times = [seconds / number * 1e6 for seconds in timer.repeat(rounds, number)]
    return {"best_us": min(times), "median_us": statistics.median(times)}


def _loops() -> dict[str, Callable[[], object]]:
    data = invite(1)
    parsed = _request(data)
    line = f"{parsed.method} {parsed.uri} SIP/2.0"
    assert data.partition(b"\r\n\r\n")[0].count(b"\r\n") == 14
    replay = Replay()
    pipeline, size = replay.pipeline, len(data)
    for _ in range(100):
        pipeline.packet(STRANGER, size, 1_000.0)
    assert pipeline.packet(STRANGER, size, 1_000.0) is BANNED
    watched = Replay().pipeline
    strangers = [Flow(CALLER.listener, Source(f"203.0.{n >> 8}.{n & 255}", 5060)) for n in range(1 << 13)]
    turn, other = iter(range(1 << 62)), iter(range(1 << 62))
    # More calls than the parser remembers values of, so that each brings tags, branch and Call-ID of its own.
    invites = [invite(n) for n in range(1 << 12)]
    return {
        "parse an INVITE of 14 header fields": lambda: parse_message(invites[next(other) & 4095]),
        "serialise it": lambda: serialise(line, parsed.fields, parsed.body),
        "PACKET phase, trunk": lambda: pipeline.packet(CALLER, size, 1_000.0),
        # ten packets a second from each of 8,192 strangers: watched, and within the limit
        "PACKET phase, strangers": lambda: watched.packet(strangers[(n := next(turn)) & 8191], size, n / 81_920),
        "PACKET phase, a penalised stranger": lambda: pipeline.packet(STRANGER, size, 1_000.0),
        "REQUEST phase, trunk": lambda: pipeline.request(pipeline.subject(CALLER, parsed, 1_000.0), 1_000.0),
    }


def _request(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def _passes(calls: int) -> dict[str, list[float]]:
    """The brain's time for each of so many calls, with its tables as full as at 300 calls a second for long."""
    replay = Replay()
    spent: dict[str, list[float]] = {"brain: an INVITE": [], "brain: a whole call": [], "brain: timers of a call": []}
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
