"""The scenario of the demo: calls over every transport, then a flood and the kill of a PBX while a trunk calls."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
import trio
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from edgesbc.base import limits
from edgesbc.base.address import Transport
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import between
from edgesbc.demo.callers import CallGroup, read_result, write_jobs
from edgesbc.demo.children import Child
from edgesbc.demo.environment import DemoEnvironment, DemoError
from edgesbc.demo.metrics_client import MetricsSnapshot
from edgesbc.demo.report import DemoReport, FloodReport
from edgesbc.demo.result import CallResult

__all__ = ["Scenario", "ScenarioPlan"]

_Advance = Callable[[], None]

TRANSPORTS = (Transport.UDP, Transport.TCP, Transport.TLS, Transport.WSS)
CALLER_HOSTS = {
    Transport.UDP: "127.0.0.21", Transport.TCP: "127.0.0.22", Transport.TLS: "127.0.0.23", Transport.WSS: "127.0.0.24",
}  # fmt: skip
CALLER_RATE = 4.0
"""Calls a second of one caller: with three messages each, well below the threshold of an unproven source."""
TRUNK_HOST = "127.0.0.10"
ATTACKER_HOST = "127.0.0.66"
KILLED = 1
GRACE_SECONDS = 60.0
"""Seconds until the edge must have no calls and transactions left: a UDP transaction lasts for 32 s after its last
message, and so does a BYE to an attacker that does not respond."""
GROUP_SECONDS = 45.0
"""Seconds that calls may take after the last was placed: an unanswered INVITE and BYE end in 32 s each."""


@attrs.frozen
class ScenarioPlan:
    """The sizes of a scenario. Raises ``ValueError`` for a value out of bounds."""

    rate: int = attrs.field(default=20_000, validator=between(1, limits.DEMO_FLOOD_RATE))
    """INVITEs a second of the flood."""
    seconds: float = attrs.field(default=10, validator=between(1, limits.DEMO_FLOOD_SECONDS))
    """Seconds of the flood."""
    calls: int = attrs.field(default=10, validator=between(1, 100))
    """Calls over each transport."""
    trunk_rate: float = 20.0
    """Calls a second of the trunk, before, during and after the flood."""
    quiet: float = 4.0
    """Seconds of the trunk's calls before the flood, for comparison."""


class Scenario:
    """One run of the scenario. Raises :class:`DemoError` if it cannot be run."""

    def __init__(self, plan: ScenarioPlan, environment: DemoEnvironment, console: Console) -> None:
        self._plan = plan
        self._environment = environment
        self._console = console
        self._results: dict[str, list[CallResult]] = {}
        self._planned: dict[str, int] = {}
        self._children: list[Child] = []

    async def run(self) -> DemoReport:
        """Run all steps in order."""
        environment = self._environment
        try:
            await self._call_over_every_transport()
            before = await environment.read()
            flood, killed_at, failovers = await self._flood_and_kill()
            screened = (await environment.read()).by("screened_total", "reason") - before.by("screened_total", "reason")
            bans = screened.pop(Reason.BAN.code, 0)
            last = await self._wait_until_idle()
        finally:
            for child in self._children:
                await child.stop()
        return DemoReport(
            planned=self._planned,
            results=self._results,
            flood=flood,
            dropped=screened,
            bans=bans,
            killed=f"pbx-{KILLED}",
            killed_at=killed_at,
            failovers=failovers,
            calls_left=last.total("calls"),
            ports_left=last.total("media_ports"),
            transactions_left=last.total("transactions"),
        )

    # --- steps -------------------------------------------------------------------------------------------

    async def _call_over_every_transport(self) -> None:
        count = self._plan.calls
        groups = [
            self._group(f"{transport}", transport, CALLER_HOSTS[transport], count, CALLER_RATE)
            for transport in TRANSPORTS
        ]
        names = ", ".join(transport.upper() for transport in TRANSPORTS)
        with self._show_progress(f"{count} calls each over {names}", count * len(groups)) as progress:
            await self._place(groups, progress)

    async def _flood_and_kill(self) -> tuple[FloodReport, float, int]:
        plan = self._plan
        seconds = plan.quiet + plan.seconds + 1
        trunk = self._group("trunk", Transport.UDP, TRUNK_HOST, round(plan.trunk_rate * seconds), plan.trunk_rate)
        step = f"a trunk places {plan.trunk_rate:g} calls a second; {plan.rate} INVITEs a second flood the edge for "
        killed_at = 0.0
        failovers_before = (await self._environment.read()).total("decisions_total", reason="failover")
        floods: list[FloodReport] = []
        with self._show_progress(f"{step}{plan.seconds:g} s; one PBX is killed", trunk.count) as progress:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._place, [trunk], progress)
                await trio.sleep(plan.quiet)
                nursery.start_soon(self._attack, floods)
                await trio.sleep(plan.seconds / 2)
                self._environment.kill_pbx(KILLED)
                killed_at = time.monotonic()
        if not floods:
            raise DemoError("the attacker did not say what it sent")
        failovers = (await self._environment.read()).total("decisions_total", reason="failover") - failovers_before
        return floods[0], killed_at, failovers

    async def _attack(self, floods: list[FloodReport]) -> None:
        plan = self._plan
        arguments = ["--edge", str(self._environment.address("public-udp")), "--host", ATTACKER_HOST]
        arguments += ["--rate", str(plan.rate), "--seconds", str(plan.seconds)]
        child = self._child(Child("edgesbc.demo.attacker", arguments))
        with trio.move_on_after(2 * plan.seconds + GROUP_SECONDS):
            line = await child.line()
            if line is not None:
                floods.append(FloodReport(**json.loads(line)))

    async def _wait_until_idle(self) -> MetricsSnapshot:
        """Wait until the edge has no call left. Health checks are off meanwhile, because they are transactions too."""
        self._environment.probe(False)
        with self._show_progress("waiting until nothing is left of any call", None), trio.move_on_after(GRACE_SECONDS):
            while True:
                metrics = await self._environment.read()
                if not any(metrics.total(name) for name in ("calls", "media_ports", "transactions")):
                    break
                await trio.sleep(0.5)
        return await self._environment.read()

    # --- callers -----------------------------------------------------------------------------------------

    def _group(self, name: str, transport: Transport, host: str, count: int, rate: float) -> CallGroup:
        self._planned[name] = count
        self._results[name] = []
        edge = str(self._environment.address(f"public-{transport}"))
        return CallGroup(name, transport, edge, host, self._environment.ca if transport.secure else "", count, rate)

    async def _place(self, groups: list[CallGroup], progress: _Advance) -> None:
        """Place the calls in a process of their own, and collect its results."""
        child = self._child(Child("edgesbc.demo.callers", job=write_jobs(groups)))
        with trio.move_on_after(max(group.count / group.rate for group in groups) + GROUP_SECONDS):
            while (line := await child.line()) is not None:
                name, result = read_result(line)
                self._results[name].append(result)
                progress()

    def _child(self, child: Child) -> Child:
        self._children.append(child)
        return child

    # --- progress ----------------------------------------------------------------------------------------

    @contextmanager
    def _show_progress(self, step: str, total: int | None) -> Iterator[_Advance]:
        """Show the current step: a bar on a terminal, a line elsewhere. Yields a function to call for each unit of
        it."""
        if not self._console.is_terminal:
            self._console.print(step, markup=False, highlight=False, soft_wrap=True)
            yield lambda: None
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn())
        with Progress(*columns, console=self._console, redirect_stdout=False, redirect_stderr=False) as progress:
            task = progress.add_task(step, total=total)
            yield lambda: progress.advance(task)
            if total is None:
                progress.update(task, total=1, completed=1)
