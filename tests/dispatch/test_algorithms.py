"""Each algorithm alone: shares, order, and what happens when members cannot take the call."""

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.dispatch.algorithms import ALGORITHMS, Algorithm
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.sets import HealthSettings, MemberSettings

EVERYBODY: Callable[[Member], bool] = lambda member: True  # noqa: E731


def members(weights: Iterable[int], max_calls: int | None = None) -> list[Member]:
    return [
        Member("set", MemberSettings(uri=f"sip:10.0.0.{n}", weight=weight, max_calls=max_calls), HealthSettings())
        for n, weight in enumerate(weights, 1)
    ]


def build(name: str, of: list[Member], seed: int = 1) -> Algorithm:
    return ALGORITHMS[name](of, Random(seed).random)


def picks(algorithm: Algorithm, times: int, able: Callable[[Member], bool] = EVERYBODY) -> list[Member]:
    chosen = [algorithm.choose(able, b"") for _ in range(times)]
    assert None not in chosen
    return [member for member in chosen if member is not None]


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_chooses_an_able_member_whenever_there_is_one(name: str, data: st.DataObject) -> None:
    group = members(data.draw(st.lists(st.integers(1, 100), min_size=1, max_size=8)))
    algorithm = build(name, group)
    for _ in range(12):
        able = data.draw(st.sets(st.sampled_from(group)))
        chosen = algorithm.choose(able.__contains__, data.draw(st.binary(max_size=4)))
        assert (chosen in able) if able else (chosen is None)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_weighted_gives_each_exactly_its_share(weights: list[int], rounds: int) -> None:
    group = members(weights)
    seen = Counter(picks(build("weighted", group), rounds * sum(weights)))
    assert [seen[member] for member in group] == [rounds * weight for weight in weights]


@given(st.lists(st.integers(1, 20), min_size=2, max_size=6))
@settings(max_examples=60, deadline=None)
def test_weighted_is_smooth(weights: list[int]) -> None:
    """At every moment a member has had its share so far, give or take less than the number of members."""
    group = members(weights)
    seen: Counter[Member] = Counter()
    for number, member in enumerate(picks(build("weighted", group), 2 * sum(weights)), 1):
        seen[member] += 1
        for other in group:
            assert abs(seen[other] - number * other.settings.weight / sum(weights)) < len(group)


def test_weighted_does_not_repay_lost_turns() -> None:
    first, second = group = members([1, 1])
    algorithm = build("weighted", group)
    assert set(picks(algorithm, 50, lambda member: member is second)) == {second}
    assert Counter(picks(algorithm, 10)) == {first: 5, second: 5}


def test_weighted_keeps_its_turns_when_nobody_is_able() -> None:
    group = members([3, 1])
    algorithm = build("weighted", group)
    assert algorithm.choose(lambda member: False, b"") is None
    assert Counter(picks(algorithm, 4)) == {group[0]: 3, group[1]: 1}


def test_weighted_keeps_the_proportion_of_those_left() -> None:
    group = members([50, 30, 20])
    algorithm = build("weighted", group)
    seen = Counter(picks(algorithm, 5000, lambda member: member is not group[0]))
    assert abs(seen[group[1]] - 3000) <= 2


def test_round_robin_goes_round() -> None:
    group = members([9, 1, 1])
    algorithm = build("round-robin", group)
    assert picks(algorithm, 4) == [*group, group[0]]
    assert picks(algorithm, 2, lambda member: member is not group[1]) == [group[2], group[0]]


def test_priority_always_takes_the_first_able() -> None:
    group = members([1, 1])
    algorithm = build("priority", group)
    assert picks(algorithm, 3) == [group[0]] * 3
    assert picks(algorithm, 1, lambda member: member is not group[0]) == [group[1]]


def test_random_is_even_and_ignores_weights() -> None:
    group = members([100, 1, 1, 1])
    seen = Counter(picks(build("random", group), 4000))
    assert all(850 < seen[member] < 1150 for member in group)
    seen = Counter(picks(build("random", group), 3000, lambda member: member is not group[0]))
    assert seen[group[0]] == 0
    assert all(850 < seen[member] < 1150 for member in group[1:])


def test_least_loaded_fills_by_share_of_capacity() -> None:
    small, large = group = [*members([1], max_calls=10), *members([7], max_calls=30)]
    algorithm = build("least-loaded", group)
    for _ in range(20):
        picks(algorithm, 1)[0].load += 1
    assert (small.load, large.load) == (5, 15)


def test_least_loaded_goes_by_weight_where_a_capacity_is_missing() -> None:
    group = [*members([1], max_calls=1000), *members([3])]
    algorithm = build("least-loaded", group)
    for _ in range(20):
        picks(algorithm, 1)[0].load += 1
    assert [member.load for member in group] == [5, 15]


def test_least_loaded_spreads_over_an_idle_set() -> None:
    group = members([1, 1, 1])
    assert set(picks(build("least-loaded", group), 3)) == set(group)


KEYS = [f"call-{n}@example".encode() for n in range(4000)]


def test_hash_shares_by_weight() -> None:
    group = members([3, 1])
    algorithm = build("hash", group)
    seen = Counter(algorithm.choose(EVERYBODY, key) for key in KEYS)
    assert 0.72 < seen[group[0]] / len(KEYS) < 0.78


@given(st.lists(st.integers(1, 20), min_size=2, max_size=8), st.data())
@settings(max_examples=25, deadline=None)
def test_hash_moves_only_the_keys_of_the_member_that_goes(weights: list[int], data: st.DataObject) -> None:
    group = members(weights)
    gone = data.draw(st.sampled_from(group))
    before = build("hash", group)
    after = build("hash", [member for member in reversed(group) if member is not gone])
    for key in KEYS[:200]:
        was, now = before.choose(EVERYBODY, key), after.choose(EVERYBODY, key)
        assert now is was or was is gone
        assert before.choose(lambda member: member is not gone, key) is now


def test_broadcast_takes_all_that_are_able_up_to_the_most() -> None:
    group = members([1, 1, 1, 1])
    algorithm = build("broadcast", group)
    assert algorithm.choose_all(lambda member: member is not group[1], b"", 8) == [group[0], group[2], group[3]]
    assert algorithm.choose_all(lambda member: True, b"", 2) == group[:2]
    assert algorithm.choose_all(lambda member: False, b"", 8) == []
