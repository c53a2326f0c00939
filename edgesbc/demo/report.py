"""The report of the demo: results of calls and metrics of the edge, and the failures in them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import attrs

from edgesbc.demo.result import CallResult

__all__ = ["DETECTION_SECONDS", "DemoReport", "FloodReport", "percentile"]

DETECTION_SECONDS = 3.0
"""For this many seconds after a kill, calls may be sent to the dead PBX: two probes fail, a second apart."""
_SHOWN_FAILURES = 10


@attrs.frozen
class FloodReport:
    """The figures of the attacker; times are in seconds of the system's monotonic clock."""

    began: float
    ended: float
    sent: int
    answered: int
    """INVITEs that got any response."""

    @property
    def rate(self) -> float:
        return self.sent / max(self.ended - self.began, 1e-9)


def percentile(values: Iterable[float], share: float) -> float | None:
    """The nearest-rank percentile; None if there are no values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


@attrs.frozen
class DemoReport:
    """The results of one run of the demo."""

    planned: Mapping[str, int]
    """Calls to be placed, by group."""
    results: Mapping[str, Sequence[CallResult]]
    flood: FloodReport
    dropped: Counter[str]
    """Messages that the edge refused during the flood, by reason."""
    bans: int
    killed: str
    """The name of the PBX that was killed."""
    killed_at: float
    failovers: int
    """Calls that the edge sent on to another destination."""
    calls_left: int
    ports_left: int
    transactions_left: int
    exit_code: int = 0
    """The exit code of the edge."""

    # --- calls -------------------------------------------------------------------------------------------

    @property
    def all_results(self) -> list[CallResult]:
        return [result for results in self.results.values() for result in results]

    def completed(self, group: str) -> int:
        return sum(result.completed for result in self.results.get(group, ()))

    def verified(self, group: str) -> int:
        return sum(result.verified for result in self.results.get(group, ()))

    def is_cut(self, result: CallResult) -> bool:
        """Whether the killed PBX had the call, which its tag shows, when it was killed."""
        answered_by_killed = result.answered is not None and result.to_tag.startswith(f"{self.killed}-")
        return answered_by_killed and result.placed <= self.killed_at <= result.ended and not result.completed

    def cut(self, group: str) -> list[CallResult]:
        return [result for result in self.results.get(group, ()) if self.is_cut(result)]

    # --- times -------------------------------------------------------------------------------------------

    def set_ups(self, during: bool) -> list[float]:
        """The set-up times, in seconds, of the trunk's calls placed during the flood, or before it."""
        return [
            result.set_up
            for result in self.results.get("trunk", ())
            if result.set_up is not None
            and (self.flood.began <= result.placed <= self.flood.ended if during else result.placed < self.flood.began)
        ]

    def failover(self) -> float | None:
        """The longest set-up time, in seconds, of answered calls that may have been sent to the dead PBX first.

        The edge hides from callers which ones were, so this is an upper bound of the true time.
        """
        set_ups = [
            result.set_up
            for result in self.all_results
            if result.set_up is not None
            and result.answered is not None
            and result.answered > self.killed_at
            and result.placed < self.killed_at + DETECTION_SECONDS
        ]
        return max(set_ups, default=None)

    # --- the flood ---------------------------------------------------------------------------------------

    @property
    def dropped_in_kernel(self) -> int:
        """Packets that never reached the edge's process: the number sent, minus those refused and those answered."""
        return max(0, self.flood.sent - self.dropped.total() - self.flood.answered)

    # --- the verdict -------------------------------------------------------------------------------------

    def failures(self) -> list[str]:
        """Every failure as a sentence; empty if there is none."""
        failures = list(self._failed_calls())
        hidden = len(failures) - _SHOWN_FAILURES
        if hidden > 0:
            failures[_SHOWN_FAILURES:] = [f"and {hidden} more calls failed"]
        for noun, left in (
            ("calls", self.calls_left), ("media ports", self.ports_left), ("transactions", self.transactions_left),
        ):  # fmt: skip
            if left:
                failures.append(f"{left} {noun} are left over")
        if self.exit_code:
            failures.append(f"the edge ended with code {self.exit_code}")
        return failures

    def _failed_calls(self) -> Iterable[str]:
        for group, planned in self.planned.items():
            results = self.results.get(group, ())
            if len(results) != planned:
                yield f"{group}: {planned} calls were to be placed, {len(results)} have a result"
            for result in results:
                if self.is_cut(result):
                    if not result.hung_up and not result.bye_status:
                        yield f"{group}: call {result.call_id} was cut by the kill and its BYE was never answered"
                elif not result.completed:
                    yield f"{group}: call {result.call_id}, {self._when(result)}: {result.problem}"

    def _when(self, result: CallResult) -> str:
        return f"placed {result.placed - self.flood.began:+.2f} s from the flood's begin"
