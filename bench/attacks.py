"""``bench attacks``: calls of a trunk during attacks and during the same attacks on a sink, and memory of WebSockets.

Asked of the edge: no failed call, and a set-up time whose 99th percentile is at most ``ASKED_RATIO`` times that with
the sink; at most ``ASKED_KIB`` of each WebSocket after a large message.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from bench.figures import ratios, summary
from bench.machine import installed, kamailio_has
from bench.process import BenchError, say
from bench.registrations import FORGED_SECONDS, measure_registrations
from bench.stream_attacks import ATTACKS, measure_attack
from bench.trunk_calls import FAULTS, TrunkCalls
from bench.websocket_memory import TRANSPORTS, measure_memory

__all__ = ["ASKED_KIB", "ASKED_RATIO", "MEMORY", "REGISTRATIONS", "ROWS", "TrunkAttackSettings", "bench_attacks"]

ASKED_RATIO = 1.5
ASKED_KIB = 100
REGISTRATIONS, MEMORY = "registrations", "websocket memory"
ROWS = (*ATTACKS, REGISTRATIONS, MEMORY)
TARGETS = ("sink", "edge")
_SUMMED = (*FAULTS, "phones_failed")


@attrs.frozen
class TrunkAttackSettings:
    """What is measured."""

    rows: tuple[str, ...] = ROWS
    rounds: int = 1
    seconds: int | None = None
    """Of the trunk's calls in a row; None: 20, and 90 of the forged registrations."""
    rate: int = 200
    """The trunk's calls a second."""
    connections: int = 1_000
    """WebSockets whose memory is measured."""
    idle: int = 10
    """Seconds of silence after their message."""
    minutes: int = 60
    """No measurement begins later than that."""

    def calls(self, row: str) -> TrunkCalls:
        seconds = self.seconds or (FORGED_SECONDS if row == REGISTRATIONS else TrunkCalls().seconds)
        return TrunkCalls(rate=self.rate, seconds=seconds)


def bench_attacks(settings: TrunkAttackSettings, engines: Sequence[str]) -> dict[str, Any]:
    """The figures of every round, their medians, and what could not be measured."""
    until = time.monotonic() + settings.minutes * 60
    rounds: dict[str, dict[str, list[dict[str, float]]]] = {}
    reasons = {row: _missing(row) for row in settings.rows}
    left_out = [f"{row}: {reason}" for row, reason in reasons.items() if reason]
    rows = [row for row, reason in reasons.items() if not reason]
    for number in range(settings.rounds):
        for row in rows:
            if time.monotonic() > until:
                left_out.append(f"{row}, round {number + 1}: {settings.minutes} minutes are over")
                continue
            try:
                measured = _measure(row, settings, engines)
            except BenchError as error:
                left_out.append(f"{row}, round {number + 1}: {error}")
                continue
            for part, by_target in measured.items():
                for target, figures in by_target.items():
                    rounds.setdefault(part, {}).setdefault(target, []).append(figures)
                    shown = ", ".join(f"{name} {value:g}" for name, value in figures.items())
                    say(f"attacks: round {number + 1} of {settings.rounds}: {part}: {target}: {shown}")
    return {
        "settings": attrs.asdict(settings),
        "rounds": rounds,
        "medians": {row: summary(by_target, _SUMMED) for row, by_target in rounds.items()},
        "ratios": {
            row: ratios(by_target, "edge", "sink", "setup_p99_ms")
            for row, by_target in rounds.items()
            if "sink" in by_target
        },
        "left_out": left_out,
    }


def _measure(
    row: str, settings: TrunkAttackSettings, engines: Sequence[str]
) -> Mapping[str, dict[str, dict[str, float]]]:
    """The figures of one round, by row of the report and by target or engine. Raises :class:`BenchError`."""
    if row == MEMORY:
        return {
            f"{MEMORY}, {transport}": {
                name: measure_memory(name, transport, settings.connections, settings.idle) for name in engines
            }
            for transport in TRANSPORTS
        }
    calls = settings.calls(row)
    if row == REGISTRATIONS:
        return {row: {target: measure_registrations(target, calls) for target in TARGETS}}
    return {row: {target: measure_attack(row, target, calls) for target in TARGETS}}


def _missing(row: str) -> str:
    """Why the row cannot be measured here; empty if it can."""
    if row == MEMORY:
        return ""
    if len(os.sched_getaffinity(0)) < 2:
        return "the edge and the attacker need a core each"
    programs = ["sipp", "taskset", "prlimit"] + ["kamailio", "cc"] * (row == REGISTRATIONS)
    lacking = [program for program in programs if not installed(program)]
    if lacking:
        return f"{', '.join(lacking)} is not installed"
    if row == REGISTRATIONS and not kamailio_has("auth", "registrar", "usrloc"):
        return "kamailio has no modules auth, registrar and usrloc"
    return ""
