"""The dispatcher: picks a member for a call, counts its lease, and keeps an eye on who is alive.

It sends nothing: probes are values that the brain carries out and reports back on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import cast

from edgesbc.base.address import Source, Transport
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.base.timers import Deadlines
from edgesbc.dispatch.algorithms import ALGORITHMS, Algorithm
from edgesbc.dispatch.health import Order, State
from edgesbc.dispatch.leases import Lease, Leases
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.sets import SetSettings

__all__ = ["Dispatcher", "Probe"]


class Probe:
    """An OPTIONS that is to be sent to ``member``; ``serial`` tells it from earlier and later ones."""

    __slots__ = ("member", "serial")

    def __init__(self, member: Member, serial: int) -> None:
        self.member = member
        self.serial = serial


class _Set:
    """A destination set while the edge runs: members, and an algorithm for each priority."""

    __slots__ = ("groups", "members", "settings")

    def __init__(self, settings: SetSettings, members: list[Member], random: Callable[[], float]) -> None:
        self.settings = settings
        self.members = members
        self.groups: list[Algorithm] = [
            ALGORITHMS[settings.algorithm]([m for m in members if m.settings.priority == number], random)
            for number in sorted({m.settings.priority for m in members})
        ]

    def panics(self) -> bool:
        """Whether so few members are up that the fault is more likely ours than theirs."""
        wanted = up = 0
        for member in self.members:
            if member.order is Order.ENABLED:
                wanted += 1
                up += member.health.up
        return up * 100 <= self.settings.health.panic * wanted


class Dispatcher:
    """All destination sets of a policy. Times are seconds on the plane's monotonic clock.

    ``random`` gives numbers in [0, 1), for jitter and for algorithms that draw; ``record`` is told of
    every change of a member's state.
    """

    def __init__(
        self,
        sets: Iterable[SetSettings],
        random: Callable[[], float],
        now: float,
        record: Callable[[Decision], None] = lambda decision: None,
    ) -> None:
        self._random = random
        self._record = record
        self._leases = Leases()
        self._deadlines = Deadlines()
        self._serial = 0
        self._sets: dict[str, _Set] = {}
        self._by_address: dict[tuple[str, int, Transport], Member] = {}
        self.reload(sets, now)

    # --- choosing -------------------------------------------------------------------------------------

    @property
    def leases(self) -> int:
        """Live leases in all, those of members that a reload took away included."""
        return self._leases.live

    def settings(self, set_name: str) -> SetSettings:
        """The settings of a set, for its ``failover_on`` and ``try_timeout``. KeyError: no such set."""
        return self._sets[set_name].settings

    def acquire(
        self, set_name: str, now: float, exclude: Collection[Member] = (), key: bytes | str | None = None
    ) -> Lease | None:
        """A place at the next member of ``set_name``, or None when no member is able; see :meth:`acquire_all`."""
        leases = self.acquire_all(set_name, now, exclude, key, 1)
        return leases[0] if leases else None

    def acquire_all(
        self, set_name: str, now: float, exclude: Collection[Member], key: bytes | str | None, most: int
    ) -> list[Lease]:
        """Places at the members that a request is sent to at once: several, up to ``most``, with ``broadcast`` only.

        The lowest priority number that has an able member decides; ``exclude`` are the members that this
        request has tried; ``key`` is what ``hash`` goes by. Empty when no member is able. KeyError: no
        such set.
        """
        chosen_set = self._sets[set_name]
        panic: bool | None = None

        def able(member: Member) -> bool:
            nonlocal panic
            if member.order is not Order.ENABLED or member in exclude or not member.has_room(now):
                return False
            if member.health.up:
                return True
            if panic is None:
                panic = chosen_set.panics()
            return panic

        key_bytes = key.encode(errors="surrogateescape") if isinstance(key, str) else key or b""
        for group in chosen_set.groups:
            leases = []
            for member in group.choose_all(able, key_bytes, most):
                member.starts.append(now)
                leases.append(Lease(member, self._leases, now))
            if leases:
                return leases
        return []

    # --- evidence from live traffic -------------------------------------------------------------------

    def succeeded(self, member: Member, now: float) -> None:
        """``member`` answered live traffic."""
        self._weigh(member, now, None)

    def failed(self, member: Member, now: float, why: str) -> None:
        """Live traffic shows that ``member`` is not well: silence, a transport error, a 503 of its own.

        Not for answers that a caller can provoke, or callers could take members out.
        """
        was = member.health.state
        self._weigh(member, now, why)
        if member.health.state is not was and not member.probe:
            self._schedule(member, now)  # a changed state is probed sooner, or rests

    # --- probes ---------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` next has something to do."""
        return self._deadlines.next()

    def expire(self, now: float) -> list[Probe]:
        """Count the probes that got no answer in time, and give out those that are to be sent now."""
        probes = []
        for item in self._deadlines.pop_due(now):
            member = cast(Member, item)
            if member.probe:
                self._finish_probe(member, now, f"no answer in {member.health.settings.timeout:g} s")
            elif member.health.settings.interval:
                self._serial += 1
                member.probe = self._serial
                self._deadlines.schedule(member, now + member.health.settings.timeout)
                probes.append(Probe(member, self._serial))
            else:
                was = member.state
                member.health.try_again()
                self._report(member, was, now, f"{member.health.settings.retry:g} s of rest")
        return probes

    def probe_answered(self, probe: Probe, status: int, now: float) -> None:
        """The final answer to a probe; one that is late, or was answered before, counts for nothing."""
        if probe.serial == probe.member.probe:
            bad = status in probe.member.health.settings.failed_on
            self._finish_probe(probe.member, now, f"OPTIONS answered {status}" if bad else None)

    def probe_failed(self, probe: Probe, now: float) -> None:
        """A probe could not be sent, or its transaction timed out."""
        if probe.serial == probe.member.probe:
            self._finish_probe(probe.member, now, "OPTIONS failed")

    def _finish_probe(self, member: Member, now: float, failure: str | None) -> None:
        member.probe = 0
        self._weigh(member, now, failure)
        self._schedule(member, now)

    def _weigh(self, member: Member, now: float, failure: str | None) -> None:
        was = member.state
        if failure is None:
            member.health.good()
        else:
            member.health.bad()
        self._report(member, was, now, failure or "it answers")

    def _schedule(self, member: Member, now: float) -> None:
        """Set the time of the next probe: soon while in doubt, else at the interval; with jitter."""
        health = member.health
        wait: float | None
        if member.removed or member.order is Order.DISABLED:
            wait = None
        elif health.settings.interval:
            steady = health.state is State.ACTIVE
            wait = health.settings.interval if steady else min(health.settings.interval, health.settings.timeout)
            wait *= 0.9 + 0.2 * self._random()
        else:
            wait = health.settings.retry if health.state is State.INACTIVE else None
        self._deadlines.schedule(member, None if wait is None else now + wait)

    def _report(self, member: Member, was: State, now: float, why: str) -> None:
        if member.state is not was and not member.removed:
            detail = f"{member.set_name} {member.name}: {was} to {member.state}: {why}"
            self._record(Decision(now, Reason.HEALTH, source=str(member.target), stage="dispatch", detail=detail))

    # --- the operator ---------------------------------------------------------------------------------

    def order(self, member: Member, order: Order, now: float) -> None:
        """Enable, drain or disable a member. Its live calls stay; a disabled one is not probed."""
        was = member.state
        member.order = order
        if order is Order.DISABLED:
            member.probe = 0
        if not member.probe:
            self._schedule(member, now)
        self._report(member, was, now, "by order of the operator")

    # --- looking up -----------------------------------------------------------------------------------

    def members(self) -> Iterator[Member]:
        """Every member of every set, in the order of the policy."""
        return (member for each in self._sets.values() for member in each.members)

    def member_at(self, source: Source, transport: Transport) -> Member | None:
        """The member whose address ``source`` is, over ``transport``; the first, when sets share it."""
        return self._by_address.get((source.host, source.port, transport))

    # --- changing -------------------------------------------------------------------------------------

    def reload(self, sets: Iterable[SetSettings], now: float) -> None:
        """Put ``sets`` in the place of those before.

        A member is the same when its set and its URI are; it keeps load, health and the operator's order.
        One that is gone takes no new call, and its live leases end when their calls do.
        """
        before = {(member.set_name, member.name): member for member in self.members()}
        fresh = []
        self._sets = {}
        for settings in sets:
            members = []
            for wanted in settings.members:
                member = before.pop((settings.set, wanted.uri), None)
                if member is None:
                    member = Member(settings.set, wanted, settings.health)
                    fresh.append(member)
                elif member.health.settings != settings.health:
                    member.adopt(wanted, settings.health)
                    self._schedule(member, now)
                    member.probe = 0  # asked under other rules; its answer no longer counts
                else:
                    member.adopt(wanted, settings.health)
                members.append(member)
            self._sets[settings.set] = _Set(settings, members, self._random)
        for member in before.values():
            member.removed = True
            member.probe = 0
            self._deadlines.schedule(member, None)
        for member in fresh:
            if member.health.settings.interval:
                # The first probe comes soon, but not all at once.
                wait = min(member.health.settings.interval, 1.0) * self._random()
                self._deadlines.schedule(member, now + wait)
        self._by_address = {(*member.target, member.transport): member for member in reversed(list(self.members()))}
