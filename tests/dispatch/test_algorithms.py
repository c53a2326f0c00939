"""Each algorithm alone: shares, order, and what happens when members cannot take the call."""

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.members import a_member

from edgesbc.dispatch.algorithm_names import ALGORITHM_NAMES
from edgesbc.dispatch.algorithms import ALGORITHMS, Algorithm
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import NO_REQUIREMENTS, SelectionRequest
from edgesbc.dispatch.settings import SetSettings

ANY: Callable[[Member], bool] = lambda member: True  # noqa: E731


def members(weights: Iterable[int], max_calls: int | None = None) -> list[Member]:
    return [
        a_member(f"sip:10.0.{n >> 8}.{n & 255}", weight=weight, max_calls=max_calls)
        for n, weight in enumerate(weights, 1)
    ]


def build(name: str, of: list[Member], seed: int = 1, **fields: object) -> Algorithm:
    settings = SetSettings(set="set", algorithm=name, **fields)  # type: ignore[arg-type]
    algorithm = ALGORITHMS[name](of, settings, Random(seed).random)
    for member in of:
        member.algorithm = algorithm
    return algorithm


def pick(
    algorithm: Algorithm, able: Callable[[Member], bool] = ANY, key: bytes = b"", needs: tuple[str, ...] = ()
) -> Member | None:
    chosen = algorithm.choose_all(able, SelectionRequest(key, needs), 1)
    return chosen[0] if chosen else None


def picks(algorithm: Algorithm, times: int, able: Callable[[Member], bool] = ANY) -> list[Member]:
    chosen = [pick(algorithm, able) for _ in range(times)]
    assert None not in chosen
    return [member for member in chosen if member is not None]


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_an_able_member_is_chosen_whenever_there_is_one(name: str, data: st.DataObject) -> None:
    pool = members(data.draw(st.lists(st.integers(1, 100), min_size=1, max_size=8)))
    algorithm = build(name, pool)
    for _ in range(12):
        able = data.draw(st.sets(st.sampled_from(pool)))
        chosen = pick(algorithm, able.__contains__, data.draw(st.binary(max_size=4)))
        assert (chosen in able) if able else (chosen is None)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_weighted_gives_each_exactly_its_share(weights: list[int], rounds: int) -> None:
    pool = members(weights)
    counts = Counter(picks(build("weighted", pool), rounds * sum(weights)))
    assert [counts[member] for member in pool] == [rounds * weight for weight in weights]


@given(st.lists(st.integers(1, 20), min_size=2, max_size=6))
@settings(max_examples=60, deadline=None)
def test_weighted_is_smooth(weights: list[int]) -> None:
    """At every moment a member has had its share so far, give or take less than the number of members."""
    pool = members(weights)
    counts: Counter[Member] = Counter()
    for number, member in enumerate(picks(build("weighted", pool), 2 * sum(weights)), 1):
        counts[member] += 1
        for other in pool:
            assert abs(counts[other] - number * other.settings.weight / sum(weights)) < len(pool)


def test_weighted_does_not_repay_lost_turns() -> None:
    first, second = pool = members([1, 1])
    algorithm = build("weighted", pool)
    assert set(picks(algorithm, 50, lambda member: member is second)) == {second}
    assert Counter(picks(algorithm, 10)) == {first: 5, second: 5}


def test_weighted_keeps_its_turns_when_no_member_is_able() -> None:
    pool = members([3, 1])
    algorithm = build("weighted", pool)
    assert pick(algorithm, lambda member: False) is None
    assert Counter(picks(algorithm, 4)) == {pool[0]: 3, pool[1]: 1}


def test_weighted_keeps_the_proportion_of_the_remaining_members() -> None:
    pool = members([50, 30, 20])
    algorithm = build("weighted", pool)
    counts = Counter(picks(algorithm, 5000, lambda member: member is not pool[0]))
    assert abs(counts[pool[1]] - 3000) <= 2


def test_round_robin_goes_round() -> None:
    pool = members([9, 1, 1])
    algorithm = build("round-robin", pool)
    assert picks(algorithm, 4) == [*pool, pool[0]]
    assert picks(algorithm, 2, lambda member: member is not pool[1]) == [pool[2], pool[0]]


def test_priority_always_takes_the_first_able() -> None:
    pool = members([1, 1])
    algorithm = build("priority", pool)
    assert picks(algorithm, 3) == [pool[0]] * 3
    assert picks(algorithm, 1, lambda member: member is not pool[0]) == [pool[1]]


def test_random_is_even_and_ignores_weights() -> None:
    pool = members([100, 1, 1, 1])
    counts = Counter(picks(build("random", pool), 4000))
    assert all(850 < counts[member] < 1150 for member in pool)
    counts = Counter(picks(build("random", pool), 3000, lambda member: member is not pool[0]))
    assert counts[pool[0]] == 0
    assert all(850 < counts[member] < 1150 for member in pool[1:])


def test_least_loaded_fills_by_share_of_capacity() -> None:
    small, large = pool = [*members([1], max_calls=10), *members([7], max_calls=30)]
    algorithm = build("least-loaded", pool)
    for _ in range(20):
        picks(algorithm, 1)[0].take((), 1)
    assert (small.load, large.load) == (5, 15)


def test_least_loaded_goes_by_weight_where_a_capacity_is_missing() -> None:
    pool = [*members([1], max_calls=1000), *members([3])]
    algorithm = build("least-loaded", pool)
    for _ in range(20):
        picks(algorithm, 1)[0].take((), 1)
    assert [member.load for member in pool] == [5, 15]


def test_least_loaded_spreads_over_an_idle_set() -> None:
    pool = members([1, 1, 1])
    assert set(picks(build("least-loaded", pool), 3)) == set(pool)


def test_fewest_calls_counts_calls_whatever_the_capacity_is() -> None:
    pool = [*members([1], max_calls=10), *members([7], max_calls=30)]
    algorithm = build("fewest-calls", pool)
    for _ in range(20):
        picks(algorithm, 1)[0].take((), 1)
    assert [member.load for member in pool] == [10, 10]


def test_most_free_goes_by_the_number_of_calls_that_fit() -> None:
    """As lb_start of OpenSIPS without the flag r: 100 and 300 places, so that the first 200 calls all go to one."""
    small, large = pool = [*members([1], max_calls=100), *members([1], max_calls=300)]
    algorithm = build("most-free", pool)
    for _ in range(200):
        picks(algorithm, 1)[0].take((), 1)
    assert (small.load, large.load) == (0, 200)
    for _ in range(100):
        picks(algorithm, 1)[0].take((), 1)
    assert (small.load, large.load) == (50, 250)


def test_most_free_goes_by_the_scarcest_of_what_a_call_needs() -> None:
    pool = [
        a_member("sip:10.0.0.1", resources={"pstn": 10, "transcoder": 5}),
        a_member("sip:10.0.0.2", resources={"pstn": 30, "transcoder": 2}),
        a_member("sip:10.0.0.3", resources={"pstn": 500}),
    ]
    algorithm = build("most-free", pool)
    assert pick(algorithm, needs=("pstn",)) is pool[2]
    assert pick(algorithm, needs=("pstn", "transcoder")) is pool[0]
    for _ in range(4):
        pool[0].take(("pstn", "transcoder"), 1)
    assert pick(algorithm, needs=("pstn", "transcoder")) is pool[1]


KEYS = [f"call-{n}@example".encode() for n in range(4000)]


def test_hash_shares_by_weight() -> None:
    pool = members([3, 1])
    algorithm = build("hash", pool)
    counts = Counter(pick(algorithm, ANY, key) for key in KEYS)
    assert 0.72 < counts[pool[0]] / len(KEYS) < 0.78


@given(st.lists(st.integers(1, 20), min_size=2, max_size=8), st.data())
@settings(max_examples=25, deadline=None)
def test_hash_moves_only_the_keys_of_the_member_that_goes(weights: list[int], data: st.DataObject) -> None:
    pool = members(weights)
    removed = data.draw(st.sampled_from(pool))
    before = build("hash", pool)
    after = build("hash", [member for member in reversed(pool) if member is not removed])
    for key in KEYS[:200]:
        was, now = pick(before, ANY, key), pick(after, ANY, key)
        assert now is was or was is removed
        assert pick(before, lambda member: member is not removed, key) is now


def test_broadcast_takes_all_that_are_able_up_to_the_most() -> None:
    pool = members([1, 1, 1, 1])
    algorithm = build("broadcast", pool)
    assert algorithm.choose_all(lambda member: member is not pool[1], NO_REQUIREMENTS, 8) == [pool[0], pool[2], pool[3]]
    assert algorithm.choose_all(lambda member: True, NO_REQUIREMENTS, 2) == pool[:2]
    assert algorithm.choose_all(lambda member: False, NO_REQUIREMENTS, 8) == []


def test_broadcast_has_one_of_them_first() -> None:
    pool = members([1, 1])
    assert pick(build("broadcast", pool), lambda member: member is pool[1]) is pool[1]


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_a_member_that_is_not_usable_is_not_examined(name: str) -> None:
    pool = members([1, 1, 1])
    algorithm = build(name, pool)
    picks(algorithm, 3)
    pool[1].usable = False
    algorithm.usable_changed()
    examined: set[Member] = set()
    for number in range(40):
        pick(algorithm, lambda member: member.usable and not examined.add(member), str(number).encode())
    if name != "hash":  # its rings hold all members, so that a member that comes back has its keys again
        assert pool[1] not in examined
    pool[1].usable = True
    algorithm.usable_changed()
    chosen = {pick(algorithm, ANY, str(number).encode()) for number in range(40)}
    assert chosen == ({pool[0]} if name in ("priority", "broadcast") else set(pool))


def test_weighted_gives_no_extra_turns_to_a_member_that_was_out() -> None:
    pool = members([1, 1])
    algorithm = build("weighted", pool)
    pool[0].usable = False
    algorithm.usable_changed()
    picks(algorithm, 100)
    pool[0].usable = True
    algorithm.usable_changed()
    assert Counter(picks(algorithm, 10)) == {pool[0]: 5, pool[1]: 5}


def test_weighted_takes_the_part_of_a_weight_that_an_address_has() -> None:
    pool = members([3, 1])
    pool[0].weight = 1.5
    assert Counter(picks(build("weighted", pool), 1000)) == {pool[0]: 600, pool[1]: 400}


def test_hash_is_fair_among_many() -> None:
    pool = members([1] * 20)
    algorithm = build("hash", pool, hash_bound=0)
    counts = Counter(pick(algorithm, ANY, f"{n}".encode()) for n in range(20_000))
    assert all(850 < counts[member] < 1150 for member in pool)


def test_hash_keeps_within_its_bound_and_leaves_other_keys_where_they_are() -> None:
    pool = members([1, 1, 2])
    algorithm = build("hash", pool, hash_bound=1.25)
    home = pick(algorithm, ANY, b"busy")
    for _ in range(200):
        chosen = pick(algorithm, ANY, b"busy")
        assert chosen is not None
        chosen.take((), 1)
    assert all(member.load <= 1.25 * 201 * member.weight / 4 + 1 for member in pool)
    assert home is not None
    assert home.load >= 1.25 * 200 * home.weight / 4 - 1
    for member in pool:
        member.take((), -member.load)
    assert pick(algorithm, ANY, b"busy") is home


def test_hash_exceeds_its_bound_if_no_other_member_is_able() -> None:
    pool = members([1, 1])
    algorithm = build("hash", pool)
    pool[0].take((), 50)
    assert pick(algorithm, lambda member: member is pool[0], b"k") is pool[0]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60))
@settings(max_examples=60, deadline=None)
def test_least_loaded_chooses_as_an_examination_of_all_members_would(steps: list[tuple[int, bool]]) -> None:
    pool = members([1, 2, 3, 4])
    algorithm = build("least-loaded", pool)
    for place, more in steps:
        if more or pool[place].load:
            pool[place].take((), 1 if more else -1)
        chosen = pick(algorithm)
        assert chosen is not None
        assert chosen.load / chosen.weight == min(member.load / member.weight for member in pool)


def test_least_loaded_goes_by_the_scarcest_of_what_a_call_needs() -> None:
    pool = [
        a_member("sip:10.0.0.1", resources={"pstn": 10, "transcoder": 2}),
        a_member("sip:10.0.0.2", resources={"pstn": 30, "transcoder": 1}),
    ]
    algorithm = build("least-loaded", pool)
    for _ in range(16):
        chosen = pick(algorithm, needs=("pstn",))
        assert chosen is not None
        chosen.take(("pstn",), 1)
    assert [member.used["pstn"] for member in pool] == [4, 12]
    pool[0].take(("pstn", "transcoder"), 1)
    assert pick(algorithm, needs=("pstn", "transcoder")) is pool[1]  # 12 of 30 and none of 1; the other has half of 2
    pool[1].take(("pstn", "transcoder"), 1)
    assert pick(algorithm, needs=("pstn", "transcoder")) is pool[0]
    assert pick(algorithm, needs=("pstn",)) is pool[1]


def test_latency_prefers_fast_members_and_also_uses_new_ones() -> None:
    pool = members([1, 1, 1])
    quick, slow, new = pool
    quick.answered_after(0.01)
    slow.answered_after(0.5)
    counts = Counter(picks(build("latency", pool), 3000))
    assert counts[quick] > 1.5 * counts[slow] > 0
    assert counts[new] > 500


def test_a_member_that_cannot_take_calls_of_one_kind_gets_more_of_the_other() -> None:
    """A former mistake: when calls of two kinds alternated, one member got all calls of both kinds, the other none."""
    one, two = members([1, 1])
    algorithm = ALGORITHMS["weighted"]([one, two], SetSettings(set="set"), Random(1).random)
    plain: Counter[Member] = Counter()
    for _ in range(100):
        plain.update(algorithm.choose_all(ANY, NO_REQUIREMENTS, 1))
        algorithm.choose_all(lambda member: member is one, NO_REQUIREMENTS, 1)
    assert plain[two] >= 90


def test_least_loaded_does_not_examine_members_without_the_needed_resource() -> None:
    pool = [a_member(f"sip:10.0.0.{n}", resources={"pstn": 30} if n == 200 else {}) for n in range(1, 201)]
    algorithm = ALGORITHMS["least-loaded"](pool, SetSettings(set="set"), Random(1).random)
    for member in pool:
        member.algorithm = algorithm
    examined: list[Member] = []
    for _ in range(5):
        (chosen,) = algorithm.choose_all(
            lambda member: not examined.append(member), SelectionRequest(b"", ("pstn",)), 1
        )
        chosen.take(("pstn",), 1)
        pool[0].take((), 1)
    assert examined == [pool[-1]] * 5


@pytest.mark.parametrize(("before", "after"), [((0.33, 0.33, 0.33), (0.5, 0.5)), ((7, 7, 7), (8, 8))])
def test_when_a_member_leaves_only_its_keys_move_for_any_weights(
    before: tuple[float, ...], after: tuple[float, ...]
) -> None:
    """The addresses of a name share the weight of one member, so their weights change when one of them leaves."""
    homes = []
    for weights in (before, after):
        pool = members([1] * len(weights))
        for member, weight in zip(pool, weights, strict=True):
            member.weight = weight
        algorithm = ALGORITHMS["hash"](pool, SetSettings(set="set", hash_bound=0), Random(1).random)
        keys = (SelectionRequest(str(number).encode()) for number in range(300))
        homes.append([algorithm.choose_all(ANY, key, 1)[0].name for key in keys])
    of_remaining_members = [(old, new) for old, new in zip(*homes, strict=True) if old in homes[1]]
    assert len(of_remaining_members) > 150
    assert all(old == new for old, new in of_remaining_members)


@pytest.mark.parametrize("able", [0, 1, 3])
def test_hash_examines_each_member_about_twice_at_most_when_few_are_able(able: int) -> None:
    """A former mistake: with a thousand full members, every refused call examined each of them on eight rings."""
    pool = members([1 + n % 40 for n in range(500)])
    usable = set(pool[100 : 100 + able])
    examined = []
    algorithm = ALGORITHMS["hash"](pool, SetSettings(set="set", hash_bound=0), Random(1).random)
    alone = ALGORITHMS["hash"](list(usable), SetSettings(set="set", hash_bound=0), Random(1).random)
    for number in range(50):
        key = SelectionRequest(str(number).encode())
        examined.clear()
        chosen = algorithm.choose_all(lambda member: not examined.append(member) and member in usable, key, 1)
        assert chosen == alone.choose_all(ANY, key, 1)
        assert len(examined) <= len(pool) + 80


def test_every_name_of_an_algorithm_has_its_class() -> None:
    assert tuple(ALGORITHMS) == ALGORITHM_NAMES
