"""The dispatcher: selects a member for each call, and counts its lease."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from edgesbc.base.address import Source, Transport
from edgesbc.base.decision import Decision
from edgesbc.dispatch.connection_backoff import ConnectionBackoffs
from edgesbc.dispatch.destination_set import DestinationSet
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.health_monitor import HealthMonitor
from edgesbc.dispatch.leases import Lease, Leases
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.member_registry import MemberChanges, MemberRegistry
from edgesbc.dispatch.selection_request import NO_REQUIREMENTS, SelectionRequest
from edgesbc.dispatch.settings import ProbeSettings, SetSettings
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri

__all__ = ["Dispatcher"]


class Dispatcher:
    """All destination sets of a policy. Times are seconds on the plane's monotonic clock.

    ``random`` returns numbers in [0, 1), for jitter and for algorithms that draw; ``record`` takes a decision for
    every change of a member's state. ``version`` grows when the host names of members may have changed,
    ``members_version`` when their addresses may have.
    ``on_members_changed`` is called with the time whenever members may have been added or removed. ``backoffs`` is
    to be told what becomes of connections to members.
    """

    __slots__ = (
        "_leases", "_random", "_registry", "_sets", "backoffs", "health_monitor", "members_version",
        "on_members_changed", "version",
    )  # fmt: skip

    def __init__(
        self,
        sets: Iterable[SetSettings],
        random: Callable[[], float],
        now: float,
        record: Callable[[Decision], None] = lambda decision: None,
    ) -> None:
        self._random = random
        self._leases = Leases()
        self._registry = MemberRegistry()
        self._sets: dict[str, DestinationSet] = {}
        self.health_monitor = HealthMonitor(random, record, self._member_changed)
        self.backoffs = ConnectionBackoffs(random, record)
        self.version = 0
        self.members_version = 0
        self.on_members_changed: Callable[[float], None] = lambda now: None
        self.reload(sets, now)

    # --- choosing ----------------------------------------------------------------------------------------

    def settings(self, set_name: str) -> SetSettings:
        """The settings of a set. Raises ``KeyError`` if there is no such set."""
        return self._sets[set_name].settings

    def acquire(
        self, set_name: str, now: float, exclude: Collection[Member] = (), selection: SelectionRequest = NO_REQUIREMENTS
    ) -> Lease | None:
        """A lease at the next member of ``set_name``, or None if no member can take it; see :meth:`acquire_all`."""
        leases = self.acquire_all(set_name, now, exclude, selection, 1)
        return leases[0] if leases else None

    def acquire_all(
        self,
        set_name: str,
        now: float,
        exclude: Collection[Member],
        selection: SelectionRequest,
        limit: int,
        last: bool = True,
    ) -> list[Lease]:
        """Leases at the members to which a request is sent at once: one, or with ``broadcast`` up to ``limit``.

        The lowest priority number with a member that can take the request counts; ``exclude`` are the members that
        this request has tried. ``last`` is whether there is no other set to try: resting members are then used as
        well, and members of a set that is all down. Empty if no member can take the request. Raises ``KeyError`` if
        there is no such set.
        """
        destination_set = self._sets[set_name]
        if not (last or destination_set.usable):
            return []  # the call would wait for each dead member in turn, although there is another set
        chosen = destination_set.choose(now, exclude, selection, limit, last)
        return [Lease(member, self._leases, now, selection) for member in chosen]

    def acquire_alternative(
        self, member: Member, now: float, exclude: Collection[Member], selection: SelectionRequest
    ) -> Lease | None:
        """A lease at another address of the host of ``member``, for a request that waits for a connection to it; None
        if there is none that can take it."""
        destination_set = self._sets.get(member.set_name)
        if destination_set is None:
            return None  # a reload has removed it
        other = destination_set.alternative(member, now, exclude, selection)
        return None if other is None else Lease(other, self._leases, now, selection)

    def acquire_at(self, source: Source, transport: Transport, now: float, selection: SelectionRequest) -> Lease | None:
        """A lease at the member with that address, for a request that can go to no other; None if there is no such
        member. It is counted in any state of the member, and beyond its limits too."""
        member = self.member_at(source, transport)
        return None if member is None else Lease(member, self._leases, now, selection)

    def rest(self, member: Member, seconds: float, now: float) -> bool:
        """Give ``member`` no new calls for ``seconds`` (Retry-After, RFC 3261 section 20.33), at most the ``rest`` of
        its set; false if its set ignores Retry-After. It is used all the same when no other member can take a call.
        """
        destination_set = self._sets.get(member.set_name)
        if destination_set is None or not destination_set.settings.rest:
            return False
        member.resting_until = now + min(seconds, destination_set.settings.rest)
        return True

    def rest_on(self, member: Member) -> tuple[int, ...]:
        """The statuses of answers of ``member`` whose Retry-After gives it a rest."""
        destination_set = self._sets.get(member.set_name)
        return () if destination_set is None else destination_set.settings.rest_on

    def probe_settings(self, member: Member) -> ProbeSettings:
        """The header fields of the OPTIONS to ``member``."""
        destination_set = self._sets.get(member.set_name)
        return ProbeSettings() if destination_set is None else destination_set.settings.probe

    def usable(self, set_name: str) -> bool:
        """Whether any member of a set is enabled and up. Raises ``KeyError`` if there is no such set."""
        return self._sets[set_name].usable

    def family(self, set_name: str) -> str:
        """The address family that all members of a set have, ``IP4`` or ``IP6``; else, or without such a set, ""."""
        destination_set = self._sets.get(set_name)
        return "" if destination_set is None else destination_set.family

    def has_both_families(self, member: Member) -> bool:
        """Whether the host of a member has addresses of both families."""
        destination_set = self._sets.get(member.set_name)
        return destination_set is not None and destination_set.has_both_families(member)

    # --- looking up --------------------------------------------------------------------------------------

    @property
    def leases(self) -> int:
        """The number of live leases, including those at members that a reload has removed."""
        return len(self._leases)

    def live_leases(self) -> Iterator[Lease]:
        return iter(self._leases)

    def members(self) -> Iterator[Member]:
        """Every member of every set, in the order of the policy."""
        return iter(self._registry)

    def member_at(self, source: Source, transport: Transport) -> Member | None:
        """The member with the address ``source`` over ``transport``; the first, if several sets have it."""
        return self._registry.at(source, transport)

    def hosts(self, sets: frozenset[str] | None = None) -> frozenset[str]:
        """The addresses of the members of these sets, None for all."""
        return self._registry.hosts(sets)

    def leaving(self, sets: frozenset[str] | None = None) -> tuple[Member, ...]:
        """The members that have gone from these sets, None for all, with calls alive; some may have none by now."""
        return self._registry.leaving(sets)

    def names(self) -> frozenset[ServerUri]:
        """The host names of members, which are to be resolved."""
        return self._registry.names

    # --- changing ----------------------------------------------------------------------------------------

    def set_admin_state(
        self, member: Member, state: AdminState, now: float, why: str = "by order of the operator"
    ) -> None:
        """Enable, drain or disable a member. Its live calls stay; a disabled member is not probed."""
        self.health_monitor.set_admin_state(member, state, now, why)

    def prepare(self, sets: Iterable[SetSettings]) -> None:
        """Make the members for a :meth:`reload` with these sets ahead of it; may be called in another thread."""
        self._registry.prepare(sets)

    def reload(self, sets: Iterable[SetSettings], now: float) -> None:
        """Replace all sets by ``sets``.

        A member whose set, URI and address stay keeps its load, health and administrative state. A removed member gets
        no new calls; its leases end with their calls.
        """
        self.version += 1
        self._adopt(self._registry.replace(sets), now)

    def resolved(self, server_uri: ServerUri, targets: Sequence[ResolvedAddress], now: float) -> None:
        """Set the addresses of a host name, in order. An empty sequence leaves the known ones."""
        changes = self._registry.resolve(server_uri, targets)
        if changes is not None:
            self._adopt(changes, now)

    def _adopt(self, changes: MemberChanges, now: float) -> None:
        self.members_version += 1
        self.health_monitor.stop(changes.removed)
        connected = [(member, key) for member in self._registry if (key := member.connection) is not None]
        self.backoffs.replace([key for _, key in connected])
        for member, key in connected:
            member.backoff = self.backoffs.of(key)
        before, self._sets = self._sets, {}
        for settings in self._registry.settings:
            members, destination_set = changes.members[settings.set], before.get(settings.set)
            if destination_set is None or not destination_set.matches(settings, members):
                destination_set = DestinationSet(settings, members, self._random)
            self._sets[settings.set] = destination_set
        self.health_monitor.restart(changes.rescheduled, now)
        self.health_monitor.start(changes.added, now)
        self.on_members_changed(now)

    def _member_changed(self, was_enabled: bool, was_up: bool, member: Member) -> None:
        destination_set = self._sets.get(member.set_name)
        if destination_set is not None:
            destination_set.member_changed(was_enabled, was_up, member)
