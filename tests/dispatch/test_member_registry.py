"""Which members there are: one for each address, the same ones over a change, and those that are made ahead."""

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


def names(roster: MemberRegistry) -> list[str]:
    return [member.name for member in roster]


def test_a_name_has_no_member_until_it_is_looked_up_and_then_one_for_each_address() -> None:
    roster = MemberRegistry()
    roster.replace([a_set("sip:pbx.example", "sip:10.0.0.9")])
    assert (names(roster), roster.names) == (["sip:10.0.0.9"], {NAME})
    roster.resolve(NAME, at(1, 2))
    assert names(roster) == ["sip:pbx.example at 10.0.0.1:5060", "sip:pbx.example at 10.0.0.2:5060", "sip:10.0.0.9"]
    first, second, _ = roster
    changes = roster.resolve(NAME, at(2, 3))
    assert changes is not None
    assert (changes.gone, [each.target.host for each in changes.new]) == ([first], ["10.0.0.3"])
    assert next(iter(roster)) is second


def test_what_changes_nothing() -> None:
    roster = MemberRegistry()
    roster.replace([a_set("sip:pbx.example")])
    roster.resolve(NAME, at(1))
    assert roster.resolve(NAME, at(1)) is None
    assert roster.resolve(NAME, []) is None, "no answer leaves what was known"
    assert roster.resolve(parse_server_uri("sip:other.example"), at(2)) is None
    assert names(roster) == ["sip:pbx.example at 10.0.0.1:5060"]


def test_a_name_has_so_many_addresses_and_no_more() -> None:
    roster = MemberRegistry()
    roster.replace([a_set("sip:pbx.example")])
    roster.resolve(NAME, at(*range(1, limits.TARGETS + 5)))
    assert len(names(roster)) == limits.TARGETS


def test_addresses_share_their_member_s_weight_and_have_their_own_priorities() -> None:
    roster = MemberRegistry()
    roster.replace([a_set("sip:pbx.example", weight=12, priority=3)])
    roster.resolve(NAME, [*at(1, weight=3), *at(2, weight=1), *at(3, priority=1, weight=0)])
    assert [(each.weight, each.priority) for each in roster] == [(9.0, (3, 0)), (3.0, (3, 0)), (12.0, (3, 1))]


def test_who_leaves_with_calls_and_comes_back_still_has_them() -> None:
    roster = MemberRegistry()
    roster.replace([a_set("sip:10.0.0.1", "sip:10.0.0.2")])
    one, two = roster
    one.take((), 1)
    roster.replace([])
    assert (one.removed, two.removed) == (True, True)
    changes = roster.replace([a_set("sip:10.0.0.1", "sip:10.0.0.2")])
    again, other = roster
    assert (again, again.load, again.removed) == (one, 1, False)
    assert other is not two
    assert changes.new == [one, other]


def test_members_that_are_made_ahead_are_those_that_come() -> None:
    roster = MemberRegistry()
    roster.replace([a_set("sip:10.0.0.1")])
    (one,) = roster
    roster.foresee([a_set("sip:10.0.0.1", "sip:10.0.0.2")])
    assert list(roster) == [one], "nothing has changed yet"
    changes = roster.replace([a_set("sip:10.0.0.1", "sip:10.0.0.2", weight=7, disabled=True)])
    assert next(iter(roster)) is one
    assert [each.name for each in changes.new] == ["sip:10.0.0.2"]
    assert [(each.weight, each.order.name) for each in roster] == [(7.0, "DISABLED")] * 2, "as the last word has it"


def test_what_was_foreseen_and_did_not_come_is_forgotten() -> None:
    roster = MemberRegistry()
    roster.foresee([a_set("sip:10.0.0.2")])
    roster.replace([a_set("sip:10.0.0.1")])
    assert names(roster) == ["sip:10.0.0.1"]
    assert roster.at(Source("10.0.0.2", 5060), Transport.UDP) is None
