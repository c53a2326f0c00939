"""The observing process: metrics, health and decisions over HTTP, from the other processes of the edge."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import trio
from prometheus_client import ProcessCollector

from edgesbc.base import limits
from edgesbc.base.address import host_port, split_host_port
from edgesbc.base.state_sockets import CONTROL_SOCKET, MEDIA_CONTROL_SOCKET
from edgesbc.control.client import NoAnswer, ask
from edgesbc.control.lifecycle import ProcessStatus
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.observe import logs
from edgesbc.observe.http import HttpSources, serve_http
from edgesbc.observe.metric_rows import MetricRows, merged, rendered, rows_of
from edgesbc.processes.child_arguments import ChildArguments
from edgesbc.processes.child_process import child_main, logged_containment
from edgesbc.processes.supervisor_link import SupervisorLink

__all__ = ["Observed", "run_observing"]


class Observed:
    """Asks the other processes by the control sockets in ``state_dir``. ``supervisor`` knows which processes there
    are."""

    def __init__(self, state_dir: Path, supervisor: SupervisorLink) -> None:
        self._state_dir = state_dir
        self._supervisor = supervisor

    async def render(self) -> bytes:
        """The metrics of every process that answers, in the Prometheus text format."""
        parts = [
            await self._rows(CONTROL_SOCKET),
            await self._rows(MEDIA_CONTROL_SOCKET),
            *process_rows(self._supervisor.processes()),
        ]
        return rendered(merged(parts))

    async def not_ready(self) -> Mapping[str, str]:
        """Why the edge takes no new calls."""
        try:
            status = await self._ask(CONTROL_SOCKET, ControlRequest("status"))
        except (NoAnswer, CommandRefused) as error:
            return {"signalling": str(error)}
        reasons: Mapping[str, str] = status["not_ready"]
        return reasons

    async def why(self, key: str) -> Mapping[str, Any]:
        """Decisions about a Call-ID or an address; none while signalling is away."""
        try:
            answer: Mapping[str, Any] = await self._ask(CONTROL_SOCKET, ControlRequest("why", {"of": key}))
        except (NoAnswer, CommandRefused) as error:
            return {"error": str(error)}
        return answer

    async def _rows(self, name: str) -> MetricRows:
        try:
            rows: MetricRows = await self._ask(name, ControlRequest("metrics"))
        except (NoAnswer, CommandRefused):
            return []
        return rows

    async def _ask(self, name: str, request: ControlRequest) -> Any:
        return await trio.to_thread.run_sync(ask, self._state_dir / name, request, abandon_on_cancel=True)


def process_rows(processes: list[ProcessStatus]) -> list[MetricRows]:
    """The metrics of the processes themselves, with the label ``process``."""
    up = [["edgesbc_process_up", {"process": one["name"]}, float(one["state"] == "running")] for one in processes]
    restarts = [
        ["edgesbc_process_restarts_total", {"process": one["name"]}, float(one["restarts"])] for one in processes
    ]
    parts: list[MetricRows] = [
        [
            ["edgesbc_process_up", "1 while a process of the edge runs.", "gauge", up],
            ["edgesbc_process_restarts", "How often a process was started again.", "counter", restarts],
        ]
    ]
    for one in processes:
        if one["pid"]:
            # Of a process that has just ended there are none.
            rows = rows_of(ProcessCollector(pid=partial(int, one["pid"]), registry=None))
            for row in rows:
                for sample in row[3]:
                    sample[1]["process"] = one["name"]
            parts.append(rows)
    return parts


async def run_observing(arguments: ChildArguments, supervisor: SupervisorLink) -> int:
    """Serve HTTP until the supervisor ends it, or is gone."""
    log = logs.lifecycle("observe")
    containment = logged_containment("observe")
    observed = Observed(Path(arguments.state_dir), supervisor)
    async with trio.open_nursery() as nursery:
        sources = HttpSources(observed.render, observed.not_ready, observed.why, limits.OBSERVE_PAUSE_SECONDS)
        port = await nursery.start(serve_http, arguments.http, sources, containment, nursery)
        log.info("metrics", address=host_port(split_host_port(arguments.http).host, port))
        nursery.start_soon(containment.keep_running, "supervisor link", supervisor.run)
        supervisor.tell(ready=True, http_port=port)
        await supervisor.ended.wait()
        nursery.cancel_scope.cancel()
    return 0


if __name__ == "__main__":
    sys.exit(child_main("observe", run_observing, sys.argv))
