"""Restores a backup: checks all of it before anything is written, and moves older files aside. Every call blocks."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import attrs

from edgesbc.base.files import replacement, rewrite_file, sync_folder
from edgesbc.policy.load import parse_policy
from edgesbc.rollout.archive import POLICY, STATE, ArchivePart, BackupError, Manifest, read_archive
from edgesbc.store.policy_log import DATABASE

__all__ = ["RestoreResult", "restore_backup"]

_COMPANIONS = ("-journal", "-wal", "-shm")
"""Files that SQLite would take for those of the restored database."""


@attrs.frozen
class RestoreResult:
    """The files that were written, those that were moved aside, and whether the backup had secrets."""

    written: list[Path]
    aside: list[Path]
    secrets: bool


def restore_backup(file: Path, to: Path) -> RestoreResult:
    """Write the policy of the backup ``file`` to ``to``, and the rest into that policy's state directory.

    Raises :class:`BackupError`, ``OSError``, and :class:`~edgesbc.base.errors.PolicyErrors` for a policy that has
    mistakes in its new place; nothing has changed then.
    """
    with file.open("rb") as stream:
        text = _policy_text(stream)
        policy = parse_policy(text, str(to))
        state_dir = policy.edge.state_dir
        with _held(state_dir), tempfile.TemporaryDirectory(prefix=".restore-", dir=state_dir) as work:
            stream.seek(0)
            manifest = _staged(stream, Path(work), text)
            return _Swap(state_dir, Path(work), to.resolve()).make(manifest, text)


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


@contextmanager
def _held(state_dir: Path) -> Iterator[None]:
    """Lock the state directory as a running edge does; make it when it is missing, remove it if it stays empty."""
    made = not state_dir.exists()
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"an edge runs from {state_dir}; stop it first") from None
        yield
    finally:
        os.close(folder)
        if made:
            with suppress(OSError):  # not empty: the restore has succeeded
                state_dir.rmdir()


def _staged(stream: IO[bytes], work: Path, text: str) -> Manifest:
    """Write the files of the state directory into ``work``, and check again: ``stream`` may have changed meanwhile."""
    again = bytearray()

    def take(part: ArchivePart, pieces: Iterator[bytes]) -> None:
        if part.name == POLICY:
            for piece in pieces:
                again.extend(piece)
            return
        path = work / part.name.removeprefix(STATE)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with replacement(path) as out:
            for piece in pieces:
                out.write(piece)

    manifest = read_archive(stream, take)
    if bytes(again) != text.encode():
        raise BackupError("the file was changed meanwhile; try again")
    if (work / DATABASE).exists():
        _check_store(work / DATABASE)
    return manifest


def _check_store(path: Path) -> None:
    """Raise :class:`BackupError` unless the database is sound and has tables only: a trigger could act when the edge
    writes."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as store:
            (check,) = store.execute("pragma quick_check(1)").fetchone()
            kinds = {kind for (kind,) in store.execute("select type from sqlite_master")}
    except sqlite3.Error as error:
        raise BackupError(f"{DATABASE} is no database: {error}") from None
    if check != "ok" or not kinds <= {"table", "index"}:
        raise BackupError(f"{DATABASE}: expected a sound database of tables, found {check}, {sorted(kinds)}")


class _Swap:
    """Replaces files: all of them, or none."""

    def __init__(self, state_dir: Path, work: Path, policy: Path) -> None:
        self._state_dir = state_dir
        self._work = work
        self._policy = policy
        self._aside = state_dir / f"before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        self._moved: list[tuple[Path, Path]] = []

    def make(self, manifest: Manifest, text: str) -> RestoreResult:
        names = [part.name.removeprefix(STATE) for part in manifest.parts if part.name != POLICY]
        aside: list[Path] = []
        try:
            self._aside.mkdir(mode=0o700)
            if self._policy.exists():
                shutil.copy2(self._policy, self._aside / POLICY)
                aside.append(self._aside / POLICY)
            for name in names:
                aside.extend(self._move_aside(name))
                self._move(self._work / name, self._state_dir / name)
            sync_folder(self._state_dir)
            rewrite_file(self._policy, text.encode())
        except OSError:
            self._undo()
            raise
        if not aside:
            self._aside.rmdir()
        return RestoreResult([self._policy, *(self._state_dir / name for name in names)], aside, manifest.secrets)

    def _move_aside(self, name: str) -> Iterator[Path]:
        for old in (name, *(f"{name}{end}" for end in _COMPANIONS if name == DATABASE)):
            if (self._state_dir / old).exists() or (self._state_dir / old).is_symlink():
                self._move(self._state_dir / old, self._aside / old)
                yield self._aside / old

    def _move(self, old: Path, new: Path) -> None:
        new.parent.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:  # the files belong to the user of the edge, not to the one who restores them
            owner = self._state_dir.stat()
            os.chown(old, owner.st_uid, owner.st_gid, follow_symlinks=False)
        old.rename(new)
        self._moved.append((old, new))

    def _undo(self) -> None:
        for old, new in reversed(self._moved):
            with suppress(OSError):
                new.rename(old)
        with suppress(OSError):  # what could not be moved back keeps the folder from being removed
            (self._aside / POLICY).unlink(missing_ok=True)
            self._aside.rmdir()
