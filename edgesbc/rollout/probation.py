"""Whether a change of the policy made call set-ups fail: a judgement of counts, without I/O and without a clock."""

from __future__ import annotations

import enum
from typing import TypedDict

import attrs

from edgesbc.policy.model import ChangeSettings
from edgesbc.signalling.statistics import CallAttempts, Tally

__all__ = ["CallCounts", "Probation", "ProbationAnswer", "ProbationVerdict", "expected_share"]


class ProbationVerdict(enum.Enum):
    """What the counts say of a change."""

    OPEN = "open"
    """Too few calls or too little time so far."""
    PASSED = "passed"
    """Its time is over, and no more calls fail than before."""
    FAILED = "failed"
    """More calls fail than before."""


class CallCounts(TypedDict):
    """Calls that began in a time, and those of them that failed."""

    begun: int
    failed: int


class ProbationAnswer(TypedDict):
    """A probation for JSON. ``left`` and ``settle`` are seconds."""

    left: float
    settle: float
    before: CallCounts
    since: CallCounts
    settings: dict[str, float]


def expected_share(before: Tally, least: int) -> float:
    """The share of failed calls to compare with, in percent.

    Where ``before`` has fewer than ``least`` calls, half of the missing ones count as failed: after a quiet night a few
    busy phones say nothing against a change, and a change after which every call fails is still found.
    """
    missing = max(least - before.begun, 0)
    return 100.0 * (before.failed + missing / 2) / (before.begun + missing) if before.begun + missing else 0.0


class Probation:
    """The counts of a change that is in force since ``began``; times are seconds on the clock of ``attempts``.

    The change is compared with the calls that began in an equally long time before it. What began before
    ``not_before``, when the policy changed the last time, is left out.
    """

    __slots__ = ("_attempts", "_low", "began", "settings")

    def __init__(self, settings: ChangeSettings, attempts: CallAttempts, began: float, not_before: float) -> None:
        self.settings = settings
        self.began = began
        self._attempts = attempts
        self._low = max(began - settings.settle, not_before)

    @property
    def ends(self) -> float:
        return self.began + self.settings.settle

    @property
    def before(self) -> Tally:
        """Calls before the change, as known now: one that was ringing at the change may have failed since."""
        return self._attempts.tally(self._low, self.began)

    @property
    def since(self) -> Tally:
        """Calls since the change."""
        return self._attempts.tally(self.began)

    @property
    def rise(self) -> float:
        """Percent points by which more calls fail than expected; negative: fewer."""
        return self.since.share - expected_share(self.before, self.settings.least_calls)

    def judge(self, now: float) -> ProbationVerdict:
        if self.since.begun >= self.settings.least_calls and self.rise > self.settings.failure_rise:
            return ProbationVerdict.FAILED
        return ProbationVerdict.PASSED if now >= self.ends else ProbationVerdict.OPEN

    @property
    def summary(self) -> str:
        """The counts in a sentence."""
        before, since = self.before, self.since
        return f"{since.failed} of {since.begun} calls failed since, {before.failed} of {before.begun} before"

    def as_json(self, now: float) -> ProbationAnswer:
        before, since = self.before, self.since
        return {
            "left": max(self.ends - now, 0.0),
            "settle": self.settings.settle,
            "before": {"begun": before.begun, "failed": before.failed},
            "since": {"begun": since.begun, "failed": since.failed},
            "settings": attrs.asdict(self.settings),
        }
