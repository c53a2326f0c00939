"""Changes between two policies as sentences and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from edgesbc.base import limits
from edgesbc.policy.diff import differences, needs_restart, summary
from edgesbc.policy.load import load_policy, parse_policy
from edgesbc.policy.model import RESTART_SECTIONS, Policy

BASE = """
[[listen]]
zone = "public"
transport = "udp"
bind = "127.0.0.1:5060"
name = "carriers"
[[listen]]
zone = "core"
transport = "udp"
bind = "127.0.0.2:5060"
name = "inside"
[[trunk]]
name = "a"
addresses = ["192.0.2.1"]
[[destinations]]
set = "pbx"
members = [{ uri = "sip:10.0.0.1", weight = 70 }, { uri = "sip:10.0.0.2", weight = 30 }]
[[destinations]]
set = "fax"
algorithm = "priority"
members = [{ uri = "sip:10.0.0.9" }]
[[route]]
name = "numbers"
to = "pbx"
request_user = '^[0-9]+$'
[[route]]
name = "rest"
to = "fax"
[screen.pike]
reqs_density_per_unit = 30
[edge]
state_dir = "state"
"""


def changed(*replaced: tuple[str, str], more: str = "") -> list[str]:
    """The sentences about the changes to BASE: pairs of old and new text in ``replaced``, and ``more`` at its end."""
    text = BASE
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return [change.sentence for change in differences(policy(BASE), policy(text + more))]


def policy(text: str) -> Policy:
    return parse_policy(text, "/etc/edge/policy.toml")


def test_the_same_policy_in_another_form_has_no_changes() -> None:
    assert changed(("weight = 70 ", "weight = 70, priority = 0 "), more="# a comment\n") == []
    assert summary([]) == "no change of what it means"


def test_weights_and_the_shares_of_calls() -> None:
    assert changed(("weight = 70", "weight = 50"), ("weight = 30", "weight = 50")) == [
        "set pbx: member sip:10.0.0.1: weight 70 -> 50",
        "set pbx: member sip:10.0.0.2: weight 30 -> 50",
        "set pbx: sip:10.0.0.1 gets 50 % of the calls, 70 % so far",
        "set pbx: sip:10.0.0.2 gets 50 % of the calls, 30 % so far",
    ]


def test_added_and_removed_members() -> None:
    assert changed(
        ('{ uri = "sip:10.0.0.2", weight = 30 }', '{ uri = "sip:10.0.0.3", weight = 10, max_calls = 5 }')
    ) == [
        "set pbx: member sip:10.0.0.2 is removed",
        "set pbx: member sip:10.0.0.3 is added (weight 10, max_calls 5)",
        "set pbx: sip:10.0.0.1 gets 87.5 % of the calls, 70 % so far",
        "set pbx: sip:10.0.0.2 gets nothing of the calls, 30 % so far",
        "set pbx: sip:10.0.0.3 gets 12.5 % of the calls, nothing so far",
    ]


def test_priority_and_algorithm_change_the_shares_too() -> None:
    assert changed(('algorithm = "priority"\n', 'algorithm = "random"\n')) == ["set fax: algorithm priority -> random"]
    assert "set pbx: sip:10.0.0.1 gets 100 % of the calls, 70 % so far" in changed(("weight = 30", "priority = 1"))


def test_sets_and_trunks() -> None:
    assert changed(('name = "a"', 'name = "b"'), more='[screen.acl]\ndeny = ["192.0.2.0/24"]\n') == [
        "trunk a is removed",
        "trunk b is added (addresses 192.0.2.1)",
        "[screen]: acl.deny: 192.0.2.0/24 added",
    ]
    assert changed(('["192.0.2.1"]', '["192.0.2.2", "192.0.2.3"]\nmax_calls = 5')) == [
        "trunk a: addresses: 192.0.2.2, 192.0.2.3 added; 192.0.2.1 removed",
        "trunk a: max_calls none -> 5",
    ]
    added = '[[destinations]]\nset = "new"\nmembers = [{ uri = "sip:10.0.0.5" }, { uri = "sip:10.0.0.6" }]\n'
    assert changed(more=added) == ["set new is added (members sip:10.0.0.5, sip:10.0.0.6)"]


def test_routes_and_their_order() -> None:
    first, second = BASE.partition("[[route]]")[2].partition("[screen.pike]")[0].split("[[route]]")
    assert changed((f"[[route]]{first}[[route]]{second}", f"[[route]]{second}[[route]]{first}")) == [
        "routes are asked in another order: rest, numbers"
    ]
    assert changed(("'^[0-9]+$'", "'^49'")) == ["route numbers: request_user ^[0-9]+$ -> ^49"]
    assert changed(('name = "rest"', 'name = "last"')) == ["route rest is removed", "route last is added (to fax)"]


def test_a_change_that_needs_a_restart_is_marked() -> None:
    changes = differences(policy(BASE), policy(BASE.replace("127.0.0.1:5060", "127.0.0.1:5070") + 'name = "other"\n'))
    assert [change.sentence for change in changes] == [
        "[edge]: name edge -> other (needs a restart)",
        "listener carriers: bind 127.0.0.1:5060 -> 127.0.0.1:5070 (needs a restart)",
    ]
    assert needs_restart(changes) == ["edge", "listen"]
    assert set(RESTART_SECTIONS) < {field.name for field in attrs.fields(Policy)}


def test_screening_by_key() -> None:
    changes = differences(
        policy(BASE), policy(BASE.replace("reqs_density_per_unit = 30", "reqs_density_per_unit = 20"))
    )
    assert [change.as_json() for change in changes] == [
        {
            "section": "screen", "name": "", "key": "pike.reqs_density_per_unit", "kind": "changed", "old": 30,
            "new": 20, "restart": False, "sentence": "[screen]: pike.reqs_density_per_unit 30 -> 20",
        }
    ]  # fmt: skip
    bucket = '[[screen.ratelimit]]\nname = "mine"\nkey = "source"\nrate = 5\nburst = 7\n'
    lines = changed(more=bucket)
    assert "[screen]: ratelimit.mine is added (rate 5, burst 7)" in lines
    assert all(line.endswith("is removed") for line in lines[:-1])


def test_a_summary_is_a_line_of_bounded_length() -> None:
    many = ", ".join(f'{{ uri = "sip:10.0.1.{number}" }}' for number in range(200))
    changes = differences(policy(BASE), policy(BASE.replace('{ uri = "sip:10.0.0.9" }', many)))
    assert len(summary(changes)) < 200
    assert summary(changes[:1]) == "set fax: member sip:10.0.0.9 is removed"


SHIPPED = sorted((Path(__file__).parents[2] / "policies").glob("*.toml"))


@pytest.mark.parametrize("file", [path for path in SHIPPED if path.name != "scanners.toml"], ids=lambda path: path.name)
def test_every_change_between_real_policies_is_json_and_a_sentence(file: Path) -> None:
    changes = differences(policy(BASE), load_policy(file))
    assert changes
    for change in changes:
        json.dumps(change.as_json(), allow_nan=False)
        assert "\n" not in change.sentence
        assert "NOTHING" not in change.sentence
    assert differences(load_policy(file), load_policy(file)) == []


def test_a_long_value_is_cut() -> None:
    pattern = "^" + "1" * 2 * limits.DIFF_VALUE_CHARS
    (sentence,) = changed(("'^[0-9]+$'", f"'{pattern}'"))
    assert sentence == f"route numbers: request_user ^[0-9]+$ -> {pattern[: limits.DIFF_VALUE_CHARS]}..."
