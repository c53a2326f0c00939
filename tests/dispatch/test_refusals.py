"""The share of refused calls at which a member is in trouble, and the outcomes that do not show it."""

from edgesbc.base import limits
from edgesbc.dispatch.refusals import Refusals
from edgesbc.dispatch.settings import HealthSettings

SETTINGS = HealthSettings(refused_calls=10, refused_share=90, refused_spread=3)


def refuse(refusals: Refusals, count: int, callers: int = 10, numbers: int = 10, now: float = 0.0) -> None:
    for call in range(count):
        refusals.refused(now, f"caller {call % callers}", f"number {call % numbers}")


def test_many_calls_of_many_callers_to_many_numbers() -> None:
    refusals = Refusals()
    refuse(refusals, 9)
    assert refusals.verdict(0.0, SETTINGS) == ""
    refuse(refusals, 1)
    assert refusals.verdict(0.0, SETTINGS) == "refused 10 of the last 10 calls, of 9 callers to 9 numbers"


def test_one_number_or_one_caller_shows_nothing_about_the_member() -> None:
    for callers, numbers in ((10, 1), (10, 2), (1, 10), (2, 10)):
        refusals = Refusals()
        refuse(refusals, 200, callers, numbers)
        assert refusals.verdict(0.0, SETTINGS) == ""


def test_the_share_is_exact() -> None:
    for accepted, bad in ((1, True), (2, False)):
        refusals = Refusals()
        for _ in range(accepted):
            refusals.accepted(0.0)
        refuse(refusals, 10 - accepted)
        assert bool(refusals.verdict(0.0, SETTINGS)) is bad


def test_old_outcomes_do_not_count() -> None:
    refusals = Refusals()
    refuse(refusals, 9, now=0.0)
    refuse(refusals, 1, now=limits.REFUSAL_SECONDS + 1)
    assert refusals.verdict(limits.REFUSAL_SECONDS + 1, SETTINGS) == ""


def test_outcomes_are_bounded() -> None:
    refusals = Refusals()
    refuse(refusals, 3 * limits.REFUSAL_CALLS)
    assert len(refusals._outcomes) == limits.REFUSAL_CALLS
    refusals.clear()
    assert refusals.verdict(0.0, SETTINGS) == ""
