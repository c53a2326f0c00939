"""THREATS 48: an archive, or a state directory, that makes a restore write elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.base.errors import PolicyErrors
from edgesbc.rollout.archive import ArchivePart, BackupError, Manifest
from edgesbc.rollout.restore import restore_backup

POLICY = """
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
"""


def archive(members: list[tuple[str, bytes, bytes]], size: int | None = None) -> bytes:
    """A tar of (name, type, content), with a manifest that agrees with it; ``size`` is what both claim of the last."""
    sizes = [len(content) for _, _, content in members]
    if size is not None:
        sizes[-1] = size
    parts = tuple(
        ArchivePart(name, length, hashlib.sha256(content).hexdigest())
        for (name, _, content), length in zip(members, sizes, strict=True)
    )
    manifest = Manifest("2026-01-01T00:00:00+00:00", "1", True, parts)
    data = json.dumps({"format": 1, **attrs.asdict(manifest)}, indent=1).encode()
    out = io.BytesIO()
    for (name, kind, content), length in zip(
        [("manifest.json", tarfile.REGTYPE, data), *members], [len(data), *sizes], strict=True
    ):
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.type, info.linkname = length, 0o600, kind, "/etc/passwd" if kind != b"0" else ""
        try:
            out.write(info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape"))
        except ValueError:  # a name or size that only the extension of GNU has place for
            out.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        out.write(content + bytes(-len(content) % 512))
    return out.getvalue() + bytes(1024)


def plain(name: str, content: bytes = b"x") -> tuple[str, bytes, bytes]:
    return name, tarfile.REGTYPE, content


def policy_of(state_dir: Path | str) -> tuple[str, bytes, bytes]:
    return plain("policy.toml", f"{POLICY}state_dir = '{state_dir}'\n".encode())


def outside(folder: Path) -> dict[str, object]:
    """All that is in a folder: content, owner and mode, links as links."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


_NAMES = st.text(max_size=40) | st.sampled_from(
    [
        "state/bans.json", "state/token.key", "state/authorized_keys", "state/../bans.json", "../bans.json", "state",
        "/bans.json", "state/self-signed/privkey.pem", "state/self-signed/../../x", "state/edgesbc.sqlite",
        "policy.toml", "state/self-signed", "manifest.json", "state//bans.json", "./state/bans.json", "state/.profile",
    ]
)  # fmt: skip
_KINDS = st.sampled_from(
    [tarfile.REGTYPE] * 5
    + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
    + [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE]
)
_MEMBERS = st.lists(st.tuples(_NAMES, _KINDS, st.binary(max_size=600)), max_size=4)


@given(_MEMBERS, st.none() | st.sampled_from([2**33 - 1, 2**62, 0]), st.sampled_from(["state", "../elsewhere", "."]))
@settings(max_examples=150, deadline=None)
def test_48_no_archive_writes_outside_the_named_places(
    members: list[tuple[str, bytes, bytes]], size: int | None, state_dir: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here, elsewhere = Path(folder, "here"), Path(folder, "elsewhere")
        here.mkdir()
        elsewhere.mkdir()
        (elsewhere / "bans.json").write_text("of another")
        (here / "bans.json").write_text("of another")
        before = outside(elsewhere)
        file = Path(folder, "backup")
        file.write_bytes(archive([policy_of(state_dir), *members], size if members else None))
        with contextlib.suppress(BackupError, PolicyErrors):
            restore_backup(file, here / "policy.toml", here / "state")
        assert outside(elsewhere) == before
        allowed = {"policy.toml", "state", "bans.json"}
        assert {path.name for path in here.iterdir()} <= allowed
        assert (here / "bans.json").read_text() == "of another"
        assert {path.name for path in Path(folder).iterdir()} == {"here", "elsewhere", "backup"}


def test_48_the_archive_does_not_choose_the_state_directory(tmp_path: Path) -> None:
    """As root, a policy with ``state_dir = "/root/.ssh"`` and a file ``authorized_keys`` would be a login."""
    there = tmp_path / ".ssh"
    there.mkdir()
    file = tmp_path / "backup"
    file.write_bytes(archive([policy_of(there), plain("state/authorized_keys", b"ssh-rsa"), plain("state/token.key")]))
    with pytest.raises(BackupError, match="which no policy at"):
        restore_backup(file, tmp_path / "edge.toml")
    with pytest.raises(BackupError, match=r"and --state-dir names .*/other"):
        restore_backup(file, tmp_path / "edge.toml", tmp_path / "other")
    assert list(there.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ssh", "backup"]
    restored = restore_backup(file, tmp_path / "edge.toml", there)
    assert restored.left_out == ["state/authorized_keys"]
    assert [path.name for path in there.iterdir()] == ["token.key"]
    assert stat.S_IMODE((there / "token.key").stat().st_mode) == 0o600


def test_48_a_link_in_the_state_directory_is_not_followed(tmp_path: Path) -> None:
    """The state directory belongs to the edge's user, and the restore may be one of root's."""
    state, there, file = tmp_path / "state", tmp_path / "there", tmp_path / "backup"
    state.mkdir()
    there.mkdir()
    (there / "privkey.pem").write_text("of another")
    (state / "self-signed").symlink_to(there)
    file.write_bytes(archive([policy_of(state), plain("state/self-signed/privkey.pem")]))
    before = outside(there)
    with pytest.raises(BackupError, match=r"expected the folder self-signed in .*, found a link"):
        restore_backup(file, tmp_path / "edge.toml", state)
    assert outside(there) == before
    assert [path.name for path in state.iterdir()] == ["self-signed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes owners")
def test_48_what_is_there_keeps_its_owner(tmp_path: Path) -> None:
    """What the restore makes is the state directory's owner's; it changes no other owner."""
    state, file = tmp_path / "state", tmp_path / "backup"
    folder = state / "self-signed"
    folder.mkdir(parents=True)
    (folder / "fullchain.pem").write_text("of another")
    os.chown(state, 65534, 65534)
    for path in (folder, folder / "fullchain.pem"):
        os.chown(path, 12345, 12345)
    file.write_bytes(archive([policy_of(state), plain("state/self-signed/privkey.pem")]))
    restore_backup(file, tmp_path / "edge.toml", state)
    assert [path.stat().st_uid for path in (folder, folder / "fullchain.pem")] == [12345, 12345]
    assert (folder / "privkey.pem").stat().st_uid == 65534


def test_48_links_in_the_place_of_files_are_moved_and_their_targets_stay(tmp_path: Path) -> None:
    state, there, file = tmp_path / "state", tmp_path / "there", tmp_path / "backup"
    state.mkdir()
    there.mkdir()
    (there / "shadow").write_text("of root")
    (there / "passwd").write_text("of root")
    (state / "bans.json").hardlink_to(there / "shadow")
    (state / "token.key").symlink_to(there / "passwd")
    if os.geteuid() == 0:
        os.chown(state, 65534, 65534)
    file.write_bytes(archive([policy_of(state), plain("state/bans.json"), plain("state/token.key")]))
    before = outside(there)
    restore_backup(file, tmp_path / "edge.toml", state)
    assert outside(there) == before
    for name in ("bans.json", "token.key"):
        status = (state / name).lstat()
        assert (stat.S_ISREG(status.st_mode), stat.S_IMODE(status.st_mode), status.st_nlink) == (True, 0o600, 1)
        assert (status.st_uid, status.st_gid) == (state.stat().st_uid, state.stat().st_gid)
