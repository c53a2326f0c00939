"""`edgesbc demo`: a house, a scene, a table and an exit code. Everything it starts ends with it."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import attrs
import trio
from rich.console import Console

from edgesbc.demo.environment import DemoEnvironment, DemoError
from edgesbc.demo.report import DemoReport
from edgesbc.demo.scenario import KILLED, Scenario, ScenarioPlan
from edgesbc.demo.table import print_table

__all__ = ["conclude", "play"]


async def play(plan: ScenarioPlan, stay: bool, console: Console) -> int:
    """Play the demo; 0 when every call completed and nothing is left over, otherwise 1.

    With ``stay``, the edge and both PBXs then go on until SIGINT or SIGTERM.
    """
    with tempfile.TemporaryDirectory(prefix="edgesbc-demo-") as folder:
        house = DemoEnvironment(Path(folder))
        try:
            async with trio.open_nursery() as nursery:
                try:
                    return await _play(plan, stay, console, house, nursery)
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            await house.stop()


async def _play(plan: ScenarioPlan, stay: bool, console: Console, house: DemoEnvironment, nursery: trio.Nursery) -> int:
    began = trio.current_time()
    try:
        _say(console, "starting the edge and two PBXs")
        await house.start(nursery)
        findings = await Scenario(plan, house, console).play()
        if not stay:
            findings = attrs.evolve(findings, exit_code=await house.stop())
    except (DemoError, OSError) as error:
        _say(console, f"the demo could not be played: {error}")
        return 1
    code = conclude(console, findings, house, trio.current_time() - began)
    if stay:
        await _stay(console, house)
    return code


def conclude(console: Console, findings: DemoReport, house: DemoEnvironment, seconds: float) -> int:
    """Print what was found, and each failure as a line; the exit code. ``seconds`` is how long it took."""
    print_table(console, findings)
    failures = findings.failures()
    for failure in failures:
        _say(console, f"failed: {failure}")
    if failures:
        for line in house.warnings:
            _say(console, f"the edge said: {line}")
    _say(console, f"{'failed' if failures else 'passed'} after {seconds:.0f} s")
    return 1 if failures else 0


async def _stay(console: Console, house: DemoEnvironment) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        await house.revive_pbx(KILLED)
        house.probe(True)
        _say(console, f"metrics: http://{house.metrics}/metrics")
        for name in ("public-udp", "public-tcp", "public-tls", "public-wss"):
            _say(console, f"{name}: {house.address(name)}")
        _say(console, f"authority of its certificate: {house.ca}")
        _say(console, "the edge and both PBXs go on; Ctrl-C ends them")
        async for _ in signals:
            break


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
