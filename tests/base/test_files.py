"""Writing leaves the old content or the new, whatever fails; reading never cuts a file short."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgesbc.base import files
from edgesbc.base.files import (
    FileTooLarge,
    create_file,
    create_in,
    open_plain,
    read_file,
    replacement,
    rewrite_file,
    write_file,
)

OLD, NEW = b"the old content", b"the new content, which is longer"

WRITERS: dict[str, Callable[[Path, bytes], None]] = {
    "write_file": write_file,
    "rewrite_file": rewrite_file,
    "create_file": create_file,
}


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """The kernel writes up to ``size`` bytes of a file and then fails, as on a disk that is full."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- reading ---------------------------------------------------------------------------------------------


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    assert read_file(tmp_path / "file", 4) == b"1234"


def test_a_longer_file_is_refused_by_name_size_and_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123456789")
    with pytest.raises(FileTooLarge) as raised:
        read_file(tmp_path / "file", 4)
    assert str(raised.value) == f"{tmp_path / 'file'}: expected at most 4 bytes, found 9"
    assert raised.value.expectation == "expected at most 4 bytes, found 9"


def test_a_pipe_is_read_to_its_end_within_the_bound() -> None:
    """``edgesbc check <(...)`` reads a pipe, which has no size."""
    reader, writer = os.pipe()
    os.write(writer, b"123456789")
    os.close(writer)
    try:
        with pytest.raises(FileTooLarge, match="at most 4 bytes, found 5"):
            read_file(Path(f"/dev/fd/{reader}"), 4)
    finally:
        os.close(reader)


def test_a_missing_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="file"):
        read_file(tmp_path / "file", 4)


# --- writing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_new_file_is_private_and_leaves_nothing_beside_it(write: Any, tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        write(tmp_path / "file", NEW)
    finally:
        os.umask(old_mask)
    assert (tmp_path / "file").read_bytes() == NEW
    assert mode_of(tmp_path / "file") == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_the_mode_is_the_one_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    (tmp_path / "file").chmod(0o600)
    old_mask = os.umask(0o077)
    try:
        write_file(tmp_path / "file", NEW, 0o644)
    finally:
        os.umask(old_mask)
    assert mode_of(tmp_path / "file") == 0o644


def test_a_file_is_private_until_it_is_whole(tmp_path: Path) -> None:
    with replacement(tmp_path / "file", 0o644) as stream:
        stream.write(b"half")
        stream.flush()
        assert mode_of(tmp_path / ".file.new") == 0o600


def test_an_operators_file_keeps_its_mode_and_owner(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(OLD)
    file.chmod(0o640)
    owner = (1, 1) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(file, *owner)
    rewrite_file(file, NEW)
    assert (file.read_bytes(), mode_of(file)) == (NEW, 0o640)
    assert (file.stat().st_uid, file.stat().st_gid) == owner


def test_a_link_to_an_operators_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "one").write_bytes(OLD)
    (tmp_path / "link").symlink_to("versions/one")
    rewrite_file(tmp_path / "link", NEW)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "versions" / "one").read_bytes() == NEW
    assert os.listdir(tmp_path / "versions") == ["one"]


def test_a_link_in_the_place_of_a_file_of_the_program_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(OLD)
    (tmp_path / "file").symlink_to("elsewhere")
    write_file(tmp_path / "file", NEW)
    assert (tmp_path / "elsewhere").read_bytes() == OLD
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_bytes() == NEW


def test_a_hard_link_keeps_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    os.link(tmp_path / "file", tmp_path / "other")
    write_file(tmp_path / "file", NEW)
    assert ((tmp_path / "file").read_bytes(), (tmp_path / "other").read_bytes()) == (NEW, OLD)


@pytest.mark.parametrize("kind", ["file", "link", "link without a target"])
def test_an_existing_file_is_not_created_again(kind: str, tmp_path: Path) -> None:
    if kind == "file":
        (tmp_path / "file").write_bytes(OLD)
    else:
        (tmp_path / "file").symlink_to("target")
    if kind == "link":
        (tmp_path / "target").write_bytes(OLD)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(FileExistsError, match="file"):
        create_file(tmp_path / "file", NEW)
    assert sorted(os.listdir(tmp_path)) == before
    assert kind == "link without a target" or (tmp_path / "file").read_bytes() == OLD


# --- what fails ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_file, rewrite_file], ids=["write_file", "rewrite_file"])
def test_a_full_disk_leaves_the_old_content(write: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    with no_file_longer_than(10), pytest.raises(OSError, match="file") as raised:
        write(tmp_path / "file", NEW)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_at_the_first_write_leaves_no_empty_file(tmp_path: Path) -> None:
    with no_file_longer_than(10), pytest.raises(OSError, match="file"):
        create_file(tmp_path / "file", NEW)
    assert os.listdir(tmp_path) == []
    create_file(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_bytes() == NEW


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
def test_a_call_that_fails_leaves_the_old_content(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(OLD)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(OSError, match="file"):
            write_file(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_a_block_that_raises_leaves_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(KeyError), replacement(tmp_path / "file") as stream:
        stream.write(b"half")
        raise KeyError
    assert (tmp_path / "file").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_the_content_is_on_disk_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    sync, rename = os.fsync, os.replace

    def seen_sync(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def seen_rename(old: Path, new: Path) -> None:
        calls.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", seen_sync)
    monkeypatch.setattr(os, "replace", seen_rename)
    write_file(tmp_path / "file", NEW)
    assert calls == ["file", "rename", "folder"]


def test_a_kill_leaves_the_old_content_and_the_next_write_works(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    killed = (
        "import os, sys, signal, pathlib\n"
        "from edgesbc.base.files import write_file\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_file(pathlib.Path(sys.argv[1]), b'half')\n"
    )
    program = subprocess.run([sys.executable, "-c", killed, tmp_path / "file"], check=False)
    assert program.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == OLD
    assert sorted(os.listdir(tmp_path)) == [".file.new", "file"]
    write_file(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_or_pipe_in_the_place_of_the_draft_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(OLD)
    (tmp_path / ".file.new").symlink_to("elsewhere")
    write_file(tmp_path / "file", NEW)
    os.mkfifo(tmp_path / ".file.new")
    write_file(tmp_path / "file", NEW)
    assert (tmp_path / "elsewhere").read_bytes() == OLD
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "file"]


def test_a_folder_in_the_place_of_the_draft_is_named(tmp_path: Path) -> None:
    (tmp_path / ".file.new").mkdir()
    with pytest.raises(OSError, match=r"\.file\.new"):
        write_file(tmp_path / "file", NEW)


# --- writers at the same time ----------------------------------------------------------------------------


def test_a_writer_waits_for_another_one_of_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    failures: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: failures.append(args.exc_value))
    second = threading.Thread(target=write_file, args=(path, b"second"))
    waiting = threading.Event()
    flock = fcntl.flock

    def seen(descriptor: int, operation: int) -> None:
        if threading.current_thread() is second:
            waiting.set()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", seen)
    with replacement(path) as stream:
        second.start()
        assert waiting.wait(30)
        stream.write(b"first, which is longer")
        assert not path.exists()
    second.join(30)
    assert (failures, path.read_bytes()) == ([], b"second")
    assert os.listdir(tmp_path) == ["file"]


def test_many_writers_leave_the_whole_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    failures: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: failures.append(args.exc_value))
    contents = [bytes([65 + number]) * (1_000 * (number + 1)) for number in range(8)]
    writers = [threading.Thread(target=write_file, args=(path, content)) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert failures == []
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["file"]


def test_one_of_two_creators_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileExistsError), files._replacement(path, 0o600, None, True) as stream:
        stream.write(b"slow")
        path.write_bytes(b"quick")
    assert path.read_bytes() == b"quick"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_in_an_open_folder_is_new_private_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    owner = (os.getuid(), os.getgid())
    try:
        with create_in(folder, "new", owner) as stream:
            stream.write(b"content")
        for name in ("new", "link"):
            with pytest.raises(FileExistsError), create_in(folder, name, owner):
                pass
    finally:
        os.close(folder)
    assert (tmp_path / "new").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    assert (tmp_path / "there").read_text() == "kept"


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    os.mkfifo(tmp_path / "pipe")
    with open_plain(tmp_path / "plain") as stream:
        assert stream.read() == b"x"
    for name in ("link", "pipe", ".", "missing"):
        with pytest.raises(OSError, match=r".+"):
            open_plain(tmp_path / name)
