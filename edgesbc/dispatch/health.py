"""Whether a member is believed to be alive: a small table of states. Sends no probe and waits for nothing."""

from __future__ import annotations

import enum

from edgesbc.dispatch.sets import HealthSettings

__all__ = ["Health", "Order", "State"]


class State(enum.StrEnum):
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


class Order(enum.Enum):
    """What the operator wants of a member, whatever its health is."""

    ENABLED = None
    DRAINING = State.DRAINING
    DISABLED = State.DISABLED


class Health:
    """Evidence about one member, counted in a row.

    ::

        state      good                         bad
        ACTIVE     ACTIVE                       TRYING, or INACTIVE when fall is 1
        TRYING     ACTIVE                       TRYING, INACTIVE with the fall-th in a row
        INACTIVE   ACTIVE with the rise-th      INACTIVE
                   in a row
    """

    __slots__ = ("failures", "settings", "state", "successes")

    def __init__(self, settings: HealthSettings) -> None:
        self.settings = settings
        self.state = State.ACTIVE
        self.failures = 0
        self.successes = 0

    @property
    def up(self) -> bool:
        return self.state is not State.INACTIVE

    def good(self) -> None:
        """Count one sign of life: a good answer to a probe, or an answer to live traffic."""
        self.failures = 0
        if self.state is State.INACTIVE:
            self.successes += 1
            if self.successes < self.settings.rise:
                return
        self.successes = 0
        self.state = State.ACTIVE

    def bad(self) -> None:
        """Count one failure: silence, a transport error, or an answer of ``failed_on``."""
        self.successes = 0
        if self.state is State.INACTIVE:
            return
        self.failures += 1
        self.state = State.INACTIVE if self.failures >= self.settings.fall else State.TRYING

    def try_again(self) -> None:
        """Let live traffic decide about a member that is out; one more failure takes it out again."""
        if self.state is State.INACTIVE:
            self.state = State.TRYING
            self.failures = self.settings.fall - 1
