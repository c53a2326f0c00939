"""The member registry: one member for each address, the same ones over a change, and members prepared ahead."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport
from edgesbc.dispatch.member_registry import MemberRegistry
from edgesbc.dispatch.settings import MemberSettings, SetSettings
from edgesbc.sip.server_uri import ResolvedAddress, parse_server_uri

NAME = parse_server_uri("sip:pbx.example")


def a_set(*uris: str, name: str = "pbx", **fields: object) -> SetSettings:
    return SetSettings(name, members=tuple(MemberSettings(uri, **fields) for uri in uris))  # type: ignore[arg-type]


def at(*hosts: int, **fields: int) -> list[ResolvedAddress]:
    return [ResolvedAddress(Source(f"10.0.0.{host}", 5060), Transport.UDP, **fields) for host in hosts]


def names(registry: MemberRegistry) -> list[str]:
    return [member.name for member in registry]


def test_a_name_has_no_member_until_it_is_looked_up_and_then_one_for_each_address() -> None:
    registry = MemberRegistry()
    registry.replace([a_set("sip:pbx.example", "sip:10.0.0.9")])
    assert (names(registry), registry.names) == (["sip:10.0.0.9"], {NAME})
    registry.resolve(NAME, at(1, 2))
    assert names(registry) == ["sip:pbx.example at 10.0.0.1:5060", "sip:pbx.example at 10.0.0.2:5060", "sip:10.0.0.9"]
    first, second, _ = registry
    changes = registry.resolve(NAME, at(2, 3))
    assert changes is not None
    assert (changes.removed, [member.target.host for member in changes.added]) == ([first], ["10.0.0.3"])
    assert next(iter(registry)) is second


def test_answers_that_change_nothing() -> None:
    registry = MemberRegistry()
    registry.replace([a_set("sip:pbx.example")])
    registry.resolve(NAME, at(1))
    assert registry.resolve(NAME, at(1)) is None
    assert registry.resolve(NAME, []) is None, "no answer leaves what was known"
    assert registry.resolve(parse_server_uri("sip:other.example"), at(2)) is None
    assert names(registry) == ["sip:pbx.example at 10.0.0.1:5060"]


def test_the_addresses_of_a_name_are_bounded() -> None:
    registry = MemberRegistry()
    registry.replace([a_set("sip:pbx.example")])
    registry.resolve(NAME, at(*range(1, limits.TARGETS + 5)))
    assert len(names(registry)) == limits.TARGETS


def test_addresses_share_their_member_s_weight_and_have_their_own_priorities() -> None:
    registry = MemberRegistry()
    registry.replace([a_set("sip:pbx.example", weight=12, priority=3)])
    registry.resolve(NAME, [*at(1, weight=3), *at(2, weight=1), *at(3, priority=1, weight=0)])
    assert [(member.weight, member.priority) for member in registry] == [(9.0, (3, 0)), (3.0, (3, 0)), (12.0, (3, 1))]


def test_a_member_removed_with_calls_and_added_again_keeps_its_load() -> None:
    registry = MemberRegistry()
    registry.replace([a_set("sip:10.0.0.1", "sip:10.0.0.2")])
    one, two = registry
    one.take((), 1)
    registry.replace([])
    assert (one.removed, two.removed) == (True, True)
    changes = registry.replace([a_set("sip:10.0.0.1", "sip:10.0.0.2")])
    same_member, other = registry
    assert (same_member, same_member.load, same_member.removed) == (one, 1, False)
    assert other is not two
    assert changes.added == [one, other]


def test_members_prepared_ahead_are_the_ones_that_are_added() -> None:
    registry = MemberRegistry()
    registry.replace([a_set("sip:10.0.0.1")])
    (one,) = registry
    registry.prepare([a_set("sip:10.0.0.1", "sip:10.0.0.2")])
    assert list(registry) == [one], "nothing has changed yet"
    changes = registry.replace([a_set("sip:10.0.0.1", "sip:10.0.0.2", weight=7, disabled=True)])
    assert next(iter(registry)) is one
    assert [member.name for member in changes.added] == ["sip:10.0.0.2"]
    assert [(member.weight, member.admin_state.name) for member in registry] == [(7.0, "DISABLED")] * 2, (
        "as the latest preparation says"
    )


def test_prepared_members_that_are_not_added_are_dropped() -> None:
    registry = MemberRegistry()
    registry.prepare([a_set("sip:10.0.0.2")])
    registry.replace([a_set("sip:10.0.0.1")])
    assert names(registry) == ["sip:10.0.0.1"]
    assert registry.at(Source("10.0.0.2", 5060), Transport.UDP) is None
