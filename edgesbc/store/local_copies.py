"""Local copies of tables of destinations: the last valid rows of each database, a file each in the state directory."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.base.files import read_file, write_file
from edgesbc.inventory.databases import DatabaseSettings
from edgesbc.inventory.rows import Row
from edgesbc.inventory.schemas import SCHEMAS
from edgesbc.store.databases import database_location

__all__ = ["LocalCopy", "copy_path", "read_copy", "write_copy"]

_VERSION = 1


@attrs.frozen
class LocalCopy:
    """Rows, and the time at which they were read (UTC, ISO 8601)."""

    rows: tuple[Row, ...]
    read: str


def copy_path(folder: Path, settings: DatabaseSettings) -> Path:
    """The path of a database's copy."""
    return folder / f"destinations.{settings.name}.json"


def write_copy(folder: Path, settings: DatabaseSettings, rows: tuple[Row, ...]) -> None:
    """Replace the copy by ``rows``, see :func:`~edgesbc.base.files.write_file`. Blocks; raises ``OSError``."""
    path = copy_path(folder, settings)
    data = json.dumps(
        {**_source(folder, settings), "read": datetime.now(UTC).isoformat(timespec="seconds"), "rows": rows}, indent=0
    ).encode()
    write_file(path, data)


def read_copy(folder: Path, settings: DatabaseSettings) -> LocalCopy | None:
    """The copy of the table in ``settings``; None without one, or if it is a copy of another table. Blocks.

    Raises ``OSError``, and ``ValueError`` that says what was expected and found.
    """
    try:
        data = read_file(copy_path(folder, settings), limits.DATABASE_COPY_BYTES)
    except FileNotFoundError:
        return None
    try:
        copy = json.loads(data)
    except RecursionError:
        raise ValueError("expected rows, found one inside another without end") from None
    if not isinstance(copy, dict) or copy.get("version") != _VERSION:
        version = copy.get("version") if isinstance(copy, dict) else copy
        raise ValueError(f"expected version {_VERSION}, found {str(version)[:60]!r}")
    if any(copy.get(key) != value for key, value in _source(folder, settings).items()):
        return None
    columns = SCHEMAS[settings.schema].columns
    rows = copy.get("rows")
    if not isinstance(rows, list) or not all(_is_row(row, columns) for row in rows):
        raise ValueError("rows: expected a list of rows, found something else")
    return LocalCopy(tuple(rows), str(copy.get("read"))[:40])


def _source(folder: Path, settings: DatabaseSettings) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "database": database_location(settings, folder),
        "schema": settings.schema,
        "table": settings.table_name,
    }


def _is_row(row: object, columns: tuple[str, ...]) -> bool:
    return isinstance(row, dict) and all(
        name in columns and (value is None or isinstance(value, str | int | float)) for name, value in row.items()
    )
