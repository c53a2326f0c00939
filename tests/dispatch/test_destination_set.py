"""A destination set: slow start, rests, panic, and what a reload leaves unchanged."""

from collections import Counter
from random import Random

from support.members import a_member

from edgesbc.dispatch.destination_set import DestinationSet
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import NO_REQUIREMENTS, SelectionRequest
from edgesbc.dispatch.settings import HealthSettings, SetSettings


def make_set(*members: Member, **fields: object) -> DestinationSet:
    settings = SetSettings(set="set", **fields)  # type: ignore[arg-type]
    return DestinationSet(settings, list(members), Random(3).random)


def seen(destinations: DestinationSet, now: float, times: int = 2000) -> Counter[Member]:
    return Counter(destinations.choose(now, (), NO_REQUIREMENTS, 1)[0] for _ in range(times))


def back_at(member: Member, destinations: DestinationSet, now: float) -> None:
    """Let ``member`` go out and come back."""
    member.health.bad(now)
    destinations.member_changed(True, True, member)
    member.health.good(now)
    destinations.member_changed(True, False, member)


def test_a_member_in_slow_start_gets_a_growing_share() -> None:
    health = HealthSettings(fall=1, rise=1, slow_start=10)
    one, two = a_member("sip:10.0.0.1", health=health), a_member("sip:10.0.0.2", health=health)
    destinations = make_set(one, two)
    back_at(one, destinations, 100.0)
    shares = [seen(destinations, now)[one] / 2000 for now in (100.0, 105.0, 109.0, 110.0)]
    assert shares == sorted(shares)
    assert 0.0 < shares[0] < 0.1
    assert shares[3] == 0.5


def test_a_member_in_slow_start_is_used_if_there_is_no_other() -> None:
    one = a_member(health=HealthSettings(fall=1, rise=1, slow_start=1000))
    destinations = make_set(one)
    back_at(one, destinations, 100.0)
    assert seen(destinations, 100.0) == {one: 2000}


def test_with_hash_a_key_returns_once_during_slow_start() -> None:
    health = HealthSettings(fall=1, rise=1, slow_start=10)
    members = [a_member(f"sip:10.0.0.{n}", health=health) for n in (1, 2, 3)]
    destinations = make_set(*members, algorithm="hash", hash_bound=0)
    keys = [SelectionRequest(str(n).encode()) for n in range(300)]
    home = [destinations.choose(0.0, (), key, 1)[0] for key in keys]
    back_at(members[0], destinations, 100.0)
    away = set(range(300))
    for now in range(100, 111):
        at_home = {n for n, key in enumerate(keys) if destinations.choose(float(now), (), key, 1)[0] is home[n]}
        assert not at_home & (set(range(300)) - away) or at_home >= set(range(300)) - away
        away = set(range(300)) - at_home
    assert not away


def test_a_resting_member_is_passed_over_until_its_rest_ends() -> None:
    one, two = a_member("sip:10.0.0.1"), a_member("sip:10.0.0.2")
    destinations = make_set(one, two)
    one.resting_until = 20.0
    assert seen(destinations, 19.0, 10) == {two: 10}
    assert seen(destinations, 20.0, 10) == {one: 5, two: 5}


def test_resting_members_are_used_if_there_is_no_other() -> None:
    """Otherwise a caller that provokes a 503 with Retry-After could keep all others from calling."""
    one, two = a_member("sip:10.0.0.1"), a_member("sip:10.0.0.2", priority=1)
    destinations = make_set(one, two)
    one.resting_until = two.resting_until = 20.0
    assert seen(destinations, 19.0, 10) == {one: 10}
    one.resting_until = 0.0
    two.resting_until = 20.0
    assert destinations.choose(19.0, [one], NO_REQUIREMENTS, 1) == [two]


def test_panic_begins_and_ends_with_the_share_that_is_up() -> None:
    health = HealthSettings(fall=1, rise=1, panic=50, slow_start=0)
    members = [a_member(f"sip:10.0.0.{n}", health=health) for n in range(1, 5)]
    destinations = make_set(*members, health=health)
    for number, member in enumerate(members[:3], 1):
        member.health.bad(0.0)
        destinations.member_changed(True, True, member)
        assert [member.usable for member in members].count(True) == (3 if number == 1 else 4)
    for member in members[:2]:
        member.health.good(1.0)
        destinations.member_changed(True, False, member)
    assert [member.usable for member in members] == [True, True, False, True]


def test_usable() -> None:
    assert not make_set().usable
    one = a_member(health=HealthSettings(fall=1))
    destinations = make_set(one)
    assert destinations.usable
    one.health.bad(0.0)
    destinations.member_changed(True, True, one)
    assert not destinations.usable
    assert destinations.choose(0.0, (), NO_REQUIREMENTS, 1) == [one]  # panic: the only one is used though it is down


def test_the_same_members_make_the_same_group() -> None:
    one, two = a_member("sip:10.0.0.1"), a_member("sip:10.0.0.2")
    destinations = make_set(one, two)
    assert destinations.matches(SetSettings(set="set"), [one, two])
    assert not destinations.matches(SetSettings(set="set", algorithm="random"), [one, two])
    assert not destinations.matches(SetSettings(set="set"), [two, one])
    one.weight = 0.5
    assert not destinations.matches(SetSettings(set="set"), [one, two])


def test_the_family_that_all_members_have() -> None:
    one, two, six = a_member("sip:10.0.0.1"), a_member("sip:10.0.0.2"), a_member("sip:[2001:db8::1]")
    assert [make_set(*members).family for members in ((one, two), (six,), (one, six), ())] == ["IP4", "IP6", "", ""]
