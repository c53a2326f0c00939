"""The dispatcher: picks a member for a call, and counts its lease. Sends nothing and reads no clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from edgesbc.base.address import Source, Transport
from edgesbc.base.decision import Decision
from edgesbc.dispatch.destination_set import DestinationSet
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.health_monitor import HealthMonitor
from edgesbc.dispatch.leases import Lease, Leases
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.member_registry import MemberChanges, MemberRegistry
from edgesbc.dispatch.selection_request import ANYTHING, SelectionRequest
from edgesbc.dispatch.settings import SetSettings
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri

__all__ = ["Dispatcher"]


class Dispatcher:
    """All destination sets of a policy. Times are seconds on the plane's monotonic clock.

    ``random`` gives numbers in [0, 1), for jitter and for algorithms that draw; ``record`` is told of
    every change of a member's state. ``version`` grows when the names that members have may be others.
    ``changed`` is called with the time whenever members may have come or gone.
    """

    __slots__ = ("_groups", "_leases", "_random", "_roster", "changed", "version", "watch")

    def __init__(
        self,
        sets: Iterable[SetSettings],
        random: Callable[[], float],
        now: float,
        record: Callable[[Decision], None] = lambda decision: None,
    ) -> None:
        self._random = random
        self._leases = Leases()
        self._roster = MemberRegistry()
        self._groups: dict[str, DestinationSet] = {}
        self.watch = HealthMonitor(random, record, self._changed)
        self.version = 0
        self.changed: Callable[[float], None] = lambda now: None
        self.reload(sets, now)

    # --- choosing ----------------------------------------------------------------------------------------

    def settings(self, set_name: str) -> SetSettings:
        """The settings of a set, for its ``failover_on`` and ``try_timeout``. KeyError: no such set."""
        return self._groups[set_name].settings

    def acquire(
        self, set_name: str, now: float, exclude: Collection[Member] = (), demand: SelectionRequest = ANYTHING
    ) -> Lease | None:
        """A place at the next member of ``set_name``, or None when no member is able; see :meth:`acquire_all`."""
        leases = self.acquire_all(set_name, now, exclude, demand, 1)
        return leases[0] if leases else None

    def acquire_all(
        self,
        set_name: str,
        now: float,
        exclude: Collection[Member],
        demand: SelectionRequest,
        most: int,
        last: bool = True,
    ) -> list[Lease]:
        """Places at the members that a request is sent to at once: several, up to ``most``, with ``broadcast`` only.

        The lowest priority number that has an able member decides; ``exclude`` are the members that this
        request has tried. ``last`` is whether there is no other set to ask, so that those who want a rest are called
        as well, and those of a set that is all down. Empty when no member is able. KeyError: no such set.
        """
        group = self._groups[set_name]
        if not (last or group.usable):
            return []  # a call would wait for each of the dead in turn, while there are others to ask
        chosen = group.choose(now, exclude, demand, most, last)
        return [Lease(member, self._leases, now, demand) for member in chosen]

    def rest(self, member: Member, seconds: float, now: float) -> bool:
        """``member`` asks for no new call for so long (Retry-After, RFC 3261 section 20.33); whether it gets that.

        Not for longer than its set allows. It is called all the same when nobody else is able.
        """
        group = self._groups.get(member.set_name)
        if group is None or not group.settings.rest:
            return False
        member.resting_until = now + min(seconds, group.settings.rest)
        return True

    def usable(self, set_name: str) -> bool:
        """Whether any member of a set is in use and up. KeyError: no such set."""
        return self._groups[set_name].usable

    # --- looking up --------------------------------------------------------------------------------------

    @property
    def leases(self) -> int:
        """Live leases in all, those of members that a reload took away included."""
        return len(self._leases)

    def live_leases(self) -> Iterator[Lease]:
        return iter(self._leases)

    def members(self) -> Iterator[Member]:
        """Every member of every set, in the order of the policy."""
        return iter(self._roster)

    def member_at(self, source: Source, transport: Transport) -> Member | None:
        """The member whose address ``source`` is, over ``transport``; the first, when sets share it."""
        return self._roster.at(source, transport)

    def names(self) -> frozenset[ServerUri]:
        """The names that members have, to be looked up."""
        return self._roster.names

    # --- changing ----------------------------------------------------------------------------------------

    def order(self, member: Member, order: AdminState, now: float, why: str = "by order of the operator") -> None:
        """Enable, drain or disable a member. Its live calls stay; a disabled one is not probed."""
        self.watch.order(member, order, now, why)

    def foresee(self, sets: Iterable[SetSettings]) -> None:
        """Work out ahead what :meth:`reload` with these sets will need, in another thread if need be."""
        self._roster.foresee(sets)

    def reload(self, sets: Iterable[SetSettings], now: float) -> None:
        """Put ``sets`` in the place of those before.

        A member is the same when its set, its URI and its address are; it keeps load, health and the operator's
        order. One that is gone takes no new call, and its live leases end when their calls do.
        """
        self.version += 1
        self._adopt(self._roster.replace(sets), now)

    def resolved(self, place: ServerUri, targets: Sequence[ResolvedAddress], now: float) -> None:
        """A name has these addresses, in order; none at all leaves what was known before."""
        changes = self._roster.resolve(place, targets)
        if changes is not None:
            self._adopt(changes, now)

    def _adopt(self, changes: MemberChanges, now: float) -> None:
        self.watch.stop(changes.gone)
        before, self._groups = self._groups, {}
        for settings in self._roster.settings:
            members, group = changes.members[settings.set], before.get(settings.set)
            if group is None or not group.is_made_of(settings, members):
                group = DestinationSet(settings, members, self._random)
            self._groups[settings.set] = group
        self.watch.again(changes.rewatched, now)
        self.watch.start(changes.new, now)
        self.changed(now)

    def _changed(self, was_enabled: bool, was_up: bool, member: Member) -> None:
        group = self._groups.get(member.set_name)
        if group is not None:
            group.changed(was_enabled, was_up, member)
