"""``bench floods``: calls of a trunk during attacks, through the edge and through Kamailio, in turn.

Each row has a newly started engine and new attackers, so that no ban or table of one row affects the next. The cost
of an attack is the difference to the row without one, ``idle``.
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from bench.attacker import SOURCES, Attacker, build_attacker, core_of_attacker
from bench.calls import last_row, pbx, place, sipp
from bench.engines import KAMAILIO_CHILDREN, Addresses, await_answer, choose_addresses, start_flooded
from bench.figures import ratios, summary
from bench.ports import free_port
from bench.process import BenchError, Process, loopback, say, udp_drops
from edgesbc.demo.metrics_client import parse_metrics

__all__ = ["FloodSettings", "Row", "add_attack_cost", "bench_floods", "percentile", "read_setup_times"]

TAIL_SECONDS = 60
"""How long calls of a row may take after the last one began: SIPp abandons an INVITE after 32 s."""
LEAST_READ = 0.01
"""Share of the sent packets that an engine must read at least for a cost by packet read."""
_FAULTS = ("failed", "retransmissions", "answers")


class Row(NamedTuple):
    """An attack, or none."""

    attack: str
    """``idle``, ``one source`` or ``rotating``."""
    pps: int
    sources: int

    @property
    def name(self) -> str:
        return f"{self.attack} {self.pps}" if self.pps else self.attack


@attrs.frozen
class FloodSettings:
    """The calls and the attacks."""

    rate: int = 200
    """The trunk's calls a second."""
    seconds: int = 10
    """Duration of the calls and of the measurement."""
    pps: tuple[int, ...] = (20_000, 60_000, 100_000)
    """Packets a second of the attacks."""
    sources: int = 10_000
    """Addresses that the rotating attack sends from in turn."""
    settle: int = 2
    """Seconds of attack before the calls, after which the one source is banned."""
    rounds: int = 1

    def rows(self) -> list[Row]:
        attacks = (("one source", 1), ("rotating", self.sources))
        return [Row("idle", 0, 0), *(Row(name, pps, n) for name, n in attacks for pps in self.pps)]


def bench_floods(settings: FloodSettings, engines: list[str]) -> dict[str, Any]:
    """Measure each row and engine: the figures of every round, and their medians. Raises :class:`BenchError`."""
    rounds: dict[str, dict[str, list[dict[str, float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-flood-") as folder:
        program = build_attacker(Path(folder))
        number = 0
        for round_number in range(settings.rounds):
            for row in settings.rows():
                for name in engines:
                    figures = _run(name, row, 1 + number * settings.sources % (SOURCES // 2), settings, program)
                    number += 1
                    rounds.setdefault(row.name, {engine: [] for engine in engines})[name].append(figures)
                    add_attack_cost(figures, rounds["idle"][name][round_number])
                    _print_progress(round_number, row, name, figures, settings)
    medians = {name: summary(row_rounds, _FAULTS) for name, row_rounds in rounds.items()}
    result: dict[str, Any] = {
        "settings": attrs.asdict(settings)
        | {"kamailio_children_per_socket": KAMAILIO_CHILDREN, "attackers_core": core_of_attacker()},
        "rounds": rounds, "medians": medians,
    }  # fmt: skip
    if len(engines) == 2:
        attacks = {name: row_rounds for name, row_rounds in rounds.items() if name != "idle"}
        result["ratios"] = {
            name: {key: ratios(row_rounds, "edge", "kamailio", key, key == "cpu_us") for key in ("cpu_us", "read_us")}
            for name, row_rounds in attacks.items()
        }
    return result


def add_attack_cost(figures: dict[str, float], idle: Mapping[str, float]) -> None:
    """Add the cost of the attack to ``figures``: the row's CPU without that of the same calls in the row ``idle``.

    ``cpu_us`` is for each packet sent, ``read_us`` for each packet read, in microseconds: packets that the kernel
    dropped, by the filter or for lack of room, are sent but not read. ``read_us`` is 0 if too few were read.
    """
    attack_share = max(0.0, figures["core_share"] - idle["core_share"])
    figures["attack_share"] = attack_share
    figures["cpu_us"] = attack_share / figures["pps"] * 1e6 if figures["pps"] else 0.0
    figures["read_us"] = attack_share / figures["read"] * 1e6 if figures["read"] > figures["pps"] * LEAST_READ else 0.0


def _print_progress(
    round_number: int, row: Row, name: str, figures: Mapping[str, float], settings: FloodSettings
) -> None:
    say(
        f"floods: round {round_number + 1} of {settings.rounds}: {row.name}: {name}: "
        f"{figures['pps']:.0f} packets a second, "
        f"{figures['read']:.0f} read, {figures['core_share']:.1%} of a core, {figures['failed']:.0f} failed, "
        f"{figures['retransmissions']:.0f} retransmitted, set-up p99 {figures['setup_p99_ms']:.0f} ms"
    )


class _Counters(NamedTuple):
    """The counters at the beginning and at the end of the measured time of a row."""

    taken_at: float
    cpu: float
    waited_seconds: float
    attacker_cpu: float
    sent: int
    drops: int


def _read_counters(engine: Process, attacker: Attacker | None, addresses: Addresses) -> _Counters:
    sent, attacker_cpu = (attacker.counts()[0], attacker.process.cpu_seconds()) if attacker is not None else (0, 0.0)
    return _Counters(
        time.monotonic(), engine.cpu_seconds(), engine.waited_seconds(), attacker_cpu, sent, udp_drops(addresses.public)
    )


def _run(name: str, row: Row, first: int, settings: FloodSettings, program: Path) -> dict[str, float]:
    """Measure one row: start an engine, its destinations and the attack, and place the calls."""
    with tempfile.TemporaryDirectory(prefix="bench-floods-") as temporary:
        folder, addresses, host = Path(temporary), choose_addresses(), loopback(1)
        http = f"{host}:{free_port(host)}"
        with ExitStack() as running:
            engine = running.enter_context(start_flooded(name, addresses, folder, http))
            for member, address in (("one", addresses.one), ("two", addresses.two)):
                running.enter_context(pbx(member, address, folder))
            await_answer(engine, addresses)
            place(addresses, settings.rate, settings.rate, folder, "warm-up")
            before, refusals_before = engine.memory(), _refusals(name, http)
            attacker = None
            if row.pps:
                most_seconds = settings.settle + settings.seconds + 30
                attacker = Attacker(program, addresses.public, row.pps, most_seconds, row.sources, first, folder)
                running.enter_context(attacker)
                time.sleep(settings.settle)
            figures = _place_calls(addresses, settings, folder, engine, attacker)
            engine.require()
            after = engine.memory()
            figures |= {stage: float(n - refusals_before.get(stage, 0)) for stage, n in _refusals(name, http).items()}
        rows = [last_row(folder / f"{program_name}.csv") for program_name in ("calls", "one", "two")]
    figures["failed"] = float(rows[0]["TotalCallCreated"]) - float(rows[0]["SuccessfulCall(C)"])
    figures["retransmissions"] = sum(float(statistics["Retransmissions(C)"]) for statistics in rows)
    for key, memory in (("before", before), ("after", after)):
        figures[f"rss_{key}_mib"] = memory.rss / 2**20
        figures[f"pss_{key}_mib"] = memory.pss / 2**20
    return figures


def _place_calls(
    addresses: Addresses, settings: FloodSettings, folder: Path, engine: Process, attacker: Attacker | None
) -> dict[str, float]:
    """Place the calls of the trunk. The measurement and the attack end with the last new call."""
    calls = settings.rate * settings.seconds
    options = ["-r", str(settings.rate), "-m", str(calls), "-l", str(calls), "-s", "15550123", "-trace_rtt"]
    options += ["-rtt_freq", "1", "-timeout", f"{settings.seconds + TAIL_SECONDS}s", addresses.public]
    with sipp("calls", "uac.xml", addresses.caller, folder, options) as caller:
        begin = _read_counters(engine, attacker, addresses)
        time.sleep(settings.seconds)
        end = _read_counters(engine, attacker, addresses)
        if attacker is not None:
            attacker.process.require()
            attacker.stop()
        code = caller.wait(settings.seconds + TAIL_SECONDS)
        if code not in (0, 1, 97):  # 1: a call failed, 97: some did not end; both are counted
            raise BenchError(f"sipp ended with {code}: {caller.end_of_log()}")
        times = read_setup_times(folder / f"uac_{caller.pid}_rtt.csv")
    seconds, sent, drops = end.taken_at - begin.taken_at, end.sent - begin.sent, end.drops - begin.drops
    return {
        "pps": sent / seconds,
        "core_share": (end.cpu - begin.cpu) / seconds,
        "waited_share": (end.waited_seconds - begin.waited_seconds) / seconds,
        "attacker_share": (end.attacker_cpu - begin.attacker_cpu) / seconds,
        "read": max(0, sent - drops) / seconds,
        "answers": float(attacker.counts()[1]) if attacker is not None else 0.0,
        "setup_p50_ms": percentile(times, 50),
        "setup_p99_ms": percentile(times, 99),
        "setup_max_ms": percentile(times, 100),
    }


def read_setup_times(path: Path) -> list[float]:
    """The set-up times that SIPp wrote to ``path``, sorted, in whole milliseconds."""
    try:
        with path.open(newline="") as file:
            return sorted(float(row["response_time_ms"]) for row in csv.DictReader(file, delimiter=";"))
    except OSError:
        return []  # no call was set up


def percentile(ordered: Sequence[float], share: int) -> float:
    """The smallest value that ``share`` percent of the values do not exceed; infinite without values."""
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)] if ordered else float("inf")


def _refusals(name: str, http: str) -> dict[str, int]:
    """The number of refusals of each screening stage of the edge in user space so far; empty for Kamailio."""
    if name != "edge":
        return {}
    host, _, port = http.partition(":")
    connection = HTTPConnection(host, int(port), timeout=15)
    try:
        connection.request("GET", "/metrics")
        metrics = parse_metrics(connection.getresponse().read().decode())
    except OSError as error:
        raise BenchError(f"the edge does not serve its metrics: {error}") from None
    finally:
        connection.close()
    return {f"refused_by_{stage}": count for stage, count in metrics.by("screened_total", "stage").items()}
