"""The result of a replay as lines of text. ``ReplayResult.as_dict`` is the form for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgesbc.observe.text import shown
from edgesbc.replay.result import ReplayResult, SourceLine

__all__ = ["lines"]

_TEXT = 80
"""The number of characters of a Call-ID that are shown."""


def lines(result: ReplayResult) -> Iterator[str]:
    """The report, line by line."""
    yield f"{result.capture}: {result.packets} packets in {result.seconds:.3f} s, judged by {result.policy}"
    if result.broken:
        yield f"the capture is broken, and what stands before that was judged: {result.broken}"
    connections = f"; TCP connections: {result.connections}" if result.connections else ""
    yield f"went in: {result.went_in} packets with {result.messages} messages{connections}"
    yield from _table("left out (packets)", result.left_out)
    yield from _table("to be known", result.notes)
    yield from _table("verdicts (messages)", result.verdicts)
    yield from _sources(result)
    if result.bans:
        yield f"bans set or renewed: {result.bans}"
    yield from _table("requests read", result.requests)
    yield from _table("answers sent outward", result.answers)
    yield from _table(f"sent inward, to an inside that is {result.inside}", result.forwarded)
    if result.calls or result.calls_most:
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in result.calls.items())
        alive = f"{result.calls_left} alive at the end, {result.calls_most} at once at most"
        yield f"calls: {f'{outcomes}, ' if outcomes else ''}{alive}"
    if result.otherwise is not None:
        yield from _otherwise(result, result.otherwise)


def _table(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    if counts:
        yield f"{title}:"
        width = max(len(str(count)) for count in counts.values())
        for label, count in counts.items():
            yield f"  {count:>{width}}  {label}"


def _sources(result: ReplayResult) -> Iterator[str]:
    if not result.sources:
        return
    named = sum(1 for line in result.sources if line.address)
    yield f"sources (the busiest {named} of {result.source_count}):"
    width = max(len(_of(line)) for line in result.sources)
    digits = max(len(str(line.messages)) for line in result.sources)
    for line in result.sources:
        verdicts = ", ".join(f"{verdict} {count}" for verdict, count in line.verdicts.items())
        yield f"  {_of(line):<{width}}  {line.messages:>{digits}}  {verdicts}"


def _of(line: SourceLine) -> str:
    return line.address or "all others"


def _otherwise(result: ReplayResult, report: Mapping[str, Any]) -> Iterator[str]:
    differ = sum(pair["count"] for pair in report["differences"])
    if not differ and not report["routes"]:
        yield f"{result.against} would have judged and routed all of it the same"
        return
    yield f"{result.against} would have judged {differ} of them otherwise:"
    yield from _pairs(report["differences"])
    if report["routes"]:
        yield "and would have sent to another set:"
        yield from _pairs(report["routes"])


def _pairs(pairs: list[dict[str, Any]]) -> Iterator[str]:
    for pair in pairs:
        example = pair["examples"][-1]
        call = f", Call-ID {shown(example['call_id'], _TEXT)}" if example["call_id"] else ""
        where = f"{example['source']} at {example['time']:.3f} s{call}"
        yield f"  {pair['count']}  {pair['live']} -> {pair['other']}, as {where}"
