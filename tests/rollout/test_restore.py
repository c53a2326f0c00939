"""A backup and its restore in real folders: a restore is complete or changes nothing."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from edgesbc.base.errors import PolicyErrors
from edgesbc.inventory.databases import DatabaseSettings
from edgesbc.policy.certificates import FULL_CHAIN, PRIVATE_KEY
from edgesbc.rollout import restore
from edgesbc.rollout.archive import BackupError
from edgesbc.rollout.backup import make_backup
from edgesbc.rollout.restore import restore_backup
from edgesbc.store import bans, databases, destinations, token_key
from edgesbc.store.local_copies import copy_path
from edgesbc.store.policy_log import Outcome, PolicyLog

TEXT = """
[[listen]]
zone = "public"
transport = "udp"
bind = "127.0.0.1:5060"
[[listen]]
zone = "core"
transport = "udp"
bind = "127.0.0.2:5060"
[[destinations]]
set = "pbx"
members = [{ uri = "sip:127.0.0.11:5060" }]
[edge]
state_dir = "state"
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with a policy and a state directory."""
    folder = tmp_path / "installed"
    log = PolicyLog(folder / "state")
    log.append("policy.toml", TEXT, "root", Outcome.STARTED)
    (folder / "policy.toml").write_text(TEXT)
    (folder / "state" / "bans.json").write_text('{"version": 1, "bans": [], "orders": []}')
    (folder / "state" / "token.key").write_bytes(b"k" * 32)
    (folder / "state" / "self-signed").mkdir()
    (folder / "state" / "self-signed" / "privkey.pem").write_text("not a key")
    (folder / "state" / "bans.json.new").write_text("half")
    (folder / "state" / "link.json").symlink_to("/etc/hostname")
    return folder


def backup(folder: Path, secrets: bool = False) -> Path:
    file = folder.parent / "edge.backup"
    make_backup(file, folder / "state", TEXT, secrets)
    return file


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_backup_is_restored_elsewhere(installed: Path, tmp_path: Path) -> None:
    file = backup(installed)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    restored = restore_backup(file, elsewhere / "policy.toml", elsewhere / "state")
    assert (restored.aside, restored.secrets) == ([], False)
    assert sorted(tree(elsewhere)) == ["policy.toml", "state/bans.json", "state/edgesbc.sqlite"]
    assert (elsewhere / "policy.toml").read_text() == TEXT
    assert PolicyLog(elsewhere / "state").entries() == PolicyLog(installed / "state").entries()
    assert all(stat.S_IMODE((elsewhere / name).stat().st_mode) == 0o600 for name in tree(elsewhere))


def test_secrets_are_in_it_only_on_request(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    restored = restore_backup(
        backup(installed, secrets=True), tmp_path / "elsewhere" / "policy.toml", tmp_path / "elsewhere" / "state"
    )
    assert restored.secrets
    state = tmp_path / "elsewhere" / "state"
    assert (state / "token.key").read_bytes() == b"k" * 32
    assert (state / "self-signed" / "privkey.pem").read_text() == "not a key"


def test_older_files_are_moved_aside(installed: Path) -> None:
    file = backup(installed)
    (installed / "policy.toml").write_text("# another\n")
    (installed / "policy.toml").chmod(0o644)
    (installed / "state" / "bans.json").write_text("others")
    (installed / "state" / "edgesbc.sqlite-journal").write_text("of the other store")
    restored = restore_backup(file, installed / "policy.toml", installed / "state")
    aside = {path.name: path.read_bytes() for path in restored.aside}
    assert aside["policy.toml"] == b"# another\n"
    assert aside["bans.json"] == b"others"
    assert aside["edgesbc.sqlite-journal"] == b"of the other store"
    assert not (installed / "state" / "edgesbc.sqlite-journal").exists()
    assert (installed / "policy.toml").read_text() == TEXT
    assert stat.S_IMODE((installed / "policy.toml").stat().st_mode) == 0o644
    assert (installed / "state" / "token.key").read_bytes() == b"k" * 32, "a file that is not in the backup stays"


def test_the_store_is_copied_whole_while_it_is_written(installed: Path, tmp_path: Path) -> None:
    """A writer in the middle of a transaction: the copy has none of it."""
    with closing(sqlite3.connect(installed / "state" / "edgesbc.sqlite")) as writer:
        writer.execute("insert into policy_text values ('x', 'y')")
        file = backup(installed)
        writer.rollback()
    (tmp_path / "elsewhere").mkdir()
    restore_backup(file, tmp_path / "elsewhere" / "policy.toml", tmp_path / "elsewhere" / "state")
    assert len(PolicyLog(tmp_path / "elsewhere" / "state").entries()) == 1


def test_nothing_is_restored_while_an_edge_runs(installed: Path) -> None:
    file = backup(installed)
    before = tree(installed)
    folder = os.open(installed / "state", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # as a running edge listens on its control socket
        with pytest.raises(BackupError, match="an edge runs from"):
            restore_backup(file, installed / "policy.toml")
    finally:
        os.close(folder)
    assert tree(installed) == before


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_truncated_backup_changes_nothing(installed: Path, part: int) -> None:
    file = backup(installed)
    before = tree(installed)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * part // 4])
    with pytest.raises(BackupError):
        restore_backup(file, installed / "policy.toml")
    assert tree(installed) == before


def test_a_policy_with_mistakes_is_not_restored(installed: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.backup"
    make_backup(file, installed / "state", TEXT.replace("udp", "udb"), False)
    with pytest.raises(PolicyErrors):
        restore_backup(file, tmp_path / "here.toml")
    assert not (tmp_path / "here.toml").exists()


def test_a_store_that_is_no_database_is_not_backed_up(installed: Path) -> None:
    (installed / "state" / "edgesbc.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(BackupError, match="cannot be copied: file is not a database"):
        backup(installed)


def test_a_store_with_a_trigger_is_not_restored(installed: Path) -> None:
    with closing(sqlite3.connect(installed / "state" / "edgesbc.sqlite")) as writer, writer:
        writer.execute("create trigger t after insert on policy_log begin delete from policy_log; end")
    file, before = backup(installed), tree(installed)
    with pytest.raises(BackupError, match="expected a sound database of tables"):
        restore_backup(file, installed / "policy.toml")
    assert tree(installed) == before


def test_a_disk_error_during_the_restore_leaves_all_files_unchanged(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = backup(installed)
    (installed / "state" / "bans.json").write_text("others")
    before = tree(installed)

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restore, "rewrite_file", full)
    with pytest.raises(OSError, match="No space"):
        restore_backup(file, installed / "policy.toml")
    assert tree(installed) == before


def test_a_failed_backup_leaves_the_old_one(installed: Path) -> None:
    file = backup(installed)
    data = file.read_bytes()
    for number in range(40):
        (installed / "state" / f"destinations.more-{number}.json").write_text("")
    with pytest.raises(BackupError, match="expected at most 32 files"):
        backup(installed)
    assert file.read_bytes() == data
    assert sorted(path.name for path in installed.parent.iterdir()) == ["edge.backup", "installed"]


def test_a_state_directory_has_to_be_named_unless_it_is_known(installed: Path, tmp_path: Path) -> None:
    file, there = backup(installed), tmp_path / "there" / "policy.toml"
    there.parent.mkdir()
    with pytest.raises(BackupError, match="repeat with --state-dir"):
        restore_backup(file, there)
    with pytest.raises(BackupError, match="and --state-dir names"):
        restore_backup(file, there, tmp_path / "another")
    assert tree(there.parent) == {}
    assert not (tmp_path / "another").exists()
    restore_backup(file, there, there.parent / "state")
    restore_backup(file, there)


def test_every_file_of_a_state_directory_is_kept(installed: Path) -> None:
    state = installed / "state"
    for name in (
        bans.FILE, destinations.FILE, token_key.KEY_FILE, f"self-signed/{FULL_CHAIN}", f"self-signed/{PRIVATE_KEY}",
        copy_path(Path(), DatabaseSettings("x" * 64)).name,
    ):  # fmt: skip
        (state / name).write_text("x")
    with closing(sqlite3.connect(state / databases.FILE)) as writer, writer:
        writer.execute("create table destinations (uri)")
        writer.execute("create view dispatcher as select uri from destinations")
    (state / "self-signed" / "other.pem").write_text("x")
    kept = {part for part, _ in make_backup(installed.parent / "b", state, TEXT, secrets=True)}
    files = {"policy.toml"} | {f"state/{name}" for name in tree(state)}
    assert files - kept == {"state/bans.json.new", "state/link.json", "state/self-signed/other.pem"}
    assert restore_backup(installed.parent / "b", installed / "policy.toml").left_out == []


def test_a_database_of_destinations_is_copied_whole_while_it_is_written(installed: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(installed / "state" / databases.FILE)) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute("create table destinations (uri)")
        writer.commit()
        writer.execute("insert into destinations values ('x')")
        file = backup(installed)
        writer.rollback()
    restore_backup(file, tmp_path / "p.toml", tmp_path / "state")
    with closing(sqlite3.connect(tmp_path / "state" / databases.FILE)) as reader:
        assert reader.execute("select * from destinations").fetchall() == []
