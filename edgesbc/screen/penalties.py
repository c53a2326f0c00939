"""Who is banned, how widely and until when, within what the source has proven. Decides no one's guilt."""

from __future__ import annotations

from collections.abc import Iterator

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source
from edgesbc.base.prefixes import enclosing, source_key
from edgesbc.base.reasons import Reason
from edgesbc.screen.bans import ANY_PORT, Ban, BanKey, BanScope, keys_of
from edgesbc.screen.standing import Standing, Standings

__all__ = ["Penalties"]


class Penalties:
    """The table of bans, bounded to ``capacity``.

    Proof before punishment. Datagrams of an unproven source ban their flow or, where many flows of an
    address share in it, their address: for unproven datagrams only, and at most a minute at a time.
    A UDP flow that is more than unproven, a registered flow and a trunk are never banned, for what
    accuses them may be forged or a mistake: they are held to their threshold, message by message. A
    registered UDP flow that floods has to do without its lane for as long as a ban would have been.

    A stream cannot be forged. It bans its own flow, with each offence of its address for twice as long;
    the third bans the address, four addresses ban their prefix, four prefixes their site, as long as no
    registered flow is there.

    A ban on datagrams that runs out is renewed while the source goes on: over all of the ban it sent more
    than ``density`` messages in ``window`` seconds on average, and it has not paused for a window now. Where
    the kernel drops them nobody counts them here, and who goes on is banned anew when it trips again.
    """

    __slots__ = (
        "_bans", "_closing", "_narrow", "_offences", "_rate", "_standings", "_swept", "_waiting", "_wide",
        "_window", "_within", "capacity", "version",
    )  # fmt: skip

    def __init__(self, standings: Standings, capacity: int, density: int, window: float) -> None:
        self.capacity = capacity
        self.version = 0
        """Another number whenever a ban has come or gone: who keeps them over a restart looks at it."""
        self._standings = standings
        self._rate = density / window
        self._window = window
        self._bans: dict[BanKey, Ban] = {}
        """In the order in which they were set or renewed."""
        self._narrow: dict[BanKey, None] = {}
        """Those without proof, in the same order."""
        self._wide = 0
        """Bans of prefixes and sites."""
        self._within: dict[str, int] = {}
        """How many bans of addresses there are in a prefix, and of prefixes in a site; of streams, as all wide ones."""
        self._offences: dict[str, tuple[int, float]] = {}
        """Of addresses whose streams were banned: how often, and when last."""
        self._swept = float("-inf")
        """When bans that have run out were last looked for, to make room."""
        self._waiting: list[tuple[Listener, Source, float]] = []
        self._closing: list[Ban] = []

    def __len__(self) -> int:
        return len(self._bans)

    def __iter__(self) -> Iterator[Ban]:
        return iter(tuple(self._bans.values()))

    # --- asking ------------------------------------------------------------------------------------------

    def holds(self, flow: Flow, standing: Standing, now: float) -> bool:
        """Whether a packet of ``flow`` is to be dropped under a ban; counts it if so."""
        bans = self._bans
        if not bans or standing >= Standing.REGISTERED:
            return False
        host, port = flow.peer
        stream = flow.serial != 0
        if not stream and standing is not Standing.UNPROVEN:
            return False
        ban = bans.get((stream, host, port)) or bans.get((stream, host, ANY_PORT))
        if ban is None:
            if not stream or not self._wide:  # a forged flood must not be made dearer by a stream's ban
                return False
            ban = next((bans[key] for prefix in enclosing(host) if (key := (stream, prefix, ANY_PORT)) in bans), None)
            if ban is None:
                return False
        if now >= ban.until and not self._renew(ban, flow, now):
            return False
        ban.hits += 1
        ban.last = now
        return True

    def covers(self, flow: Flow, now: float) -> bool:
        """Whether a ban stands against a connection that is open."""
        bans = self._bans
        found = (bans.get(key) for key in keys_of(flow.serial != 0, flow.peer))
        return any(ban is not None and ban.until > now for ban in found)

    # --- banning -----------------------------------------------------------------------------------------

    def ban(
        self, flow: Flow, standing: Standing, reason: Reason, ttl: float, now: float, wide: bool = False
    ) -> Ban | None:
        """Ban ``flow`` as widely as its standing allows; None where that is not at all, or no room is left.

        ``ttl`` is in seconds. ``wide`` asks for the address, where others would be for the flow, and where
        that is registered, for its lane. When the table is full, a ban with proof takes the place of the
        oldest one without.
        """
        if standing >= Standing.REGISTERED or (standing is Standing.REACHABLE and not flow.serial):
            if wide and standing is Standing.REGISTERED and not flow.serial:
                self._standings.demote(flow, now + min(ttl, limits.UNPROVEN_BAN_SECONDS))
            return None
        keys = keys_of(flow.serial != 0, flow.peer)
        if not flow.serial:
            scope = BanScope.ADDRESS if wide else BanScope.FLOW
            ban = Ban(keys[scope], scope, False, reason, now, min(ttl, limits.UNPROVEN_BAN_SECONDS))
        else:
            offence = self._note_offence(flow.peer[0], now)
            ttl = min(ttl * 2 ** (min(offence, 32) - 1), max(ttl, limits.BAN_SECONDS))
            scope = self._scope_of(keys, offence)
            ban = Ban(keys[scope], scope, True, reason, now, ttl, offence)
        return ban if self._set(ban, flow.listener, now) else None

    def _note_offence(self, host: str, now: float) -> int:
        host = source_key(host)
        offences = self._offences
        count, last = offences.pop(host, (0, now))
        if now - last > limits.OFFENCE_SECONDS:
            count = 0
        if len(offences) >= limits.OFFENDERS:
            del offences[next(iter(offences))]
        offences[host] = (count + 1, now)
        return count + 1

    def _scope_of(self, keys: list[BanKey], offence: int) -> BanScope:
        """How widely the ``offence``-th offence of a stream is answered."""
        host = keys[BanScope.ADDRESS][1]
        if offence < limits.OFFENCES_OF_ADDRESS or self._standings.registered_within(host):
            return BanScope.FLOW
        scope = BanScope.ADDRESS
        for wider in (BanScope.PREFIX, BanScope.SITE)[: len(keys) - 2]:
            prefix = keys[wider][1]
            inside = self._within.get(prefix, 0) + (keys[scope] not in self._bans)
            if inside < limits.BANS_OF_PREFIX or self._standings.registered_within(prefix):
                break
            scope = wider
        return scope

    def _set(self, ban: Ban, listener: Listener | None, now: float) -> bool:
        """Enter a ban, in the place of a former one of the same key; False where there is no room."""
        key = ban.key
        self._remove(key)
        if len(self._bans) >= self.capacity and not self._make_room(ban.proven, now):
            return False
        self._enter(ban)
        self.version += 1
        if ban.stream:
            self._closing.append(ban)
        elif listener is not None:
            self._tell(ban, listener)
        return True

    def _enter(self, ban: Ban) -> None:
        self._bans[ban.key] = ban
        if not ban.proven:
            self._narrow[ban.key] = None
        self._count(ban, 1)

    def _count(self, ban: Ban, more: int) -> None:
        if ban.scope >= BanScope.PREFIX:
            self._wide += more
        if (wider := ban.wider) is not None:
            self._within[wider] = self._within.get(wider, 0) + more
            if not self._within[wider]:
                del self._within[wider]

    def _make_room(self, proven: bool, now: float) -> bool:
        if now - self._swept >= self._window:
            self._swept = now
            for ban in self:
                if ban.until <= now:
                    self._remove(ban.key)
        if len(self._bans) < self.capacity:
            return True
        oldest = next(iter(self._narrow), None)
        return proven and oldest is not None and self._remove(oldest)

    def _renew(self, ban: Ban, flow: Flow, now: float) -> bool:
        if ban.stream or ban.hits - ban.marked <= self._rate * ban.ttl or now - ban.last > self._window:
            self._remove(ban.key)
            return False
        ban.marked = ban.hits
        ban.until = now + ban.ttl
        key = ban.key
        self._bans[key] = self._bans.pop(key)
        if key in self._narrow:
            self._narrow[key] = self._narrow.pop(key)
        self._tell(ban, flow.listener)
        return True

    def _remove(self, key: BanKey) -> bool:
        ban = self._bans.pop(key, None)
        if ban is None:
            return False
        self._narrow.pop(key, None)
        self._count(ban, -1)
        self.version += 1
        return True

    # --- ending, keeping, telling ------------------------------------------------------------------------

    def lift(self, who: str) -> int:
        """End the bans of an address, of an address with its port, or of a prefix, as :attr:`Ban.who` writes them;
        of an address those of its flows too, and what it has done is forgotten. How many there were."""
        self._offences.pop(source_key(who), None)
        lifted = [ban for ban in self if ban.who == who or ban.key[1] == who]
        for ban in lifted:
            self._remove(ban.key)
            if ban.told is not None:
                self._waiting.append((ban.told, ban.source, 0.0))
        return len(lifted)

    def restore(self, ban: Ban) -> bool:
        """Enter a ban that was kept; False where there is no room or its time is up."""
        if len(self._bans) >= self.capacity:
            return False
        if ban.proven and ban.scope <= BanScope.ADDRESS:
            self._offences[source_key(ban.key[1])] = (ban.offence, ban.since)
        return self._set(ban, None, ban.since)

    def succeed(self, previous: Penalties) -> None:
        """Take over the bans of the policy before this one, as many as there is room for, proven ones first."""
        for ban in sorted(previous, key=lambda ban: not ban.proven)[: self.capacity]:
            self._enter(ban)
        self._offences = previous._offences
        self._waiting = previous.take()
        self._closing = previous.take_closing()
        self.version = previous.version + 1

    @property
    def news(self) -> bool:
        """Whether there is something to take."""
        return bool(self._waiting or self._closing)

    def take(self) -> list[tuple[Listener, Source, float]]:
        """The UDP sources banned or renewed since the last call, for the kernel: (listener, source, seconds), with
        0 seconds those whose ban was lifted.

        Port 0 means the whole address, which is not among them where a trunk or a proven flow is known
        there: it is left to user space, which can tell them apart.
        """
        waiting, self._waiting = self._waiting, []
        return waiting

    def take_closing(self) -> list[Ban]:
        """The bans of streams set since the last call: what they cover is to be closed."""
        closing, self._closing = self._closing, []
        return closing

    def _tell(self, ban: Ban, listener: Listener) -> None:
        if ban.stream or len(self._waiting) >= limits.PENALTIES_WAITING:
            return
        if ban.key[2] == 0:
            return  # a datagram may say that it comes from port 0, and there it means the whole address
        # No proven flow is banned, so that one that is can be dropped before we see it, wherever it is.
        if ban.scope is BanScope.FLOW or not self._standings.known_at(ban.key[1]):
            self._waiting.append((listener, ban.source, ban.ttl))
            ban.told = listener
