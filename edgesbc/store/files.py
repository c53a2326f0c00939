"""Small files of JSON in the state directory: written whole or not at all, read within a bound. Knows no content."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from edgesbc.base import limits

__all__ = ["put_aside", "read", "read_json", "rows", "table", "write"]

_WRITING = threading.Lock()
"""What is written last is begun last as well: at the end of the edge there may be a write of before."""


def write(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of the file, whole or not at all. Raises ``OSError``."""
    new = path.with_name(f"{path.name}.new")
    with _WRITING:
        descriptor = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)


def read(path: Path) -> bytes:
    """The file as it is, empty where there is none. Raises ``OSError``."""
    try:
        with path.open("rb") as stream:
            return stream.read(limits.STATE_BYTES)
    except FileNotFoundError:
        return b""


def put_aside(path: Path) -> Path:
    """Rename a file that cannot be used, so that the next one does not take its place; to what. Raises ``OSError``."""
    return path.rename(path.with_name(f"{path.name}.broken"))


def read_json(data: bytes, version: int) -> dict[str, Any]:
    """The object in ``data``, which says itself to be of this version. Raises ``ValueError``."""
    try:
        kept = table(json.loads(data))
    except RecursionError:
        raise ValueError("expected a table, found one inside another without end") from None
    if kept.get("version") != version:
        raise ValueError(f"expected version {version}, found {kept.get('version')!r}")
    return kept


def table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, found {value!r}")
    return value


def rows(kept: dict[str, Any], key: str) -> list[Any]:
    value = kept.get(key)
    if not isinstance(value, list):
        raise ValueError(f"{key}: expected a list, found {value!r}")
    return value
