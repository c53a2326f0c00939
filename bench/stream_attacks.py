"""Calls of a trunk during attacks over connections, and during the same attacks on a sink: rows of ``bench attacks``.

The sink reads what it gets and does nothing else, so that what the attacker and SIPp take from each other is in both
rows. The edge is bound to one core, everything else to another.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.attacker import core_of_attacker
from bench.calls import pbx, place
from bench.engines import Addresses, await_answer, choose_addresses, start_edge
from bench.ports import free_port
from bench.process import BenchError, Process, loopback, wait_until
from bench.trunk_calls import TAIL_SECONDS, TrunkCalls, bound_to, edge_prefix, place_calls, retransmissions

__all__ = ["ATTACKS", "measure_attack", "start_sink"]

ATTACKS = {
    "control frames": ("ws", "64 WebSockets of two addresses send Pings as fast as they can"),
    "empty fragments": ("ws", "64 WebSockets of two addresses send fragments without data as fast as they can"),
    "large messages": ("tcp", "500 TCP connections of four addresses send OPTIONS of 43 KB as fast as they can"),
    "key updates": ("tls", "16 TLS connections of two addresses send KeyUpdates as fast as they can"),
    "silence": ("tcp", "2,000 silent TCP connections of eight addresses, 1,024 descriptors for the edge"),
}
"""The attacks: the transport, and what they do. All connect again when they are closed."""
DESCRIPTORS = 1_024
END_SECONDS = 2
"""How long an attack goes on after the last new call."""


def measure_attack(attack: str, target: str, calls: TrunkCalls) -> dict[str, float]:
    """The figures of one attack on the ``edge`` or on the ``sink``. Raises :class:`BenchError`."""
    transport = ATTACKS[attack][0]
    with tempfile.TemporaryDirectory(prefix="bench-attacks-") as temporary, ExitStack() as running:
        folder, addresses = Path(temporary), choose_addresses()
        host = addresses.public.partition(":")[0]
        attacked = f"{host}:{free_port(host)}"
        engine = running.enter_context(_edge(addresses, folder, transport, attacked, attack == "silence"))
        with bound_to(core_of_attacker()):
            for member, address in (("one", addresses.one), ("two", addresses.two)):
                running.enter_context(pbx(member, address, folder))
            await_answer(engine, addresses)
            place(addresses, calls.rate, calls.rate, folder, "warm-up")
            seconds = calls.settle + calls.seconds + END_SECONDS
            if target == "sink":
                attacked = start_sink(running, transport, seconds, folder)
            argv = [sys.executable, "-m", "bench.stream_attacker", attack, attacked, str(seconds)]
            attacker = running.enter_context(Process("attacker", argv, folder))
            time.sleep(calls.settle)
            attacker.require()
            begun, cpu, waited = time.monotonic(), engine.cpu_seconds(), engine.waited_seconds()
            figures = place_calls(addresses, calls, folder)
            engine.require()
            elapsed = time.monotonic() - begun
            figures["core_share"] = (engine.cpu_seconds() - cpu) / elapsed
            figures["waited_share"] = (engine.waited_seconds() - waited) / elapsed
            figures |= _attacker_figures(attacker)
        running.close()  # SIPp writes its last rows of statistics when it ends
        figures["retransmissions"] = retransmissions(folder)
    return figures


def start_sink(running: ExitStack, transport: str, seconds: int, folder: Path) -> str:
    """Start the sink, which ends with ``running`` and by itself after the attack; returns its address."""
    host = loopback(3)
    address = f"{host}:{free_port(host)}"
    argv = [sys.executable, "-m", "bench.stream_attacker", "sink", address, str(seconds + 3), transport]
    sink = running.enter_context(Process("sink", argv, folder))
    wait_until(lambda: sink.end_of_log().startswith("ready") or not sink.running, 10, "the sink")
    sink.require()
    return address


def _attacker_figures(attacker: Process) -> dict[str, float]:
    """What the attacker has done: bytes a second, connections begun and closed. Raises :class:`BenchError`."""
    if attacker.wait(TAIL_SECONDS):
        raise BenchError(f"the attacker failed: {attacker.end_of_log()}")
    figures: dict[str, float] = json.loads(attacker.end_of_log())
    return figures


def _edge(addresses: Addresses, folder: Path, transport: str, attacked: str, few_descriptors: bool) -> Process:
    listen = f'\n[[listen]]\nname = "{transport}"\nzone = "public"\ntransport = "{transport}"\nbind = "{attacked}"\n'
    return start_edge(addresses, folder, options=listen, prefix=edge_prefix(DESCRIPTORS if few_descriptors else 0))
