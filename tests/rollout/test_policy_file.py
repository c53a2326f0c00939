"""The policy file, replaced whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edgesbc.base import limits
from edgesbc.rollout.policy_file import read_text, replace_text


def test_mode_and_owner_stay(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("old")
    file.chmod(0o640)
    before = file.stat()
    replace_text(file, "new\r\n")
    after = file.stat()
    assert file.read_bytes() == b"new\r\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert os.listdir(tmp_path) == ["policy.toml"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("old")
    (tmp_path / "policy.toml").symlink_to("real.toml")
    replace_text(tmp_path / "policy.toml", "new")
    assert (tmp_path / "policy.toml").is_symlink()
    assert (tmp_path / "real.toml").read_text() == "new"


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    replace_text(tmp_path / "policy.toml", "new")
    assert stat.S_IMODE((tmp_path / "policy.toml").stat().st_mode) == 0o600


def test_a_file_that_a_crash_left_is_replaced_and_a_failure_leaves_the_old_text(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("old")
    (tmp_path / ".policy.toml.new").write_text("half")
    replace_text(file, "new")
    assert file.read_text() == "new"
    (tmp_path / ".policy.toml.new").mkdir()
    with pytest.raises(OSError, match=r"\.policy\.toml\.new"):
        replace_text(file, "newer")
    assert file.read_text() == "new"


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    assert read_text(file) is None
    file.write_bytes(b"a\xff")
    with pytest.raises(OSError, match="expected text in UTF-8, found the byte 0xff"):
        read_text(file)
    file.write_bytes(b"#" * (limits.POLICY_BYTES + 1))
    with pytest.raises(OSError, match="expected at most"):
        read_text(file)
