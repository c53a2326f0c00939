"""``bench failures``: the calls that fail or are late when a destination dies or stops responding."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from bench.calls import last_row, sipp
from bench.engines import ENGINES, await_answer, choose_addresses
from bench.floods import percentile, read_setup_times
from bench.process import BenchError, say

__all__ = ["FailureSettings", "bench_failures"]

_TAIL_SECONDS = 45
_KINDS = {"killed": signal.SIGKILL, "silent": signal.SIGSTOP}


@attrs.frozen
class FailureSettings:
    """Calls over two destinations, one of which fails half-way; without probes, only calls show the failure."""

    rate: int = 200
    """Calls a second."""
    seconds: int = 12
    rounds: int = 3


def bench_failures(settings: FailureSettings) -> dict[str, Any]:
    """Measure every round; the figures by failure of the destination. Raises :class:`BenchError`."""
    rounds: dict[str, list[dict[str, float]]] = {kind: [] for kind in _KINDS}
    for number in range(settings.rounds):
        for kind in _KINDS:
            figures = _run(kind, settings)
            rounds[kind].append(figures)
            say(
                f"failures: round {number + 1} of {settings.rounds}: {kind}: {figures['failed']:.0f} of "
                f"{figures['calls']:.0f} calls failed, {figures['late']:.0f} were set up after a second or more"
            )
    return {"settings": attrs.asdict(settings), "rounds": rounds}


def _run(kind: str, settings: FailureSettings) -> dict[str, float]:
    calls = settings.rate * settings.seconds
    with tempfile.TemporaryDirectory(prefix="bench-failures-") as temporary:
        folder, addresses = Path(temporary), choose_addresses()
        no_abort = ["-default_behaviors", "all,-abortunexp"]
        with (
            ENGINES["edge"](addresses, folder) as engine,
            sipp("one", "uas-quiet.xml", addresses.one, folder, no_abort) as one,
            sipp("two", "uas-quiet.xml", addresses.two, folder, no_abort),
        ):
            await_answer(engine, addresses)
            options = ["-r", str(settings.rate), "-m", str(calls), "-l", str(calls), "-s", "15550123", "-trace_rtt"]
            options += ["-rtt_freq", "1", "-timeout", f"{settings.seconds + _TAIL_SECONDS}s", addresses.public]
            with sipp("calls", "uac-answered.xml", addresses.caller, folder, options) as caller:
                time.sleep(settings.seconds / 2)
                os.kill(one.pid, _KINDS[kind])
                code = caller.wait(settings.seconds + _TAIL_SECONDS)
                if code not in (0, 1, 97):
                    raise BenchError(f"sipp ended with {code}: {caller.end_of_log()}")
                times = read_setup_times(folder / f"uac-answered_{caller.pid}_rtt.csv")
            engine.require()
            if kind == "silent":
                os.kill(one.pid, signal.SIGCONT)  # a stopped process does not get the signal to end
        row = last_row(folder / "calls.csv")
    late = [milliseconds for milliseconds in times if milliseconds >= 1000]
    return {
        "calls": float(row["TotalCallCreated"]),
        "failed": float(row["TotalCallCreated"]) - float(row["SuccessfulCall(C)"]),
        "late": float(len(late)),
        "setup_p50_ms": percentile(times, 50),
        "setup_late_p50_ms": percentile(late, 50) if late else 0.0,
        "setup_max_ms": percentile(times, 100),
    }
