"""``bench relay``: the same RTP flows through the edge's media plane and through rtpengine in user space, in turn."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from bench.figures import ratios, summary
from bench.ports import free_port
from bench.process import BenchError, Process, loopback, say

__all__ = ["RelaySettings", "bench_relay"]

PUBLIC, CORE, CONTROL, CALLER, PBX = (loopback(last) for last in (3, 4, 5, 20, 21))
FIRST_PORT, LAST_PORT = 42_000, 45_999
WARM_UP = 4.0
"""Seconds before the measurement: rtpengine learns the addresses of its peers for 3 s."""


@attrs.frozen
class RelaySettings:
    """The RTP to send."""

    flows: int = 50
    """Calls, each with a packet of 172 bytes every 20 ms in both directions."""
    seconds: int = 10
    rounds: int = 3
    rtpengine_threads: int = 1
    """More threads only contend at this rate; one is best for rtpengine."""


def _plane(ng: str, settings: RelaySettings) -> list[str]:
    argv = [sys.executable, "-m", "bench.media_process", "--ng", ng, "--ports", f"{FIRST_PORT}-{LAST_PORT}"]
    return [*argv, "--interface", f"public/{PUBLIC}", "--interface", f"core/{CORE}"]


def _kernel(ng: str, settings: RelaySettings) -> list[str]:
    return [*_plane(ng, settings), "--kernel"]


def _rtpengine(ng: str, settings: RelaySettings) -> list[str]:
    argv = ["rtpengine", "--foreground", "--log-stderr", "--log-level=3", "--config-file=none", "--table=-1"]
    argv += [f"--interface=public/{PUBLIC}", f"--interface=core/{CORE}", f"--listen-ng={ng}"]
    return [*argv, f"--port-min={FIRST_PORT}", f"--port-max={LAST_PORT}", f"--num-threads={settings.rtpengine_threads}"]


ENGINES: dict[str, Callable[[str, RelaySettings], list[str]]] = {
    "edge": _plane,
    "kernel": _kernel,
    "rtpengine": _rtpengine,
}


def bench_relay(settings: RelaySettings, engines: list[str]) -> dict[str, Any]:
    """Measure each engine: the figures of every round, and their medians. Raises :class:`BenchError`."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in engines}
    direct = _generate("", settings, lambda: 0.0)
    say(f"relay: without a relay: p50 {direct['p50_us']:.0f} µs, p99 {direct['p99_us']:.0f} µs")
    for number in range(settings.rounds):
        without = _generate("", settings, lambda: 0.0)["turn_us"]
        for name in engines:
            with tempfile.TemporaryDirectory(prefix="bench-relay-") as folder:
                ng = f"{CONTROL}:{free_port(CONTROL)}"
                with Process(name, ENGINES[name](ng, settings), Path(folder)) as engine:
                    figures = _generate(ng, settings, engine.cpu_seconds)
                    engine.require()
                    figures["pss_mib"] = engine.memory().pss / 2**20
            figures["added_p50_us"] = figures["p50_us"] - direct["p50_us"]
            figures["added_p99_us"] = figures["p99_us"] - direct["p99_us"]
            # The work of the kernel relay is no engine's; that of the others is in the sending of packets already.
            figures["whole_us"] = figures["cpu_us"] + (figures["turn_us"] - without if name == "kernel" else 0.0)
            rounds[name].append(figures)
            say(
                f"relay: round {number + 1} of {settings.rounds}: {name}: {figures['cpu_us']:.2f} µs a packet, "
                f"{figures['lost']:.0f} lost, p50 {figures['p50_us']:.0f} µs"
            )
    medians = summary(rounds, ("lost",))
    result: dict[str, Any] = {
        "settings": attrs.asdict(settings), "direct": direct, "rounds": rounds, "medians": medians,
    }  # fmt: skip
    if "rtpengine" in engines:
        result["ratios"] = ratios(rounds, "edge", "rtpengine")
        if "kernel" in engines:
            result["kernel_ratios"] = ratios(rounds, "kernel", "rtpengine", "whole_us")
    return result


def _generate(ng: str, settings: RelaySettings, cpu_seconds: Callable[[], float]) -> dict[str, float]:
    """Run the generator against the relay at ``ng``; ``cpu_seconds`` is read when its sending begins and ends."""
    argv = [sys.executable, "-m", "bench.generator", "--ng", ng, "--flows", str(settings.flows)]
    argv += [
        "--caller",
        CALLER,
        "--pbx",
        PBX,
        "--seconds",
        str(settings.seconds if ng else 2),
        "--warm-up",
        str(WARM_UP if ng else 0.5),
    ]
    root = Path(__file__).parents[1]
    with subprocess.Popen(argv, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as generator:
        assert generator.stdout is not None
        try:
            marks = []
            for word in ("start", "stop"):
                if generator.stdout.readline().strip() != word:
                    raise BenchError("the generator of RTP ended early; it says why above")
                marks.append(cpu_seconds())
            figures: dict[str, float] = json.loads(generator.stdout.readline())
        except BaseException:
            generator.kill()
            raise
    figures["lost"] = figures["sent"] - figures["received"]
    figures["cpu_us"] = (marks[1] - marks[0]) / figures["sent"] * 1e6
    return figures
