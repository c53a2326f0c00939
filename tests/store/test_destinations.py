"""Operator overrides on disk: restored by the wall clock, with the mistake in a broken file named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgesbc.base import limits
from edgesbc.base.files import write_file
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.operator_overrides import OperatorOverrides, Override
from edgesbc.dispatch.settings import MemberSettings, SetSettings
from edgesbc.store import destinations
from edgesbc.store.state_files import read_state

WALL = 1_800_000_000.0
MEMBER = ("pbx", "sip:10.0.0.1", "")
ADDRESS = ("pbx", "sip:gw.example.com", "10.0.0.8:5060 udp")
ROW = {
    "set": "pbx", "uri": "sip:10.0.0.1", "address": "", "order": "draining", "by": "root", "why": "", "since": WALL,
    "gone": None,
}  # fmt: skip


def test_saved_state_is_restored_on_another_clock(tmp_path: Path) -> None:
    orders = OperatorOverrides()
    orders.put(MEMBER, Override(AdminState.DRAINING, "root", "new kernel", 10.0))
    orders.put(ADDRESS, Override(AdminState.DISABLED, "root", "", 12.0, missing_since=15.0))
    write_file(tmp_path / destinations.FILE, destinations.as_json(orders, 20.0, WALL))
    overrides = OperatorOverrides()
    assert destinations.restore(overrides, read_state(tmp_path / destinations.FILE), 7_000.0, WALL + 50.0) == 2
    restored = {
        key: (order.admin_state, order.by, order.why, order.since, order.missing_since) for key, order in overrides
    }
    assert restored == {
        MEMBER: (AdminState.DRAINING, "root", "new kernel", 6_940.0, None),
        ADDRESS: (AdminState.DISABLED, "root", "", 6_942.0, 6_945.0),
    }


def test_without_a_file_there_are_no_overrides() -> None:
    assert destinations.restore(OperatorOverrides(), b"", 1.0, WALL) == 0


def broken(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"version": 1, "orders": rows}).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"version": 1}', "orders: expected a list"),
        (b'{"version": 3, "orders": []}', "expected version 1, found 3"),
        (broken(ROW, {**ROW, "order": "sleeping"}), r"orders\[1\]: expected an order"),
        (broken({**ROW, "since": "then"}), r"orders\[0\]: expected an order"),
        (broken({"set": "pbx"}), r"orders\[0\]: expected an order"),
        (json.dumps({"version": 1, "orders": [7]}).encode(), "expected a table, found 7"),
    ],
)
def test_the_mistake_in_a_broken_file_is_named(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        destinations.restore(OperatorOverrides(), data, 1.0, WALL)


def test_restored_overrides_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OPERATOR_OVERRIDES", 1)
    with pytest.raises(ValueError, match="expected at most 1 orders, found 2"):
        destinations.restore(OperatorOverrides(), broken(ROW, {**ROW, "set": "other"}), 1.0, WALL)


def test_overrides_before_a_mistake_are_in_force() -> None:
    dispatcher = Dispatcher([SetSettings("pbx", (MemberSettings("sip:10.0.0.1"),))], lambda: 0.5, 0.0)
    persisted = destinations.PersistedOverrides(OperatorOverrides(), lambda: dispatcher)
    with pytest.raises(ValueError, match="expected an order"):
        persisted.restore(broken(ROW, {}), 1.0, WALL)
    assert [member.admin_state for member in dispatcher.members()] == [AdminState.DRAINING]
