"""Whether a change of the policy made call set-ups fail: a judgement of counts. Knows no clock, and changes nothing."""

from __future__ import annotations

import enum
from typing import Any

import attrs

from edgesbc.policy.model import ChangeSettings
from edgesbc.signalling.call_attempts import CallAttempts, Tally

__all__ = ["Probation", "ProbationState", "expected_share"]


class ProbationState(enum.StrEnum):
    """Where a change stands."""

    SETTLING = "settling"
    SETTLED = "settled"
    WORSE = "worse"
    """More calls fail than before; it is to be taken back."""


def expected_share(before: Tally, least: int) -> float:
    """The share of failed calls to compare with, in percent.

    What ``before`` lacks to ``least`` calls counts as failed by half: after a quiet night, some busy phones are no
    proof against a change, and nothing but failures is.
    """
    missing = max(least - before.begun, 0)
    return 100.0 * (before.failed + missing / 2) / (before.begun + missing) if before.begun + missing else 0.0


class Probation:
    """Watches a change that was put in force at ``began``; times are seconds on the clock of ``attempts``.

    It is compared with what began in as long a time before it, though with nothing from before ``not_before``,
    when the policy changed the last time.
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
        """As it is known now: a call that was ringing at the change may have failed since."""
        return self._attempts.tally(self._low, self.began)

    @property
    def since(self) -> Tally:
        return self._attempts.tally(self.began)

    @property
    def rise(self) -> float:
        """Percent points by which more calls fail than before; less than 0: fewer do."""
        return self.since.share - expected_share(self.before, self.settings.least_calls)

    def state(self, now: float) -> ProbationState:
        if self.since.begun >= self.settings.least_calls and self.rise > self.settings.failure_rise:
            return ProbationState.WORSE
        return ProbationState.SETTLED if now >= self.ends else ProbationState.SETTLING

    @property
    def words(self) -> str:
        """The counts, to a person."""
        before, since = self.before, self.since
        return f"{since.failed} of {since.begun} calls failed since, {before.failed} of {before.begun} before"

    def as_json(self, now: float) -> dict[str, Any]:
        return {
            "left": max(self.ends - now, 0.0),
            "settle": self.settings.settle,
            "before": self.before._asdict(),
            "since": self.since._asdict(),
            "settings": attrs.asdict(self.settings),
        }
