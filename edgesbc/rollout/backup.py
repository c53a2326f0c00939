"""Makes a backup of a policy and its state directory, whether or not an edge runs from it. Every call blocks."""

from __future__ import annotations

import hashlib
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from edgesbc.base import limits
from edgesbc.base.files import open_plain, replacement, write_file
from edgesbc.base.version import VERSION
from edgesbc.rollout.archive import (
    POLICY,
    STATE,
    ArchivePart,
    BackupError,
    Manifest,
    is_secret,
    is_state_file,
    write_archive,
)
from edgesbc.store import databases
from edgesbc.store.policy_log import DATABASE

__all__ = ["BackupError", "make_backup"]

_CHUNK = 1024 * 1024
_DATABASES = (DATABASE, databases.FILE)


def make_backup(file: Path, state_dir: Path, text: str, secrets: bool) -> list[tuple[str, int]]:
    """Write the backup ``file``, readable for its owner alone; returns the names and sizes of what is in it.

    ``text`` is the policy. Raises :class:`BackupError` and ``OSError``; an older ``file`` is untouched then.
    """
    if not state_dir.is_dir():
        raise BackupError(f"expected the folder {state_dir}, found none")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as work, ExitStack() as opened:
            paths = [(POLICY, _written(Path(work) / "policy", text.encode()))]
            paths.extend((f"{STATE}{name}", path) for name, path in _state(state_dir, Path(work), secrets))
            sources = [opened.enter_context(open_plain(path)) for _, path in paths]
            parts = tuple(_part(name, source) for (name, _), source in zip(paths, sources, strict=True))
            if len(parts) > limits.BACKUP_FILES:
                raise BackupError(f"expected at most {limits.BACKUP_FILES} files in {state_dir}, found {len(parts)}")
            manifest = Manifest(datetime.now(UTC).isoformat(timespec="seconds"), VERSION, secrets, parts)
            with replacement(file) as out:
                write_archive(out, manifest, sources)
    except sqlite3.Error as error:
        raise BackupError(f"{state_dir / DATABASE} or {databases.FILE} cannot be copied: {error}") from None
    return [(part.name, part.size) for part in parts]


def _state(state_dir: Path, work: Path, secrets: bool) -> Iterator[tuple[str, Path]]:
    """The files of the state directory to keep, by name; for a database, the path of a consistent copy.

    Links are left out: an operator who makes a backup as root must not be made to read what the user of the edge, to
    whom the state directory belongs, cannot.
    """
    folders = ("", "self-signed/") if secrets else ("",)
    for folder in folders:
        if folder and (state_dir / folder).is_symlink():
            continue
        for path in sorted((state_dir / folder).glob("*")):
            name = f"{folder}{path.name}"
            if not is_state_file(f"{STATE}{name}") or not stat.S_ISREG(path.lstat().st_mode):
                continue
            if is_secret(f"{STATE}{name}") and not secrets:
                continue
            yield name, (_copied(path, work) if name in _DATABASES else path)


def _copied(database: Path, work: Path) -> Path:
    """A consistent copy, while an edge may write (SQLite's backup API)."""
    copy = work / database.name
    with (
        closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    return copy


def _written(path: Path, data: bytes) -> Path:
    write_file(path, data)
    return path


def _part(name: str, stream: IO[bytes]) -> ArchivePart:
    """The entry of an open file in the manifest; the stream is at its beginning again afterwards."""
    size, digest = 0, hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        digest.update(chunk)
        if size > limits.BACKUP_FILE_BYTES:
            raise BackupError(f"{name}: expected at most {limits.BACKUP_FILE_BYTES} bytes, found more")
    stream.seek(0)
    return ArchivePart(name, size, digest.hexdigest())
