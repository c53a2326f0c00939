"""The state machine of one change: the table in its module's docstring, held to the code."""

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
    made = Rollout(policy, "root", "more room", policy, 1, policy.change)
    made.state = state
    return made


@pytest.mark.parametrize(("state", "event"), list(product(RolloutState, RolloutEvent)))
def test_an_event_leads_where_the_table_says_and_nowhere_else(
    tmp_path: Path, state: RolloutState, event: RolloutEvent
) -> None:
    made = in_state(tmp_path, state)
    following = TRANSITIONS.get((state, event))
    if following is None:
        with pytest.raises(ValueError, match=f"no transition from {state.name} by {event.name}"):
            made.advance(event)
        assert made.state is state
    else:
        made.advance(event, "because")
        assert (made.state, made.message) == (following, "because")


def test_the_table_in_the_docstring_is_the_table_in_the_code() -> None:
    lines = re.findall(r"^([A-Z]+) +([A-Z_]+) +([A-Z]+)  ", rollout.__doc__ or "", re.MULTILINE)
    drawn = {(RolloutState[state], RolloutEvent[event]): RolloutState[following] for state, event, following in lines}
    assert drawn == TRANSITIONS


def test_a_change_begins_prepared(tmp_path: Path) -> None:
    policy = parse_policy(policy_text(tmp_path, ["sip:127.0.0.11:9"]), "policy.toml")
    made = Rollout(policy, "root", "more room", policy, 1, policy.change)
    assert (made.state, made.version, made.probation) == (RolloutState.PREPARED, 0, None)
    assert not made.on_probation
