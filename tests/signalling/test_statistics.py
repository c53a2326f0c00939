"""Counts of call attempts: by the time of their start, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.signalling.statistics import CallAttempts, Tally


def test_a_failure_counts_where_its_call_began() -> None:
    attempts = CallAttempts()
    attempts.count_begun(10.0)
    attempts.count_begun(10.5)
    attempts.start_slice(11.0)
    attempts.count_begun(11.0)
    attempts.count_failed(10.5)  # it was ringing when the policy changed
    assert attempts.tally(0.0, 11.0) == Tally(2, 1)
    assert attempts.tally(11.0) == Tally(1, 0)
    attempts.count_failed(11.0)
    assert attempts.tally(11.0) == Tally(1, 1)


def test_a_call_that_is_refused_at_once_is_a_failed_attempt() -> None:
    attempts = CallAttempts()
    attempts.count_begun(1.0)
    attempts.count_refused(1.2)
    assert attempts.tally(0.0) == Tally(2, 1)
    assert attempts.tally(0.0).share == 50.0
    assert Tally(0, 0).share == 0.0


def test_attempts_from_too_long_ago_are_dropped() -> None:
    attempts = CallAttempts()
    attempts.count_begun(0.0)
    attempts.count_begun(limits.ATTEMPTS_SECONDS + 1)
    attempts.count_failed(0.0)
    assert attempts.tally(0.0) == Tally(1, 0)


def test_the_slices_are_bounded() -> None:
    attempts = CallAttempts()
    for number in range(3 * limits.ATTEMPTS_SLICES):
        attempts.count_begun(float(number))
    assert len(attempts) <= limits.ATTEMPTS_SECONDS / limits.ATTEMPTS_SLICE_SECONDS + 1
    for number in range(3 * limits.ATTEMPTS_SLICES):
        attempts.start_slice(limits.ATTEMPTS_SLICES * 3 + number / 1e6)
    assert len(attempts) == limits.ATTEMPTS_SLICES


@given(st.lists(st.tuples(st.floats(0.001, 3), st.sampled_from(["answered", "failed", "refused"])), max_size=60))
def test_a_new_slice_divides_all_calls_into_earlier_and_later_ones(calls: list[tuple[float, str]]) -> None:
    attempts, now, begun, at = CallAttempts(), 100.0, [], 0.0
    for number, (wait, outcome) in enumerate(calls):
        now += wait
        if number == len(calls) // 2:
            at = now
            attempts.start_slice(now)
        if outcome == "refused":
            attempts.count_refused(now)
        else:
            attempts.count_begun(now)
        begun.append((now, outcome))
    for began, outcome in begun:
        if outcome == "failed":
            attempts.count_failed(began)
    half = len(calls) // 2
    for part, tally in ((begun[:half], attempts.tally(0.0, at)), (begun[half:], attempts.tally(at))):
        if calls:
            assert tally == Tally(len(part), sum(outcome != "answered" for _, outcome in part))


@pytest.mark.parametrize("share", [(0, 0), (3, 4)])
def test_a_share_is_in_percent(share: tuple[int, int]) -> None:
    failed, begun = share
    assert Tally(begun, failed).share == (75.0 if begun else 0.0)
