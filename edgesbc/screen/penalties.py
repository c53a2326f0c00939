"""The table of bans: it limits the scope and time of each ban by what its source has proven."""

from __future__ import annotations

from collections.abc import Iterator

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source
from edgesbc.base.prefixes import enclosing_prefixes, source_key
from edgesbc.base.reasons import Reason
from edgesbc.screen.bans import ANY_PORT, Ban, BanKey, BanScope, keys_of
from edgesbc.screen.standing import Standing, Standings

__all__ = ["Penalties"]


class Penalties:
    """The bans in force, at most ``capacity``.

    The scope of a ban depends on what its source has proven. Datagrams of an unproven source ban their flow or, where
    many flows of an address took part, their address: for unproven datagrams only, and for a minute at a time at most.
    A UDP flow that is more than unproven, a registered flow and a trunk are never banned, because the
    evidence against them may be forged or a mistake: they are held to their threshold, message by message. A
    registered UDP flow that floods loses its place in the trusted receive queue for the time of the ban.

    The source of a stream cannot be forged. An offence bans the flow, for twice as long with each offence of its
    address; the third bans the address, four addresses ban their prefix, four prefixes their site, unless a
    registered flow is in it.

    A ban on datagrams that ends is renewed while the source goes on: if it sent more than ``density`` messages
    in ``window`` seconds, averaged over the ban, and has not paused for a window. Datagrams that the kernel
    drops are not counted here; after the ban, their source is banned again when it exceeds a threshold again.
    """

    __slots__ = (
        "_bans", "_bans_within", "_datagram_bans", "_offences", "_prefix_bans", "_rate", "_standings", "_stream_bans",
        "_swept", "_unproven", "_window", "capacity", "version",
    )  # fmt: skip

    def __init__(self, standings: Standings, capacity: int, density: int, window: float) -> None:
        self.capacity = capacity
        self.version = 0
        """Changes with every change of the table, so that the state store knows when to save it."""
        self._standings = standings
        self._rate = density / window
        self._window = window
        self._bans: dict[BanKey, Ban] = {}
        """In the order in which they were set or renewed."""
        self._unproven: dict[BanKey, None] = {}
        """The keys of bans without proof, in the same order."""
        self._prefix_bans = 0
        """The number of bans on prefixes and sites."""
        self._bans_within: dict[str, int] = {}
        """The number of stream bans on addresses by prefix, and on prefixes by site."""
        self._offences: dict[str, tuple[int, float]] = {}
        """By address whose streams were banned: the number of offences, and the time of the last."""
        self._swept = float("-inf")
        """When bans that have ended were last removed to make room."""
        self._datagram_bans: list[tuple[Listener, Source, float]] = []
        self._stream_bans: list[Ban] = []

    def __len__(self) -> int:
        return len(self._bans)

    def __iter__(self) -> Iterator[Ban]:
        return iter(tuple(self._bans.values()))

    # --- lookup ------------------------------------------------------------------------------------------

    def blocks(self, flow: Flow, standing: Standing, now: float) -> bool:
        """Whether a packet of ``flow`` is dropped under a ban; counts it if so."""
        bans = self._bans
        if not bans or standing >= Standing.REGISTERED:
            return False
        host, port = flow.peer
        stream = flow.serial != 0
        if not stream and standing is not Standing.UNPROVEN:
            return False
        ban = bans.get((stream, host, port)) or bans.get((stream, host, ANY_PORT))
        if ban is None:
            if not stream or not self._prefix_bans:  # bans on streams must not make a forged flood cost more
                return False
            ban = next(
                (bans[key] for prefix in enclosing_prefixes(host) if (key := (stream, prefix, ANY_PORT)) in bans), None
            )
            if ban is None:
                return False
        if now >= ban.until and not self._renew(ban, flow, now):
            return False
        ban.hits += 1
        ban.last = now
        return True

    def covers(self, flow: Flow, now: float) -> bool:
        """Whether a ban in force covers ``flow``. Counts and renews nothing."""
        bans = self._bans
        matches = (bans.get(key) for key in keys_of(flow.serial != 0, flow.peer))
        return any(ban is not None and ban.until > now for ban in matches)

    # --- banning -----------------------------------------------------------------------------------------

    def ban(
        self, flow: Flow, standing: Standing, reason: Reason, ttl: float, now: float, wide: bool = False
    ) -> Ban | None:
        """Ban ``flow`` in the scope that its standing allows; None if it allows none, or the table is full.

        ``ttl`` is in seconds. ``wide`` asks for a ban on the address instead of the flow; a registered flow is
        demoted then (:meth:`Standings.demote`). When the table is full, a ban with proof replaces the oldest one
        without.
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
        """The scope of the ban for the ``offence``-th offence of a stream."""
        host = keys[BanScope.ADDRESS][1]
        if offence < limits.OFFENCES_OF_ADDRESS or self._standings.registered_within(host):
            return BanScope.FLOW
        scope = BanScope.ADDRESS
        for wider in (BanScope.PREFIX, BanScope.SITE)[: len(keys) - 2]:
            prefix = keys[wider][1]
            inside = self._bans_within.get(prefix, 0) + (keys[scope] not in self._bans)
            if inside < limits.BANS_OF_PREFIX or self._standings.registered_within(prefix):
                break
            scope = wider
        return scope

    def _set(self, ban: Ban, listener: Listener | None, now: float) -> bool:
        """Enter a ban, which replaces one of the same key; false if the table is full."""
        key = ban.key
        self._remove(key)
        if len(self._bans) >= self.capacity and not self._make_room(ban.proven, now):
            return False
        self._enter(ban)
        self.version += 1
        if ban.stream:
            self._stream_bans.append(ban)
        elif listener is not None:
            self._queue_for_kernel(ban, listener)
        return True

    def _enter(self, ban: Ban) -> None:
        self._bans[ban.key] = ban
        if not ban.proven:
            self._unproven[ban.key] = None
        self._count(ban, 1)

    def _count(self, ban: Ban, change: int) -> None:
        if ban.scope >= BanScope.PREFIX:
            self._prefix_bans += change
        if (wider := ban.wider) is not None:
            self._bans_within[wider] = self._bans_within.get(wider, 0) + change
            if not self._bans_within[wider]:
                del self._bans_within[wider]

    def _make_room(self, proven: bool, now: float) -> bool:
        if now - self._swept >= self._window:
            self._swept = now
            for ban in self:
                if ban.until <= now:
                    self._remove(ban.key)
        if len(self._bans) < self.capacity:
            return True
        oldest = next(iter(self._unproven), None)
        return proven and oldest is not None and self._remove(oldest)

    def _renew(self, ban: Ban, flow: Flow, now: float) -> bool:
        if ban.stream or ban.hits - ban.renewed_hits <= self._rate * ban.ttl or now - ban.last > self._window:
            self._remove(ban.key)
            return False
        ban.renewed_hits = ban.hits
        ban.until = now + ban.ttl
        key = ban.key
        self._bans[key] = self._bans.pop(key)
        if key in self._unproven:
            self._unproven[key] = self._unproven.pop(key)
        self._queue_for_kernel(ban, flow.listener)
        return True

    def _remove(self, key: BanKey) -> bool:
        ban = self._bans.pop(key, None)
        if ban is None:
            return False
        self._unproven.pop(key, None)
        self._count(ban, -1)
        self.version += 1
        return True

    # --- lifting, restoring, changes to carry out --------------------------------------------------------

    def lift(self, target: str) -> int:
        """End the bans on ``target``, written as :attr:`Ban.target`, and return their number. For an address, the bans
        on its flows end too, and its offences are forgotten."""
        self._offences.pop(source_key(target), None)
        lifted = [ban for ban in self if target in (ban.target, ban.key[1])]
        for ban in lifted:
            self._remove(ban.key)
            if ban.kernel_listener is not None:
                self._datagram_bans.append((ban.kernel_listener, ban.source, 0.0))
        return len(lifted)

    def restore(self, ban: Ban) -> bool:
        """Enter a ban that was saved; false if the table is full."""
        if len(self._bans) >= self.capacity:
            return False
        if ban.proven and ban.scope <= BanScope.ADDRESS:
            self._offences[source_key(ban.key[1])] = (ban.offence, ban.since)
        return self._set(ban, None, ban.since)

    def take_over(self, previous: Penalties) -> None:
        """Take over the bans of the previous policy, as many as fit, proven ones first."""
        for ban in sorted(previous, key=lambda ban: not ban.proven)[: self.capacity]:
            self._enter(ban)
        self._offences = previous._offences
        self._datagram_bans = previous.take_datagram_bans()
        self._stream_bans = previous.take_stream_bans()
        self.version = previous.version + 1

    @property
    def has_changes(self) -> bool:
        """Whether :meth:`take_datagram_bans` or :meth:`take_stream_bans` would return something."""
        return bool(self._datagram_bans or self._stream_bans)

    def take_datagram_bans(self) -> list[tuple[Listener, Source, float]]:
        """The changes for the kernel filters since the last call: (listener, UDP source, seconds of the ban), with
        0 seconds where a ban was lifted.

        Port 0 means the whole address. A whole address with a trunk or a proven flow is not in the list, because
        only user space can distinguish the flows of an address.
        """
        changes, self._datagram_bans = self._datagram_bans, []
        return changes

    def take_stream_bans(self) -> list[Ban]:
        """The bans on streams set since the last call: the connections that they cover are to be closed."""
        bans, self._stream_bans = self._stream_bans, []
        return bans

    def _queue_for_kernel(self, ban: Ban, listener: Listener) -> None:
        if ban.stream or len(self._datagram_bans) >= limits.PENALTIES_WAITING:
            return
        if ban.key[2] == 0:
            return  # a datagram may claim port 0 as its source, which means the whole address in the kernel filter
        # A proven flow is never banned, so a banned flow can be dropped by the kernel at any listener.
        if ban.scope is BanScope.FLOW or not self._standings.known_at(ban.key[1]):
            self._datagram_bans.append((listener, ban.source, ban.ttl))
            ban.kernel_listener = listener
