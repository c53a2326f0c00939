"""Bans on disk: restored by the wall clock, without the expired ones, and with the mistake in a broken file named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.files import write_file
from edgesbc.base.reasons import Reason
from edgesbc.screen.bans import BanScope
from edgesbc.screen.operator_bans import OperatorBan
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.standing import Standing, Standings
from edgesbc.store import bans
from edgesbc.store.state_files import read_state

UDP = Listener(0, "carriers", Zone.PUBLIC, Transport.UDP, "127.0.0.1", 5060)
TLS = Listener(1, "browsers", Zone.PUBLIC, Transport.TLS, "127.0.0.1", 5061)
WALL = 1_800_000_000.0


def pipeline() -> Pipeline:
    return Pipeline(ScreenSettings(), Standings(), lambda decision: None, lambda stage, error: None)


def stream(host: str, serial: int = 1) -> Flow:
    return Flow(TLS, Source(host, 4000 + serial), serial)


def with_bans() -> Pipeline:
    screening = pipeline()
    for serial in (1, 2, 3):
        screening.penalties.ban(stream("192.0.2.1", serial), Standing.REACHABLE, Reason.PIKE, 100.0, 10.0)
    screening.penalties.ban(Flow(UDP, Source("192.0.2.2", 5060)), Standing.UNPROVEN, Reason.PIKE, 100.0, 10.0)
    screening.operator_bans.put(OperatorBan("198.51.100.0/24", False, 10.0, 500.0, "uid 0", "abuse"))
    screening.operator_bans.put(OperatorBan("203.0.113.7", True, 10.0, None, "uid 0", "ours"))
    screening.operator_bans.put(OperatorBan("203.0.113.8", True, 0.0, None, "policy", ""))
    return screening


def test_saved_state_is_restored_on_another_clock(tmp_path: Path) -> None:
    write_file(tmp_path / bans.FILE, bans.as_json(with_bans(), 20.0, WALL))
    new_pipeline = pipeline()
    assert bans.restore(new_pipeline, read_state(tmp_path / bans.FILE), 7_000.0, WALL + 50.0) == 5
    restored = {
        (ban.target, ban.scope, ban.proven, ban.since, ban.until, ban.offence) for ban in new_pipeline.penalties
    }
    assert restored == {
        ("192.0.2.1:4001", BanScope.FLOW, True, 6_940.0, 7_040.0, 1),
        ("192.0.2.1:4002", BanScope.FLOW, True, 6_940.0, 7_140.0, 2),
        ("192.0.2.1", BanScope.ADDRESS, True, 6_940.0, 7_340.0, 3),
    }
    assert new_pipeline.penalties.blocks(stream("192.0.2.1", 9), Standing.REACHABLE, 7_000.0)
    orders = {order.prefix: order for order in new_pipeline.operator_bans}
    assert set(orders) == {"198.51.100.0/24", "203.0.113.7"}
    assert (orders["198.51.100.0/24"].until, orders["198.51.100.0/24"].why) == (7_430.0, "abuse")
    assert orders["203.0.113.7"].until is None
    assert orders["203.0.113.7"].exempt
    fourth = new_pipeline.penalties.ban(stream("192.0.2.1", 9), Standing.REACHABLE, Reason.PIKE, 100.0, 7_000.0)
    assert fourth is not None
    assert fourth.offence == 4


def test_expired_bans_are_not_restored(tmp_path: Path) -> None:
    write_file(tmp_path / bans.FILE, bans.as_json(with_bans(), 20.0, WALL))
    new_pipeline = pipeline()
    assert bans.restore(new_pipeline, read_state(tmp_path / bans.FILE), 7_000.0, WALL + 1_000.0) == 1
    assert len(new_pipeline.penalties) == 0
    assert [order.prefix for order in new_pipeline.operator_bans] == ["203.0.113.7"]


def test_without_a_file_there_are_no_bans(tmp_path: Path) -> None:
    assert bans.restore(pipeline(), read_state(tmp_path / bans.FILE), 1.0, WALL) == 0


BAN = {
    "stream": True, "host": "192.0.2.1", "port": -1, "scope": "address", "reason": "pike", "since": WALL,
    "until": WALL + 100, "offence": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        ("[]", "expected a table"),
        ('{"version": 2}', "expected version 1, found 2"),
        ('{"version": 1, "bans": {}}', "bans: expected a list"),
        (json.dumps({"version": 1, "bans": [BAN, {**BAN, "reason": "none"}], "orders": []}), r"bans\[1\]"),
        (json.dumps({"version": 1, "bans": [{**BAN, "scope": "world"}], "orders": []}), r"bans\[0\]"),
        (json.dumps({"version": 1, "bans": [], "orders": [{"prefix": "192.0.2.0/24"}]}), r"orders\[0\]"),
    ],
)
def test_the_mistake_in_a_broken_file_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bans.restore(pipeline(), text.encode(), 1.0, WALL)


def test_a_clock_that_was_set_back_makes_no_ban_longer() -> None:
    """A machine without a battery-backed clock starts in 1970 and gets the time later."""
    new_pipeline = pipeline()
    assert bans.restore(new_pipeline, bans.as_json(with_bans(), 10.0, WALL), 5.0, 0.0)
    assert all(ban.until <= 5.0 + limits.BAN_SECONDS for ban in new_pipeline.penalties)


def test_a_deeply_nested_file_is_broken() -> None:
    with pytest.raises(ValueError, match="expected"):
        bans.restore(pipeline(), b"[" * 200_000, 5.0, WALL)
