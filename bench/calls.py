"""``bench calls``: the same SIPp calls through the edge and through Kamailio, in turn."""

from __future__ import annotations

import csv
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from bench.engines import ENGINES, KAMAILIO_CHILDREN, Addresses, await_answer, choose_addresses
from bench.figures import ratios, summary
from bench.process import BenchError, Process, say

__all__ = ["SETTLE", "CallSettings", "bench_calls", "last_row", "milliseconds", "pbx", "place", "sipp"]

SETTLE = {"edge": 33.0, "kamailio": 6.5}
"""Seconds after the last call until an engine's transactions are gone: Timers J and L of RFC 3261 and RFC 6026
take 32 s, Kamailio's ``wt_timer`` 5 s. Ending them is part of a call's cost. (Those of the warm-up also end in the
measured time, which adds less than 1% for both engines.)"""
SCENARIOS = Path(__file__).parent / "scenarios"


@attrs.frozen
class CallSettings:
    """The calls to place."""

    rate: int = 300
    """Calls a second."""
    seconds: int = 20
    warm_up: int = 2
    """Seconds of calls before the measurement."""
    rounds: int = 3
    settle: bool = True
    """Whether to wait until the last timer has expired; without it the cost is slightly too low."""


def bench_calls(settings: CallSettings, engines: list[str]) -> dict[str, Any]:
    """Measure each engine: the figures of every round, and their medians. Raises :class:`BenchError`."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in engines}
    for number in range(settings.rounds):
        for name in engines:
            figures = _run(name, settings)
            rounds[name].append(figures)
            say(
                f"calls: round {number + 1} of {settings.rounds}: {name}: {figures['cpu_us']:.0f} µs a call, "
                f"{figures['failed']:.0f} failed, {figures['retransmissions']:.0f} retransmitted"
            )
    medians = summary(rounds, ("failed", "retransmissions"))
    result: dict[str, Any] = {
        "settings": attrs.asdict(settings) | {"kamailio_children_per_socket": KAMAILIO_CHILDREN},
        "rounds": rounds, "medians": medians,
    }  # fmt: skip
    if len(engines) == 2:
        result["ratios"] = ratios(rounds, "edge", "kamailio")
    return result


def _run(name: str, settings: CallSettings) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-calls-") as temporary:
        folder, addresses = Path(temporary), choose_addresses()
        with (
            ENGINES[name](addresses, folder) as engine,
            pbx("one", addresses.one, folder),
            pbx("two", addresses.two, folder),
        ):
            await_answer(engine, addresses)
            place(addresses, settings.rate, settings.rate * settings.warm_up, folder, "warm-up")
            before, idle = engine.cpu_seconds(), engine.memory()
            caller = place(addresses, settings.rate, settings.rate * settings.seconds, folder, "calls")
            memory = engine.memory()
            if settings.settle:
                time.sleep(SETTLE[name])
            engine.require()
            cpu = engine.cpu_seconds() - before
        pbx_rows = [last_row(folder / f"{member}.csv") for member in ("one", "two")]
    calls = float(caller["TotalCallCreated"])
    retransmissions = sum(float(row["Retransmissions(C)"]) for row in (caller, *pbx_rows))
    return {
        "calls": calls,
        "failed": calls - float(caller["SuccessfulCall(C)"]),
        "retransmissions": retransmissions,
        "cpu_us": cpu / calls * 1e6,
        "core_share": cpu / settings.seconds,
        "setup_ms": milliseconds(caller["ResponseTimesetup(C)"]),
        "rss_mib": memory.rss / 2**20,
        "pss_mib": memory.pss / 2**20,
        "pss_growth_kib_a_call": (memory.pss - idle.pss) / 2**10 / calls,
    }


def sipp(name: str, scenario: str, address: str, folder: Path, options: list[str], hold_ms: int = 500) -> Process:
    """Start SIPp; its calls are held for ``hold_ms`` where the scenario is that of a caller."""
    host, _, port = address.partition(":")
    argv = ["sipp", "-sf", str(SCENARIOS / scenario), "-i", host, "-p", port, "-bind_local", "-nostdin"]
    argv += ["-trace_stat", "-fd", "1", "-stf", str(folder / f"{name}.csv"), "-ci", host, "-mi", host]
    argv += ["-d", str(hold_ms)]
    return Process(name, [*argv, *options], folder, stop=signal.SIGUSR1)


def pbx(name: str, address: str, folder: Path) -> Process:
    """A destination. It does not abort a call if messages arrive twice or late because an engine is slow."""
    return sipp(name, "uas.xml", address, folder, ["-default_behaviors", "all,-abortunexp"])


def place(
    addresses: Addresses,
    rate: int,
    calls: int,
    folder: Path,
    name: str,
    hold_ms: int = 500,
    watch: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Place ``calls`` calls, call ``watch`` twice a second meanwhile, and return the last row of SIPp's statistics."""
    seconds = calls // rate + 40
    options = ["-r", str(rate), "-m", str(calls), "-l", str(rate * 40), "-s", "15550123"]
    options += ["-timeout", f"{seconds}s", addresses.public]
    with sipp(name, "uac.xml", addresses.caller, folder, options, hold_ms) as caller:
        end = time.monotonic() + seconds
        while caller.running and time.monotonic() < end:
            watch()
            time.sleep(0.5)
        code = caller.wait(15)
        if code not in (0, 1, 97):  # 1: a call failed, 97: some did not end; both are counted below
            raise BenchError(f"sipp ended with {code}: {caller.end_of_log()}")
    return last_row(folder / f"{name}.csv")


def last_row(path: Path) -> dict[str, str]:
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        return rows[-1]
    except (OSError, IndexError):
        raise BenchError(f"sipp left no statistics in {path.name}") from None


def milliseconds(text: str) -> float:
    """Milliseconds of SIPp's ``HH:MM:SS:microseconds``."""
    hours, minutes, seconds, micro = text.split(":")
    return (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1000 + int(micro) / 1000
