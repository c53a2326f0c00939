"""Files written whole or not at all, and read within a bound. Every call blocks.

This is the one module of ``base`` that touches the world outside the process. Sans-I/O packages do not import it;
shells, ``store``, ``policy`` and ``rollout`` do, from a thread where a slow disk would hold up traffic.

A write goes to a new file beside the old one, ``.NAME.new``: it is written, given its mode and owner, synchronised to
disk, and then renamed over the old one, and the folder is synchronised. So a full disk, a kill or a power failure
leaves either the old content or the new, never a part of it. What a crash left of an earlier write is removed by the
next. Writers of one file wait for each other, threads and processes alike. Access lists and extended attributes of
the old file are not kept.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

__all__ = [
    "FileTooLarge",
    "create_file",
    "create_in",
    "open_plain",
    "read_file",
    "replacement",
    "rewrite_file",
    "sync_folder",
    "write_file",
]

PRIVATE = 0o600
"""The mode of a file that nobody but its owner may read."""


class FileTooLarge(ValueError):
    """A file has more bytes than its reader takes. The message names the file, the bound and the size."""

    def __init__(self, path: Path, bound: int, size: int) -> None:
        self.expectation = f"expected at most {bound} bytes, found {size}"
        """The message without the file's name."""
        super().__init__(f"{path}: {self.expectation}")


def read_file(path: Path, bound: int) -> bytes:
    """All of a file of at most ``bound`` bytes; it is never cut short.

    Raises :class:`FileTooLarge`, and ``OSError`` where the file is missing or cannot be read.
    """
    with path.open("rb") as stream:
        data = stream.read(bound + 1)
        if len(data) > bound:
            # A pipe has no size; of it only the bytes that were read are known.
            raise FileTooLarge(path, bound, max(len(data), os.fstat(stream.fileno()).st_size))
        return data


def open_plain(path: Path) -> IO[bytes]:
    """Open a plain file in a folder of another user, who could put a link or a pipe in its place. Raises ``OSError``
    for both."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "expected a plain file", str(path))
    return os.fdopen(descriptor, "rb")


def write_file(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Put ``data`` in the place of ``path``, with ``mode``. A symbolic link is replaced and not followed.

    Raises ``OSError`` that names the file; the old content is still there then.
    """
    with replacement(path, mode) as stream:
        stream.write(data)


def rewrite_file(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of an operator's file, which keeps its mode and owner; a new file is private.

    A symbolic link stays one: the file that it leads to is replaced. Raises ``OSError`` as :func:`write_file`.
    """
    path = Path(os.path.realpath(path))
    try:
        old: os.stat_result | None = path.stat()
    except FileNotFoundError:
        old = None
    with _replacement(path, PRIVATE if old is None else old.st_mode & 0o7777, old, False) as stream:
        stream.write(data)


def create_file(path: Path, data: bytes) -> None:
    """Make a private file that is not there yet. Raises ``FileExistsError`` where it is, a link without a target
    included, and ``OSError`` as :func:`write_file`."""
    with _replacement(path, PRIVATE, None, True) as stream:
        stream.write(data)


@contextmanager
def replacement(path: Path, mode: int = PRIVATE) -> Iterator[IO[bytes]]:
    """:func:`write_file` for what is written in pieces: a stream that takes the place of ``path`` at the end of the
    block. Where the block raises, the old content stays."""
    with _replacement(path, mode, None, False) as stream:
        yield stream


@contextmanager
def _replacement(path: Path, mode: int, owner: os.stat_result | None, new_only: bool) -> Iterator[IO[bytes]]:
    draft = path.with_name(f".{path.name}.new")
    descriptor = _open_draft(draft)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as stream:
            yield stream
        if owner is not None and (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        os.fchmod(descriptor, mode)  # after the owner, whose change takes bits of the mode away
        os.fsync(descriptor)
        if new_only and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        os.replace(draft, path)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        os.close(descriptor)  # which ends the lock
    sync_folder(path.parent)


def _open_draft(draft: Path) -> int:
    """A descriptor of ``draft``, which is new, private, empty and locked for this writer."""
    while True:
        try:
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, PRIVATE)
        except FileExistsError:
            _clear(draft)
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_named(descriptor, draft):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # before it was locked, another writer took it for one that a crash had left


def _clear(draft: Path) -> None:
    """Wait for the writer that ``draft`` belongs to; remove it where a crash left it."""
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        # A draft of another user, a link and a pipe without a reader cannot be locked, and none is a draft of ours.
        if error.errno not in (errno.EACCES, errno.ELOOP, errno.ENXIO):
            raise
        draft.unlink(missing_ok=True)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_named(descriptor, draft):
            draft.unlink()
    finally:
        os.close(descriptor)


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


@contextmanager
def create_in(folder: int, name: str, owner: tuple[int, int]) -> Iterator[IO[bytes]]:
    """A stream into a private file that is not there yet, in an open folder; on disk at the end of the block.

    No link is followed, so that the file is in ``folder`` whoever else may write there. ``owner`` is the user and group
    that it gets if this process is root's. Raises ``FileExistsError`` and other ``OSError``.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, PRIVATE, dir_fd=folder), "wb") as stream:
        if os.geteuid() == 0:
            os.fchown(stream.fileno(), *owner)
        os.fchmod(stream.fileno(), PRIVATE)
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(folder: Path | int) -> None:
    """Make renames in ``folder``, a path or a descriptor, outlive a power failure. Raises ``OSError``."""
    if isinstance(folder, int):
        os.fsync(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
