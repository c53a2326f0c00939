"""Who is banned, how widely and until when, within what the source has proven. Decides no one's guilt."""

from __future__ import annotations

from collections.abc import Iterator

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source
from edgesbc.base.reasons import Reason
from edgesbc.screen.standing import Standing, Standings

__all__ = ["Ban", "Penalties"]

ANY_PORT = -1

_Key = tuple[bool, str, int]
"""Whether the transport is a stream, the address, and the port or ANY_PORT."""


class Ban:
    """A penalty on one flow, or on one address of a transport class (datagrams or streams).

    Times are seconds on the plane's clock; ``hits`` counts what was dropped under it in user
    space, ``last`` is when.
    """

    __slots__ = (
        "address_wide",
        "hits",
        "last",
        "marked",
        "proven",
        "reason",
        "since",
        "source",
        "stream",
        "ttl",
        "until",
    )

    def __init__(
        self, stream: bool, source: Source, address_wide: bool, proven: bool, reason: Reason, now: float, ttl: float
    ) -> None:
        self.stream = stream
        self.source = source
        self.address_wide = address_wide
        self.proven = proven
        self.reason = reason
        self.since = now
        self.ttl = ttl
        self.until = now + ttl
        self.hits = 0
        self.last = now
        self.marked = 0

    @property
    def key(self) -> _Key:
        return (self.stream, self.source[0], ANY_PORT if self.address_wide else self.source[1])


class Penalties:
    """The table of bans, bounded to ``capacity``.

    Proof before punishment: datagrams of an unproven source ban their address, for unproven datagrams
    only and at most a minute at a time; a stream bans its own flow. A UDP flow that is more than
    unproven, a registered flow and a trunk are never banned, for what accuses them may be forged or a
    mistake: they are held to their threshold, message by message.

    A ban that runs out is renewed while the source goes on: over all of the ban it sent more than
    ``density`` messages in ``window`` seconds on average, and it has not paused for a window now.
    """

    __slots__ = ("_bans", "_narrow", "_rate", "_standings", "_waiting", "_window", "capacity")

    def __init__(self, standings: Standings, capacity: int, density: int, window: float) -> None:
        self.capacity = capacity
        self._standings = standings
        self._rate = density / window
        self._window = window
        self._bans: dict[_Key, Ban] = {}
        self._narrow: dict[_Key, None] = {}
        self._waiting: list[tuple[Listener, Source, float]] = []

    def __len__(self) -> int:
        return len(self._bans)

    def __iter__(self) -> Iterator[Ban]:
        return iter(tuple(self._bans.values()))

    def holds(self, flow: Flow, standing: Standing, now: float) -> bool:
        """Whether a packet of ``flow`` is to be dropped under a ban; counts it if so."""
        if standing >= Standing.REGISTERED:
            return False
        host, port = flow.peer
        if flow.serial:
            key: _Key = (True, host, port)
        elif standing is Standing.UNPROVEN:
            key = (False, host, ANY_PORT)
        else:
            return False
        ban = self._bans.get(key)
        if ban is None:
            return False
        if now >= ban.until and not self._renew(ban, flow, now):
            return False
        ban.hits += 1
        ban.last = now
        return True

    def _renew(self, ban: Ban, flow: Flow, now: float) -> bool:
        if ban.hits - ban.marked <= self._rate * ban.ttl or now - ban.last > self._window:
            self._remove(ban.key)
            return False
        ban.marked = ban.hits
        ban.until = now + ban.ttl
        key = ban.key
        self._bans[key] = self._bans.pop(key)  # the order of the table is the order of running out
        if key in self._narrow:
            self._narrow[key] = self._narrow.pop(key)
        self._tell(ban, flow.listener)
        return True

    def ban(self, flow: Flow, standing: Standing, reason: Reason, ttl: float, now: float) -> Ban | None:
        """Ban ``flow`` as widely as its standing allows; None where that is not at all, or no room is left.

        ``ttl`` is in seconds. When the table is full, a ban with proof takes the place of the oldest
        one without.
        """
        if standing >= Standing.REGISTERED or (standing is Standing.REACHABLE and not flow.serial):
            return None
        proven = standing is Standing.REACHABLE
        if not proven:
            ttl = min(ttl, limits.UNPROVEN_BAN_SECONDS)
        ban = Ban(flow.serial != 0, flow.peer, not proven, proven, reason, now, ttl)
        key = ban.key
        self._remove(key)
        if len(self._bans) >= self.capacity and not self._make_room(proven, now):
            return None
        self._bans[key] = ban
        if not proven:
            self._narrow[key] = None
        self._tell(ban, flow.listener)
        return ban

    def _make_room(self, proven: bool, now: float) -> bool:
        oldest = next(iter(self._narrow), None)
        if oldest is not None and (proven or self._bans[oldest].until <= now):
            self._remove(oldest)
            return True
        first = next(iter(self._bans), None)
        if first is not None and self._bans[first].until <= now:
            self._remove(first)
            return True
        return False

    def succeed(self, previous: Penalties) -> None:
        """Take over the bans of the policy before this one, as many as there is room for, proven ones first."""
        for ban in sorted(previous, key=lambda ban: not ban.proven)[: self.capacity]:
            self._bans[ban.key] = ban
            if not ban.proven:
                self._narrow[ban.key] = None
        self._waiting = previous.take()

    def lift(self, flow: Flow) -> bool:
        """End the bans that ``flow`` may stand under; whether there was one."""
        stream = flow.serial != 0
        found = [key for key in ((stream, *flow.peer), (stream, flow.peer[0], ANY_PORT)) if key in self._bans]
        for key in found:
            self._remove(key)
        return bool(found)

    def take(self) -> list[tuple[Listener, Source, float]]:
        """The UDP sources banned or renewed since the last call, for the kernel: (listener, source, seconds).

        Port 0 means the whole address. An address at which a trunk or a proven flow is known is not
        among them; it is left to user space, which can tell them apart.
        """
        waiting, self._waiting = self._waiting, []
        return waiting

    def _tell(self, ban: Ban, listener: Listener) -> None:
        if ban.stream or len(self._waiting) >= limits.PENALTIES_WAITING:
            return
        if not self._standings.known_at(ban.source[0]):
            self._waiting.append((listener, Source(ban.source[0], 0), ban.ttl))

    def _remove(self, key: _Key) -> None:
        self._bans.pop(key, None)
        self._narrow.pop(key, None)
