"""``python -m bench``: measures the edge, and Kamailio and rtpengine in the same run."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

import attrs

from bench.anchored import AnchoredSettings, bench_anchored
from bench.attacker import MAX_PPS
from bench.attacks import ROWS, TrunkAttackSettings, bench_attacks
from bench.attacks_report import render_attacks
from bench.call_soak import CallSoakSettings, bench_call_soak
from bench.calls import CallSettings, bench_calls
from bench.dispatch import bench_dispatch
from bench.failures import FailureSettings, bench_failures
from bench.floods import FloodSettings, bench_floods
from bench.machine import describe, installed, kamailio_has
from bench.parse import bench_parse, tracker_bytes
from bench.process import BenchError, say
from bench.relay import RelaySettings, bench_relay
from bench.report import render
from bench.soak import SoakSettings, bench_soak
from bench.streams import StreamSettings, bench_streams
from edgesbc.kernel_relay.attached import attach_relay
from edgesbc.kernel_relay.mode import KernelMode

__all__ = ["main"]

PARTS = ("calls", "anchored", "streams", "floods", "relay", "parse", "dispatch", "failures")
"""What ``all`` measures. ``soak``, ``call_soak`` and ``attacks`` are to run for ten minutes or more each."""


def main() -> int:
    """Run the chosen parts and print tables on stdout; returns 1 if a measurement failed."""
    options = _arguments().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the started processes are ended
    parts = PARTS if options.part == "all" else (options.part,)
    failed = False
    left_out: list[str] = []
    results: dict[str, Any] = {"machine": describe(), "left_out": left_out}
    for part in parts:
        try:
            if part == "calls":
                _measure_calls(options, results)
            elif part == "anchored":
                _measure_anchored(options, results)
            elif part == "floods":
                _measure_floods(options, results)
            elif part == "relay":
                _measure_relay(options, results)
            elif part == "streams":
                _measure_streams(options, results)
            elif part == "failures":
                _measure_failures(options, results)
            elif part == "soak":
                failed = _soak(options, results)
            elif part == "call_soak":
                failed = _soak_calls(options, results)
            elif part == "attacks":
                failed = _measure_attacks(options, results)
            elif part == "dispatch":
                results["dispatch"] = bench_dispatch(5_000, 5) if options.quick else bench_dispatch()
            else:
                results["parse"] = bench_parse(5, 1_000) if options.quick else bench_parse()
                results["tracker"] = tracker_bytes()
        except BenchError as error:
            failed = True
            left_out.append(f"{part}: {error}")
    print(render_attacks(results) if "attacks" in results else render(results), end="", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _measure_calls(options: argparse.Namespace, results: dict[str, Any]) -> None:
    settings = CallSettings(seconds=8, rounds=1, settle=False) if options.quick else CallSettings()
    settings = attrs.evolve(settings, **_given(options, rate="rate", seconds="seconds", rounds="rounds"))
    if not installed("sipp"):
        results["left_out"].append("calls: sipp is not installed")
        return
    results["calls"] = bench_calls(settings, _engines("kamailio", options, results))


def _measure_anchored(options: argparse.Namespace, results: dict[str, Any]) -> None:
    quick = AnchoredSettings(seconds=8, rounds=1, settle=False)
    settings = quick if options.quick else AnchoredSettings()
    settings = attrs.evolve(settings, **_given(options, rate="rate", seconds="seconds", rounds="rounds"))
    if options.held is not None:
        settings = attrs.evolve(settings, held_rates=tuple(options.held))
    if not installed("sipp"):
        results["left_out"].append("anchored: sipp is not installed")
        return
    engines = ["edge", "processes"]
    if not options.alone:
        missing = [program for program in ("kamailio", "rtpengine") if not installed(program)]
        if missing:
            results["left_out"].append(f"anchored, of the peers: {' and '.join(missing)} not installed")
        else:
            engines.append("peers")
    results["anchored"] = bench_anchored(settings, engines)


def _measure_streams(options: argparse.Namespace, results: dict[str, Any]) -> None:
    quick = StreamSettings(seconds=4, new_seconds=2, idle=500, rounds=1)
    settings = quick if options.quick else StreamSettings()
    settings = attrs.evolve(settings, **_given(options, rate="rate", seconds="seconds", rounds="rounds"))
    engines = _engines("kamailio", options, results)
    if "kamailio" in engines and not kamailio_has("tls", "websocket", "xhttp"):
        results["left_out"].append("kamailio has no modules tls and websocket (as root, `make peers` installs them)")
        engines.remove("kamailio")
    results["streams"] = bench_streams(settings, engines)


def _measure_floods(options: argparse.Namespace, results: dict[str, Any]) -> None:
    settings = FloodSettings(seconds=4, pps=(20_000,), settle=1) if options.quick else FloodSettings()
    settings = attrs.evolve(settings, **_given(options, rate="rate", seconds="seconds", rounds="rounds"))
    if options.pps is not None:
        settings = attrs.evolve(settings, pps=tuple(options.pps))
    if not installed("sipp"):
        results["left_out"].append("floods: sipp is not installed")
        return
    results["floods"] = bench_floods(settings, _engines("kamailio", options, results))


def _measure_failures(options: argparse.Namespace, results: dict[str, Any]) -> None:
    settings = FailureSettings(seconds=6, rounds=1) if options.quick else FailureSettings()
    settings = attrs.evolve(settings, **_given(options, rate="rate", seconds="seconds", rounds="rounds"))
    if not installed("sipp"):
        results["left_out"].append("failures: sipp is not installed")
        return
    results["failures"] = bench_failures(settings)


def _measure_relay(options: argparse.Namespace, results: dict[str, Any]) -> None:
    settings = RelaySettings(seconds=5, rounds=1) if options.quick else RelaySettings()
    settings = attrs.evolve(settings, **_given(options, flows="flows", rounds="rounds"))
    engines = _engines("rtpengine", options, results)
    kernel, reason = attach_relay(KernelMode.AUTO, [1], 1, 0)
    if kernel is None:
        results["left_out"].append(f"the kernel relay: {reason}")
    else:
        kernel.close()
        engines.insert(1, "kernel")
    results["relay"] = bench_relay(settings, engines)


def _measure_attacks(options: argparse.Namespace, results: dict[str, Any]) -> bool:
    """Whether something could not be measured."""
    settings = TrunkAttackSettings(seconds=5, connections=200, idle=2) if options.quick else TrunkAttackSettings()
    names = {name: name for name in ("rate", "seconds", "rounds", "connections", "minutes")}
    settings = attrs.evolve(settings, **_given(options, **names))
    if options.rows is not None:
        settings = attrs.evolve(settings, rows=tuple(options.rows))
    engines = _engines("kamailio", options, results)
    if "kamailio" in engines and not kamailio_has("tls", "websocket", "xhttp"):
        engines.remove("kamailio")
    results["attacks"] = bench_attacks(settings, engines)
    return bool(results["attacks"]["left_out"])


def _soak(options: argparse.Namespace, results: dict[str, Any]) -> bool:
    """Whether the edge has not let go of everything."""
    settings = SoakSettings(connections=500, seconds=20, drain=45) if options.quick else SoakSettings()
    settings = attrs.evolve(settings, **_given(options, seconds="seconds", connections="connections"))
    results["soak"] = bench_soak(settings)
    return bool(results["soak"]["left"])


def _soak_calls(options: argparse.Namespace, results: dict[str, Any]) -> bool:
    """Whether the edge has not let go of everything, or most calls failed."""
    settings = CallSoakSettings(calls=50, seconds=20) if options.quick else CallSoakSettings()
    settings = attrs.evolve(settings, **_given(options, seconds="seconds", calls="flows"))
    soak = results["call_soak"] = bench_call_soak(settings)
    return bool(soak["left"])


def _engines(peer: str, options: argparse.Namespace, results: dict[str, Any]) -> list[str]:
    if options.alone:
        return ["edge"]
    if not installed(peer):
        results["left_out"].append(f"{peer} is not installed")
        return ["edge"]
    return ["edge", peer]


def _given(options: argparse.Namespace, **names: str) -> dict[str, Any]:
    """The options that were given, by the names of the settings."""
    return {name: getattr(options, option) for name, option in names.items() if getattr(options, option) is not None}


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("all", *PARTS, "soak", "call_soak", "attacks"), default="all")
    parser.add_argument("--quick", action="store_true", help="about five minutes: shorter, one round; coarse figures")
    parser.add_argument("--alone", action="store_true", help="the edge only")
    parser.add_argument(
        "--rate", type=_count, help="calls or messages a second (300; streams 800; floods, attacks 200)"
    )
    parser.add_argument(
        "--seconds",
        type=_count,
        help="of calls or messages (20; streams and floods 10; soak 60; call_soak 1800; forged registrations 90)",
    )
    parser.add_argument("--rounds", type=_count, help="of each engine (3; of floods and attacks 1)")
    parser.add_argument("--rows", choices=ROWS, nargs="+", metavar="ROW", help=f"of attacks: {', '.join(ROWS)}")
    parser.add_argument("--minutes", type=_count, help="after which no measurement of attacks begins (60)")
    parser.add_argument("--pps", type=_packets, nargs="+", help="packets a second of a flood (20000 60000 100000)")
    parser.add_argument(
        "--held", type=_count, nargs="+", help="calls a second of anchored calls to try, the most first (600 540 ...)"
    )
    parser.add_argument("--flows", type=_count, help="calls with RTP (50; call_soak 300)")
    parser.add_argument("--connections", type=_count, help="of a soak, at once (2000); WebSockets of attacks (1000)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write all figures to this file")
    return parser


def _count(text: str, limit: int = 10_000) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= limit:
        raise argparse.ArgumentTypeError(f"expected 1 to {limit}, found {text}")
    return int(text)


def _packets(text: str) -> int:
    return _count(text, MAX_PPS)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted; the started processes are ended")
        sys.exit(130)
