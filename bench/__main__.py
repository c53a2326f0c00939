"""``python -m bench``: what the edge costs, beside what Kamailio and rtpengine cost in the same run."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

import attrs

from bench.attacker import MAX_PPS
from bench.calls import CallSettings, bench_calls
from bench.dispatch import bench_dispatch
from bench.failures import FailureSettings, bench_failures
from bench.floods import FloodSettings, bench_floods
from bench.machine import describe, installed
from bench.parse import bench_parse, tracker_bytes
from bench.process import BenchError, say
from bench.relay import RelaySettings, bench_relay
from bench.report import render

__all__ = ["main"]


def main() -> int:
    """Measure what is asked for, print tables on stdout; 1 where a measurement could not be made."""
    chosen = _arguments().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    parts = ("calls", "floods", "relay", "parse", "dispatch", "failures") if chosen.part == "all" else (chosen.part,)
    failed = False
    left_out: list[str] = []
    results: dict[str, Any] = {"machine": describe(), "left_out": left_out}
    for part in parts:
        try:
            if part == "calls":
                _measure_calls(chosen, results)
            elif part == "floods":
                _measure_floods(chosen, results)
            elif part == "relay":
                _measure_relay(chosen, results)
            elif part == "failures":
                _measure_failures(chosen, results)
            elif part == "dispatch":
                results["dispatch"] = bench_dispatch(5_000, 5) if chosen.quick else bench_dispatch()
            else:
                results["parse"] = bench_parse(5, 1_000) if chosen.quick else bench_parse()
                results["tracker"] = tracker_bytes()
        except BenchError as error:
            failed = True
            left_out.append(f"{part}: {error}")
    print(render(results), end="", flush=True)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _measure_calls(chosen: argparse.Namespace, results: dict[str, Any]) -> None:
    settings = CallSettings(seconds=8, rounds=1, settle=False) if chosen.quick else CallSettings()
    settings = attrs.evolve(settings, **_given(chosen, rate="rate", seconds="seconds", rounds="rounds"))
    if not installed("sipp"):
        results["left_out"].append("calls: sipp is not installed")
        return
    results["calls"] = bench_calls(settings, _engines("kamailio", chosen, results))


def _measure_floods(chosen: argparse.Namespace, results: dict[str, Any]) -> None:
    settings = FloodSettings(seconds=4, pps=(20_000,), settle=1) if chosen.quick else FloodSettings()
    settings = attrs.evolve(settings, **_given(chosen, rate="rate", seconds="seconds", rounds="rounds"))
    if chosen.pps is not None:
        settings = attrs.evolve(settings, pps=tuple(chosen.pps))
    if not installed("sipp"):
        results["left_out"].append("floods: sipp is not installed")
        return
    results["floods"] = bench_floods(settings, _engines("kamailio", chosen, results))


def _measure_failures(chosen: argparse.Namespace, results: dict[str, Any]) -> None:
    settings = FailureSettings(seconds=6, rounds=1) if chosen.quick else FailureSettings()
    settings = attrs.evolve(settings, **_given(chosen, rate="rate", seconds="seconds", rounds="rounds"))
    if not installed("sipp"):
        results["left_out"].append("failures: sipp is not installed")
        return
    results["failures"] = bench_failures(settings)


def _measure_relay(chosen: argparse.Namespace, results: dict[str, Any]) -> None:
    settings = RelaySettings(seconds=5, rounds=1) if chosen.quick else RelaySettings()
    settings = attrs.evolve(settings, **_given(chosen, flows="flows", rounds="rounds"))
    results["relay"] = bench_relay(settings, _engines("rtpengine", chosen, results))


def _engines(peer: str, chosen: argparse.Namespace, results: dict[str, Any]) -> list[str]:
    if chosen.alone:
        return ["edge"]
    if not installed(peer):
        results["left_out"].append(f"{peer} is not installed")
        return ["edge"]
    return ["edge", peer]


def _given(chosen: argparse.Namespace, **names: str) -> dict[str, Any]:
    """The options that were given, by the names of settings."""
    return {name: getattr(chosen, option) for name, option in names.items() if getattr(chosen, option) is not None}


def _arguments() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument(
        "part", nargs="?", choices=("all", "calls", "floods", "relay", "parse", "dispatch", "failures"), default="all"
    )
    options.add_argument("--quick", action="store_true", help="about three minutes: shorter, one round; coarse figures")
    options.add_argument("--alone", action="store_true", help="without the peers")
    options.add_argument("--rate", type=_count, help="calls a second (300; beside floods 200)")
    options.add_argument("--seconds", type=_count, help="of calls (20; beside floods 10)")
    options.add_argument("--rounds", type=_count, help="of each engine (3; of floods 1)")
    options.add_argument("--pps", type=_packets, nargs="+", help="packets a second of a flood (20000 60000 100000)")
    options.add_argument("--flows", type=_count, help="calls with RTP (50)")
    options.add_argument("--json", type=Path, metavar="PATH", help="write all figures there as well")
    return options


def _count(text: str, most: int = 10_000) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"expected 1 to {most}, found {text}")
    return int(text)


def _packets(text: str) -> int:
    return _count(text, MAX_PPS)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted; what was started is ended")
        sys.exit(130)
