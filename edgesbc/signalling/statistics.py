"""What the core counts of calls: attempts by the time at which they began, outcomes, and what metrics read."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import Final, NamedTuple

from edgesbc.base import limits
from edgesbc.base.counts import Counts, Histogram

__all__ = ["CallAttempts", "CallStatistics", "EdgeCounters", "Tally"]


class Tally(NamedTuple):
    """Attempts at a call that began in a span of time, and those of them that have failed so far.

    A call that still rings has not failed; neither has one that its caller cancelled.
    """

    begun: int
    failed: int

    @property
    def share(self) -> float:
        """Failed attempts in percent; 0 if there were no attempts."""
        return 100.0 * self.failed / self.begun if self.begun else 0.0


class _Slice:
    __slots__ = ("begun", "failed", "start")

    def __init__(self, start: float) -> None:
        self.start = start
        self.begun = 0
        self.failed = 0


class CallAttempts:
    """Call attempts by slices of time. Times are seconds on the plane's clock, which never goes back.

    A failure counts in the slice in which its call began: so a call that was ringing when the policy changed
    does not count against the new policy.
    """

    __slots__ = ("_slices",)

    def __init__(self) -> None:
        self._slices: deque[_Slice] = deque()

    def __len__(self) -> int:
        return len(self._slices)

    def count_begun(self, now: float) -> None:
        """The set-up of a call begins at ``now``."""
        self._current(now).begun += 1

    def count_failed(self, began: float) -> None:
        """A call that began at ``began`` was not answered, and its caller has not cancelled it."""
        position = bisect_right(self._slices, began, key=lambda piece: piece.start)
        if position:  # otherwise it began before the first slice that is kept
            self._slices[position - 1].failed += 1

    def count_refused(self, now: float) -> None:
        """A call was refused before it was opened."""
        current = self._current(now)
        current.begun += 1
        current.failed += 1

    def start_slice(self, now: float) -> None:
        """Begin a new slice: calls that begin from now on are told apart from those that began before."""
        self._slices.append(_Slice(now))
        self._forget(now)

    def tally(self, low: float, high: float = float("inf")) -> Tally:
        """The attempts in the slices that begin from ``low`` on and before ``high``."""
        within = [piece for piece in self._slices if low <= piece.start < high]
        return Tally(sum(piece.begun for piece in within), sum(piece.failed for piece in within))

    def _current(self, now: float) -> _Slice:
        if not self._slices or now - self._slices[-1].start >= limits.ATTEMPTS_SLICE_SECONDS:
            self.start_slice(now)
        return self._slices[-1]

    def _forget(self, now: float) -> None:
        while self._slices[0].start < now - limits.ATTEMPTS_SECONDS or len(self._slices) > limits.ATTEMPTS_SLICES:
            self._slices.popleft()


_SET_UP_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class CallStatistics:
    """``outcomes`` counts calls by (outcome,), ``set_up`` the seconds from INVITE to 200; ``attempts`` serves
    the probation of a new policy."""

    __slots__ = ("attempts", "outcomes", "set_up")

    def __init__(self) -> None:
        self.outcomes = Counts()
        self.attempts = CallAttempts()
        self.set_up = Histogram(_SET_UP_BOUNDS)


class EdgeCounters:
    """The counters of signalling, which go on when the policy changes. The comment behind each names its labels."""

    __slots__ = (
        "malformed", "outcomes", "requests", "responses", "screened", "screened_shadow", "set_up",
        "shadow_differences",
    )  # fmt: skip

    def __init__(
        self,
        responses: Counts,
        outcomes: Counts,
        set_up: Histogram,
        screened: Counts,
        screened_shadow: Counts,
        shadow_differences: Counts,
    ) -> None:
        self.requests: Final = Counts()  # listener, method; without retransmissions
        self.responses: Final = responses  # zone, class
        self.malformed: Final = Counts()  # messages that could not be parsed
        self.outcomes: Final = outcomes  # of calls: outcome
        self.set_up: Final = set_up  # seconds from INVITE to 200
        self.screened: Final = screened  # stage, reason
        self.screened_shadow: Final = screened_shadow  # stage, reason; of verdicts that were not carried out
        self.shadow_differences: Final = shadow_differences  # live verdict, the shadow policy's
