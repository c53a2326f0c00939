"""The media plane: the table of sessions and the relay, run by trio."""

from __future__ import annotations

import math
import random as random_module
from collections.abc import Callable, Iterable, Mapping, Sequence

import trio

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.base.counts import Counts
from edgesbc.media.commands import MediaCommand, MediaError, MediaReply, MediaSilence, MediaTimeout
from edgesbc.media.latch import build_interfaces
from edgesbc.media.relay import Relay
from edgesbc.media.session_table import SessionTable
from edgesbc.media.side_activity import OneWay
from edgesbc.tasks.containment import Containment

__all__ = ["MediaPlane"]

_UNGUESSABLE = random_module.SystemRandom().random


class MediaPlane:
    """Relays media for the sessions that commands describe.

    ``addresses`` are the literal addresses to bind, one or one of each family for each zone; ``ports`` the first and
    last port of the range, used on each of them; ``advertise`` the addresses that descriptions show to peers where they
    differ;
    ``denied`` prefixes that descriptions from the public zone may not name, and ``inside`` says of an address whether
    it is of the private side, which they may not name either. ``media_timeout`` and ``hold_timeout`` are in seconds.
    ``one_way`` says what happens where one side has sent nothing for ``media_timeout``, or no RTP for
    ``one_way_timeout``. A session beyond ``max_sessions`` is refused. There are descriptors for ``max_streams`` media
    sections. ``on_event`` is called in the plane's own task and must not block. ``containment`` counts and reports
    internal errors. ``clock`` gives seconds on a monotonic clock, ``random`` floats in [0, 1). Raises
    :class:`ValueError` for addresses or ports that cannot be used.
    """

    def __init__(
        self,
        addresses: Mapping[Zone, str | Sequence[str]],
        ports: tuple[int, int],
        on_event: Callable[[MediaTimeout | MediaSilence], None] | None = None,
        *,
        containment: Containment,
        advertise: Mapping[Zone, str] | None = None,
        denied: Iterable[str] = (),
        inside: Callable[[str], bool] | None = None,
        media_timeout: float = 60.0,
        hold_timeout: float = limits.MEDIA_HOLD_SECONDS,
        one_way: OneWay = OneWay.OFF,
        one_way_timeout: float = limits.ONE_WAY_SECONDS,
        max_streams: int | None = None,
        max_sessions: int = limits.MEDIA_SESSIONS,
        clock: Callable[[], float] = trio.current_time,
        random: Callable[[], float] = _UNGUESSABLE,
    ) -> None:
        interfaces = build_interfaces(addresses, ports, advertise, denied, inside)
        self._containment = containment
        self._relay = Relay(interfaces, clock, random, containment.fault)
        self._table = SessionTable(
            self._relay, interfaces, media_timeout, max_sessions, hold_timeout, max_streams, one_way, one_way_timeout
        )
        self._clock = clock
        self._on_event = on_event
        self._wake_at = -math.inf
        self._wake_sooner = trio.Event()

    @property
    def sessions(self) -> int:
        """Number of live sessions."""
        return len(self._table)

    @property
    def ports_in_use(self) -> int:
        """Number of open ports, RTP and RTCP."""
        return self._relay.ports_in_use

    @property
    def packets(self) -> int:
        """Packets received from peers since the start."""
        return self._relay.packets

    @property
    def counts(self) -> Counts:
        """Packets not relayed, by reason."""
        return self._relay.drops

    def carry_out(self, command: MediaCommand) -> MediaReply | MediaError | None:
        """Carry out one command at once; see :meth:`SessionTable.receive`."""
        reply = self._table.receive(command, self._clock())
        deadline = self._table.deadline()
        if deadline is not None and deadline < self._wake_at:
            self._wake_sooner.set()
        return reply

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Relay and end silent sessions until cancelled; then every session and port is closed."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._containment.keep_running, "media relay", self._relay.run)
                nursery.start_soon(self._containment.keep_running, "media timer", self._expire)
                task_status.started()
        finally:
            self._table.close()
            self._relay.close()

    async def _expire(self) -> None:
        while True:
            deadline = self._table.deadline()
            self._wake_at = math.inf if deadline is None else deadline
            self._wake_sooner = trio.Event()
            with trio.move_on_after(max(0.0, self._wake_at - self._clock())):
                await self._wake_sooner.wait()
            for event in self._table.expire(self._clock()):
                if self._on_event is not None:
                    with self._containment.contain("media timer"):
                        self._on_event(event)
