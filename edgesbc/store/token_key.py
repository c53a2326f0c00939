"""The key that seals the tokens of dialogs (see :mod:`edgesbc.signalling.tokens`): a file of the state directory."""

from __future__ import annotations

import os
from pathlib import Path

from edgesbc.base.files import FileTooLarge, create_file, read_file

__all__ = ["KEY_BYTES", "KEY_FILE", "token_key"]

KEY_FILE = "token.key"
KEY_BYTES = 32


def token_key(state_dir: Path) -> bytes:
    """The key of ``state_dir``; made where there is none, readable by its owner alone. Blocks.

    Raises ``OSError`` where it cannot be read or made, and where the file is anything but a key. It is never
    replaced, because requests in existing dialogs cannot be routed with another key.
    """
    path = state_dir / KEY_FILE
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    try:
        key = os.urandom(KEY_BYTES)
        create_file(path, key)
    except FileExistsError:  # another process has made one meanwhile
        return _read(path)
    return key


def _read(path: Path) -> bytes:
    try:
        key = read_file(path, KEY_BYTES)
    except FileTooLarge:
        key = b""
    if len(key) != KEY_BYTES:
        raise OSError(f"{path} is not a key of {KEY_BYTES} bytes; move it away, and a new one is made")
    return key
