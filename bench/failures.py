"""``bench failures``: what a destination that dies, or falls silent, costs the calls under way. Without a peer."""

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
from bench.floods import percentile, setups
from bench.process import BenchError, say

__all__ = ["FailureSettings", "bench_failures"]

_TAIL_SECONDS = 45
_KINDS = {"killed": signal.SIGKILL, "silent": signal.SIGSTOP}


@attrs.frozen
class FailureSettings:
    """Calls over two destinations, of which one fails half-way; the edge sends no probes, so that calls alone tell."""

    rate: int = 200
    """Calls a second."""
    seconds: int = 12
    rounds: int = 3


def bench_failures(settings: FailureSettings) -> dict[str, Any]:
    """The figures of every round, by what happens to the destination. Raises :class:`BenchError`."""
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in _KINDS}
    for number in range(settings.rounds):
        for kind in _KINDS:
            figures = _run(kind, settings)
            found[kind].append(figures)
            say(
                f"failures: round {number + 1} of {settings.rounds}: {kind}: {figures['failed']:.0f} of "
                f"{figures['calls']:.0f} calls failed, {figures['late']:.0f} came up after a second or more"
            )
    return {"settings": attrs.asdict(settings), "rounds": found}


def _run(kind: str, settings: FailureSettings) -> dict[str, float]:
    calls = settings.rate * settings.seconds
    with tempfile.TemporaryDirectory(prefix="bench-failures-") as temporary:
        folder, at = Path(temporary), choose_addresses()
        quiet = ["-default_behaviors", "all,-abortunexp"]
        with (
            ENGINES["edge"](at, folder) as engine,
            sipp("one", "uas-quiet.xml", at.one, folder, quiet) as one,
            sipp("two", "uas-quiet.xml", at.two, folder, quiet),
        ):
            await_answer(engine, at)
            more = ["-r", str(settings.rate), "-m", str(calls), "-l", str(calls), "-s", "15550123", "-trace_rtt"]
            more += ["-rtt_freq", "1", "-timeout", f"{settings.seconds + _TAIL_SECONDS}s", at.public]
            with sipp("calls", "uac-answered.xml", at.caller, folder, more) as caller:
                time.sleep(settings.seconds / 2)
                os.kill(one.pid, _KINDS[kind])
                code = caller.wait(settings.seconds + _TAIL_SECONDS)
                if code not in (0, 1, 97):
                    raise BenchError(f"sipp ended with {code}: {caller.last_words()}")
                times = setups(folder / f"uac-answered_{caller.pid}_rtt.csv")
            engine.require()
            if kind == "silent":
                os.kill(one.pid, signal.SIGCONT)  # or it would not hear that it is to end
        row = last_row(folder / "calls.csv")
    late = [each for each in times if each >= 1000]
    return {
        "calls": float(row["TotalCallCreated"]),
        "failed": float(row["TotalCallCreated"]) - float(row["SuccessfulCall(C)"]),
        "late": float(len(late)),
        "setup_p50_ms": percentile(times, 50),
        "setup_late_p50_ms": percentile(late, 50) if late else 0.0,
        "setup_max_ms": percentile(times, 100),
    }
