"""CallStatistics: how calls ended, how many attempts failed, and how long set-up took."""

from __future__ import annotations

from edgesbc.base.counts import Counts, Histogram
from edgesbc.signalling.call_attempts import CallAttempts

__all__ = ["CallStatistics"]

_SET_UP_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class CallStatistics:
    """``outcomes`` counts calls by (outcome,), ``set_up`` the seconds from INVITE to 200; ``attempts`` serves
    the probation of a new policy."""

    __slots__ = ("attempts", "outcomes", "set_up")

    def __init__(self) -> None:
        self.outcomes = Counts()
        self.attempts = CallAttempts()
        self.set_up = Histogram(_SET_UP_BOUNDS)
