"""The policy file, read and replaced whole. Judges no policy; every call blocks."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from edgesbc.base import limits

__all__ = ["read_text", "replace_bytes", "replace_text"]


def read_text(file: Path) -> str | None:
    """The text of ``file``; None where there is none. Raises ``OSError`` for what is no text, or cannot be read."""
    try:
        with file.open("rb") as stream:
            data = stream.read(limits.POLICY_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > limits.POLICY_BYTES:
        raise OSError(f"{file}: expected at most {limits.POLICY_BYTES} bytes, found more")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise OSError(f"{file}: expected text in UTF-8, found the byte {data[error.start]:#04x}") from None


def replace_text(file: Path, text: str) -> None:
    """Put ``text`` in the place of ``file``, whole or not at all, with the mode and owner that it has.

    A symbolic link stays one: what it leads to is replaced. Raises ``OSError``.
    """
    replace_bytes(file.resolve(), text.encode())


def replace_bytes(path: Path, data: bytes) -> None:
    """Likewise for bytes, at ``path`` itself; a new file is for its owner alone."""
    new = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        new.unlink()  # a crash left it
    try:
        there: os.stat_result | None = path.stat()
    except FileNotFoundError:
        there = None
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            if there is not None:
                if (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(stream.fileno(), there.st_uid, there.st_gid)
                os.fchmod(stream.fileno(), there.st_mode & 0o7777)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
