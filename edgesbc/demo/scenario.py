"""The demo's sequence: calls over every transport, a flood, a kill, and what is left after it. Prints no table."""

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
"""Calls a second of one caller: three messages each, which keeps well under what a stranger may send."""
TRUNK_HOST = "127.0.0.10"
ATTACKER_HOST = "127.0.0.66"
KILLED = 1
GRACE_SECONDS = 60.0
"""How long the edge has for forgetting all: UDP transactions live for 32 s after the last message, and a BYE to
an attacker who never answers it as well."""
GROUP_SECONDS = 45.0
"""How long calls may take beyond the time in which they are placed: an unanswered INVITE and BYE end in 32 s each."""


@attrs.frozen
class ScenarioPlan:
    """How much of everything. Raises ``ValueError`` for what is out of bounds."""

    rate: int = attrs.field(default=20_000, validator=between(1, limits.DEMO_FLOOD_RATE))
    """INVITEs a second of the flood."""
    seconds: float = attrs.field(default=10, validator=between(1, limits.DEMO_FLOOD_SECONDS))
    """How long it lasts."""
    calls: int = attrs.field(default=10, validator=between(1, 100))
    """Calls over each transport."""
    trunk_rate: float = 20.0
    """Calls a second of the trunk, before, during and after the flood."""
    quiet: float = 4.0
    """Seconds of the trunk's calls before the flood, to compare with."""


class Scenario:
    """One run. Raises :class:`DemoError` where it cannot be played."""

    def __init__(self, plan: ScenarioPlan, house: DemoEnvironment, console: Console) -> None:
        self._plan = plan
        self._house = house
        self._console = console
        self._results: dict[str, list[CallResult]] = {}
        self._planned: dict[str, int] = {}
        self._children: list[Child] = []

    async def play(self) -> DemoReport:
        """All of it, in order."""
        house = self._house
        try:
            await self._call_over_every_transport()
            before = await house.read()
            flood, killed_at, failovers = await self._flood_and_kill()
            screened = (await house.read()).by("screened_total", "reason") - before.by("screened_total", "reason")
            bans = screened.pop(Reason.BAN.code, 0)
            last = await self._until_nothing_is_left()
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

    # --- the acts ----------------------------------------------------------------------------------------

    async def _call_over_every_transport(self) -> None:
        count = self._plan.calls
        groups = [
            self._group(f"{transport}", transport, CALLER_HOSTS[transport], count, CALLER_RATE)
            for transport in TRANSPORTS
        ]
        names = ", ".join(transport.upper() for transport in TRANSPORTS)
        with self._telling(f"{count} calls each over {names}", count * len(groups)) as progress:
            await self._place(groups, progress)

    async def _flood_and_kill(self) -> tuple[FloodReport, float, int]:
        plan = self._plan
        seconds = plan.quiet + plan.seconds + 1
        trunk = self._group("trunk", Transport.UDP, TRUNK_HOST, round(plan.trunk_rate * seconds), plan.trunk_rate)
        what = f"a trunk places {plan.trunk_rate:g} calls a second; {plan.rate} INVITEs a second flood the edge for "
        killed_at = 0.0
        failovers_before = (await self._house.read()).total("decisions_total", reason="failover")
        floods: list[FloodReport] = []
        with self._telling(f"{what}{plan.seconds:g} s; one PBX is killed", trunk.count) as progress:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._place, [trunk], progress)
                await trio.sleep(plan.quiet)
                nursery.start_soon(self._attack, floods)
                await trio.sleep(plan.seconds / 2)
                self._house.kill_pbx(KILLED)
                killed_at = time.monotonic()
        if not floods:
            raise DemoError("the attacker did not say what it sent")
        failovers = (await self._house.read()).total("decisions_total", reason="failover") - failovers_before
        return floods[0], killed_at, failovers

    async def _attack(self, floods: list[FloodReport]) -> None:
        plan = self._plan
        arguments = ["--edge", str(self._house.address("public-udp")), "--host", ATTACKER_HOST]
        arguments += ["--rate", str(plan.rate), "--seconds", str(plan.seconds)]
        child = self._child(Child("edgesbc.demo.attacker", arguments))
        with trio.move_on_after(2 * plan.seconds + GROUP_SECONDS):
            line = await child.line()
            if line is not None:
                floods.append(FloodReport(**json.loads(line)))

    async def _until_nothing_is_left(self) -> MetricsSnapshot:
        """Wait until the edge has forgotten every call; health checks rest, since they are transactions too."""
        self._house.probe(False)
        with self._telling("waiting until nothing is left of any call", None), trio.move_on_after(GRACE_SECONDS):
            while True:
                reading = await self._house.read()
                if not any(reading.total(name) for name in ("calls", "media_ports", "transactions")):
                    break
                await trio.sleep(0.5)
        return await self._house.read()

    # --- callers -----------------------------------------------------------------------------------------

    def _group(self, name: str, transport: Transport, host: str, count: int, rate: float) -> CallGroup:
        self._planned[name] = count
        self._results[name] = []
        edge = str(self._house.address(f"public-{transport}"))
        return CallGroup(name, transport, edge, host, self._house.ca if transport.secure else "", count, rate)

    async def _place(self, groups: list[CallGroup], progress: _Advance) -> None:
        """Have a process of its own place the calls, and take its results as they come."""
        child = self._child(Child("edgesbc.demo.callers", job=write_jobs(groups)))
        with trio.move_on_after(max(group.count / group.rate for group in groups) + GROUP_SECONDS):
            while (line := await child.line()) is not None:
                name, result = read_result(line)
                self._results[name].append(result)
                progress()

    def _child(self, child: Child) -> Child:
        self._children.append(child)
        return child

    # --- telling -----------------------------------------------------------------------------------------

    @contextmanager
    def _telling(self, what: str, total: int | None) -> Iterator[_Advance]:
        """Say what is being done: a bar on a terminal, a line elsewhere. Yields what to call for each step."""
        if not self._console.is_terminal:
            self._console.print(what, markup=False, highlight=False, soft_wrap=True)
            yield lambda: None
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn())
        with Progress(*columns, console=self._console, redirect_stdout=False, redirect_stderr=False) as progress:
            task = progress.add_task(what, total=total)
            yield lambda: progress.advance(task)
            if total is None:
                progress.update(task, total=1, completed=1)
