"""Calls of a trunk by SIPp while something attacks, with the edge on the first core and everything else on the last."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from bench.calls import last_row, sipp
from bench.engines import Addresses
from bench.floods import percentile, read_setup_times
from bench.process import BenchError

__all__ = ["FAULTS", "TAIL_SECONDS", "TrunkCalls", "bound_to", "edge_prefix", "place_calls", "retransmissions"]

FAULTS = ("failed", "retransmissions")
"""Figures of which the report has the sum of all rounds."""
TAIL_SECONDS = 60
"""How long calls may take after the last one began: SIPp abandons an INVITE after 32 s."""


@attrs.frozen
class TrunkCalls:
    """The trunk's calls beside one attack."""

    rate: int = 200
    """Calls a second."""
    seconds: int = 20
    settle: int = 2
    """Seconds of attack before the calls."""


@contextmanager
def bound_to(core: int) -> Iterator[None]:
    """Bind this process, and those that it starts meanwhile, to a core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def edge_prefix(descriptors: int = 0) -> list[str]:
    """The command that starts the edge on the first core, with so many descriptors at most unless that is 0."""
    prefix = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    if descriptors:
        prefix += ["prlimit", f"--nofile={descriptors}:{descriptors}"]
    return prefix


def place_calls(addresses: Addresses, calls: TrunkCalls, folder: Path) -> dict[str, float]:
    """Place the calls: set-up times (milliseconds), calls and failed calls. Raises :class:`BenchError`."""
    count = calls.rate * calls.seconds
    options = ["-r", str(calls.rate), "-m", str(count), "-l", str(count), "-s", "15550123", "-trace_rtt"]
    options += ["-rtt_freq", "1", "-timeout", f"{calls.seconds + TAIL_SECONDS}s", addresses.public]
    with sipp("calls", "uac.xml", addresses.caller, folder, options) as caller:
        code = caller.wait(calls.seconds + TAIL_SECONDS + 5)
        if code not in (0, 1, 97):  # 1: a call failed, 97: some did not end; both are counted
            raise BenchError(f"sipp ended with {code}: {caller.end_of_log()}")
        times = read_setup_times(folder / f"uac_{caller.pid}_rtt.csv")
    row = last_row(folder / "calls.csv")
    return {
        "setup_p50_ms": percentile(times, 50),
        "setup_p99_ms": percentile(times, 99),
        "calls": float(row["TotalCallCreated"]),
        "failed": float(row["TotalCallCreated"]) - float(row["SuccessfulCall(C)"]),
    }


def retransmissions(folder: Path) -> float:
    """Messages that SIPp, the caller's and those of both destinations, has sent again; after they have ended."""
    return sum(float(last_row(folder / f"{name}.csv")["Retransmissions(C)"]) for name in ("calls", "one", "two"))
