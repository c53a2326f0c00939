"""The calls that have ended last: what still passes, and the bounds."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.signalling.ended_calls import EndedCalls


def test_requests_pass_for_a_while() -> None:
    ended = EndedCalls()
    ended.add(1, False, 100.0)
    ended.add(2, True, 100.0)
    until = 100.0 + limits.ENDED_CALL_SECONDS
    assert ended.admit(1, "INFO", until - 1)
    assert not ended.admit(1, "INFO", until)
    assert not ended.admit(1, "NOTIFY", until)
    assert not ended.admit(2, "INFO", until)
    assert ended.admit(2, "NOTIFY", until)
    assert not ended.admit(2, "NOTIFY", 100.0 + limits.ENDED_SUBSCRIPTION_SECONDS)
    assert not ended.admit(3, "BYE", 100.0)


@pytest.mark.parametrize("has_subscription", [False, True])
def test_the_oldest_is_dropped_when_the_table_is_full(has_subscription: bool) -> None:
    ended = EndedCalls()
    most = limits.ENDED_CALLS
    for key in range(most + 10):
        ended.add(key, has_subscription, 100.0)
    assert len(ended) == most + (limits.ENDED_SUBSCRIPTIONS if has_subscription else 0)
    assert not ended.admit(9, "INFO", 101.0)
    assert ended.admit(10, "INFO", 101.0)


def test_the_table_shrinks() -> None:
    ended = EndedCalls()
    for key in range(100):
        ended.add(key, False, 100.0)
    for key in range(100, 200):
        ended.add(key, False, 1000.0 + key * limits.ENDED_CALL_SECONDS)
    assert len(ended) <= 2


def test_a_call_that_ends_twice_lives_on_from_the_second_end() -> None:
    ended = EndedCalls()
    ended.add(1, False, 100.0)
    ended.add(1, False, 120.0)
    assert ended.admit(1, "BYE", 120.0 + limits.ENDED_CALL_SECONDS - 1)
    assert len(ended) == 1
