"""An eye on who is alive: probes when they are due, and evidence from live traffic. Sends nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable

from edgesbc.base.deadlines import Deadlines
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.health import AdminState, Evidence, MemberState
from edgesbc.dispatch.member import Member

__all__ = ["HealthMonitor", "Probe"]


class Probe:
    """An OPTIONS that is to be sent to ``member``; ``serial`` tells it from earlier and later ones."""

    __slots__ = ("member", "serial")

    def __init__(self, member: Member, serial: int) -> None:
        self.member = member
        self.serial = serial


class HealthMonitor:
    """Probes are values that the core carries out and reports back on. Times are seconds on the plane's clock.

    ``random`` gives numbers in [0, 1), for jitter; ``record`` is told of every change of a member's state, and
    ``changed`` of a change of whether it is enabled and up, with what that was.
    """

    __slots__ = ("_changed", "_deadlines", "_random", "_record", "_serial")

    def __init__(
        self,
        random: Callable[[], float],
        record: Callable[[Decision], None],
        changed: Callable[[bool, bool, Member], None],
    ) -> None:
        self._random = random
        self._record = record
        self._changed = changed
        self._deadlines: Deadlines[Member] = Deadlines()
        self._serial = 0

    # --- who is watched ----------------------------------------------------------------------------------

    def start(self, members: Collection[Member], now: float) -> None:
        """Watch members that are new, or put back. The first probes come soon, but not all at once."""
        for member in members:
            interval = member.health.settings.interval
            if not interval:
                self._schedule(member, now)  # who was out when it was taken away is tried again all the same
            elif member.order is not AdminState.DISABLED:
                self._deadlines.schedule(member, now + min(interval, 1.0) * self._random())

    def again(self, members: Collection[Member], now: float) -> None:
        """These are judged by other rules now; an answer to what they were asked before no longer counts."""
        for member in members:
            member.probe = 0
            self._schedule(member, now)

    def stop(self, members: Collection[Member]) -> None:
        for member in members:
            member.probe = 0
            self._deadlines.schedule(member, None)

    def order(self, member: Member, order: AdminState, now: float, why: str) -> None:
        """Enable, drain or disable a member. Its live calls stay; a disabled one is not probed."""
        was, enabled, up = member.state, member.order is AdminState.ENABLED, member.health.up
        member.order = order
        if order is AdminState.DISABLED:
            member.probe = 0
        if not member.probe:
            self._schedule(member, now)
        self._report(member, was, enabled, up, now, why)

    # --- evidence from live traffic -------------------------------------------------------------------

    def succeeded(self, member: Member, now: float) -> None:
        """``member`` answered live traffic."""
        self._weigh(member, now, None, Evidence.TRAFFIC)

    def failed(self, member: Member, now: float, why: str, caller: Hashable = None) -> None:
        """Live traffic shows that ``member`` is not well: silence, a transport error, a 503 of its own.

        Not for answers that a caller can provoke. A server may also be silent to what it does not like: ``caller`` is
        who may have brought that about, and however often it calls, it is one voice.
        """
        was = member.health.state
        self._weigh(member, now, why, Evidence.TRAFFIC, caller)
        if member.health.state is not was and not member.probe:
            self._schedule(member, now, soon=True)  # a changed state is probed sooner, or rests

    # --- probes ---------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` next has something to do."""
        return self._deadlines.next()

    def expire(self, now: float) -> list[Probe]:
        """Count the probes that got no answer in time, and give out those that are to be sent now."""
        probes = []
        for member in self._deadlines.pop_due(now):
            if member.probe:
                self._finish(member, now, f"no answer in {member.health.settings.timeout:g} s")
            elif member.health.settings.interval:
                self._serial += 1
                member.probe = self._serial
                member.probed = now
                self._deadlines.schedule(member, now + member.health.settings.timeout)
                probes.append(Probe(member, self._serial))
            else:
                was, enabled, up = member.state, member.order is AdminState.ENABLED, member.health.up
                member.health.try_again(now)
                self._report(member, was, enabled, up, now, f"{member.health.settings.retry:g} s of rest")
        return probes

    def probe_answered(self, probe: Probe, status: int, now: float) -> None:
        """The final answer to a probe; one that is late, or was answered before, counts for nothing."""
        member = probe.member
        if probe.serial == member.probe:
            bad = status in member.health.settings.failed_on
            if not bad:
                member.answered_after(now - member.probed)
            self._finish(member, now, f"OPTIONS answered {status}" if bad else None)

    def probe_failed(self, probe: Probe, now: float) -> None:
        """A probe could not be sent, or its transaction timed out."""
        if probe.serial == probe.member.probe:
            self._finish(probe.member, now, "OPTIONS failed")

    def _finish(self, member: Member, now: float, failure: str | None) -> None:
        member.probe = 0
        self._weigh(member, now, failure, Evidence.PROBE)
        self._schedule(member, now)

    def _weigh(
        self, member: Member, now: float, failure: str | None, evidence: Evidence, caller: Hashable = None
    ) -> None:
        was, enabled, up = member.state, member.order is AdminState.ENABLED, member.health.up
        if failure is None:
            member.health.good(now, evidence)
        else:
            member.failures[evidence] += 1
            member.failure, member.failed = failure, now
            member.health.bad(now, evidence, caller)
        self._report(member, was, enabled, up, now, failure or "it answers")

    def _schedule(self, member: Member, now: float, soon: bool = False) -> None:
        """Set the time of the next probe: soon while probes are in doubt, or when asked; else at the interval; with
        jitter."""
        health = member.health
        wait: float | None
        if member.removed or member.order is AdminState.DISABLED:
            wait = None
        elif health.settings.interval:
            steady = health.up and not health.probes_failed and not soon
            wait = health.settings.interval if steady else min(health.settings.interval, health.settings.timeout)
            wait *= 0.9 + 0.2 * self._random()
        else:
            wait = health.settings.retry if health.state is MemberState.INACTIVE else None
        self._deadlines.schedule(member, None if wait is None else now + wait)

    def _report(self, member: Member, was: MemberState, enabled: bool, up: bool, now: float, why: str) -> None:
        if member.removed or member.state is was:
            return
        member.health.why = why
        self._changed(enabled, up, member)
        detail = f"{member.set_name} {member.name}: {was} to {member.state}: {why}"
        self._record(Decision(now, Reason.HEALTH, source=str(member.target), stage="dispatch", detail=detail))
