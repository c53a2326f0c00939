"""Small JSON files of the state directory: read within a bound, checked, and put aside where they are broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgesbc.base import limits
from edgesbc.base.files import read_file

__all__ = ["as_list", "as_table", "parse_state", "put_aside", "read_state"]


def read_state(path: Path) -> bytes:
    """The content of the file, b"" where there is none.

    Raises :class:`~edgesbc.base.files.FileTooLarge` above ``limits.STATE_BYTES``, and ``OSError``.
    """
    try:
        return read_file(path, limits.STATE_BYTES)
    except FileNotFoundError:
        return b""


def put_aside(path: Path) -> Path:
    """Rename a file that cannot be used, so that the next write does not replace it; its new name. Raises
    ``OSError``."""
    return path.rename(path.with_name(f"{path.name}.broken"))


def parse_state(data: bytes, version: int) -> dict[str, Any]:
    """The JSON object in ``data``, whose key ``version`` must have this value. Raises ``ValueError``."""
    try:
        state = as_table(json.loads(data))
    except RecursionError:
        raise ValueError("expected a table, found one inside another without end") from None
    if state.get("version") != version:
        raise ValueError(f"expected version {version}, found {state.get('version')!r}")
    return state


def as_table(value: object) -> dict[str, Any]:
    """``value`` as a JSON object. Raises ``ValueError``."""
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, found {value!r}")
    return value


def as_list(state: dict[str, Any], key: str) -> list[Any]:
    """The list under ``key`` of a JSON object. Raises ``ValueError``."""
    value = state.get(key)
    if not isinstance(value, list):
        raise ValueError(f"{key}: expected a list, found {value!r}")
    return value
