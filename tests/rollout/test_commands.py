"""What the desk tells and takes, by itself; with a running edge it is in tests/cli/test_changes.py."""

from __future__ import annotations

from typing import Any

import pytest

from edgesbc.base import limits
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.policy.diff import PolicyChange
from edgesbc.rollout.commands import _settle, _told, _why


def test_what_is_told_of_many_changes_is_bounded() -> None:
    one = PolicyChange("edge", "", "name", "changed", "a", "b")
    told = _told([one] * (limits.CHANGES_SHOWN + 3))
    assert (len(told["changes"]), told["left_out"]) == (limits.CHANGES_SHOWN, 3)
    assert _told([one]) == {"changes": ["[edge]: name a -> b (needs a restart)"], "left_out": 0}


@pytest.mark.parametrize("value", [-1, limits.SETTLE_SECONDS + 1, True, "60", float("nan"), [1]])
def test_a_time_to_settle_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(CommandRefused, match="expected 0 to 600 seconds as settle, found"):
        _settle(ControlRequest("policy apply", {"settle": value}))


@pytest.mark.parametrize(("value", "seconds"), [(None, None), (0, 0.0), (600, 600.0), (1.5, 1.5)])
def test_a_time_to_settle(value: Any, seconds: float | None) -> None:
    assert _settle(ControlRequest("policy apply", {"settle": value})) == seconds


@pytest.mark.parametrize("value", [None, "", "  ", 7, "x" * (limits.CHANGE_WHY_CHARS + 1)])
def test_a_change_needs_a_reason(value: Any) -> None:
    with pytest.raises(CommandRefused, match="expected a"):
        _why(ControlRequest("policy apply", {"why": value}))
