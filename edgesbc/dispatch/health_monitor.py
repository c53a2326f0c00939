"""The health monitor: schedules OPTIONS probes to members, and counts the results of probes and live traffic."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable

from edgesbc.base.deadlines import Deadlines
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.health import AdminState, Evidence, MemberState
from edgesbc.dispatch.member import Member

__all__ = ["HealthMonitor", "Probe"]


class Probe:
    """An OPTIONS to send to ``member``; ``serial`` identifies it among the probes of the member."""

    __slots__ = ("member", "serial")

    def __init__(self, member: Member, serial: int) -> None:
        self.member = member
        self.serial = serial


class HealthMonitor:
    """Monitors the members of all sets. The core sends the probes that :meth:`expire` returns, and reports their
    results. Times are seconds on the plane's clock.

    ``random`` returns numbers in [0, 1), for jitter; ``record`` takes a decision for every change of a member's state;
    ``changed`` is called after it with (was enabled, was up, member).
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

    # --- monitored members -------------------------------------------------------------------------------

    def start(self, members: Collection[Member], now: float) -> None:
        """Monitor members that were added. Their first probes are spread over up to a second."""
        for member in members:
            interval = member.health.settings.interval
            if not interval:
                self._schedule(member, now)  # a member added again may be INACTIVE, and is then tried after `retry`
            elif member.admin_state is not AdminState.DISABLED:
                self._deadlines.schedule(member, now + min(interval, 1.0) * self._random())

    def restart(self, members: Collection[Member], now: float) -> None:
        """Schedule members whose settings changed; a response to a pending probe no longer counts."""
        for member in members:
            member.probe = 0
            self._schedule(member, now)

    def stop(self, members: Collection[Member]) -> None:
        """Monitor these members no longer."""
        for member in members:
            member.probe = 0
            self._deadlines.schedule(member, None)

    def set_admin_state(self, member: Member, state: AdminState, now: float, why: str) -> None:
        """Enable, drain or disable a member. Its live calls stay; a disabled member is not probed."""
        was, enabled, up = member.state, member.admin_state is AdminState.ENABLED, member.health.up
        member.admin_state = state
        if state is AdminState.DISABLED:
            member.probe = 0
        if not member.probe:
            self._schedule(member, now)
        self._report(member, was, enabled, up, now, why)

    # --- evidence from live traffic -------------------------------------------------------------------

    def succeeded(self, member: Member, now: float, repeated: bool = False) -> None:
        """``member`` responded to live traffic; ``repeated``: it had responded to the same request before."""
        if not repeated:
            member.health.refusals.accepted(now)
        self._count(member, now, None, Evidence.TRAFFIC)

    def refused(self, member: Member, status: int, now: float, caller: Hashable, number: Hashable) -> None:
        """``member`` refused a call of ``caller`` to ``number`` with a status of ``refused_on``."""
        health = member.health
        member.failures[Evidence.REFUSAL] += 1
        if "refusals" not in health.settings.counts:
            return
        was, enabled, up = member.state, member.admin_state is AdminState.ENABLED, health.up
        why = health.refused(now, caller, number)
        if why:
            why += f", the last with {status}"
            member.failure, member.failed = why, now
            self._report(member, was, enabled, up, now, why)
            if not member.probe:
                self._schedule(member, now, soon=True)

    def failed(
        self,
        member: Member,
        now: float,
        why: str,
        caller: Hashable = None,
        kind: str = "silence",
        of_many: bool = False,
    ) -> None:
        """Live traffic failed at ``member``: no response, or a transport error.

        A server may also ignore malformed requests, or all to one number: ``caller`` is the sender, or with ``of_many``
        the number, that may be the reason, and all failures of one caller count once. ``kind`` is the word in
        ``counts`` that says whether it counts.
        """
        was = member.health.state
        self._count(member, now, why, Evidence.TRAFFIC, caller, kind, of_many)
        if member.health.state is not was and not member.probe:
            self._schedule(member, now, soon=True)  # confirm the new state by an early probe

    # --- probes ---------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is next to be called; None: not until something else happens."""
        return self._deadlines.next()

    def expire(self, now: float) -> list[Probe]:
        """Count the probes without a response in time as failures, and return those to send now."""
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
                self._try_again(member, now)
        return probes

    def _try_again(self, member: Member, now: float) -> None:
        """Use a member again that has been inactive for ``retry`` seconds."""
        health = member.health
        was, enabled, up = member.state, member.admin_state is AdminState.ENABLED, health.up
        health.try_again(now)
        self._report(member, was, enabled, up, now, f"{health.settings.retry:g} s of rest")

    def probe_answered(self, probe: Probe, status: int, now: float) -> None:
        """The final response to a probe. A late or repeated one is ignored."""
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

    def probe_not_sent(self, probe: Probe, now: float) -> None:
        """A probe was not sent, for a reason that shows nothing about its member: the next one tells."""
        if probe.serial == probe.member.probe:
            probe.member.probe = 0
            self._schedule(probe.member, now)

    def _finish(self, member: Member, now: float, failure: str | None) -> None:
        member.probe = 0
        self._count(member, now, failure, Evidence.PROBE)
        self._schedule(member, now)

    def _count(
        self,
        member: Member,
        now: float,
        failure: str | None,
        evidence: Evidence,
        caller: Hashable = None,
        kind: str = "probes",
        of_many: bool = False,
    ) -> None:
        was, enabled, up = member.state, member.admin_state is AdminState.ENABLED, member.health.up
        if failure is None:
            member.health.good(now, evidence)
        else:
            member.failures[evidence] += 1
            member.failure, member.failed = failure, now
            if kind not in member.health.settings.counts:
                since, retry = member.health.since, member.health.settings.retry
                if evidence is Evidence.PROBE and since is not None and now - since >= retry:
                    self._try_again(member, now)  # otherwise a member that never answers OPTIONS would stay out
                return
            member.health.bad(now, evidence, caller, of_many)
        self._report(member, was, enabled, up, now, failure or "it answers")

    def _schedule(self, member: Member, now: float, soon: bool = False) -> None:
        """Set the time of the next probe, with jitter: the interval, or sooner after a failed probe or with
        ``soon``."""
        health = member.health
        wait: float | None
        if member.removed or member.admin_state is AdminState.DISABLED:
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
