"""Reads and replaces the policy file as a whole. Every call blocks."""

from __future__ import annotations

from pathlib import Path

from edgesbc.base import limits
from edgesbc.base.files import FileTooLarge, read_file, rewrite_file

__all__ = ["read_text", "replace_text"]


def read_text(file: Path) -> str | None:
    """The text of ``file``; None where there is no file.

    Raises ``OSError`` where it is no UTF-8, too large, or cannot be read.
    """
    try:
        data = read_file(file, limits.POLICY_BYTES)
    except FileNotFoundError:
        return None
    except FileTooLarge as error:
        raise OSError(str(error)) from None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise OSError(f"{file}: expected text in UTF-8, found the byte {data[error.start]:#04x}") from None


def replace_text(file: Path, text: str) -> None:
    """Put ``text`` in the place of ``file``; see :func:`~edgesbc.base.files.rewrite_file`. Raises ``OSError``."""
    rewrite_file(file, text.encode())
