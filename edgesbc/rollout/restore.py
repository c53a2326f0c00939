"""Restores a backup: checks all of it before anything is written, and moves older files aside. Every call blocks.

The archive decides nothing about where files go. The operator names the policy file and the state directory, and the
names of files come from :func:`~edgesbc.rollout.archive.is_state_file`. Files in the state directory are made, moved
and given their owner by names relative to an open folder, and no link in it is followed: it belongs to the user of the
edge, and a restore by root must not be led out of it by that user.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import attrs

from edgesbc.base.errors import PolicyErrors
from edgesbc.base.files import create_in, rewrite_file, sync_folder
from edgesbc.policy.load import parse_policy, state_dir_of
from edgesbc.policy.model import default_state_dir
from edgesbc.rollout.archive import POLICY, STATE, ArchivePart, BackupError, Manifest, is_state_file, read_archive
from edgesbc.store import databases
from edgesbc.store.policy_log import DATABASE

__all__ = ["RestoreResult", "restore_backup"]

_COMPANIONS = ("-journal", "-wal", "-shm")
"""Files that SQLite would take for those of a restored database."""
_KINDS = {DATABASE: {"table", "index"}, databases.FILE: {"table", "index", "view"}}
"""What each database may have, by the name of its file: a trigger could act when somebody writes."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@attrs.frozen
class RestoreResult:
    """The files that were written, those that were moved aside, the names in the backup that no edge has a file for,
    and whether the backup had secrets."""

    written: list[Path]
    aside: list[Path]
    left_out: list[str]
    secrets: bool


def restore_backup(file: Path, to: Path, state_dir: Path | None = None) -> RestoreResult:
    """Write the policy of the backup ``file`` to ``to``, and the rest into ``state_dir``, which must be that policy's
    state directory; None: that of the policy which is at ``to`` now, or the default one.

    Raises :class:`BackupError`, ``OSError``, and :class:`~edgesbc.base.errors.PolicyErrors` for a policy that has
    mistakes in its new place; nothing has changed then.
    """
    with file.open("rb") as stream:
        text = _policy_text(stream)
        policy = parse_policy(text, str(to))
        _check_state_dir(policy.edge.state_dir, to, state_dir)
        with _held(policy.edge.state_dir) as folder, _Swap(policy.edge.state_dir, folder, to.resolve()) as swap:
            stream.seek(0)
            manifest = swap.stage(stream, text)
            return swap.make(manifest, text)


def _policy_text(stream: IO[bytes]) -> str:
    """The policy, after the whole archive was read and checked; nothing is written."""
    policy = bytearray()

    def take(part: ArchivePart, pieces: Iterator[bytes]) -> None:
        if part.name == POLICY:
            for piece in pieces:
                policy.extend(piece)

    read_archive(stream, take)
    try:
        return policy.decode()
    except UnicodeDecodeError as error:
        raise BackupError(f"{POLICY}: expected text in UTF-8: {error.reason}") from None


def _check_state_dir(found: Path, to: Path, named: Path | None) -> None:
    """Raise :class:`BackupError` unless the operator has named the state directory ``found`` of the backup's policy."""
    if named is not None:
        if found.resolve() != named.resolve():
            raise BackupError(f"the policy of the backup has the state_dir {found}, and --state-dir names {named}")
        return
    known = [default_state_dir()]
    with suppress(PolicyErrors):  # none is there, or its [edge] has mistakes
        known.append(state_dir_of(to))
    if found.resolve() not in [path.resolve() for path in known]:
        raise BackupError(
            f"the policy of the backup has the state_dir {found}, which no policy at {to} has;"
            f" if files may be written there, repeat with --state-dir {found}"
        )


@contextmanager
def _held(state_dir: Path) -> Iterator[int]:
    """Lock the state directory as a running edge does; make it when it is missing, remove it if it stays empty."""
    made = not state_dir.exists()
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"an edge runs from {state_dir}; stop it first") from None
        yield folder
    finally:
        os.close(folder)
        if made:
            with suppress(OSError):  # not empty: the restore has succeeded
                state_dir.rmdir()


def _check_store(work: int, name: str) -> None:
    """Raise :class:`BackupError` unless the database ``name`` in the folder ``work`` is sound and has only what
    ``_KINDS`` lists."""
    try:
        with closing(sqlite3.connect(f"file:/proc/self/fd/{work}/{name}?mode=ro&immutable=1", uri=True)) as store:
            (check,) = store.execute("pragma quick_check(1)").fetchone()
            kinds = {kind for (kind,) in store.execute("select type from sqlite_master")}
    except sqlite3.Error as error:
        raise BackupError(f"{name} is no database: {error}") from None
    if check != "ok" or not kinds <= _KINDS[name]:
        raise BackupError(f"{name}: expected a sound database of tables, found {check}, {sorted(kinds)}")


class _Swap:
    """Replaces files: all of them, or none. ``folder`` is the open state directory."""

    def __init__(self, state_dir: Path, folder: int, policy: Path) -> None:
        self._state_dir = state_dir
        self._folder = folder
        self._policy = policy
        status = os.fstat(folder)
        self._owner = status.st_uid, status.st_gid
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        self._work_name = f".restore-{stamp}"
        self._aside_name = f"before-restore-{stamp}"
        self._work = self._keep = -1
        self._new_folders: list[tuple[str, int]] = []
        """Names of folders that were made, with the folder that each is in."""
        self._moved: list[tuple[str, int, int]] = []
        """Moved files: the name, and the folders from and to which it was moved."""
        self._opened = ExitStack()

    def __enter__(self) -> _Swap:
        self._work = self._made(self._folder, self._work_name)
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
        shutil.rmtree(self._work_name, ignore_errors=True, dir_fd=self._folder)

    def stage(self, stream: IO[bytes], text: str) -> Manifest:
        """Write the files of the state directory aside, and check again: ``stream`` may have changed meanwhile."""
        again = bytearray()

        def take(part: ArchivePart, pieces: Iterator[bytes]) -> None:
            if part.name == POLICY:
                for piece in pieces:
                    again.extend(piece)
            elif is_state_file(part.name):
                with create_in(self._work, _leaf(part.name), self._owner) as out:
                    for piece in pieces:
                        out.write(piece)

        manifest = read_archive(stream, take)
        if bytes(again) != text.encode():
            raise BackupError("the file was changed meanwhile; try again")
        for part in manifest.parts:
            if part.name.removeprefix(STATE) in _KINDS:
                _check_store(self._work, _leaf(part.name))
        return manifest

    def make(self, manifest: Manifest, text: str) -> RestoreResult:
        """Put the staged files and the policy in their places; older files are moved aside."""
        state = [part.name.removeprefix(STATE) for part in manifest.parts if is_state_file(part.name)]
        left_out = [part.name for part in manifest.parts if part.name != POLICY and not is_state_file(part.name)]
        aside: list[Path] = []
        try:
            keep = self._keep = self._made(self._folder, self._aside_name)
            if self._policy.exists():
                self._keep_policy(keep)
                aside.append(self._state_dir / self._aside_name / POLICY)
            folders: dict[str, tuple[int, int]] = {"": (self._folder, keep)}
            for name in state:
                of, _, leaf = name.rpartition("/")
                if of not in folders:
                    folders[of] = (self._made(self._folder, of), self._made(keep, of))
                place, old = folders[of]
                kept_in = self._state_dir / self._aside_name / of
                aside.extend(kept_in / existing for existing in self._move_aside(leaf, place, old))
                self._move(leaf, self._work, place)
            for place, old in folders.values():
                sync_folder(place)
                sync_folder(old)
            rewrite_file(self._policy, text.encode())
        except (OSError, BackupError):
            self._undo()
            raise
        self._remove_empty()
        return RestoreResult(
            [self._policy, *(self._state_dir / name for name in state)], aside, left_out, manifest.secrets
        )

    def _made(self, within: int, name: str) -> int:
        """A descriptor of a folder, which is made if it is missing. Raises :class:`BackupError` for a link."""
        made = True
        try:
            os.mkdir(name, 0o700, dir_fd=within)
        except FileExistsError:
            made = False
        try:
            folder = os.open(name, _FOLDER, dir_fd=within)
        except NotADirectoryError:  # also for a link: O_DIRECTORY and O_NOFOLLOW together
            raise BackupError(f"expected the folder {name} in {self._state_dir}, found a link or a file") from None
        self._opened.callback(os.close, folder)
        if made:
            self._new_folders.append((name, within))
            self._own(folder)
        return folder

    def _own(self, descriptor: int) -> None:
        """Give what was made to the user of the edge, and not to the one who restores."""
        if os.geteuid() == 0:
            os.fchown(descriptor, *self._owner)

    def _keep_policy(self, keep: int) -> None:
        with self._policy.open("rb") as old, create_in(keep, POLICY, self._owner) as out:
            shutil.copyfileobj(old, out)

    def _move_aside(self, leaf: str, place: int, aside: int) -> Iterator[str]:
        """Move what has the name ``leaf`` away, also a link, which keeps its owner: that of a hard link is the owner
        of a file elsewhere."""
        for name in (leaf, *(f"{leaf}{end}" for end in _COMPANIONS if leaf in _KINDS)):
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=place, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    raise BackupError(f"expected a file {name} in {self._state_dir}, found a folder")
                self._move(name, place, aside)
                yield name

    def _move(self, name: str, old: int, new: int) -> None:
        os.rename(name, name, src_dir_fd=old, dst_dir_fd=new)
        self._moved.append((name, old, new))

    def _undo(self) -> None:
        for name, old, new in reversed(self._moved):
            with suppress(OSError):
                os.rename(name, name, src_dir_fd=new, dst_dir_fd=old)
        if self._keep >= 0:
            with suppress(OSError):  # what could not be moved back keeps the folder from being removed
                os.unlink(POLICY, dir_fd=self._keep)
        self._remove_empty()

    def _remove_empty(self) -> None:
        """Remove the folders that were made and have stayed empty."""
        for name, within in reversed(self._new_folders):
            with suppress(OSError):
                os.rmdir(name, dir_fd=within)


def _leaf(name: str) -> str:
    """The last part of a name in an archive; no two names of :func:`is_state_file` have the same."""
    return name.rpartition("/")[2]
