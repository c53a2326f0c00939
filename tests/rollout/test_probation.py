"""Probation judges a change by the share of failed calls before and after it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.policy.model import ChangeSettings
from edgesbc.rollout.probation import Probation, ProbationVerdict, expected_share
from edgesbc.signalling.statistics import CallAttempts, Tally

AT = 1_000.0
SETTINGS = ChangeSettings(settle=60.0, failure_rise=20.0, least_calls=20)


def calls(attempts: CallAttempts, began: float, good: int, bad: int) -> None:
    for _ in range(good):
        attempts.count_begun(began)
    for _ in range(bad):
        attempts.count_begun(began)
        attempts.count_failed(began)


def changed(before: tuple[int, int], since: tuple[int, int], not_before: float = -math.inf) -> Probation:
    """Calls that succeeded and failed, half a minute before the change and right after it."""
    attempts = CallAttempts()
    calls(attempts, AT - 30, *before)
    attempts.start_slice(AT)
    calls(attempts, AT, *since)
    return Probation(SETTINGS, attempts, AT, not_before)


@pytest.mark.parametrize(
    ("before", "since", "verdict"),
    [
        ((100, 0), (0, 20), ProbationVerdict.FAILED),
        ((100, 0), (0, 19), ProbationVerdict.OPEN),  # too few calls to judge
        ((100, 0), (16, 4), ProbationVerdict.OPEN),  # a rise of 20 points is not more than 20
        ((100, 0), (15, 5), ProbationVerdict.FAILED),
        ((50, 50), (10, 20), ProbationVerdict.OPEN),  # every second call failed before as well
        ((50, 50), (5, 25), ProbationVerdict.FAILED),
        ((0, 100), (0, 100), ProbationVerdict.OPEN),  # the share was 100 % before
    ],
)
def test_a_rise_counts_only_with_enough_calls(
    before: tuple[int, int], since: tuple[int, int], verdict: ProbationVerdict
) -> None:
    assert changed(before, since).judge(AT + 5) is verdict


def test_a_change_passes_at_the_end_of_the_probation() -> None:
    probation = changed((100, 0), (30, 0))
    assert probation.judge(math.nextafter(AT + 60, 0)) is ProbationVerdict.OPEN
    assert probation.judge(AT + 60) is ProbationVerdict.PASSED
    assert changed((100, 0), (0, 20)).judge(AT + 60) is ProbationVerdict.FAILED, (
        "also if the check comes only at the end"
    )


def test_calls_that_ring_are_no_failures() -> None:
    """Busy phones respond at once and people answer after seconds, so most of the first outcomes are failures."""
    attempts = CallAttempts()
    calls(attempts, AT - 30, 90, 10)
    attempts.start_slice(AT)
    calls(attempts, AT, 18, 2)  # two are busy, the others ring
    assert Probation(SETTINGS, attempts, AT, -math.inf).judge(AT + 1) is ProbationVerdict.OPEN


def test_calls_that_rang_at_the_change_count_as_before_it() -> None:
    attempts = CallAttempts()
    calls(attempts, AT - 1, 30, 0)
    attempts.start_slice(AT)
    calls(attempts, AT, 20, 0)
    for _ in range(30):
        attempts.count_failed(AT - 1)
    probation = Probation(SETTINGS, attempts, AT, -math.inf)
    assert (probation.before, probation.since) == (Tally(30, 30), Tally(20, 0))
    assert probation.judge(AT + 1) is ProbationVerdict.OPEN


def test_calls_before_the_previous_change_are_no_baseline() -> None:
    assert changed((0, 100), (0, 100)).judge(AT + 1) is ProbationVerdict.OPEN
    assert changed((0, 100), (0, 100), not_before=AT - 10).judge(AT + 1) is ProbationVerdict.FAILED


def test_calls_from_longer_ago_than_the_probation_are_no_baseline() -> None:
    attempts = CallAttempts()
    calls(attempts, AT - 61, 0, 100)
    calls(attempts, AT - 30, 20, 0)
    assert Probation(SETTINGS, attempts, AT, -math.inf).before == Tally(20, 0)


@pytest.mark.parametrize(
    ("before", "expected"), [(Tally(0, 0), 50.0), (Tally(10, 0), 25.0), (Tally(20, 0), 0.0), (Tally(40, 10), 25.0)]
)
def test_half_of_the_calls_missing_in_the_baseline_count_as_failed(before: Tally, expected: float) -> None:
    assert expected_share(before, 20) == expected


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_one_more_failure_never_lowers_the_rise(good: int, bad: int, good_since: int, bad_since: int) -> None:
    probation = changed((good, bad), (good_since, bad_since))
    one_more = changed((good, bad), (good_since, bad_since + 1))
    assert one_more.rise >= probation.rise or probation.since.begun == 0
    if probation.judge(AT) is ProbationVerdict.FAILED:
        assert one_more.judge(AT) is ProbationVerdict.FAILED
    assert -100.0 <= probation.rise <= 100.0
