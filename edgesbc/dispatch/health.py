"""Whether a member is believed to be alive: a small table of states. Sends no probe and waits for nothing."""

from __future__ import annotations

import enum
from collections.abc import Hashable

from edgesbc.base import limits
from edgesbc.dispatch.settings import HealthSettings

__all__ = ["AdminState", "Evidence", "Health", "MemberState"]


class MemberState(enum.StrEnum):
    """What a member is, as operators and metrics see it."""

    ACTIVE = "active"
    TRYING = "trying"
    """Something failed, or it is tried again after a rest; it still takes calls."""
    INACTIVE = "inactive"
    """``fall`` failures in a row; it takes no calls, unless the set panics."""
    DRAINING = "draining"
    """By order of the operator: calls live on, no new ones."""
    DISABLED = "disabled"
    """By order of the operator: no new calls and no probes."""


class AdminState(enum.Enum):
    """What the operator wants of a member, whatever its health is."""

    ENABLED = None
    DRAINING = MemberState.DRAINING
    DISABLED = MemberState.DISABLED


class Evidence(enum.Enum):
    """Where a sign of life, or of the lack of it, comes from."""

    PROBE = "probe"
    TRAFFIC = "traffic"


class Health:
    """Evidence about one member, counted in a row.

    ::

        state      good                         bad
        ACTIVE     ACTIVE                       TRYING, or INACTIVE when fall is 1
        TRYING     ACTIVE                       TRYING, INACTIVE with the fall-th in a row
        INACTIVE   ACTIVE with the rise-th      INACTIVE
                   in a row

    Probes and calls are counted apart: a member that answers OPTIONS and is silent to INVITE is TRYING with every
    good probe, and INACTIVE after ``fall`` calls all the same. An answered call stands for both. Of one caller that may
    bring about what fails, one failure counts, until a call is answered again.

    A member that goes out soon after it came back flaps: each time, it needs twice as many good answers to come back,
    up to ``limits.DAMPING`` times ``rise``. ``since`` is when it came into its state, ``why`` what brought it there.
    """

    __slots__ = (
        "_back",
        "_callers",
        "calls_failed",
        "needed",
        "probes_failed",
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
        """Good answers that bring it back from being out."""
        self._back: float | None = None  # when it last came back
        self._callers: set[Hashable] = set()  # whose failure is among those of calls, ``fall`` of them at most

    @property
    def up(self) -> bool:
        return self.state is not MemberState.INACTIVE

    def good(self, now: float, evidence: Evidence = Evidence.TRAFFIC) -> None:
        """Count one sign of life: a good answer to a probe, or an answer to live traffic."""
        if self.state is MemberState.INACTIVE:
            self.successes += 1
            if self.successes >= self.needed:
                self._back = now
                self.calls_failed = self.probes_failed = 0
                self._callers.clear()
                self._become(MemberState.ACTIVE, now)
            return
        self.probes_failed = 0
        if evidence is Evidence.TRAFFIC:
            self.calls_failed = 0
            self._callers.clear()
        self._become(MemberState.TRYING if self.calls_failed else MemberState.ACTIVE, now)

    def bad(self, now: float, evidence: Evidence = Evidence.TRAFFIC, caller: Hashable = None) -> None:
        """Count one failure: silence, a transport error, or an answer of ``failed_on``.

        ``caller`` is whose call it was, where that may be who brought it about; None: nobody's doing.
        """
        self.successes = 0
        if self.state is MemberState.INACTIVE:
            return
        if evidence is Evidence.TRAFFIC:
            if caller is None or caller not in self._callers:
                self.calls_failed += 1
            if caller is not None:
                self._callers.add(caller)
        else:
            self.probes_failed += 1
        if max(self.calls_failed, self.probes_failed) < self.settings.fall:
            self._become(MemberState.TRYING, now)
            return
        settings = self.settings
        flaps = self._back is not None and now - self._back < settings.damping
        most = settings.rise * limits.DAMPING
        self.needed = min(self.needed * 2, most) if flaps and self.needed else settings.rise
        self._become(MemberState.INACTIVE, now)

    def try_again(self, now: float) -> None:
        """Let live traffic decide about a member that is out; one more failure takes it out again."""
        if self.state is MemberState.INACTIVE:
            self.calls_failed = self.settings.fall - 1
            self.probes_failed = 0
            self._callers.clear()
            self._back = now
            self._become(MemberState.TRYING, now)

    def _become(self, state: MemberState, now: float) -> None:
        if state is not self.state:
            self.state = state
            self.since = now

    def share(self, now: float) -> float:
        """How much of its share a member gets: less than 1 for ``slow_start`` seconds after it came back."""
        if self._back is None:
            return 1.0
        slow = self.settings.slow_start
        passed = now - self._back
        return 1.0 if passed >= slow else max(passed / slow, limits.SLOW_START_SHARE)
