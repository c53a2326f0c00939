"""The environment of the demo: the edge and two PBXs, each a process, on free ports of loopback."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path

import trio

from edgesbc.base.address import Source, split_host_port
from edgesbc.demo.children import Child
from edgesbc.demo.demo_policy import write_policy
from edgesbc.demo.metrics_client import MetricsSnapshot, fetch_metrics
from edgesbc.policy.certificates import make_development_certificates

__all__ = ["DemoEnvironment", "DemoError"]

START_SECONDS = 20.0
PBX_HOSTS = ("127.0.0.11", "127.0.0.12")


class DemoError(Exception):
    """A process of the demo has failed; the message has its name and its last output."""


class DemoEnvironment:
    """The edge and the PBXs. The policy, the certificates and the edge's state are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pbxs: list[Child] = []
        self._members: list[Source] = []
        self._edge: Child | None = None
        self._addresses: dict[str, Source] = {}
        self.warnings: deque[str] = deque(maxlen=20)
        """The last log lines of the edge."""

    @property
    def ca(self) -> str:
        return str(self._folder / "certs" / "ca.pem")

    @property
    def metrics(self) -> Source:
        return self._addresses["metrics"]

    def address(self, listener: str) -> Source:
        """The address of the edge's listener with that name."""
        return self._addresses[listener]

    # --- starting ----------------------------------------------------------------------------------------

    async def start(self, nursery: trio.Nursery) -> None:
        """Start all processes; a task in ``nursery`` reads the edge's log. Raises :class:`DemoError`."""
        make_development_certificates(self._folder / "certs")
        with trio.move_on_after(START_SECONDS) as waiting:
            for host in PBX_HOSTS:
                child, address = await self._start_pbx(len(self._pbxs) + 1, host)
                self._pbxs.append(child)
                self._members.append(address)
            await self._start_edge(nursery)
            await self._until_ready()
        if waiting.cancelled_caught:
            raise DemoError(f"the edge did not start in {START_SECONDS:g} s; it said: {' / '.join(self.warnings)}")

    async def _start_pbx(self, number: int, host: str, port: int = 0) -> tuple[Child, Source]:
        arguments = ["--name", f"pbx-{number}", "--host", host, "--port", str(port)]
        child = Child("edgesbc.demo.pbx", arguments)
        try:
            line = await child.line()
            if line is None:
                raise DemoError(f"PBX {number} did not start")
            return child, Source(host, int(json.loads(line)["port"]))
        except BaseException:
            child.kill()
            raise

    async def _start_edge(self, nursery: trio.Nursery) -> None:
        policy = self._write_policy()
        edge = self._edge = Child("edgesbc", ["run", str(policy), "--log-format", "json"], read_stderr=True)
        while "inside" not in self._addresses:
            line = await edge.line()
            if line is None:
                raise DemoError(f"the edge did not start: {' / '.join(edge.last)}")
            self._note(line)
        nursery.start_soon(self._read_log, edge)

    def _write_policy(self, probe: bool = True) -> Path:
        path = self._folder / "demo.toml"
        write_policy(path, self._members, self._folder / "state", self._folder / "certs", probe)
        return path

    def _note(self, line: str) -> None:
        self.warnings.append(line)
        try:
            event = json.loads(line)
        except ValueError:
            return
        if event.get("event") == "listening":
            self._addresses[event["listener"]] = split_host_port(event["address"])
        elif event.get("event") == "metrics":
            self._addresses["metrics"] = split_host_port(event["address"])

    async def _read_log(self, edge: Child) -> None:
        while (line := await edge.line()) is not None:
            self._note(line)

    async def _until_ready(self) -> None:
        """Wait until the metrics show that both PBXs are up."""
        while (await self.read()).total("destination_up") < len(self._pbxs):  # noqa: ASYNC110 - another process
            await trio.sleep(0.1)

    # --- while it runs -----------------------------------------------------------------------------------

    async def read(self) -> MetricsSnapshot:
        return await fetch_metrics(self.metrics)

    def kill_pbx(self, number: int) -> None:
        """Send SIGKILL to PBX ``number``, counted from 1: it ends none of its calls."""
        self._pbxs[number - 1].kill()

    async def revive_pbx(self, number: int) -> None:
        """Start PBX ``number`` again at the same address."""
        host, port = self._members[number - 1]
        self._pbxs[number - 1], _ = await self._start_pbx(number, host, port)

    def probe(self, on: bool) -> None:
        """Turn the edge's health checks on or off, by a reload of its policy."""
        self._write_policy(on)
        if self._edge is not None:
            self._edge.reload()

    async def stop(self) -> int:
        """Stop all processes in order. Returns the edge's exit code."""
        code = await self._edge.stop() if self._edge is not None else 0
        for child in self._pbxs:
            await child.stop()
        return code
