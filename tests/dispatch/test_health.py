"""The table of states, row by row."""

import pytest

from edgesbc.base import limits
from edgesbc.dispatch.health import Evidence, Health, MemberState
from edgesbc.dispatch.settings import HealthSettings


def after(evidence: str, fall: int = 2, rise: int = 2) -> MemberState:
    """The state after + (good) and - (bad) signs of calls, p and x of probes, r (tried again), from the start."""
    health = Health(HealthSettings(fall=fall, rise=rise, damping=0))
    for now, sign in enumerate(evidence):
        match sign:
            case "+":
                health.good(now)
            case "p":
                health.good(now, Evidence.PROBE)
            case "-":
                health.bad(now)
            case "x":
                health.bad(now, Evidence.PROBE)
            case "r":
                health.try_again(now)
    return health.state


@pytest.mark.parametrize(
    ("evidence", "state"),
    [
        ("", MemberState.ACTIVE),
        ("+", MemberState.ACTIVE),
        ("-", MemberState.TRYING),
        ("-+", MemberState.ACTIVE),
        ("-+-", MemberState.TRYING),
        ("--", MemberState.INACTIVE),
        ("--+", MemberState.INACTIVE),
        ("--+-+", MemberState.INACTIVE),
        ("--++", MemberState.ACTIVE),
        ("--++-", MemberState.TRYING),
        ("--r", MemberState.TRYING),
        ("--r-", MemberState.INACTIVE),
        ("--r+", MemberState.ACTIVE),
        ("r", MemberState.ACTIVE),
        ("xx", MemberState.INACTIVE),
        ("xpx", MemberState.TRYING),
        ("x-", MemberState.TRYING),
        ("-p", MemberState.TRYING),
        ("-p-", MemberState.INACTIVE),
        ("-pp+p-", MemberState.TRYING),
        ("x+x", MemberState.TRYING),
        ("-p-pp", MemberState.ACTIVE),
        ("--pp-", MemberState.TRYING),
    ],
)
def test_states(evidence: str, state: MemberState) -> None:
    assert after(evidence) is state


def test_fall_and_rise_are_exact() -> None:
    assert after("---", fall=4) is MemberState.TRYING
    assert after("----", fall=4) is MemberState.INACTIVE
    assert after("-" + "++", fall=1, rise=3) is MemberState.INACTIVE
    assert after("-" + "+++", fall=1, rise=3) is MemberState.ACTIVE
    assert after("-", fall=1) is MemberState.INACTIVE


def test_a_member_that_flaps_needs_more_and_more_successes_to_come_back() -> None:
    health = Health(HealthSettings(fall=1, rise=2, damping=60))
    now, needed = 0.0, []
    for _ in range(8):
        health.bad(now)
        count = 0
        while not health.up:
            count, now = count + 1, now + 1.0
            health.good(now, Evidence.PROBE)
        needed.append(count)
    assert needed == [2, 4, 8, 16, 32, 64, 64, 64]
    assert 2 * limits.DAMPING == 64
    health.bad(now + 61.0)
    health.good(now + 62.0)
    health.good(now + 63.0)
    assert health.up


def test_a_share_that_grows_after_the_return() -> None:
    health = Health(HealthSettings(fall=1, rise=1, slow_start=10))
    assert health.share(0.0) == 1.0
    health.bad(5.0)
    health.good(20.0)
    assert health.share(20.0) == limits.SLOW_START_SHARE
    assert (health.share(25.0), health.share(29.0), health.share(30.0)) == (0.5, 0.9, 1.0)


def test_the_time_of_the_last_change_of_state() -> None:
    health = Health(HealthSettings(fall=2))
    health.bad(3.0)
    assert health.since == 3.0
    health.bad(4.0)
    health.bad(9.0)
    assert health.since == 4.0


def test_failures_of_one_caller_count_once() -> None:
    """A caller that knows what a server ignores could make one member after the other inactive."""
    health = Health(HealthSettings(fall=2))
    for now in range(5):
        health.bad(float(now), caller="198.51.100.7")
    assert (health.state, health.calls_failed) == (MemberState.TRYING, 1)
    health.bad(5.0, caller="198.51.100.8")
    assert health.state is MemberState.INACTIVE


def test_calls_of_many_to_one_number_count_once_and_together_after_ten() -> None:
    """All calls may be to one number: a member that is silent to all of them must not be tried for ever."""
    health = Health(HealthSettings(fall=2))
    for now in range(limits.REPEATED_SILENCES - 1):
        health.bad(float(now), caller=100, of_many=True)
        assert (health.state, health.calls_failed) == (MemberState.TRYING, 1)
    health.bad(10.0, caller=100, of_many=True)
    assert health.state is MemberState.INACTIVE
    health = Health(HealthSettings(fall=2))
    for now in range(5 * limits.REPEATED_SILENCES):
        health.bad(float(now), caller=100, of_many=True)
        if now % 5 == 4:
            health.good(float(now))
    assert health.state is MemberState.ACTIVE


def test_every_failure_counts_that_a_trunk_or_the_network_reports() -> None:
    health = Health(HealthSettings(fall=2))
    health.bad(0.0, caller=None)
    health.bad(1.0, caller=None)
    assert health.state is MemberState.INACTIVE


def test_after_an_answered_call_failures_of_the_same_callers_count_again() -> None:
    health = Health(HealthSettings(fall=2))
    health.bad(0.0, caller="a")
    health.good(1.0, Evidence.PROBE)
    health.bad(2.0, caller="a")
    assert health.calls_failed == 1
    health.good(3.0)
    health.bad(4.0, caller="a")
    health.bad(5.0, caller="b")
    assert health.state is MemberState.INACTIVE
