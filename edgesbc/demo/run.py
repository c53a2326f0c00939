"""The command `edgesbc demo`: starts the environment, runs the scenario, prints the report, and stops everything."""

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

__all__ = ["print_report", "run_demo"]


async def run_demo(plan: ScenarioPlan, stay: bool, console: Console) -> int:
    """Run the demo. Returns 0 if every call completed and nothing is left over, otherwise 1.

    With ``stay``, the edge and both PBXs then run on until SIGINT or SIGTERM.
    """
    with tempfile.TemporaryDirectory(prefix="edgesbc-demo-") as folder:
        environment = DemoEnvironment(Path(folder))
        try:
            async with trio.open_nursery() as nursery:
                try:
                    return await _run(plan, stay, console, environment, nursery)
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            await environment.stop()


async def _run(
    plan: ScenarioPlan, stay: bool, console: Console, environment: DemoEnvironment, nursery: trio.Nursery
) -> int:
    began = trio.current_time()
    try:
        _print(console, "starting the edge and two PBXs")
        await environment.start(nursery)
        report = await Scenario(plan, environment, console).run()
        if not stay:
            report = attrs.evolve(report, exit_code=await environment.stop())
    except (DemoError, OSError) as error:
        _print(console, f"the demo could not be played: {error}")
        return 1
    code = print_report(console, report, environment, trio.current_time() - began)
    if stay:
        await _stay(console, environment)
    return code


def print_report(console: Console, report: DemoReport, environment: DemoEnvironment, seconds: float) -> int:
    """Print the report, and each failure as a line. Returns the exit code. ``seconds`` is how long the demo took."""
    print_table(console, report)
    failures = report.failures()
    for failure in failures:
        _print(console, f"failed: {failure}")
    if failures:
        for line in environment.warnings:
            _print(console, f"the edge said: {line}")
    _print(console, f"{'failed' if failures else 'passed'} after {seconds:.0f} s")
    return 1 if failures else 0


async def _stay(console: Console, environment: DemoEnvironment) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        await environment.revive_pbx(KILLED)
        environment.probe(True)
        _print(console, f"metrics: http://{environment.metrics}/metrics")
        for name in ("public-udp", "public-tcp", "public-tls", "public-wss"):
            _print(console, f"{name}: {environment.address(name)}")
        _print(console, f"authority of its certificate: {environment.ca}")
        _print(console, "the edge and both PBXs go on; Ctrl-C ends them")
        async for _ in signals:
            break


def _print(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
