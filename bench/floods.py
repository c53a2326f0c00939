"""``bench floods``: a trunk's calls beside attackers, through the edge and through Kamailio, by turns.

Each row has an engine of its own and attackers that it has never seen, so that no ban or table of one row
helps or harms the next. Judges nothing: what a row costs stands beside what the same engine costs at idle.
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

__all__ = ["FloodSettings", "Row", "bench_floods", "percentile", "price", "setups"]

TAIL_SECONDS = 60
"""How long calls of a row may take after its last one began: SIPp gives an INVITE up after 32 s."""
FEW = 0.01
"""Share of the packets sent of which an engine has to read more, or their price is that of something else."""
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
    """What comes in."""

    rate: int = 200
    """The trunk's calls a second."""
    seconds: int = 10
    """Of calls, and of measuring."""
    pps: tuple[int, ...] = (20_000, 60_000, 100_000)
    """Packets a second of the attackers."""
    sources: int = 10_000
    """Addresses that the rotating attackers send from, by turns."""
    settle: int = 2
    """Seconds of attack before the calls: the one source is banned then."""
    rounds: int = 1

    def rows(self) -> list[Row]:
        attacks = (("one source", 1), ("rotating", self.sources))
        return [Row("idle", 0, 0), *(Row(name, pps, n) for name, n in attacks for pps in self.pps)]


def bench_floods(settings: FloodSettings, engines: list[str]) -> dict[str, Any]:
    """The figures of each row and engine, of every round, and their medians. Raises :class:`BenchError`."""
    rounds: dict[str, dict[str, list[dict[str, float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-flood-") as folder:
        program = build_attacker(Path(folder))
        number = 0
        for turn in range(settings.rounds):
            for row in settings.rows():
                for name in engines:
                    figures = _run(name, row, 1 + number * settings.sources % (SOURCES // 2), settings, program)
                    number += 1
                    rounds.setdefault(row.name, {each: [] for each in engines})[name].append(figures)
                    price(figures, rounds["idle"][name][turn])
                    _tell(turn, row, name, figures, settings)
    medians = {name: summary(each, _FAULTS) for name, each in rounds.items()}
    result: dict[str, Any] = {
        "settings": attrs.asdict(settings)
        | {"kamailio_children_per_socket": KAMAILIO_CHILDREN, "attackers_core": core_of_attacker()},
        "rounds": rounds, "medians": medians,
    }  # fmt: skip
    if len(engines) == 2:
        attacked = {name: each for name, each in rounds.items() if name != "idle"}
        result["ratios"] = {
            name: {key: ratios(each, "edge", "kamailio", key, key == "cpu_us") for key in ("cpu_us", "read_us")}
            for name, each in attacked.items()
        }
    return result


def price(figures: dict[str, float], idle: Mapping[str, float]) -> None:
    """What the attack itself cost: the row's CPU without what the trunk's calls take when nothing else comes.

    A packet that the kernel's filter drops is sent and not read; one for which there was no room likewise, but to no
    one's credit. So the price goes by both, in microseconds; 0 where too few were read to tell.
    """
    of_attack = max(0.0, figures["core_share"] - idle["core_share"])
    figures["attack_share"] = of_attack
    figures["cpu_us"] = of_attack / figures["pps"] * 1e6 if figures["pps"] else 0.0
    figures["read_us"] = of_attack / figures["read"] * 1e6 if figures["read"] > figures["pps"] * FEW else 0.0


def _tell(turn: int, row: Row, name: str, figures: Mapping[str, float], settings: FloodSettings) -> None:
    say(
        f"floods: round {turn + 1} of {settings.rounds}: {row.name}: {name}: {figures['pps']:.0f} packets a second, "
        f"{figures['read']:.0f} read, {figures['core_share']:.1%} of a core, {figures['failed']:.0f} failed, "
        f"{figures['retransmissions']:.0f} retransmitted, set-up p99 {figures['setup_p99_ms']:.0f} ms"
    )


class _Mark(NamedTuple):
    """What is read at the beginning and at the end of a row's measured time."""

    at: float
    cpu: float
    waited: float
    attacker_cpu: float
    sent: int
    drops: int


def _mark(engine: Process, attacker: Attacker | None, at: Addresses) -> _Mark:
    sent, of_attacker = (attacker.counts()[0], attacker.process.cpu_seconds()) if attacker is not None else (0, 0.0)
    return _Mark(
        time.monotonic(), engine.cpu_seconds(), engine.waited_seconds(), of_attacker, sent, udp_drops(at.public)
    )


def _run(name: str, row: Row, first: int, settings: FloodSettings, program: Path) -> dict[str, float]:
    """One row: an engine, its destinations, the attack, the calls."""
    with tempfile.TemporaryDirectory(prefix="bench-floods-") as temporary:
        folder, at, host = Path(temporary), choose_addresses(), loopback(1)
        http = f"{host}:{free_port(host)}"
        with ExitStack() as running:
            engine = running.enter_context(start_flooded(name, at, folder, http))
            for each, address in (("one", at.one), ("two", at.two)):
                running.enter_context(pbx(each, address, folder))
            await_answer(engine, at)
            place(at, settings.rate, settings.rate, folder, "warm-up")
            before, refused = engine.memory(), _screened(name, http)
            attacker = None
            if row.pps:
                most = settings.settle + settings.seconds + 30
                attacker = Attacker(program, at.public, row.pps, most, row.sources, first, folder)
                running.enter_context(attacker)
                time.sleep(settings.settle)
            figures = _call(at, settings, folder, engine, attacker)
            engine.require()
            after = engine.memory()
            figures |= {stage: float(n - refused.get(stage, 0)) for stage, n in _screened(name, http).items()}
        rows = [last_row(folder / f"{each}.csv") for each in ("calls", "one", "two")]
    figures["failed"] = float(rows[0]["TotalCallCreated"]) - float(rows[0]["SuccessfulCall(C)"])
    figures["retransmissions"] = sum(float(each["Retransmissions(C)"]) for each in rows)
    for key, memory in (("before", before), ("after", after)):
        figures[f"rss_{key}_mib"] = memory.rss / 2**20
        figures[f"pss_{key}_mib"] = memory.pss / 2**20
    return figures


def _call(
    at: Addresses, settings: FloodSettings, folder: Path, engine: Process, attacker: Attacker | None
) -> dict[str, float]:
    """The trunk's calls. What is measured ends with the last new call, and so does the attack."""
    calls = settings.rate * settings.seconds
    more = ["-r", str(settings.rate), "-m", str(calls), "-l", str(calls), "-s", "15550123", "-trace_rtt"]
    more += ["-rtt_freq", "1", "-timeout", f"{settings.seconds + TAIL_SECONDS}s", at.public]
    with sipp("calls", "uac.xml", at.caller, folder, more) as caller:
        begin = _mark(engine, attacker, at)
        time.sleep(settings.seconds)
        end = _mark(engine, attacker, at)
        if attacker is not None:
            attacker.process.require()
            attacker.stop()
        code = caller.wait(settings.seconds + TAIL_SECONDS)
        if code not in (0, 1, 97):  # 1: a call failed, 97: some did not end; both are counted
            raise BenchError(f"sipp ended with {code}: {caller.last_words()}")
        times = setups(folder / f"uac_{caller.pid}_rtt.csv")
    seconds, sent, drops = end.at - begin.at, end.sent - begin.sent, end.drops - begin.drops
    return {
        "pps": sent / seconds,
        "core_share": (end.cpu - begin.cpu) / seconds,
        "waited_share": (end.waited - begin.waited) / seconds,
        "attacker_share": (end.attacker_cpu - begin.attacker_cpu) / seconds,
        "read": max(0, sent - drops) / seconds,
        "answers": float(attacker.counts()[1]) if attacker is not None else 0.0,
        "setup_p50_ms": percentile(times, 50),
        "setup_p99_ms": percentile(times, 99),
        "setup_max_ms": percentile(times, 100),
    }


def setups(path: Path) -> list[float]:
    """The set-up times that SIPp wrote down, in milliseconds, whole ones."""
    try:
        with path.open(newline="") as file:
            return sorted(float(row["response_time_ms"]) for row in csv.DictReader(file, delimiter=";"))
    except OSError:
        return []  # no call came as far


def percentile(ordered: Sequence[float], share: int) -> float:
    """The smallest of the values that ``share`` percent of them do not exceed; infinite where there are none."""
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)] if ordered else float("inf")


def _screened(name: str, http: str) -> dict[str, int]:
    """What each stage of the edge's screening has refused in user space so far; Kamailio counts nothing of the kind."""
    if name != "edge":
        return {}
    host, _, port = http.partition(":")
    connection = HTTPConnection(host, int(port), timeout=15)
    try:
        connection.request("GET", "/metrics")
        reading = parse_metrics(connection.getresponse().read().decode())
    except OSError as error:
        raise BenchError(f"the edge does not show its metrics: {error}") from None
    finally:
        connection.close()
    return {f"refused_by_{stage}": count for stage, count in reading.by("screened_total", "stage").items()}
