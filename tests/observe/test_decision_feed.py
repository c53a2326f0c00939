"""Subscriptions to decisions: bounded, independent of each other, and ended with the feed."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.observe.decision_feed import DecisionFeed, DecisionSubscription


def publish(feed: DecisionFeed, *times: int) -> None:
    for time in times:
        feed.publish(Decision(time, Reason.ROUTED))


async def rest(subscription: DecisionSubscription) -> list[float]:
    return [decision.time async for decision in subscription]


async def test_a_subscription_begins_with_the_next_decision_and_ends_with_the_feed() -> None:
    feed = DecisionFeed()
    publish(feed, 1)
    with feed.subscribe() as first:
        publish(feed, 2)
        with feed.subscribe() as second:
            publish(feed, 3)
            feed.end()
            assert (await rest(first), await rest(second)) == ([2, 3], [3])
    with feed.subscribe() as late:
        assert await rest(late) == []


async def test_after_its_block_a_subscription_gets_nothing() -> None:
    feed = DecisionFeed()
    with feed.subscribe() as subscription:
        publish(feed, 1)
    publish(feed, 2)
    subscription.end()
    assert await rest(subscription) == [1]


async def test_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DECISIONS_WAITING", 2)
    feed = DecisionFeed()
    with feed.subscribe() as slow:
        publish(feed, 1, 2, 3, 4)
        assert slow.lost == 2
        assert (await anext(slow)).time == 1
        publish(feed, 5)
        feed.end()
        assert (await rest(slow), slow.lost) == ([2, 5], 2)
