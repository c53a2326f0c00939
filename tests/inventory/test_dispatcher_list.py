"""Kamailio's dispatcher.list: what becomes of its lines, what has no counterpart, and a policy that takes it."""

from __future__ import annotations

import tomllib

import pytest

from edgesbc.base import limits
from edgesbc.dispatch.settings import SetSettings
from edgesbc.inventory.dispatcher_list import ALGORITHMS, ImportedSets, NoCounterpart, as_toml, import_list
from edgesbc.inventory.rows import TableErrors
from edgesbc.policy.load import parse_policy

LIST = """\
#
# gateways
1 sip:10.0.0.11:5080 0 10 duid=a;maxload=20
1   sip:10.0.0.12;transport=tcp\t4   30 rweight=40 # is out
1 sip:10.0.0.13

2 sips:sip.example.com duid=b;note="a\\b"
2 sip:[2001:db8::1]:5070#comment
"""
LISTENERS = """
listen = [
  { zone = "public", transport = "udp", bind = "192.0.2.1:5060" },
  { zone = "core", transport = "udp", bind = "10.0.0.1:5060" },
  { zone = "core", transport = "tcp", bind = "10.0.0.1:5060" },
  { zone = "core", transport = "tls", bind = "10.0.0.1:5061" },
  { zone = "core", transport = "udp", bind = "[2001:db8::2]:5060", name = "six" },
]
route = [{ name = "a", to = "gateways" }, { name = "b", from = "core", to = "set-2" }]
"""


def imported(text: str, algorithm: int | None = 8, **names: str) -> ImportedSets:
    return import_list(text, "dispatcher.list", {key.removeprefix("n"): name for key, name in names.items()}, algorithm)


def mistakes(text: str, **names: str) -> list[tuple[str, str]]:
    with pytest.raises(TableErrors) as caught:
        imported(text, **names)
    return [(error.key, error.name) for error in caught.value.errors]


def uris(settings: SetSettings) -> list[str]:
    return [member.uri for member in settings.members]


@pytest.mark.parametrize("algorithm", [None, *ALGORITHMS])
def test_the_output_is_valid_as_part_of_a_policy(algorithm: int | None) -> None:
    sets = imported(LIST, algorithm, n1="gateways").sets
    policy = parse_policy(LISTENERS + as_toml(sets), "policy.toml")
    assert policy.destinations == sets
    assert [settings.set for settings in sets] == ["gateways", "set-2"]


def test_every_part_of_a_list() -> None:
    gateways, second = imported(LIST, None).sets
    first = next(member for member in gateways.members if member.uri == "sip:10.0.0.11:5080")
    assert (first.max_calls, first.attributes, first.priority) == (20, {"duid": "a"}, 1)
    out = next(member for member in gateways.members if member.disabled)
    assert (out.uri, out.weight, out.priority) == ("sip:10.0.0.12;transport=tcp", 40, 0)
    assert uris(second) == ["sips:sip.example.com", "sip:[2001:db8::1]:5070"]
    assert second.members[0].attributes == {"duid": "b", "note": "a\\b"}


def test_with_algorithm_8_the_order_is_that_of_kamailio() -> None:
    """A higher priority is first; of one priority, the last in the list."""
    (settings,) = imported("1 sip:10.0.0.1\n1 sip:10.0.0.2 0 5\n1 sip:10.0.0.3\n1 sip:10.0.0.4 0 5\n").sets
    assert settings.algorithm == "priority"
    assert [(member.uri[-1], member.priority) for member in settings.members] == [
        ("4", 0),
        ("2", 0),
        ("3", 1),
        ("1", 1),
    ]


@pytest.mark.parametrize("algorithm", [number for number, way in ALGORITHMS.items() if not way.ordered])
def test_priorities_are_left_out_where_they_only_order_the_set(algorithm: int) -> None:
    result = imported(LIST, algorithm)
    assert {member.priority for one in result.sets for member in one.members} <= {0, int(algorithm in (9, 11))}
    assert any("priorities only order the set" in note.message for note in result.notes)


@pytest.mark.parametrize(
    ("algorithm", "name", "hash_on"),
    [
        (0, "hash", "call-id"), (1, "hash", "from-uri"), (2, "hash", "to-uri"), (3, "hash", "request-user"),
        (4, "round-robin", ""), (5, "hash", "from-uri"), (6, "random", ""), (8, "priority", ""), (9, "weighted", ""),
        (10, "fewest-calls", ""), (11, "weighted", ""), (12, "broadcast", ""), (13, "latency", ""),
    ],
)  # fmt: skip
def test_algorithms(algorithm: int, name: str, hash_on: str) -> None:
    result = imported("1 sip:10.0.0.1\n", algorithm)
    assert (result.sets[0].algorithm, result.sets[0].hash_on) == (name, hash_on or "call-id")
    assert [note.message for note in result.notes if "no counterpart" in note.message] == (
        ["algorithm 5 (hash over the user that authorizes) has no counterpart; from-uri is nearest"]
        if algorithm == 5
        else []
    )
    assert any("no exact counterpart" in note.message for note in result.notes) is (algorithm == 13)


@pytest.mark.parametrize(("algorithm", "message"), [(7, "header:NAME"), (14, "0 to 13"), (-1, "0 to 13")])
def test_algorithms_without_a_counterpart(algorithm: int, message: str) -> None:
    with pytest.raises(NoCounterpart, match=message):
        imported(LIST, algorithm)


def test_what_has_no_counterpart_is_noted_by_its_line() -> None:
    text = "1 sip:10.0.0.1 0 0 socket=udp:10.9.9.9:5060;obproxy=sip:x\n1 sip:10.0.0.2 9\n"
    result = imported(text)
    assert [(note.key, note.column) for note in result.notes] == [("1", "attrs"), ("1", "attrs"), ("2", "flags")]
    assert result.sets[0].members[1].socket in (None, "")
    assert "write socket = NAME" in result.notes[0].message
    assert "obproxy (an outbound proxy of probes) has no counterpart" in result.notes[1].message


def test_without_an_algorithm_there_is_a_note_about_it() -> None:
    assert "--algorithm" in imported("1 sip:10.0.0.1\n", None).notes[0].message


def test_more_members_than_a_request_goes_to_are_noted() -> None:
    text = "".join(f"1 sip:10.0.0.{n + 1}\n" for n in range(limits.FORK_BRANCHES + 1))
    assert any("at most" in note.message for note in imported(text, 12).notes)


def test_every_bad_line_at_once() -> None:
    text = (
        "1 sip:10.0.0.1\n"
        "x sip:10.0.0.2\n"
        "1\n"
        "1 tel:110 64 0 maxload=a\n"
        '1 sip:10.0.0.3 0 0 a="b\n'
        '1 sip:10.0.0.4 0 0 a="1"2\n'
        "1 #sip:10.0.0.7\n"
        f"1 sip:10.0.0.5 0 0 a={'x' * limits.DATABASE_TEXT}\n"
        "-1 sip:10.0.0.6\n"
    )
    assert sorted(set(mistakes(text))) == [
        ("2", "bad-line"), ("3", "bad-line"), ("4", "bad-value"), ("5", "bad-value"), ("6", "bad-value"),
        ("7", "bad-line"), ("8", "bad-line"), ("9", "bad-line"),
    ]  # fmt: skip


def test_lines_that_kamailio_reads_in_its_own_way_are_read_so_and_noted() -> None:
    """As the real one does in tests/interop/test_kamailio_data.py."""
    text = (
        "1 sip:10.0.0.1 0 -5 weight=10\n"
        "1 sip:10.0.0.2 0 0 duid=a weight=10\n"
        "1 sip:10.0.0.3 weight=11 # a comment\n"
        "1 10.0.0.4:5080 0 0 flag\n"
        "1 sip:10.0.0.1;transport=udp\n"
    )
    result = imported(text, None)
    (settings,) = result.sets
    assert [(member.uri, member.weight, member.attributes) for member in settings.members] == [
        ("sip:10.0.0.1", 2, {"-5": ""}),
        ("sip:10.0.0.2", 1, {"duid": "a"}),
        ("sip:10.0.0.3", 11, {}),
        ("sip:10.0.0.4:5080", 1, {"flag": ""}),
    ]
    assert [(note.key, note.message) for note in result.notes if note.key] == [
        ("1", "-5 is no priority in a list of Kamailio's, which is 0"),
        ("1", "weight=10 is left out: nothing is read after the attributes, which end at a blank"),
        ("2", "weight=10 is left out: nothing is read after the attributes, which end at a blank"),
        ("4", "10.0.0.4:5080 is taken for sip:10.0.0.4:5080"),
        ("5", "is the address of line 1 again: that member gets the shares of both"),
    ]


def test_a_destination_that_is_listed_twice_has_two_shares_of_round_robin() -> None:
    text = "1 sip:10.0.0.1\n1 sip:10.0.0.2\n1 sip:10.0.0.1\n"
    (settings,) = imported(text, 4).sets
    assert (settings.algorithm, [member.weight for member in settings.members]) == ("weighted", [2, 1])


def test_errors_for_an_empty_list_and_for_a_name_of_an_unknown_set() -> None:
    assert mistakes("# nothing\n\n") == [("", "no-rows")]
    assert mistakes("1 sip:10.0.0.1\n", n3="x") == [("", "unknown-set")]


@pytest.mark.parametrize("odd", ['"', "\\", "\x00", "\x1f", "\x7f", "ü", "\U0001f4de", "\u2028"])
def test_every_text_can_be_read_again(odd: str) -> None:
    (settings,) = imported(
        f"1 sip:10.0.0.1 0 0 note=a{odd}b\n" if odd.strip() and odd != "\x1f" else "1 sip:10.0.0.1"
    ).sets
    data = tomllib.loads(as_toml([settings]))
    attributes = dict(settings.members[0].attributes)
    assert data["destinations"][0]["members"][0].get("attributes", {}) == attributes
