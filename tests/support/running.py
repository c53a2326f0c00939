"""A running edge for tests: in the test's own process on free ports, or as `edgesbc run` in one of its own."""

from __future__ import annotations

import http.client
import json
import math
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from support.namespaces import inside, run_in

from bench.ports import free_port
from edgesbc.app import App
from edgesbc.base.address import Source
from edgesbc.policy.load import load_policy

__all__ = [
    "CORE_UDP", "PATIENCE", "PUBLIC_TCP", "PUBLIC_UDP", "EdgeProcess", "at", "edge_process", "end", "free_port",
    "listen", "nothing_left", "policy_text", "running", "until",
]  # fmt: skip

PATIENCE = 60.0
"""Seconds to wait until a process or an edge has started or stopped. Long, since nothing is measured by it."""


def listen(zone: str, transport: str, bind: str, name: str, more: str = "") -> str:
    """A listener as an inline table of TOML; ``more`` are further keys, with a comma before them."""
    return f'{{ zone = "{zone}", transport = "{transport}", bind = "{bind}", name = "{name}"{more} }}'


PUBLIC_UDP = listen("public", "udp", "127.0.0.1:0", "public-udp")
PUBLIC_TCP = listen("public", "tcp", "127.0.0.1:0", "public-tcp")
CORE_UDP = listen("core", "udp", "127.0.0.2:0", "core-udp")


def policy_text(
    folder: Path,
    members: Iterable[str],
    listeners: Iterable[str] = (PUBLIC_UDP, PUBLIC_TCP, CORE_UDP),
    *,
    trunks: Iterable[str] = (),
    http: str = "127.0.0.1:0",
    edge: str = "",
    health: str = "interval = 0",
    routes: str = "",
    more: str = "",
    open: Iterable[str] = (),
    more_sets: str = "",
    trunk_keys: str = "",
    ports: str = "20000-29998",
    media: str = "",
    planes: str = "tasks",
) -> str:
    """A policy as TOML. ``members`` are URIs, tried in this order.

    At the listeners that ``open`` names, unknown sources may call. ``trunks`` are addresses, ``http`` is the address of
    the HTTP server. ``edge`` and ``health`` are further keys of these tables, ``trunk_keys`` of each trunk; ``ports``
    are those of media, ``media`` further keys of its table; ``planes`` is the default of an edge where it is "", and
    otherwise one process, which starts sooner than several. ``routes``, ``more_sets`` and ``more`` are further tables.
    """
    member_tables = ", ".join(f'{{ uri = "{uri}", priority = {n} }}' for n, uri in enumerate(members))
    trunk_tables = ", ".join(
        f'{{ name = "t{n}", addresses = ["{host}"]{trunk_keys} }}' for n, host in enumerate(trunks)
    )
    return f"""
listen = [{", ".join(listeners)}]
trunk = [{trunk_tables}]
destinations = [{{ set = "pbx", members = [{member_tables}], health = {{ {health} }} }}{more_sets}]
{routes}
[screen.admission]
open = {json.dumps(list(open))}
[edge]
state_dir = "{folder / "state"}"
{f'planes = "{planes}"' if planes else ""}
{edge}
[observe]
http = "{http}"
log = "warning"
[media]
ports = "{ports}"  # below the ephemeral ports, where the tests' own sockets are
{media}
{more}
"""


@asynccontextmanager
async def running(folder: Path, text: str) -> AsyncIterator[App]:
    """An edge in this process, with the policy ``text``."""
    file = folder / "policy.toml"
    file.write_text(text)
    app = App(load_policy(file))
    async with trio.open_nursery() as nursery:
        await nursery.start(app.run)
        yield app
        nursery.cancel_scope.cancel()


def at(app: App, name: str) -> Source:
    """The address of the listener of that name."""
    for listener in app.edge.listeners:
        if listener.name == name:
            return Source(listener.host, listener.port)
    raise LookupError(name)


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until ``condition()`` is True, or is True when awaited. Fails after :data:`PATIENCE` seconds."""
    with trio.fail_after(PATIENCE):
        while True:
            result = condition()
            if result if isinstance(result, bool) else await result:
                return
            await trio.sleep(0.02)


async def nothing_left(app: App) -> None:
    """Wait until no call is left; then no lease, media session or media port is left either."""
    await until(lambda: not app.edge.calls)
    assert app.edge.dispatcher.leases == 0
    assert app.media is None or (app.media.sessions, app.media.ports_in_use) == (0, 0)


class EdgeProcess:
    """``edgesbc run`` in a process; ``file`` is its policy, ``http`` the port of its HTTP server."""

    def __init__(self, file: Path, http: int, process: trio.Process, namespace: str = "") -> None:
        self.file = file
        self.http = http
        self.process = process
        self._namespace = namespace

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def get(self, path: str) -> tuple[int, str]:
        return await trio.to_thread.run_sync(inside, self._namespace, partial(_get, self.http, path))

    async def metric(self, name: str) -> float:
        """The sum of the series of a metric, ``name`` or ``name{label="value"}``, that have these labels."""
        _, text = await self.get("/metrics")
        name, _, label = name.rstrip("}").partition("{")
        values = re.findall(rf"^{name}(?:{{[^}}]*{re.escape(label)}[^}}]*}})? ([0-9.e+]+)$", text, re.MULTILINE)
        assert f"# HELP {name} " in text, f"no metric {name} in:\n{text}"
        return sum(map(float, values))

    async def comes_to(self, name: str, low: float, high: float = math.inf) -> None:
        """Wait until the metric is between ``low`` and ``high``."""

        async def within() -> bool:
            return low <= await self.metric(name) <= high

        await until(within)

    async def ready(self) -> bool:
        status, text = await self.get("/readyz")
        return status == 200 and bool(json.loads(text)["ready"])

    async def unready(self) -> bool:
        return not await self.ready()

    async def ended(self) -> int:
        """Wait for its end. Returns the exit code."""
        with trio.fail_after(PATIENCE):
            return await self.process.wait()


def _get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@asynccontextmanager
async def edge_process(
    folder: Path,
    text: str,
    http: int,
    *options: str,
    program: Sequence[str] = (sys.executable, "-m", "edgesbc"),
    stderr: int = subprocess.STDOUT,
    namespace: str = "",
) -> AsyncIterator[EdgeProcess]:
    """Run ``text`` until the end of the block, its log at the end of ``edge.log``; stopped by its own process id.

    ``program`` runs the command line. ``stderr`` is a descriptor to log to in the place of ``edge.log``. ``namespace``
    is the network namespace to run in.
    """
    file = folder / "policy.toml"
    file.write_text(text)
    log = folder / "edge.log"
    with log.open("ab") as stream:
        command = [*run_in(namespace), *program, "run", str(file), *options]
        process = await trio.lowlevel.open_process(command, stdout=stream, stderr=stderr)
    edge = EdgeProcess(file, http, process, namespace)
    try:
        with trio.fail_after(PATIENCE):
            while not await _answers(edge):
                assert process.poll() is None, log.read_text()
                await trio.sleep(0.05)
        yield edge
    finally:
        await end(process)


async def _answers(edge: EdgeProcess) -> bool:
    try:
        # The HTTP server may be another process, which answers before signalling runs.
        return (await edge.get("/healthz"))[0] == 200 and "edgesbc_info{" in (await edge.get("/metrics"))[1]
    except (OSError, http.client.HTTPException):
        return False


async def end(process: trio.Process, seconds: float = 5.0) -> None:
    """End a process that the test started: SIGTERM, a second one if it runs on for ``seconds``, and SIGKILL if it still
    does. The processes of an edge end with the second, and go on for a while after a SIGKILL."""
    if process.poll() is not None:
        return
    with trio.CancelScope(shield=True):
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            with trio.move_on_after(seconds):
                await process.wait()
                return
        process.kill()
        await process.wait()
