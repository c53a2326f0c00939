"""The link between the supervisor and a process that it has started: small JSON objects, one in each packet."""

from __future__ import annotations

import json
import math
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import trio

from edgesbc.base import limits
from edgesbc.control.lifecycle import ProcessStatus
from edgesbc.processes.child_arguments import ChildArguments
from edgesbc.processes.packet_link import PacketLink
from edgesbc.processes.succession import next_supervisor

__all__ = ["JsonLink", "SupervisorLink"]


class JsonLink:
    """Sends and receives JSON objects. ``receive`` gets each one that comes; anything else is ignored."""

    def __init__(self, sock: socket.socket, receive: Callable[[dict[str, Any]], None]) -> None:
        self._take = receive
        self._attach(sock)

    def _attach(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._link = PacketLink(sock)

    def tell(self, **values: Any) -> None:
        """Send one object. Raises nothing if the other end is gone."""
        self._link.send(json.dumps(values, allow_nan=False).encode("ascii"))

    async def run(self) -> None:
        """Receive until the other end is gone."""
        await self._link.run(self._receive)

    def close(self) -> None:
        self._sock.close()

    def _receive(self, data: bytes) -> None:
        try:
            value = json.loads(data)
        except ValueError:
            return
        if isinstance(value, dict):
            self._take(value)


class SupervisorLink(JsonLink):
    """A process's link to its supervisor, which tells it of all processes, and what to do.

    When the supervisor is gone, the process goes on for ``limits.SUPERVISOR_AWAY_SECONDS``, and with the next one if
    there is one by then.
    """

    def __init__(self, sock: socket.socket, name: str, arguments: ChildArguments) -> None:
        super().__init__(sock, self._learn)
        self._name = name
        self._arguments = arguments
        self._terminated = -math.inf
        """When SIGTERM came."""
        self._told: dict[str, Any] = {}
        """What the supervisor was told, for the next one."""
        self._processes: list[dict[str, Any]] = []
        self.ended = trio.Event()
        """Set when the process has to end: the supervisor has told it to, or is gone."""
        self.on_order: Callable[[str], None] = lambda order: None
        """Called with each other order: ``drain`` or ``reload``."""
        self.http_port = 0
        """Where the observing process serves HTTP; 0: nowhere, or not yet."""

    def tell(self, **values: Any) -> None:
        """Tell the supervisor, and the next one too."""
        self._told |= values
        super().tell(**values)

    async def run(self) -> None:
        """Receive until the process has to end, from one supervisor after the other."""
        while True:
            await super().run()
            if self.ended.is_set():
                return
            sock = await self._next_supervisor()
            if sock is None:
                self.ended.set()
                return
            self.close()
            self._attach(sock)
            super().tell(**self._told)

    async def _next_supervisor(self) -> socket.socket | None:
        """The link to the next supervisor, if there is one in time. Until then SIGTERM is for this process."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if time.monotonic() - self._terminated < limits.SUPERVISOR_SIGNAL_SECONDS:
            return None
        sock = await next_supervisor(self._name, self._arguments, self._processes)
        signal.signal(signal.SIGTERM, self.receive_sigterm)
        return sock

    def receive_sigterm(self, number: int, frame: object) -> None:
        """SIGTERM has come: it is for the supervisor, which gives orders, as long as there is one."""
        self._terminated = time.monotonic()

    def _learn(self, told: dict[str, Any]) -> None:
        order = told.get("order")
        if order == "end":
            self.ended.set()
            return
        if order is not None:
            self.on_order(order)
            return
        self._processes = told["processes"]
        self.http_port = told["http_port"]

    def processes(self) -> list[ProcessStatus]:
        """Every process of the edge, as it is now."""
        return statuses(self._processes)


def statuses(rows: list[dict[str, Any]]) -> list[ProcessStatus]:
    """The status of processes of which ``began`` says when the present state began (``time.monotonic``, which is the
    same clock in every process)."""
    now = time.monotonic()
    return [
        {
            "name": row["name"], "pid": row["pid"], "state": row["state"],
            "since": round(now - row["began"], 3), "restarts": row["restarts"],
        }
        for row in rows
    ]  # fmt: skip
