"""Forged registrations while new phones register and call, and a trunk calls: a row of ``bench attacks``.

The registrar behind the edge is Kamailio. It challenges every REGISTER, so that an unknown sender costs the edge two
messages on each side. Each forged REGISTER has a source address, a Call-ID and a branch of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.attacker import Attacker, build_attacker, core_of_attacker
from bench.calls import pbx, place
from bench.engines import await_answer, choose_addresses, start_edge
from bench.new_phones import GIVE_UP, PASSWORD, REALM
from bench.ports import free_port
from bench.process import BenchError, Process, loopback, say
from bench.stream_attacks import start_sink
from bench.trunk_calls import TAIL_SECONDS, TrunkCalls, bound_to, edge_prefix, place_calls, retransmissions

__all__ = ["FORGED", "FORGED_A_SECOND", "FORGED_SECONDS", "PHONES_A_SECOND", "measure_registrations"]

FORGED, FORGED_SECONDS = 70_000, 90
FORGED_A_SECOND = FORGED // FORGED_SECONDS + 1
PHONES_A_SECOND = 5
_REGISTER = (
    "REGISTER sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.66:5060;branch=z9hG4bK@@@@@@@@;rport\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:@@@@@@@@@{to}>;tag=@@@@@@@@\r\nTo: <sip:@@@@@@@@@{to}>\r\nCall-ID: @@@@@@@@\r\n"
    "CSeq: 1 REGISTER\r\nContact: <sip:@@@@@@@@@192.0.2.66:5060>\r\nExpires: 600\r\nUser-Agent: phone\r\n"
    "Content-Length: 0\r\n\r\n"
)
_POLICY = """
[[destinations]]
set = "registrar"
members = [{{ uri = "sip:{registrar}" }}]
[destinations.health]
interval = 0

[[route]]
name = "registrations"
methods = ["REGISTER"]
to = "registrar"

[[route]]
name = "calls"
to = "pbx"
"""


def measure_registrations(target: str, calls: TrunkCalls) -> dict[str, float]:
    """The figures of the calls and of the phones while the forged registrations go to the ``edge``, or to the ``sink``.
    Raises :class:`BenchError`."""
    with tempfile.TemporaryDirectory(prefix="bench-registrations-") as temporary, ExitStack() as running:
        folder, addresses = Path(temporary), choose_addresses()
        registrar = f"{loopback(4)}:{free_port(loopback(4))}"
        options = _POLICY.format(registrar=registrar)
        engine = running.enter_context(start_edge(addresses, folder, options=options, prefix=edge_prefix()))
        program = build_attacker(folder)
        with bound_to(core_of_attacker()):
            for member, address in (("one", addresses.one), ("two", addresses.two)):
                running.enter_context(pbx(member, address, folder))
            running.enter_context(_registrar(registrar, folder))
            await_answer(engine, addresses)
            place(addresses, calls.rate, calls.rate, folder, "warm-up")
            seconds = calls.settle + calls.seconds + 2
            attacked = addresses.public if target == "edge" else start_sink(running, "udp", seconds, folder)
            argv = [sys.executable, "-m", "bench.new_phones", "--edge", addresses.public]
            argv += ["--rate", str(PHONES_A_SECOND), "--seconds", str(calls.settle + calls.seconds)]
            phones = running.enter_context(Process("phones", argv, folder))
            sources = FORGED_A_SECOND * seconds
            with Attacker(
                program, attacked, FORGED_A_SECOND, seconds, sources, 1, folder, _REGISTER.format(to=addresses.public)
            ) as attacker:
                time.sleep(calls.settle)
                begun, cpu, waited = time.monotonic(), engine.cpu_seconds(), engine.waited_seconds()
                figures = place_calls(addresses, calls, folder)
                elapsed = time.monotonic() - begun
                attacker.process.wait(TAIL_SECONDS)
            engine.require()
            figures["core_share"] = (engine.cpu_seconds() - cpu) / elapsed
            figures["waited_share"] = (engine.waited_seconds() - waited) / elapsed
            figures["forged"], figures["forged_answered"] = (float(count) for count in attacker.counts())
            figures |= _phones(phones)
        running.close()
        figures["retransmissions"] = retransmissions(folder)
    return figures


def _registrar(address: str, folder: Path) -> Process:
    text = (Path(__file__).parent / "registrar.cfg").read_text()
    for word, value in {"REGISTRAR": address, "REALM": REALM, "PASSWORD": PASSWORD}.items():
        text = text.replace(f"@{word}@", value)
    (folder / "registrar.cfg").write_text(text)
    argv = ["kamailio", "-x", "fm", "-X", "fm", "-DD", "-E", "-m", "128", "-M", "16"]
    return Process("registrar", [*argv, "-Y", str(folder), "-f", str(folder / "registrar.cfg")], folder)


def _phones(phones: Process) -> dict[str, float]:
    """What became of the phones; why some failed is printed. Raises :class:`BenchError`."""
    if phones.wait(GIVE_UP * 3 + 10):
        raise BenchError(f"the phones ended early: {phones.end_of_log()}")
    figures = json.loads(phones.end_of_log())
    for reason, count in figures.pop("reasons").items():
        say(f"attacks: {count} new phones failed: {reason}")
    return {name: float(value) for name, value in figures.items()}
