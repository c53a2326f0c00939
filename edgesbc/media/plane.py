"""The media plane: the table of sessions and the relay, run by trio."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import trio

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.base.counts import Counts
from edgesbc.kernel_relay.flow_map import FlowMap, RelayMaps
from edgesbc.kernel_relay.routes import RouteReader, RouteWatch
from edgesbc.media.commands import MediaCommand, MediaError, MediaReply, MediaSilence, MediaTimeout
from edgesbc.media.kernel_path import KernelPath
from edgesbc.media.latch import MediaInterface, build_interfaces
from edgesbc.media.quality import QualityHistograms
from edgesbc.media.relay import Relay, RelayPorts, relay_capacity
from edgesbc.media.relay_process import RelayProcess
from edgesbc.media.relay_thread import RelayThread
from edgesbc.media.session import MediaSession
from edgesbc.media.session_table import SessionTable
from edgesbc.media.side_activity import OneWay
from edgesbc.tasks.containment import Containment
from edgesbc.tasks.random_bytes import RandomBytes

__all__ = ["MediaPlane"]


class MediaPlane:
    """Relays media for the sessions that commands describe.

    ``addresses`` are the literal addresses to bind, one or one of each family for each zone; ``ports`` the first and
    last port of the range, used on each of them; ``advertise`` the addresses that descriptions show to peers in place
    of those of the same family, where they differ;
    ``denied`` prefixes that descriptions from the public zone may not name, and ``inside`` says of an address whether
    it is of the private side, which they may not name either. ``media_timeout`` and ``hold_timeout`` are in seconds.
    ``relays`` processes relay packets, or, with 0, a thread.
    ``one_way`` says what happens where one side has sent nothing for ``media_timeout``, or no RTP for
    ``one_way_timeout``. Datagrams of ``opaque_profiles`` are relayed as they come. A session beyond
    ``max_sessions`` is refused. There are descriptors for ``max_streams`` media
    sections. ``on_event`` is called in the plane's own task and must not block. ``containment`` counts and reports
    internal errors. ``kernel`` has the maps of a kernel relay. ``clock`` gives seconds on a monotonic clock, ``random``
    floats in [0, 1). ``interfaces`` stand in for what the addresses and ports make. Raises :class:`ValueError` for
    addresses or ports that cannot be used.
    """

    def __init__(
        self,
        addresses: Mapping[Zone, str | Sequence[str]],
        ports: tuple[int, int],
        on_event: Callable[[MediaTimeout | MediaSilence], None] | None = None,
        *,
        containment: Containment,
        advertise: Mapping[Zone, str | Sequence[str]] | None = None,
        denied: Iterable[str] = (),
        inside: Callable[[str], bool] | None = None,
        media_timeout: float = 60.0,
        hold_timeout: float = limits.MEDIA_HOLD_SECONDS,
        one_way: OneWay = OneWay.OFF,
        one_way_timeout: float = limits.ONE_WAY_SECONDS,
        opaque_profiles: Iterable[str] = (),
        max_streams: int | None = None,
        max_sessions: int = limits.MEDIA_SESSIONS,
        relays: int = 0,
        kernel: RelayMaps | None = None,
        clock: Callable[[], float] = trio.current_time,
        random: Callable[[], float] | None = None,
        interfaces: Mapping[Zone, Sequence[MediaInterface]] | None = None,
    ) -> None:
        if interfaces is None:
            interfaces = build_interfaces(addresses, ports, advertise, denied, inside)
        self._containment = containment
        self._relays = self._build_relays(relays, relay_capacity(interfaces))
        try:
            self._kernel = None if kernel is None else KernelPath(FlowMap(kernel), kernel.devices, RouteReader())
            self._ports = RelayPorts(interfaces, self._relays, clock, random or RandomBytes().random, self._kernel)
            self._table = SessionTable(
                self._ports,
                interfaces,
                media_timeout,
                max_sessions,
                hold_timeout,
                max_streams,
                one_way,
                one_way_timeout,
                opaque_profiles,
            )
        except BaseException:
            for relay in self._relays:
                relay.close()
            raise
        self._clock = clock
        self._on_event = on_event
        self._wake_at = -math.inf
        self._wake_sooner = trio.Event()

    def _build_relays(self, number: int, capacity: int) -> list[Relay]:
        if not number:
            return [RelayThread(capacity, self._relay_failed)]
        return [RelayProcess(n, number, capacity, self._relay_failed) for n in range(1, number + 1)]

    @property
    def relay_pids(self) -> list[int]:
        """The process of each relay, from relay 1 on; 0 for one that is being started again."""
        return [relay.pid or 0 for relay in self._relays if isinstance(relay, RelayProcess)]

    @property
    def sessions(self) -> int:
        """Number of live sessions."""
        return len(self._table)

    @property
    def ports_in_use(self) -> int:
        """Number of open ports, RTP and RTCP."""
        return self._ports.ports_in_use

    @property
    def packets(self) -> int:
        """Packets received from peers since the start."""
        return self._ports.packets

    @property
    def quality(self) -> QualityHistograms:
        """What sides have reported of media sections that have ended."""
        return self._table.quality

    @property
    def paths(self) -> Counts:
        """The same by the path that they took: ``kernel`` or ``user``."""
        return self._ports.paths

    @property
    def moves(self) -> int:
        """How often the peer of a port whose latch roams has got another port."""
        return self._ports.moves

    @property
    def counts(self) -> Counts:
        """Packets not relayed, by reason."""
        return self._ports.drops

    def carry_out(self, command: MediaCommand) -> MediaReply | MediaError | None:
        """Carry out one command at once; see :meth:`SessionTable.receive`."""
        reply = self._table.receive(command, self._clock())
        self._ports.flush()
        deadline = self._table.deadline()
        if deadline is not None and deadline < self._wake_at:
            self._wake_sooner.set()
        return reply

    def find(self, session_id: str) -> MediaSession | None:
        """The session with that identifier, or None."""
        return self._table.find(session_id)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Relay and end silent sessions until cancelled; then every session and port is closed."""
        try:
            async with trio.open_nursery() as nursery:
                for relay in self._relays:
                    relay.start()
                    nursery.start_soon(self._containment.keep_running, "media relay", relay.run)
                nursery.start_soon(self._containment.keep_running, "media timer", self._expire)
                if self._kernel is not None:
                    watch = partial(_watch_routes, self._kernel)
                    nursery.start_soon(self._containment.keep_running, "media routes", watch)
                task_status.started()
        finally:
            self._table.close()
            self._ports.close()
            if self._kernel is not None:
                self._kernel.close()

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
            self._ports.flush()

    def _relay_failed(self, error: Exception) -> None:
        self._containment.fault("media packet", error)


async def _watch_routes(kernel: KernelPath) -> None:
    """Look up the routes of flows again when routes have changed."""
    watch = RouteWatch()
    try:
        while True:
            for _ in kernel.routes_changed():  # also those that have changed before there was a watch
                await trio.lowlevel.checkpoint()
            await trio.lowlevel.wait_readable(watch.fileno())
            await trio.sleep(limits.KERNEL_ROUTES_SECONDS)
            watch.drain()
    finally:
        watch.close()
