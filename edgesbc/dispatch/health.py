"""The health of a member: a small state machine over the results of probes and calls."""

from __future__ import annotations

import enum
from collections.abc import Hashable

from edgesbc.base import limits
from edgesbc.dispatch.refusals import Refusals
from edgesbc.dispatch.settings import HealthSettings

__all__ = ["AdminState", "Evidence", "Health", "MemberState"]


class MemberState(enum.StrEnum):
    """The state of a member, as operators and metrics see it."""

    ACTIVE = "active"
    TRYING = "trying"
    """After a failure, or after ``retry`` seconds out of use; it takes calls."""
    INACTIVE = "inactive"
    """After ``fall`` failures in a row; it takes no calls, except while the set is in ``panic``."""
    DRAINING = "draining"
    """Set by the operator: live calls go on, no new ones."""
    DISABLED = "disabled"
    """Set by the operator or the policy: no new calls and no probes."""


class AdminState(enum.Enum):
    """The state that the operator or the policy sets, independent of health."""

    ENABLED = None
    DRAINING = MemberState.DRAINING
    DISABLED = MemberState.DISABLED


class Evidence(enum.Enum):
    """The origin of a success or failure."""

    PROBE = "probe"
    TRAFFIC = "traffic"
    REFUSAL = "refusal"


class Health:
    """The health of one member: successes and failures counted in a row.

    ::

        state      good                         bad
        ACTIVE     ACTIVE                       TRYING, or INACTIVE when fall is 1
        TRYING     ACTIVE                       TRYING, INACTIVE with the fall-th in a row
        INACTIVE   ACTIVE with the rise-th      INACTIVE
                   in a row

    Probes and calls are counted separately: a member that answers OPTIONS but not INVITE is TRYING after a
    good probe, and INACTIVE after ``fall`` calls all the same. An answered call resets both counts. All failures that
    one caller may have provoked count once, until a call is answered again. Those of trunks to one number do too, up to
    ``limits.REPEATED_SILENCES``: all calls may be to one number.

    A refused call is neither good nor bad: it shows that the member is there, and maybe only that its number is out of
    order. A large share of refusals makes the member INACTIVE at once (:class:`Refusals`).

    A member that becomes INACTIVE soon after its return is flapping: each time, it needs twice as many good responses
    to return, up to ``limits.DAMPING`` times ``rise``. ``since`` is when it entered its state, ``why`` the reason.
    """

    __slots__ = (
        "_back",
        "_callers",
        "_repeated",
        "calls_failed",
        "needed",
        "probes_failed",
        "refusals",
        "settings",
        "since",
        "state",
        "successes",
        "why",
    )

    def __init__(self, settings: HealthSettings) -> None:
        self.settings = settings
        self.state = MemberState.ACTIVE
        self.since: float | None = None
        self.why = ""
        self.probes_failed = 0
        self.calls_failed = 0
        self.successes = 0
        self.needed = 0
        """Good responses in a row that make an INACTIVE member ACTIVE."""
        self._back: float | None = None  # when it last returned from INACTIVE
        self._callers: set[Hashable] = set()  # the callers of counted failures, at most ``fall``
        self._repeated = 0  # failures in a row of calls of trunks to a number that has failed before
        self.refusals = Refusals()

    @property
    def up(self) -> bool:
        return self.state is not MemberState.INACTIVE

    def good(self, now: float, evidence: Evidence = Evidence.TRAFFIC) -> None:
        """Count a success: a good response to a probe, or a response to live traffic."""
        if self.state is MemberState.INACTIVE:
            self.successes += 1
            if self.successes >= self.needed:
                self._back = now
                self.calls_failed = self.probes_failed = 0
                self._forget_callers()
                self._become(MemberState.ACTIVE, now)
            return
        self.probes_failed = 0
        if evidence is Evidence.TRAFFIC:
            self.calls_failed = 0
            self._forget_callers()
        self._become(MemberState.TRYING if self.calls_failed else MemberState.ACTIVE, now)

    def bad(
        self, now: float, evidence: Evidence = Evidence.TRAFFIC, caller: Hashable = None, of_many: bool = False
    ) -> None:
        """Count a failure: no response, a transport error, or a response of ``failed_on``.

        ``caller`` identifies the caller if it may have provoked the failure, or with ``of_many`` the number that many
        people called; None if neither may be the reason.
        """
        self.successes = 0
        if self.state is MemberState.INACTIVE:
            return
        if evidence is Evidence.TRAFFIC:
            if caller is None or caller not in self._callers:
                self.calls_failed += 1
            elif of_many:
                self._repeated += 1
                if self._repeated >= limits.REPEATED_SILENCES - 1:
                    self.calls_failed = self.settings.fall
            if caller is not None:
                self._callers.add(caller)
        else:
            self.probes_failed += 1
        if max(self.calls_failed, self.probes_failed) < self.settings.fall:
            self._become(MemberState.TRYING, now)
        else:
            self._fall(now)

    def refused(self, now: float, caller: Hashable, number: Hashable) -> str:
        """A call of ``caller`` to ``number`` was refused.

        Returns why that makes the member INACTIVE, "" if it does not.
        """
        if self.state is MemberState.INACTIVE:
            return ""
        self.refusals.refused(now, caller, number)
        why = self.refusals.verdict(now, self.settings)
        if why:
            self._fall(now)
        return why

    def _fall(self, now: float) -> None:
        settings = self.settings
        self.successes = 0
        self.refusals.clear()
        flaps = self._back is not None and now - self._back < settings.damping
        limit = settings.rise * limits.DAMPING
        self.needed = min(self.needed * 2, limit) if flaps and self.needed else settings.rise
        self._become(MemberState.INACTIVE, now)

    def try_again(self, now: float) -> None:
        """Let an INACTIVE member take calls again; one more failure makes it INACTIVE again."""
        if self.state is MemberState.INACTIVE:
            self.calls_failed = self.settings.fall - 1
            self.probes_failed = 0
            self._forget_callers()
            self._back = now
            self._become(MemberState.TRYING, now)

    def _forget_callers(self) -> None:
        self._callers.clear()
        self._repeated = 0

    def _become(self, state: MemberState, now: float) -> None:
        if state is not self.state:
            self.state = state
            self.since = now

    def share(self, now: float) -> float:
        """The part of its calls that a member gets: less than 1 for ``slow_start`` seconds after its return."""
        if self._back is None:
            return 1.0
        slow = self.settings.slow_start
        passed = now - self._back
        return 1.0 if passed >= slow else max(passed / slow, limits.SLOW_START_SHARE)
