"""``python -m bench.stream_attacks``: calls of a trunk during attacks over connections, and the same attacks on a sink.

The sink reads what it gets and does nothing else, so that what the attacker and SIPp take from each other is in both
rows. The edge is bound to one core, everything else to another.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs

from bench.attacker import core_of_attacker
from bench.calls import last_row, pbx, place, sipp
from bench.engines import Addresses, await_answer, choose_addresses, start_edge
from bench.floods import percentile, read_setup_times
from bench.ports import free_port
from bench.process import BenchError, Process, loopback, say

__all__ = ["ATTACKS", "AttackSettings", "bench_attacks"]

ATTACKS = {
    "control frames": ("ws", "64 WebSockets of two addresses send Pings as fast as they can"),
    "empty fragments": ("ws", "64 WebSockets of two addresses send fragments without data as fast as they can"),
    "large messages": ("tcp", "500 TCP connections send OPTIONS of 43 KB as fast as they can"),
    "key updates": ("tls", "16 of openssl s_client send KeyUpdates as fast as they can, and connect again"),
    "silence": ("tcp", "2,000 silent TCP connections, 1,024 descriptors for the edge"),
}
"""The attacks: the transport, and what they do."""
TAIL_SECONDS = 60
"""How long calls of a row may take after the last one began."""
DESCRIPTORS = 1_024


@attrs.frozen
class AttackSettings:
    """The trunk's calls, and how long each row takes."""

    rate: int = 200
    seconds: int = 20
    settle: int = 2
    """Seconds of attack before the calls."""


def bench_attacks(settings: AttackSettings, attacks: list[str]) -> dict[str, Any]:
    """The figures of each attack, on the edge and on the sink. Raises :class:`BenchError`."""
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for attack in attacks:
        rows[attack] = {}
        for target in ("sink", "edge"):
            figures = rows[attack][target] = _run(attack, target, settings)
            say(f"attacks: {attack} on the {target}: {figures}")
        p99 = rows[attack]["edge"]["setup_p99_ms"] / rows[attack]["sink"]["setup_p99_ms"]
        say(f"attacks: {attack}: set-up p99 {p99:.2f} times that with the sink")
    return {"settings": attrs.asdict(settings), "rows": rows}


def _run(attack: str, target: str, settings: AttackSettings) -> dict[str, float]:
    transport = ATTACKS[attack][0]
    with tempfile.TemporaryDirectory(prefix="bench-attacks-") as temporary, ExitStack() as running:
        folder, addresses = Path(temporary), choose_addresses()
        host = addresses.public.partition(":")[0]
        public, sink = f"{host}:{free_port(host)}", f"{loopback(3)}:{free_port(loopback(3))}"
        engine = running.enter_context(_edge(addresses, folder, transport, public, attack == "silence"))
        with _bound_to(core_of_attacker()):
            for member, address in (("one", addresses.one), ("two", addresses.two)):
                running.enter_context(pbx(member, address, folder))
            await_answer(engine, addresses)
            place(addresses, settings.rate, settings.rate, folder, "warm-up")
            to = public
            client = [sys.executable, "-m", "bench.stream_attacker"]
            seconds = str(settings.settle + settings.seconds + 2)
            if target == "sink":
                to = sink
                running.enter_context(Process("sink", [*client, "sink", sink, seconds, transport], folder))
                time.sleep(1.0)
            running.enter_context(Process("attacker", [*client, attack, to, seconds], folder))
            time.sleep(settings.settle)
            before = engine.cpu_seconds()
            figures = _place_calls(addresses, settings, folder)
            engine.require()
            figures["core_share"] = (engine.cpu_seconds() - before) / settings.seconds
        rows = [last_row(folder / f"{name}.csv") for name in ("calls", "one", "two")]
    figures["failed"] = float(rows[0]["TotalCallCreated"]) - float(rows[0]["SuccessfulCall(C)"])
    figures["retransmissions"] = sum(float(statistics["Retransmissions(C)"]) for statistics in rows)
    return figures


def _edge(addresses: Addresses, folder: Path, transport: str, public: str, few_descriptors: bool) -> Process:
    listen = f'\n[[listen]]\nname = "{transport}"\nzone = "public"\ntransport = "{transport}"\nbind = "{public}"\n'
    prefix = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    if few_descriptors:
        prefix += ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"]
    return start_edge(addresses, folder, options=listen, prefix=prefix)


@contextmanager
def _bound_to(core: int) -> Iterator[None]:
    """Bind this process, and those that it starts meanwhile, to a core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _place_calls(addresses: Addresses, settings: AttackSettings, folder: Path) -> dict[str, float]:
    calls = settings.rate * settings.seconds
    options = ["-r", str(settings.rate), "-m", str(calls), "-l", str(calls), "-s", "15550123", "-trace_rtt"]
    options += ["-rtt_freq", "1", "-timeout", f"{settings.seconds + TAIL_SECONDS}s", addresses.public]
    with sipp("calls", "uac.xml", addresses.caller, folder, options) as caller:
        code = caller.wait(settings.seconds + TAIL_SECONDS + 5)
        if code not in (0, 1, 97):
            raise BenchError(f"sipp ended with {code}: {caller.end_of_log()}")
        times = read_setup_times(folder / f"uac_{caller.pid}_rtt.csv")
    return {"setup_p50_ms": percentile(times, 50), "setup_p99_ms": percentile(times, 99)}


def main() -> int:
    """Run the attacks that are named, or all; returns 1 if a measurement failed."""
    try:
        bench_attacks(AttackSettings(), sys.argv[1:] or list(ATTACKS))
    except (BenchError, KeyError) as error:
        say(f"attacks: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
