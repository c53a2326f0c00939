"""A backup and its restore, on real folders: whole, or nothing at all."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from edgesbc.base.errors import PolicyErrors
from edgesbc.rollout import restore
from edgesbc.rollout.archive import BackupError
from edgesbc.rollout.backup import make_backup
from edgesbc.rollout.restore import restore_backup
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
def there(tmp_path: Path) -> Path:
    """A folder with a policy and a state directory."""
    folder = tmp_path / "there"
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
    make_backup(file, folder / "state", str(folder / "policy.toml"), TEXT, secrets)
    return file


def tree(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_what_was_backed_up_is_there_again(there: Path, tmp_path: Path) -> None:
    file = backup(there)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    here = tmp_path / "here"
    here.mkdir()
    done = restore_backup(file, here / "policy.toml")
    assert (done.aside, done.secrets) == ([], False)
    assert sorted(tree(here)) == ["policy.toml", "state/bans.json", "state/edgesbc.sqlite"]
    assert (here / "policy.toml").read_text() == TEXT
    assert PolicyLog(here / "state").entries() == PolicyLog(there / "state").entries()
    assert all(stat.S_IMODE((here / name).stat().st_mode) == 0o600 for name in tree(here))


def test_secrets_only_where_they_are_asked_for(there: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    done = restore_backup(backup(there, secrets=True), tmp_path / "here" / "policy.toml")
    assert done.secrets
    state = tmp_path / "here" / "state"
    assert (state / "token.key").read_bytes() == b"k" * 32
    assert (state / "self-signed" / "privkey.pem").read_text() == "not a key"


def test_what_was_there_is_put_aside(there: Path) -> None:
    file = backup(there)
    (there / "policy.toml").write_text("# another\n")
    (there / "policy.toml").chmod(0o644)
    (there / "state" / "bans.json").write_text("others")
    (there / "state" / "edgesbc.sqlite-journal").write_text("of the other store")
    done = restore_backup(file, there / "policy.toml")
    aside = {path.name: path.read_bytes() for path in done.aside}
    assert aside["policy.toml"] == b"# another\n"
    assert aside["bans.json"] == b"others"
    assert aside["edgesbc.sqlite-journal"] == b"of the other store"
    assert not (there / "state" / "edgesbc.sqlite-journal").exists()
    assert (there / "policy.toml").read_text() == TEXT
    assert stat.S_IMODE((there / "policy.toml").stat().st_mode) == 0o644
    assert (there / "state" / "token.key").read_bytes() == b"k" * 32, "what the backup has not stays"


def test_the_store_is_copied_whole_while_it_is_written(there: Path, tmp_path: Path) -> None:
    """A writer in the middle of a transaction: the copy has none of it."""
    with closing(sqlite3.connect(there / "state" / "edgesbc.sqlite")) as writer:
        writer.execute("insert into policy_text values ('x', 'y')")
        file = backup(there)
        writer.rollback()
    (tmp_path / "here").mkdir()
    restore_backup(file, tmp_path / "here" / "policy.toml")
    assert len(PolicyLog(tmp_path / "here" / "state").entries()) == 1


def test_nothing_is_restored_under_an_edge_that_runs(there: Path) -> None:
    file = backup(there)
    before = tree(there)
    folder = os.open(there / "state", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # as the control socket of a running edge does
        with pytest.raises(BackupError, match="an edge runs from"):
            restore_backup(file, there / "policy.toml")
    finally:
        os.close(folder)
    assert tree(there) == before


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_truncated_backup_loses_nothing(there: Path, part: int) -> None:
    file = backup(there)
    before = tree(there)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * part // 4])
    with pytest.raises(BackupError):
        restore_backup(file, there / "policy.toml")
    assert tree(there) == before


def test_a_policy_with_mistakes_is_not_restored(there: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.backup"
    make_backup(file, there / "state", "policy.toml", TEXT.replace("udp", "udb"), False)
    with pytest.raises(PolicyErrors):
        restore_backup(file, tmp_path / "here.toml")
    assert not (tmp_path / "here.toml").exists()


def test_a_store_that_is_none_is_not_backed_up(there: Path) -> None:
    (there / "state" / "edgesbc.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(BackupError, match="cannot be copied: file is not a database"):
        backup(there)


def test_a_store_that_would_act_is_not_restored(there: Path) -> None:
    with closing(sqlite3.connect(there / "state" / "edgesbc.sqlite")) as writer, writer:
        writer.execute("create trigger t after insert on policy_log begin delete from policy_log; end")
    file, before = backup(there), tree(there)
    with pytest.raises(BackupError, match="expected a sound database of tables"):
        restore_backup(file, there / "policy.toml")
    assert tree(there) == before


def test_a_disk_that_fails_half_way_leaves_all_as_it_was(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = backup(there)
    (there / "state" / "bans.json").write_text("others")
    before = tree(there)

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restore, "rewrite_file", full)
    with pytest.raises(OSError, match="No space"):
        restore_backup(file, there / "policy.toml")
    assert tree(there) == before


def test_a_backup_that_cannot_be_made_leaves_the_old_one(there: Path) -> None:
    file = backup(there)
    data = file.read_bytes()
    for number in range(40):
        (there / "state" / f"more-{number}").write_text("")
    with pytest.raises(BackupError, match="expected at most 32 files"):
        backup(there)
    assert file.read_bytes() == data
    assert sorted(each.name for each in there.parent.iterdir()) == ["edge.backup", "there"]
