"""The judgement of a change: what makes it worse, and what does not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.policy.model import ChangeSettings
from edgesbc.rollout.probation import Probation, ProbationState, expected_share
from edgesbc.signalling.call_attempts import CallAttempts, Tally

AT = 1_000.0
SETTINGS = ChangeSettings(settle=60.0, failure_rise=20.0, least_calls=20)


def calls(attempts: CallAttempts, began: float, good: int, bad: int) -> None:
    for _ in range(good):
        attempts.begun(began)
    for _ in range(bad):
        attempts.begun(began)
        attempts.failed(began)


def changed(before: tuple[int, int], since: tuple[int, int], not_before: float = -math.inf) -> Probation:
    """Good and bad calls, half a minute before the change and at once after it."""
    attempts = CallAttempts()
    calls(attempts, AT - 30, *before)
    attempts.cut(AT)
    calls(attempts, AT, *since)
    return Probation(SETTINGS, attempts, AT, not_before)


@pytest.mark.parametrize(
    ("before", "since", "state"),
    [
        ((100, 0), (0, 20), ProbationState.WORSE),
        ((100, 0), (0, 19), ProbationState.SETTLING),  # too few calls to say
        ((100, 0), (16, 4), ProbationState.SETTLING),  # a rise of 20 points is not more than 20
        ((100, 0), (15, 5), ProbationState.WORSE),
        ((50, 50), (10, 20), ProbationState.SETTLING),  # every second call failed before as well
        ((50, 50), (5, 25), ProbationState.WORSE),
        ((0, 100), (0, 100), ProbationState.SETTLING),  # it cannot get worse
    ],
)
def test_the_rise_is_judged_from_enough_calls_on(
    before: tuple[int, int], since: tuple[int, int], state: ProbationState
) -> None:
    assert changed(before, since).state(AT + 5) is state


def test_it_settles_when_its_time_is_over() -> None:
    settling = changed((100, 0), (30, 0))
    assert settling.state(math.nextafter(AT + 60, 0)) is ProbationState.SETTLING
    assert settling.state(AT + 60) is ProbationState.SETTLED
    assert changed((100, 0), (0, 20)).state(AT + 60) is ProbationState.WORSE, "also when that is seen at the very end"


def test_calls_that_ring_are_no_failures() -> None:
    """Busy phones answer at once and people take their time: the first outcomes are mostly failures."""
    attempts = CallAttempts()
    calls(attempts, AT - 30, 90, 10)
    attempts.cut(AT)
    calls(attempts, AT, 18, 2)  # two are busy, the others ring
    assert Probation(SETTINGS, attempts, AT, -math.inf).state(AT + 1) is ProbationState.SETTLING


def test_what_rang_at_the_change_is_not_its_fault() -> None:
    attempts = CallAttempts()
    calls(attempts, AT - 1, 30, 0)
    attempts.cut(AT)
    calls(attempts, AT, 20, 0)
    for _ in range(30):
        attempts.failed(AT - 1)
    settling = Probation(SETTINGS, attempts, AT, -math.inf)
    assert (settling.before, settling.since) == (Tally(30, 30), Tally(20, 0))
    assert settling.state(AT + 1) is ProbationState.SETTLING


def test_what_failed_under_the_change_before_is_no_baseline() -> None:
    assert changed((0, 100), (0, 100)).state(AT + 1) is ProbationState.SETTLING
    assert changed((0, 100), (0, 100), not_before=AT - 10).state(AT + 1) is ProbationState.WORSE


def test_what_began_longer_ago_than_is_watched_is_no_baseline() -> None:
    attempts = CallAttempts()
    calls(attempts, AT - 61, 0, 100)
    calls(attempts, AT - 30, 20, 0)
    assert Probation(SETTINGS, attempts, AT, -math.inf).before == Tally(20, 0)


@pytest.mark.parametrize(
    ("before", "expected"), [(Tally(0, 0), 50.0), (Tally(10, 0), 25.0), (Tally(20, 0), 0.0), (Tally(40, 10), 25.0)]
)
def test_few_calls_before_are_filled_up_with_doubt(before: Tally, expected: float) -> None:
    assert expected_share(before, 20) == expected


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_one_more_failure_never_makes_it_better(good: int, bad: int, good_since: int, bad_since: int) -> None:
    settling = changed((good, bad), (good_since, bad_since))
    one_more = changed((good, bad), (good_since, bad_since + 1))
    assert one_more.rise >= settling.rise or settling.since.begun == 0
    if settling.state(AT) is ProbationState.WORSE:
        assert one_more.state(AT) is ProbationState.WORSE
    assert -100.0 <= settling.rise <= 100.0
