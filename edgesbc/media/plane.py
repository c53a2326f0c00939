"""The media plane: the table of calls and the relay in one trio shell. Speaks NG commands as values only."""

from __future__ import annotations

import math
import random as random_module
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import trio

from edgesbc.base.counts import Counts
from edgesbc.media.latch import build_interfaces
from edgesbc.media.relay import Relay
from edgesbc.media.session_table import SessionTable

__all__ = ["MediaPlane"]

_UNGUESSABLE = random_module.SystemRandom().random


class MediaPlane:
    """Relays media for calls that NG commands describe.

    ``addresses`` are the literal addresses to bind, by interface name (``public``, ``core``); ``ports`` the
    first and last port of the range, used on each of them; ``advertise`` the addresses told to peers where they
    differ; ``denied`` prefixes that descriptions from untrusted interfaces may not name.
    ``media_timeout`` is in seconds. ``on_event`` is called in the plane's own task with
    ``{"event": "timeout", "call-id": ..., "tags": [...]}``; it must not block. Raises ``ValueError`` for
    addresses or ports that cannot be used.
    """

    def __init__(
        self,
        addresses: Mapping[str, str],
        ports: tuple[int, int],
        on_event: Callable[[dict[str, Any]], None] | None = None,
        *,
        advertise: Mapping[str, str] | None = None,
        denied: Iterable[str] = (),
        media_timeout: float = 60.0,
        clock: Callable[[], float] = trio.current_time,
        random: Callable[[], float] = _UNGUESSABLE,
    ) -> None:
        interfaces = build_interfaces(addresses, ports, advertise, denied)
        self._relay = Relay(interfaces, clock, random)
        self._table = SessionTable(self._relay, interfaces, media_timeout)
        self._clock = clock
        self._on_event = on_event
        self._wake_at = -math.inf
        self._sooner = trio.Event()

    @property
    def sessions(self) -> int:
        """Live calls."""
        return len(self._table)

    @property
    def ports_in_use(self) -> int:
        """Open ports, RTP and RTCP."""
        return self._relay.ports_in_use

    @property
    def packets(self) -> int:
        """Packets received from peers since the start."""
        return self._relay.packets

    @property
    def counts(self) -> Counts:
        """Packets not relayed, by reason."""
        return self._relay.drops

    def command(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one NG command at once; see :meth:`SessionTable.command`."""
        reply = self._table.command(command, self._clock())
        deadline = self._table.deadline()
        if deadline is not None and deadline < self._wake_at:
            self._sooner.set()
        return reply

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Relay and watch for silent calls until cancelled; then every call and port is closed."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._relay.run)
                nursery.start_soon(self._expire)
                task_status.started()
        finally:
            self._table.close()
            self._relay.close()

    async def _expire(self) -> None:
        while True:
            deadline = self._table.deadline()
            self._wake_at = math.inf if deadline is None else deadline
            self._sooner = trio.Event()
            with trio.move_on_after(max(0.0, self._wake_at - self._clock())):
                await self._sooner.wait()
            for event in self._table.expire(self._clock()):
                if self._on_event is not None:
                    self._on_event(event)
