"""The arguments of the commands about policies. tests/cli/test_changes.py runs the commands with an edge."""

from __future__ import annotations

from typing import Any

import pytest

from edgesbc.base import limits
from edgesbc.control.protocol import CommandRefused
from edgesbc.policy.diff import PolicyChange
from edgesbc.rollout.commands import _reason, _settle, _shown, _version, user_name


def test_the_changes_in_an_answer_are_bounded() -> None:
    one = PolicyChange("edge", "", "name", "changed", "a", "b")
    answer = _shown([one] * (limits.CHANGES_SHOWN + 3))
    assert (len(answer["changes"]), answer["left_out"]) == (limits.CHANGES_SHOWN, 3)
    assert _shown([one]) == {"changes": ["[edge]: name a -> b (needs a restart)"], "left_out": 0}


@pytest.mark.parametrize("value", [-1, limits.SETTLE_SECONDS + 1, True, "60", float("nan"), [1]])
def test_a_settle_time_out_of_range_is_refused(value: Any) -> None:
    with pytest.raises(CommandRefused, match="expected 0 to 600 seconds as settle, found"):
        _settle(value)


@pytest.mark.parametrize(("value", "seconds"), [(0, 0.0), (600, 600.0), (1.5, 1.5)])
def test_a_settle_time(value: float, seconds: float) -> None:
    assert _settle(value) == seconds


@pytest.mark.parametrize("value", [0, -1, 2**31, True, "2", 1.0])
def test_an_invalid_version_is_refused(value: Any) -> None:
    with pytest.raises(CommandRefused, match="expected the number of a version as to, found"):
        _version(value)


@pytest.mark.parametrize("value", ["", "  ", "x" * (limits.CHANGE_WHY_CHARS + 1)])
def test_a_change_needs_a_reason(value: str) -> None:
    with pytest.raises(CommandRefused, match="expected a reason"):
        _reason(value)


def test_the_author_of_a_change_is_a_user_by_name_or_number() -> None:
    assert user_name(0) == "root"
    assert user_name(None) == "unknown"
    assert user_name(2**31 - 7) == f"uid {2**31 - 7}"
