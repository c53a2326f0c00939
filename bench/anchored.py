"""``bench anchored``: SIPp calls whose media the edge relays, and the same by Kamailio with rtpengine, in turn.

No RTP is sent: what is measured is what it costs to open, describe and close the media ports of a call. First the CPU
of a call at one rate, then the highest rate of some at which no call fails.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from bench.calls import SETTLE, last_row, milliseconds, pbx, place
from bench.engines import (
    KAMAILIO_CHILDREN,
    Addresses,
    await_answer,
    choose_addresses,
    start_edge,
    start_kamailio,
)
from bench.figures import ratios, summary
from bench.ports import free_port
from bench.process import BenchError, Process, loopback, say, udp_sockets

__all__ = ["AnchoredSettings", "bench_anchored"]

MEDIA_PUBLIC, MEDIA_CORE, CONTROL = (loopback(last) for last in (3, 4, 5))


@attrs.frozen
class AnchoredSettings:
    """The calls to place."""

    rate: int = 300
    """Calls a second."""
    seconds: int = 20
    warm_up: int = 2
    """Seconds of calls before the measurement."""
    rounds: int = 3
    settle: bool = True
    """Whether to wait until the last timer has expired; without it the cost is slightly too low."""
    held_rates: tuple[int, ...] = (600, 540, 480, 420, 360, 300, 240, 180, 120)
    """Calls a second, the most first; the first at which no call fails is what an engine holds."""
    hold_ms: int = 1_000
    """How long these calls are held."""
    ports: tuple[int, int] = (30_000, 39_999)
    """The first and last port of each media address."""
    rtpengine_threads: int = 1


Engine = tuple[Process, ...]


@contextmanager
def _edge(addresses: Addresses, folder: Path, settings: AnchoredSettings, planes: str) -> Iterator[Engine]:
    first, last = settings.ports
    media = f'ports = "{first}-{last}"\naddress = {{ public = "{MEDIA_PUBLIC}", core = "{MEDIA_CORE}" }}'
    with start_edge(addresses, folder, media=media, planes=planes) as edge:
        yield (edge,)


@contextmanager
def _peers(addresses: Addresses, folder: Path, settings: AnchoredSettings) -> Iterator[Engine]:
    """Kamailio and rtpengine. A session of rtpengine ends with its call, as the edge's does, and not 30 s later."""
    control = f"{CONTROL}:{free_port(CONTROL)}"
    first, last = settings.ports
    argv = ["rtpengine", "--foreground", "--log-stderr", "--log-level=3"]
    argv += ["--config-file=none", "--table=-1", f"--listen-ng={control}", "--delete-delay=0"]
    argv += [f"--interface=public/{MEDIA_PUBLIC}", f"--interface=core/{MEDIA_CORE}"]
    argv += [f"--port-min={first}", f"--port-max={last}", f"--num-threads={settings.rtpengine_threads}"]
    with (
        Process("rtpengine", argv, folder) as rtpengine,
        start_kamailio(addresses, folder, media=control) as kamailio,
    ):
        yield kamailio, rtpengine


_ENGINES: dict[str, Callable[..., Any]] = {
    "edge": partial(_edge, planes="tasks"),
    "processes": partial(_edge, planes="processes"),
    "peers": _peers,
}
_SETTLE = {"edge": SETTLE["edge"], "processes": SETTLE["edge"], "peers": SETTLE["kamailio"]}


def bench_anchored(settings: AnchoredSettings, engines: list[str]) -> dict[str, Any]:
    """Measure each engine: the figures of every round and their medians, and what it holds. Raises
    :class:`BenchError`."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # either relay inherits it: a call takes four ports
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in engines}
    for number in range(settings.rounds):
        for name in engines:
            figures = _measure(name, settings, settings.rate, 500, settings.settle)
            rounds[name].append(figures)
            say(
                f"anchored: round {number + 1} of {settings.rounds}: {name}: {figures['cpu_us']:.0f} µs a call, "
                f"{figures['failed']:.0f} failed, {figures['sockets']:.0f} media ports at once"
            )
    medians = summary(rounds, ("failed", "retransmissions", "sockets_left"))
    return {
        "settings": attrs.asdict(settings) | {"kamailio_children_per_socket": KAMAILIO_CHILDREN},
        "rounds": rounds,
        "medians": medians,
        "ratios": {name: ratios(rounds, name, "peers") for name in engines if "peers" in engines and name != "peers"},
        "held": {name: _held(name, settings) for name in engines} if settings.held_rates else {},
    }


def _held(name: str, settings: AnchoredSettings) -> dict[str, float]:
    """The figures at the highest rate without a failure; ``rate`` is 0 where there is none. ``failed`` is what failed
    at the rate before."""
    failed = 0.0
    for rate in settings.held_rates:
        figures = _measure(name, settings, rate, settings.hold_ms, False)
        say(
            f"anchored: {name}: {rate} calls a second of {settings.hold_ms} ms: {figures['failed']:.0f} failed, "
            f"{figures['core_share']:.0%} of a core"
        )
        if not figures["failed"]:
            return figures | {"rate": rate, "failed": failed}
        failed = figures["failed"]
    return figures | {"rate": 0.0}


def _measure(name: str, settings: AnchoredSettings, rate: int, hold_ms: int, settle: bool) -> dict[str, float]:
    most = 0

    def watch() -> None:
        nonlocal most
        most = max(most, udp_sockets(MEDIA_PUBLIC, MEDIA_CORE))

    with tempfile.TemporaryDirectory(prefix="bench-anchored-") as temporary:
        folder, addresses = Path(temporary), choose_addresses()
        with ExitStack() as stack:
            engine: Engine = stack.enter_context(_ENGINES[name](addresses, folder, settings))
            for member, address in (("one", addresses.one), ("two", addresses.two)):
                stack.enter_context(pbx(member, address, folder))
            await_answer(engine[0], addresses)
            place(addresses, rate, rate * settings.warm_up, folder, "warm-up", hold_ms)
            before = _cpu_seconds(engine)
            caller = place(addresses, rate, rate * settings.seconds, folder, "calls", hold_ms, watch)
            pss = sum(process.memory().pss for process in engine)
            if settle:
                time.sleep(_SETTLE[name])
            for process in engine:
                process.require()
            cpu = _cpu_seconds(engine) - before
            left = _sockets_left()
        rows = [caller, *(last_row(folder / f"{member}.csv") for member in ("one", "two"))]
    if not most:
        raise BenchError(f"{name} has relayed no media")
    calls = float(caller["TotalCallCreated"])
    return {
        "calls": calls,
        "failed": calls - float(caller["SuccessfulCall(C)"]),
        "retransmissions": sum(float(row["Retransmissions(C)"]) for row in rows),
        "cpu_us": cpu / calls * 1e6,
        "core_share": cpu / settings.seconds,
        "setup_ms": milliseconds(caller["ResponseTimesetup(C)"]),
        "sockets": float(most),
        "sockets_left": float(left),
        "pss_mib": pss / 2**20,
    }


def _sockets_left() -> int:
    """The media ports that stay, for some seconds at least."""
    end = time.monotonic() + 3
    while (left := udp_sockets(MEDIA_PUBLIC, MEDIA_CORE)) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def _cpu_seconds(engine: Engine) -> float:
    return sum(process.cpu_seconds() for process in engine)
