"""The link between the supervisor and a process that it has started: small JSON objects, one in each packet."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import trio

from edgesbc.control.lifecycle import ProcessStatus
from edgesbc.processes.packet_link import PacketLink

__all__ = ["JsonLink", "SupervisorLink"]


class JsonLink:
    """Sends and receives JSON objects. ``receive`` gets each one that comes; anything else is ignored."""

    def __init__(self, sock: socket.socket, receive: Callable[[dict[str, Any]], None]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._link = PacketLink(sock)
        self._take = receive

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
    """A process's link to its supervisor, which tells it of all processes, and what to do."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, self._learn)
        self._processes: list[dict[str, Any]] = []
        self.ended = trio.Event()
        """Set when the process has to end: the supervisor has told it to, or is gone."""
        self.on_order: Callable[[str], None] = lambda order: None
        """Called with each other order: ``drain`` or ``reload``."""
        self.http_port = 0
        """Where the observing process serves HTTP; 0: nowhere, or not yet."""

    async def run(self) -> None:
        """Receive until the supervisor is gone."""
        await super().run()
        self.ended.set()

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
