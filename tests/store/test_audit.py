"""The audit log: what went in comes out, newest first, bounded, for the owner's eyes."""

import hashlib
import sqlite3
from pathlib import Path

import pytest
import trio

from edgesbc.base import limits
from edgesbc.store.audit import Outcome, PolicyLog


def test_entries_come_back_newest_first(tmp_path: Path) -> None:
    log = PolicyLog(tmp_path)
    first = log.append("a.toml", "[edge]\n", "root", Outcome.STARTED)
    second = log.append("a.toml", "[egde]\n", "root", Outcome.REFUSED, "egde: unknown key")
    assert log.entries() == [second, first]
    assert log.entries(most=1) == [second]
    assert first.sha256 == hashlib.sha256(b"[edge]\n").hexdigest()
    assert first.at <= second.at


def test_the_log_outlives_the_process(tmp_path: Path) -> None:
    entry = PolicyLog(tmp_path / "deep" / "down").append("a.toml", "ü\x00'\"", "root", Outcome.STARTED)
    assert PolicyLog(tmp_path / "deep" / "down").entries() == [entry]


def test_one_copy_of_each_text(tmp_path: Path) -> None:
    log = PolicyLog(tmp_path)
    for _ in range(3):
        log.append("a.toml", "[edge]\n", "root", Outcome.RELOADED)
    with sqlite3.connect(log.path) as connection:
        assert connection.execute("select count(*) from policy_text").fetchone() == (1,)
    connection.close()
    assert len(log.entries()) == 3


def test_old_entries_and_their_texts_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICY_LOG_ENTRIES", 3)
    log = PolicyLog(tmp_path)
    for number in range(7):
        log.append("a.toml", f"# {number}", "root", Outcome.RELOADED)
    assert [entry.text for entry in log.entries()] == ["# 6", "# 5", "# 4"]
    with sqlite3.connect(log.path) as connection:
        assert connection.execute("select count(*) from policy_text").fetchone() == (3,)
    connection.close()


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    log = PolicyLog(tmp_path / "state")
    assert log.path.stat().st_mode & 0o077 == 0
    assert log.path.parent.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        PolicyLog(tmp_path / "file" / "state")


def test_a_path_that_is_not_text(tmp_path: Path) -> None:
    entry = PolicyLog(tmp_path).append("caf\udce9.toml", "", "root", Outcome.REFUSED, "cannot be read")
    assert entry.file == "caf?.toml"


async def test_from_any_thread(tmp_path: Path) -> None:
    log = await trio.to_thread.run_sync(PolicyLog, tmp_path)
    for number in range(4):
        await trio.to_thread.run_sync(log.append, "a.toml", f"# {number}", "root", Outcome.RELOADED)
    assert len(await trio.to_thread.run_sync(log.entries)) == 4
