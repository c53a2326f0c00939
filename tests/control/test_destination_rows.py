"""Members as rows, and which of them an operator's word selects."""

from __future__ import annotations

import pytest
from support.members import a_member

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport
from edgesbc.control.destination_rows import destination_row, display_name, select_members
from edgesbc.control.protocol import CommandRefused
from edgesbc.dispatch.connection_backoff import ConnectionBackoff
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.operator_overrides import Override
from edgesbc.sip.server_uri import ResolvedAddress


def at_name(host: str) -> Member:
    return a_member("sip:gw.example.com", "carrier", target=ResolvedAddress(Source(host, 5060), Transport.UDP))


ONE, TWO = a_member("sip:10.0.0.1", "pbx"), a_member("sip:10.0.0.2", "pbx")
SAME, SIX = a_member("sip:10.0.0.1", "spare"), a_member("sip:[2001:db8::1]:5070", "pbx")
NEAR, FAR = at_name("10.0.0.8"), at_name("10.0.0.9")
ALL = (ONE, TWO, SAME, SIX, NEAR, FAR)


@pytest.mark.parametrize(
    ("selection", "members"),
    [
        ("pbx", [ONE, TWO, SIX]),
        ("sip:10.0.0.1", [ONE, SAME]),
        ("spare/sip:10.0.0.1", [SAME]),
        ("10.0.0.1:5060", [ONE, SAME]),
        ("[2001:DB8:0::1]:5070", [SIX]),
        ("sip:gw.example.com", [NEAR, FAR]),
        ("10.0.0.9:5060", [FAR]),
    ],
)
def test_a_word_selects_members(selection: str, members: list[Member]) -> None:
    assert select_members(selection, ALL)[1] == members


@pytest.mark.parametrize(
    "selection", ["pbx/", "sip:10.0.0.9", "10.0.0.1", "10.0.0.1:5070", "nobody", "", "pbx/sip:gw.example.com"]
)
def test_the_refusal_of_a_word_that_selects_no_member_lists_the_names(
    selection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DESTINATIONS_NAMED", 2)
    with pytest.raises(CommandRefused, match=r"there are pbx/sip:10.0.0.1, pbx/sip:10.0.0.2, and 4 more"):
        select_members(selection, ALL)


def test_an_ambiguous_word_is_refused() -> None:
    members = (a_member("sip:10.0.0.1", "sip:10.0.0.2"), TWO)
    with pytest.raises(CommandRefused, match="is a set and also a URI; say SET/URI"):
        select_members("sip:10.0.0.2", members)
    alone = a_member("sip:10.0.0.2", "sip:10.0.0.2")
    assert select_members("sip:10.0.0.2", [alone])[1] == [alone]


def test_without_members_the_refusal_says_that_there_are_none() -> None:
    with pytest.raises(CommandRefused, match="there is none"):
        select_members("pbx", [])


def test_what_an_operator_or_a_policy_wrote_is_shown_escaped() -> None:
    member = a_member("sip:10.0.0.1", "p\x1bx", attributes={"rack": "\n7"})
    row = destination_row(member, Override(AdminState.DRAINING, "ro\tot", "new\nkernel", 0.0), 1.0)
    assert (row["set"], row["by"], row["why"]) == ("p\\x1bx", "ro\\tot", "new\\nkernel")
    assert row["attributes"] == {"rack": "\\n7"}
    assert display_name(member) == "p\\x1bx/sip:10.0.0.1"
    assert display_name(FAR) == "carrier/sip:gw.example.com at 10.0.0.9:5060"


def test_since_is_the_time_of_the_order_or_of_the_change_of_health() -> None:
    member = a_member("sip:10.0.0.1")
    assert destination_row(member, None, 50.0)["since"] is None
    member.health.bad(20.0)
    assert destination_row(member, None, 50.0)["since"] == 30.0
    member.admin_state = AdminState.DRAINING
    ordered = Override(AdminState.DRAINING, "root", "", 45.0)
    row = destination_row(member, ordered, 50.0)
    assert (row["state"], row["health"], row["since"]) == ("draining", "trying", 5.0)
    member.resting_until = 60.0
    assert destination_row(member, ordered, 50.0)["resting"] == 10.0


def test_failed_connections_are_shown_with_the_time_for_which_calls_leave_the_address_alone() -> None:
    member = a_member("sip:10.0.0.1;transport=tcp")
    member.backoff = ConnectionBackoff()
    row = destination_row(member, None, 50.0)
    assert (row["connect_failures"], row["connect_after"]) == (0, None)
    member.backoff.failures, member.backoff.until = 3, 52.0
    row = destination_row(member, None, 50.0)
    assert (row["connect_failures"], row["connect_after"]) == (3, 2.0)
    row = destination_row(member, None, 60.0)
    assert (row["connect_failures"], row["connect_after"]) == (3, None)
