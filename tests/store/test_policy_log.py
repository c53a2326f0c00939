"""The audit log: entries are read newest first; it is bounded and private."""

import hashlib
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from sqlalchemy.exc import SQLAlchemyError

from edgesbc.base import limits
from edgesbc.store.policy_log import Outcome, PolicyLog, PolicyLogEntry, earlier


def test_entries_come_back_newest_first(tmp_path: Path) -> None:
    log = PolicyLog(tmp_path)
    first = log.append("a.toml", "[edge]\n", "root", Outcome.STARTED)
    second = log.append("a.toml", "[egde]\n", "root", Outcome.REFUSED, "egde: unknown key")
    assert log.entries() == [second, first]
    assert log.entries(most=1) == [second]
    assert first.sha256 == hashlib.sha256(b"[edge]\n").hexdigest()
    assert first.at <= second.at


def test_entries_are_read_by_another_log(tmp_path: Path) -> None:
    entry = PolicyLog(tmp_path / "deep" / "down").append("a.toml", "ü\x00'\"", "root", Outcome.STARTED)
    assert PolicyLog(tmp_path / "deep" / "down").entries() == [entry]


@pytest.mark.parametrize("table", ["policy_text", "policy_log"])
def test_an_error_shows_nothing_of_a_policy(tmp_path: Path, table: str) -> None:
    """It is logged, and a control command returns it; a text that was in the file may have a password."""
    log = PolicyLog(tmp_path)
    with sqlite3.connect(log.path) as connection:
        full = f"create trigger full before insert on {table} begin select raise(abort, 'the disk is full'); end"
        connection.execute(full)
    connection.close()
    with pytest.raises(SQLAlchemyError, match="the disk is full") as caught:
        log.append("a.toml", "secret", "root", Outcome.SET_ASIDE, "secret")
    assert "secret" not in str(caught.value)


def test_one_copy_of_each_text(tmp_path: Path) -> None:
    log = PolicyLog(tmp_path)
    for _ in range(3):
        log.append("a.toml", "[edge]\n", "root", Outcome.RELOADED)
    with sqlite3.connect(log.path) as connection:
        assert connection.execute("select count(*) from policy_text").fetchone() == (1,)
    connection.close()
    assert len(log.entries()) == 3


def test_old_entries_and_their_texts_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICY_LOG_ENTRIES", 3)
    log = PolicyLog(tmp_path)
    for number in range(7):
        log.append("a.toml", f"# {number}", "root", Outcome.RELOADED)
    assert [entry.text for entry in log.entries()] == ["# 6", "# 5", "# 4"]
    with sqlite3.connect(log.path) as connection:
        assert connection.execute("select count(*) from policy_text").fetchone() == (3,)
    connection.close()


def test_the_log_is_private(tmp_path: Path) -> None:
    log = PolicyLog(tmp_path / "state")
    assert log.path.stat().st_mode & 0o077 == 0
    assert log.path.parent.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
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


def test_versions_are_numbers_that_never_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICY_LOG_ENTRIES", 2)
    log = PolicyLog(tmp_path)
    versions = [log.append("a.toml", f"# {n}", "root", Outcome.APPLIED, why="w", summary="s").version for n in range(4)]
    assert versions == [1, 2, 3, 4]
    assert [entry.version for entry in log.entries()] == [4, 3]
    assert log.entry(1) is None
    entry = log.entry(3)
    assert entry is not None
    assert (entry.text, entry.why, entry.summary, entry.of) == ("# 2", "w", "s", None)
    with sqlite3.connect(log.path) as connection:
        assert connection.execute("select count(*) from policy_change").fetchone() == (2,)
    connection.close()


def test_the_outcome_of_a_version_is_set_later(tmp_path: Path) -> None:
    log = PolicyLog(tmp_path)
    first, second = (log.append("a.toml", "", "root", Outcome.APPLIED) for _ in range(2))
    log.mark(first.version, Outcome.ROLLED_BACK, "calls failed")
    entry = log.entry(first.version)
    assert entry is not None
    assert (entry.outcome, entry.message) == (Outcome.ROLLED_BACK, "calls failed")
    assert log.entry(second.version) == second
    assert [entry.text for entry in log.entries(texts=False)] == ["", ""]


def test_a_log_of_an_older_version_is_read_and_written(tmp_path: Path) -> None:
    """The tables exactly as the previous version created them."""
    with sqlite3.connect(tmp_path / "edgesbc.sqlite") as connection:
        connection.executescript(
            "CREATE TABLE policy_text (sha256 VARCHAR(64) NOT NULL, text TEXT NOT NULL, PRIMARY KEY (sha256));"
            "CREATE TABLE policy_log (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, at VARCHAR(32) NOT NULL,"
            " file TEXT NOT NULL, sha256 VARCHAR(64) NOT NULL, who TEXT NOT NULL, outcome VARCHAR(16) NOT NULL,"
            " message TEXT NOT NULL);"
            "INSERT INTO policy_text VALUES ('ab', '# old');"
            "INSERT INTO policy_log VALUES (7, '2026-01-01T00:00:00+00:00', 'a.toml', 'ab', 'uid 0', 'started', '');"
        )
    connection.close()
    log = PolicyLog(tmp_path)
    (old,) = log.entries()
    assert (old.version, old.text, old.why, old.of) == (7, "# old", "", None)
    assert log.append("a.toml", "# new", "root", Outcome.RESTORED, why="w", of=7).version == 8


def history(*entries: tuple[str, Outcome, int | None]) -> list[PolicyLogEntry]:
    """Entries from version 1 on, by text, outcome and the version whose text they are."""
    return [
        PolicyLogEntry(datetime.now(UTC), "a", text, "root", outcome, "", "", number, of=of)
        for number, (text, outcome, of) in enumerate(entries, 1)
    ]


@pytest.mark.parametrize(
    ("entries", "version", "expected"),
    [
        ([("a", Outcome.STARTED, None)], 1, None),
        ([("a", Outcome.STARTED, None), ("b", Outcome.SETTLED, None)], 2, 1),
        ([("a", Outcome.STARTED, None), ("x", Outcome.REFUSED, None), ("b", Outcome.APPLIED, None)], 3, 1),
        ([("a", Outcome.STARTED, None), ("x", Outcome.ROLLED_BACK, None), ("b", Outcome.APPLIED, None)], 3, 1),
        ([("a", Outcome.STARTED, None), ("a", Outcome.STARTED, None)], 2, None),  # a restart makes no new version
        ([("a", Outcome.STARTED, None), ("b", Outcome.SETTLED, None), ("b", Outcome.STARTED, None)], 3, 1),
        (
            [
                ("a", Outcome.STARTED, None),
                ("b", Outcome.SETTLED, None),
                ("c", Outcome.ROLLED_BACK, None),
                ("b", Outcome.RESTORED, 2),
            ],
            4,
            1,  # and not 3, which was rolled back
        ),
        ([("a", Outcome.STARTED, None)], 9, None),
    ],
)
def test_the_version_to_go_back_to(
    entries: list[tuple[str, Outcome, int | None]], version: int, expected: int | None
) -> None:
    target = earlier(history(*entries), version)
    assert (target and target.version) == expected
