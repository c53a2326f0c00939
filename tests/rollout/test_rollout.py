"""The state machine of one change: the code agrees with the table in the module's docstring."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from support.running import policy_text

from edgesbc.policy.load import parse_policy
from edgesbc.rollout import rollout
from edgesbc.rollout.rollout import TRANSITIONS, Rollout, RolloutEvent, RolloutState


def in_state(folder: Path, state: RolloutState) -> Rollout:
    policy = parse_policy(policy_text(folder, ["sip:127.0.0.11:9"]), "policy.toml")
    rollout = Rollout(policy, "root", "more room", policy, 1, policy.change)
    rollout.state = state
    return rollout


@pytest.mark.parametrize(("state", "event"), list(product(RolloutState, RolloutEvent)))
def test_an_event_leads_where_the_table_says_and_nowhere_else(
    tmp_path: Path, state: RolloutState, event: RolloutEvent
) -> None:
    rollout = in_state(tmp_path, state)
    following = TRANSITIONS.get((state, event))
    if following is None:
        with pytest.raises(ValueError, match=f"no transition from {state.name} by {event.name}"):
            rollout.advance(event)
        assert rollout.state is state
    else:
        rollout.advance(event, "because")
        assert (rollout.state, rollout.message) == (following, "because")


def test_the_table_in_the_docstring_is_the_table_in_the_code() -> None:
    lines = re.findall(r"^([A-Z]+) +([A-Z_]+) +([A-Z]+)  ", rollout.__doc__ or "", re.MULTILINE)
    drawn = {(RolloutState[state], RolloutEvent[event]): RolloutState[following] for state, event, following in lines}
    assert drawn == TRANSITIONS


def test_the_page_about_changes_has_the_same_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "policy_changes.md").read_text(encoding="utf-8")
    table = page.partition("## The states of a change")[2].partition("## The rule")[0]
    rows = re.findall(r"^\| (\w+)[^|]* \| ([a-z]+ ?[a-z]*)[^|]* \| (\w+)", table, re.MULTILINE)
    words = {event: event.name.lower().replace("_", " ") for event in RolloutEvent}
    expected = {
        (state.name.lower(), words[event], following.name.lower()) for (state, event), following in TRANSITIONS.items()
    }
    written = {
        (state, next(word for word in words.values() if event.startswith(word)), to) for state, event, to in rows[1:]
    }
    assert written == expected


def test_a_change_begins_prepared(tmp_path: Path) -> None:
    policy = parse_policy(policy_text(tmp_path, ["sip:127.0.0.11:9"]), "policy.toml")
    rollout = Rollout(policy, "root", "more room", policy, 1, policy.change)
    assert (rollout.state, rollout.version, rollout.probation) == (RolloutState.PREPARED, 0, None)
    assert not rollout.on_probation
