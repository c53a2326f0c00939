"""``bench call_soak``: calls with audio that come and go for long, and what the edge has left when all are gone.

Nothing is compared with another program. The part fails if ports, descriptors, calls or transactions stay, if memory
grows with the number of calls, or if more than a tenth of the calls fail.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from bench.engines import Addresses, await_answer, choose_addresses, start_edge
from bench.ports import free_port
from bench.process import BenchError, Process, loopback, say, udp_sockets, wait_until
from bench.soak import get_metrics, memory_slope
from edgesbc.demo.children import die_with
from edgesbc.demo.metrics_client import parse_metrics

__all__ = ["CallSoakSettings", "bench_call_soak", "growth_a_call"]

MEDIA_PUBLIC, MEDIA_CORE = loopback(3), loopback(4)
MEDIA_TIMEOUT = 10
"""Seconds without a packet after which a call ends that its caller has left alone. Callers that wait for a core are
silent for seconds."""
SETTLE_SECONDS = 60.0
"""How long the edge may take to let go of the last calls: Timers J and L of RFC 3261 and RFC 6026 take 32 s."""
MOST_KIB_A_CALL = 2.0
"""The most by which memory may grow with each call after the first third. What the edge keeps of a call that has ended
is bounded, but these bounds are not reached in three minutes."""
NOISE_MIB = 8.0
"""Growth by less is none: memory differs by some MiB from sample to sample."""
MOST_FAILED = 0.1
"""The most calls of all that may fail: on a busy machine the callers are late."""
_HELD = ("calls", "sessions", "ports", "sockets", "descriptors", "transactions")


@attrs.frozen
class CallSoakSettings:
    """The calls, and how long they come and go."""

    calls: int = 300
    """At once."""
    seconds: int = 1_800
    every: float = 10.0
    """Seconds between two samples."""
    least_life: float = 1.0
    """Seconds of a call."""
    most_life: float = 19.0
    interval: float = 0.2
    """Seconds between two packets of a caller, each of which comes back: callers and destinations share the cores."""
    drain: float = 15.0
    """Seconds for which the callers answer the edge after the last call: it ends those that were left alone."""
    settle: bool = True
    """Whether to wait until the last transaction has ended, after 32 s."""
    planes: str = "processes"
    """``[edge] planes``."""


@attrs.frozen
class _Edge:
    process: Process
    addresses: Addresses
    http: str

    def sample(self) -> dict[str, float]:
        """What the edge holds now, by its metrics and by the kernel. Raises :class:`BenchError`."""
        self.process.require()
        metrics = parse_metrics(get_metrics(self.http))
        return {
            "calls": metrics.total("calls"),
            "sessions": metrics.total("media_sessions"),
            "ports": metrics.total("media_ports"),
            "transactions": metrics.total("transactions"),
            "sockets": udp_sockets(MEDIA_PUBLIC, MEDIA_CORE),
            "descriptors": sum(_descriptors(pid) for pid in self.process.pids()),
            "pss_mib": self.process.memory().pss / 2**20,
            "cpu": self.process.cpu_seconds(),
        }


def bench_call_soak(settings: CallSoakSettings) -> dict[str, Any]:
    """Let calls come and go: a row for each sample, and what stayed. Raises :class:`BenchError`."""
    with _started(settings) as edge:
        idle = edge.sample()
        warm_up = attrs.evolve(settings, calls=min(20, settings.calls), seconds=3, every=1.0, most_life=2.0)
        for _ in _callers(edge, warm_up):
            pass
        begin = _settled(edge, {key: idle[key] for key in _HELD[:4]}) | {"transactions": idle["transactions"]}
        rows = list(_rows(edge, settings))
        callers = rows.pop()
        held = _HELD if settings.settle else _HELD[:-1]
        end = _settled(edge, {key: begin[key] for key in held})
    growth = growth_a_call([(row["seconds"], row["placed"], row["pss_mib"]) for row in rows], settings.seconds)
    left = {key: end[key] - begin[key] for key in held if end[key] > begin[key]}
    if growth > MOST_KIB_A_CALL and rows[-1]["pss_mib"] - rows[len(rows) // 3]["pss_mib"] > NOISE_MIB:
        left["KiB of each call"] = growth
    if sum(callers["failed"].values()) > MOST_FAILED * callers["placed"]:
        left["calls that failed"] = sum(callers["failed"].values())
    return {
        "settings": attrs.asdict(settings),
        "begin": begin,
        "rows": rows,
        "end": end,
        "callers": callers,
        "failed": callers["failed"],
        "left": left,
        "kib_a_call": growth,
        "mib_an_hour": memory_slope([(row["seconds"], row["pss_mib"]) for row in rows], settings.seconds),
    }


def _rows(edge: _Edge, settings: CallSoakSettings) -> Iterator[dict[str, Any]]:
    """The counts of the callers at each sample with those of the edge; the last one is of the callers alone."""
    began = time.monotonic()
    before, before_at = edge.process.cpu_seconds(), began
    for line in _callers(edge, settings):
        if "end" in line:
            yield line
            return
        sample = edge.sample()
        now = time.monotonic()
        row = line | sample | {"seconds": now - began, "lost": line["sent"] - line["heard"]}
        row["core_share"] = (sample["cpu"] - before) / (now - before_at)
        before, before_at = sample["cpu"], now
        say(
            f"call_soak: {row['seconds']:.0f} of {settings.seconds} s: {row['open']} calls, {row['placed']} placed, "
            f"{sum(row['failed'].values())} failed; edge: {row['ports']:.0f} ports, "
            f"{row['descriptors']:.0f} descriptors, {row['pss_mib']:.1f} MiB, {row['core_share']:.0%} of a core"
        )
        yield row
    raise BenchError("the callers ended early; they say why above")


def _callers(edge: _Edge, settings: CallSoakSettings) -> Iterator[dict[str, Any]]:
    """The lines that the callers print."""
    host = edge.addresses.caller.partition(":")[0]
    argv = [sys.executable, "-m", "bench.call_soak_client", "--edge", edge.addresses.public, "--host", host]
    argv += ["--count", str(settings.calls), "--drain", str(settings.drain)]
    for name in ("seconds", "every", "least_life", "most_life", "interval"):
        argv += [f"--{name.replace('_', '-')}", str(getattr(settings, name))]
    root, bind = Path(__file__).parents[1], die_with(os.getpid())
    with subprocess.Popen(argv, cwd=root, stdout=subprocess.PIPE, text=True, preexec_fn=bind) as callers:
        assert callers.stdout is not None
        try:
            for line in callers.stdout:
                yield json.loads(line)
        finally:
            callers.kill()


def _settled(edge: _Edge, before: dict[str, float]) -> dict[str, float]:
    """A sample once the edge holds no more than ``before``, or the last one."""
    sample = edge.sample()

    def settled() -> bool:
        nonlocal sample
        sample = edge.sample()
        return all(sample[key] <= most for key, most in before.items())

    try:
        wait_until(settled, SETTLE_SECONDS, "the end of all calls")
    except BenchError as error:
        say(f"call_soak: {error}")
    return sample


def growth_a_call(samples: Sequence[tuple[float, float, float]], seconds: float) -> float:
    """By how many KiB memory grows with each call after the first third: the least squares over (seconds, calls placed,
    MiB). 0 with less than three samples."""
    later = [(calls, 1024 * mib) for at, calls, mib in samples if seconds / 3 <= at <= seconds + 1]
    if len(later) < 3:
        return 0.0
    return statistics.linear_regression(*zip(*later, strict=True)).slope


@contextmanager
def _started(settings: CallSoakSettings) -> Iterator[_Edge]:
    """A freshly started edge that answers, with two destinations that echo."""
    with tempfile.TemporaryDirectory(prefix="bench-call-soak-") as temporary:
        folder, addresses = Path(temporary), choose_addresses()
        http = f"{MEDIA_PUBLIC}:{free_port(MEDIA_PUBLIC)}"
        media = f'timeout = {MEDIA_TIMEOUT}\naddress = {{ public = "{MEDIA_PUBLIC}", core = "{MEDIA_CORE}" }}'
        with (
            start_edge(addresses, folder, http, media=media, planes=settings.planes) as process,
            _destination("one", addresses.one, folder),
            _destination("two", addresses.two, folder),
        ):
            await_answer(process, addresses)
            yield _Edge(process, addresses, http)


def _destination(name: str, address: str, folder: Path) -> Process:
    host, _, port = address.partition(":")
    argv = [sys.executable, "-m", "edgesbc.demo.pbx", "--name", name, "--host", host, "--port", port]
    return Process(name, argv, folder)


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0  # the process has ended
