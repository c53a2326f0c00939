"""Rows of the four schemas as members; every mistake at once, by table, key and column."""

from __future__ import annotations

from typing import Any

import pytest

from edgesbc.base import limits
from edgesbc.dispatch.settings import MemberSettings
from edgesbc.inventory.rows import TableErrors
from edgesbc.inventory.schemas import SCHEMAS
from edgesbc.inventory.tables import Groups, read_rows

SOCKETS = {"udp:10.0.0.1:5060": "inside", "tls:0.0.0.0:5061": "outside"}


def ours(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"id": n, "set_name": "pbx", "uri": f"sip:10.0.0.{n}", **row} for n, row in enumerate(rows, 1)]


def kamailio(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    plain = {"setid": 1, "flags": 0, "priority": 0, "attrs": "", "description": ""}
    return [{"id": n, "destination": f"sip:10.0.0.{n}", **plain, **row} for n, row in enumerate(rows, 1)]


def opensips(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    plain = {"setid": 1, "socket": None, "state": 0, "probe_mode": 0, "weight": "1", "priority": 0, "attrs": None}
    return [{"id": n, "destination": f"sip:10.0.0.{n}", **plain, **row} for n, row in enumerate(rows, 1)]


def balancer(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    plain = {"group_id": 1, "resources": "pstn=30", "probe_mode": 0}
    return [{"id": n, "dst_uri": f"sip:10.0.0.{n}", **plain, **row} for n, row in enumerate(rows, 1)]


def read(schema: str, rows: list[dict[str, Any]], *wanted: str) -> Groups:
    return read_rows(rows, schema, "t", wanted or ({"edgesbc": "pbx"}.get(schema, "1"),), SOCKETS)


def members(schema: str, rows: list[dict[str, Any]]) -> tuple[MemberSettings, ...]:
    (group,) = read(schema, rows).members.values()
    return group


def mistakes(schema: str, rows: list[dict[str, Any]], *wanted: str) -> list[tuple[str, str, str]]:
    with pytest.raises(TableErrors) as caught:
        read(schema, rows, *wanted)
    return [(error.key, error.column, error.name) for error in caught.value.errors]


def notes(schema: str, rows: list[dict[str, Any]]) -> list[str]:
    return [f"{note.key} {note.column} {note.message}" for note in read(schema, rows).notes]


# --- ours --------------------------------------------------------------------------------------------------


def test_priorities_of_our_schema_are_unchanged() -> None:
    assert [member.priority for member in members("edgesbc", ours({"priority": 20}, {"priority": 3}))] == [20, 3]


def test_every_mistake_of_every_row_at_once() -> None:
    rows = ours(
        {"uri": "tel:110", "weight": 0, "max_calls": "many", "strip": -1},
        {"prepend": "a b", "max_cps": 0, "resources": "pstn=x", "attributes": "{", "disabled": 5, "priority": 2000},
        {},
        {"uri": None},
    )
    assert set(mistakes("edgesbc", rows)) == {
        *(("id=1", column, "bad-value") for column in ("uri", "weight", "max_calls", "strip")),
        *(
            ("id=2", column, "bad-value")
            for column in ("prepend", "max_cps", "resources", "attributes", "disabled", "priority")
        ),
        ("id=4", "uri", "bad-value"),
    }


def test_an_address_twice_in_a_set() -> None:
    rows = ours({}, {"uri": "sip:10.0.0.1:5060;transport=udp"}, {"uri": "sip:10.0.0.1;transport=tcp"})
    assert mistakes("edgesbc", rows) == [("id=2", "uri", "duplicate-member")]
    assert len(read("edgesbc", [rows[0], {**rows[1], "set_name": "other"}], "pbx", "other").members) == 2


def test_a_name_twice_in_a_set() -> None:
    rows = ours({"uri": "sip:sip.example.com"}, {"uri": "sip:SIP.example.com."})
    assert mistakes("edgesbc", rows) == [("id=2", "uri", "duplicate-member")]


def test_the_error_for_an_unknown_set_lists_the_known_ones() -> None:
    with pytest.raises(TableErrors, match=r"the set 'pbz', found none; there are sets pbx \(unknown-set\)"):
        read("edgesbc", ours({}), "pbz")


def test_a_table_without_rows_or_columns() -> None:
    assert mistakes("edgesbc", []) == [("", "", "no-rows")]
    assert mistakes("edgesbc", [{"id": 1, "uri": "sip:10.0.0.1"}]) == [("", "", "no-column")]


def test_a_row_without_a_set() -> None:
    assert mistakes("edgesbc", ours({}, {"set_name": None})) == [("id=2", "set_name", "bad-value")]


def test_rows_of_other_sets_are_not_read() -> None:
    assert len(members("edgesbc", ours({}, {"set_name": "other", "uri": "tel:110"}))) == 1


def test_a_row_without_a_key_is_counted() -> None:
    rows = [{"set_name": "pbx", "uri": "sip:10.0.0.1"}, {"set_name": "pbx", "uri": "tel:110"}]
    assert mistakes("edgesbc", rows) == [("number 2", "uri", "bad-value")]


def test_rows_and_members_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SET_MEMBERS", 2)
    assert mistakes("edgesbc", ours({}, {}, {})) == [("", "set_name", "too-many-members")]
    monkeypatch.setattr(limits, "DATABASE_ROWS", 2)
    assert mistakes("edgesbc", ours({}, {}, {})) == [("", "", "too-many-rows")]
    assert len(members("edgesbc", ours({}, {}))) == 2


def test_a_member_that_cannot_be_reached_is_named_by_its_own_column() -> None:
    def fit(member: MemberSettings) -> list[tuple[str, str]]:
        return [("uri", "no way"), ("socket", "no listener")]

    with pytest.raises(TableErrors) as caught:
        read_rows(kamailio({}), "kamailio-dispatcher", "t", ["1"], SOCKETS, fit)
    assert [(error.column, error.name) for error in caught.value.errors] == [
        ("destination", "unreachable"), ("attrs", "unreachable"),
    ]  # fmt: skip


# --- Kamailio ----------------------------------------------------------------------------------------------


def test_a_higher_priority_of_kamailio_is_a_lower_number_here() -> None:
    rows = kamailio({"priority": 5}, {"priority": 50}, {"priority": -1}, {"priority": 5})
    assert [member.priority for member in members("kamailio-dispatcher", rows)] == [1, 0, 2, 1]


@pytest.mark.parametrize(
    ("flags", "disabled", "noted"),
    [(0, False, 0), (8, False, 1), (9, False, 1), (2, False, 1), (1, True, 1), (4, True, 0), (12, True, 0), (16, 0, 1)],
)
def test_flags_of_kamailio(flags: int, disabled: bool, noted: int) -> None:
    rows = kamailio({"flags": flags})
    assert members("kamailio-dispatcher", rows)[0].disabled == disabled
    assert len(notes("kamailio-dispatcher", rows)) == noted


@pytest.mark.parametrize(
    ("attrs", "weight", "disabled"),
    [
        ("", 1, False), ("weight=30", 30, False), ("rweight=40", 40, False), ("weight=30;rweight=40", 30, False),
        ("rweight=0", 1, False), ("weight=0", 1, False), ('Weight="30"', 30, False), ("weight=30x", 30, False),
        ("weight=+30", 30, False), ("weight='30'", 30, False), ("weight=150", 150, False),
    ],
)  # fmt: skip
def test_weights_of_kamailio(attrs: str, weight: int, disabled: bool) -> None:
    (member,) = members("kamailio-dispatcher", kamailio({"attrs": attrs}))
    assert (member.weight, member.disabled) == (weight, disabled)


def test_attributes_of_kamailio() -> None:
    row = {"attrs": "maxload=0;duid=a;my=xyz;ping_from=sip:x;cc=1", "description": "the first"}
    (member,) = members("kamailio-dispatcher", kamailio(row))
    assert member.max_calls is None
    assert member.attributes == {
        "description": "the first", "duid": "a", "my": "xyz", "ping_from": "sip:x", "cc": "1",
    }  # fmt: skip
    assert sorted(notes("kamailio-dispatcher", kamailio(row))) == [
        "id=1 attrs cc (congestion control) has no counterpart",
        "id=1 attrs ping_from (From of the probes to one member) has no counterpart",
    ]


@pytest.mark.parametrize(
    ("attrs", "socket"),
    [
        ("socket=udp:10.0.0.1:5060", "inside"), ("socket=10.0.0.1", "inside"), ("sockname=inside", "inside"),
        ("socket=tls:192.0.2.7:5061", "outside"), ("sockname=a;socket=udp:10.0.0.1", "a"), ("", None),
    ],
)  # fmt: skip
def test_sockets_of_kamailio(attrs: str, socket: str | None) -> None:
    (member,) = members("kamailio-dispatcher", kamailio({"attrs": attrs}))
    assert (member.socket or None) == socket


@pytest.mark.parametrize("socket", ["udp:10.0.0.2:5060", "tcp:10.0.0.1:5060"])
def test_a_socket_that_is_no_listener(socket: str) -> None:
    assert mistakes("kamailio-dispatcher", kamailio({"attrs": f"socket={socket}"})) == [
        ("id=1", "attrs", "no-listener")
    ]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"destination": ""}, "destination"), ({"flags": 32}, "flags"), ({"priority": "x"}, "priority"),
        ({"attrs": "weight=a"}, "attrs"), ({"attrs": "weight=99999"}, "attrs"), ({"attrs": "maxload=-1"}, "attrs"),
        ({"attrs": "maxload=999999"}, "attrs"), ({"attrs": 'a="1'}, "attrs"), ({"attrs": "socket=x:y:z"}, "attrs"),
    ],
)  # fmt: skip
def test_bad_rows_of_kamailio(row: dict[str, Any], column: str) -> None:
    assert mistakes("kamailio-dispatcher", kamailio({}, row)) == [("id=2", column, "bad-value")]


# --- OpenSIPS ----------------------------------------------------------------------------------------------


def test_opensips_dispatcher() -> None:
    rows = opensips(
        {"priority": 1, "weight": "70"}, {"priority": 9, "state": 1}, {"state": 2, "probe_mode": 1}, {"weight": 0}
    )
    gateways = members("opensips-dispatcher", rows)
    assert [(gateway.priority, gateway.weight, gateway.disabled) for gateway in gateways] == [
        (1, 70, False), (0, 1, True), (2, 1, False), (3, 1, False),
    ]  # fmt: skip
    assert [note.partition(" has")[0].partition(" is")[0] for note in notes("opensips-dispatcher", rows)] == [
        "id=3 state 2 (probing)", "id=3 probe_mode 1", "id=4 weight a weight of 0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "column"),
    [({"state": 3}, "state"), ({"weight": "fs://:pw@10.0.0.1"}, "weight"), ({"probe_mode": 5}, "probe_mode")],
)
def test_bad_rows_of_opensips(row: dict[str, Any], column: str) -> None:
    assert mistakes("opensips-dispatcher", opensips(row)) == [("id=1", column, "bad-value")]


def test_a_foreign_socket_of_opensips_is_ignored_as_there() -> None:
    rows = opensips({"socket": "udp:10.0.0.1:5060"}, {"socket": "udp:10.9.9.9:5060"}, {"socket": "x:y:z"})
    assert [member.socket for member in members("opensips-dispatcher", rows)] == ["inside", None, None]
    assert [note[:30] for note in notes("opensips-dispatcher", rows)] == [
        "id=2 socket udp:10.9.9.9:5060 ", "id=3 socket x:y:z is no socket",
    ]  # fmt: skip


@pytest.mark.parametrize("schema", ["kamailio-dispatcher", "opensips-dispatcher"])
def test_a_weight_of_0_is_used_after_the_others_of_its_priority_or_evenly(schema: str) -> None:
    """Before, such a row was disabled, so that with 0 in all rows every call got 503."""
    weights = [(0, 0), (0, 0), (5, 0), (5, 7), (5, 0), (9, 3)]
    rows = (
        kamailio(*({"priority": priority, "attrs": f"weight={weight}"} for priority, weight in weights))
        if schema == "kamailio-dispatcher"
        else opensips(*({"priority": priority, "weight": weight} for priority, weight in weights))
    )
    assert [(one.priority, one.weight, one.disabled) for one in members(schema, rows)] == [
        (3, 1, False), (3, 1, False), (2, 1, False), (1, 7, False), (2, 1, False), (0, 3, False),
    ]  # fmt: skip
    assert len(notes(schema, rows)) == 4


def test_weights_of_kamailio_that_need_an_algorithm_are_noted() -> None:
    rows = kamailio({"attrs": "weight=80;rweight=20"}, {"attrs": "weight=150"})
    assert [note.partition("attrs ")[2] for note in notes("kamailio-dispatcher", rows)] == [
        "weight=80 is taken; with peer_algorithm = 11 of its set rweight=20 would be",
        "a weight of 150 is ignored in Kamailio, where 100 is the largest",
    ]


@pytest.mark.parametrize("schema", ["kamailio-dispatcher", "opensips-dispatcher", "opensips-load-balancer"])
def test_an_address_that_another_program_lists_twice_is_one_member_with_both_shares(schema: str) -> None:
    uri = "dst_uri" if schema == "opensips-load-balancer" else "destination"
    make = {"kamailio-dispatcher": kamailio, "opensips-dispatcher": opensips, "opensips-load-balancer": balancer}[
        schema
    ]
    rows = make({uri: "sip:10.0.0.9"}, {}, {uri: "sip:10.0.0.9:5060"})
    nine, two = members(schema, rows)
    assert (nine.uri, nine.weight, two.weight) == ("sip:10.0.0.9", 2, 1)
    assert notes(schema, rows) == [f"id=3 {uri} is the address of row id=1 again: that member gets the shares of both"]


def test_an_address_by_two_sockets_goes_by_the_first() -> None:
    attrs = ["socket=udp:10.0.0.1:5060;maxload=5", "weight=3", "sockname=outside;maxload=7"]
    rows = kamailio(*({"destination": "sip:10.0.0.9", "attrs": text} for text in attrs))
    (member,) = members("kamailio-dispatcher", rows)
    assert (member.socket, member.weight, member.max_calls) == ("inside", 5, None)
    assert "by the socket of that row" in notes("kamailio-dispatcher", rows)[0]


def test_a_disabled_row_of_an_address_takes_nothing_from_another() -> None:
    rows = kamailio(
        {"destination": "sip:10.0.0.9", "flags": 4}, {"destination": "sip:10.0.0.9", "attrs": "weight=3"},
        {"destination": "sip:10.0.0.9", "flags": 4},
    )  # fmt: skip
    (member,) = members("kamailio-dispatcher", rows)
    assert (member.disabled, member.weight) == (False, 3)


# --- rows that are left out ---------------------------------------------------------------------------------


def skip(schema: str, rows: list[dict[str, Any]], *wanted: str, algorithm: int | None = None) -> Groups:
    names = wanted or ({"edgesbc": "pbx"}.get(schema, "1"),)
    algorithms = {} if algorithm is None else dict.fromkeys(names, algorithm)
    return read_rows(rows, schema, "t", names, SOCKETS, algorithms=algorithms, skip=True)


def test_a_bad_row_is_left_out_with_its_error() -> None:
    rows = kamailio(
        {}, {"attrs": "socket=udp:9.9.9.9"}, {"destination": "tel:1"}, {"setid": None}, {"attrs": 'a="1'}, {"flags": 99}
    )
    groups = skip("kamailio-dispatcher", rows)
    assert [member.uri for member in groups.members["1"]] == ["sip:10.0.0.1"]
    assert [(error.key, error.name) for error in groups.skipped] == [
        ("id=2", "no-listener"), ("id=4", "bad-value"), ("id=5", "bad-value"), ("id=6", "bad-value"),
        ("id=3", "bad-value"),
    ]  # fmt: skip


def test_an_address_that_is_repeated_in_our_own_table_is_left_out() -> None:
    groups = skip("edgesbc", ours({}, {"uri": "sip:10.0.0.1"}, {"weight": 0}))
    assert [member.uri for member in groups.members["pbx"]] == ["sip:10.0.0.1"]
    assert [(error.key, error.name) for error in groups.skipped] == [
        ("id=3", "bad-value"),
        ("id=2", "duplicate-member"),
    ]


def test_the_others_have_the_shares_that_they_have_without_it() -> None:
    """Kamailio fills a hundred places with the rows that it takes."""
    rows = kamailio({"attrs": "weight=30"}, {"attrs": "weight=30"}, {"attrs": "weight=30;socket=udp:9.9.9.9"})
    groups = skip("kamailio-dispatcher", rows, algorithm=9)
    assert [member.weight for member in groups.members["1"]] == [70, 30]


def test_what_concerns_the_whole_table_or_a_whole_set_is_refused_all_the_same() -> None:
    for rows, wanted in (([], ("1",)), (kamailio({}), ("1", "2")), (kamailio({"flags": 99}), ("1",))):
        with pytest.raises(TableErrors):
            skip("kamailio-dispatcher", rows, *wanted)


def test_opensips_load_balancer() -> None:
    rows = balancer({"resources": "pstn=30;conf/s=5", "attrs": "x"}, {"resources": " "})
    first, second = members("opensips-load-balancer", rows)
    assert (first.resources, first.attributes) == ({"pstn": 30, "conf": 5}, {"attrs": "x"})
    assert second.resources == {}
    assert len(notes("opensips-load-balancer", rows)) == 1


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"resources": "pstn=fs://user:pw@10.0.0.1:8021"}, {"resources"}),
        ({"resources": "pstn=999999"}, {"resources"}),
        ({"dst_uri": "fs://user:pw@10.0.0.1"}, {"dst_uri"}),
    ],
)
def test_fs_urls_are_not_supported(row: dict[str, Any], columns: set[str]) -> None:
    with pytest.raises(TableErrors) as caught:
        read("opensips-load-balancer", balancer(row))
    assert {error.column for error in caught.value.errors} == columns
    assert "pw" not in str(caught.value)


def test_every_schema_requires_columns_that_it_has() -> None:
    for schema in SCHEMAS.values():
        assert {schema.key, schema.group, *schema.required} <= set(schema.columns)
