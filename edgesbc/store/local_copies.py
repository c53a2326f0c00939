"""Local copies of tables of destinations: the last rows that were good, one file a database. Decides nothing."""

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
from edgesbc.store.databases import place_of_database

__all__ = ["LocalCopy", "file_of", "read_copy", "write_copy"]

_VERSION = 1


@attrs.frozen
class LocalCopy:
    """Rows, and when they were read (UTC, ISO 8601)."""

    rows: tuple[Row, ...]
    read: str


def file_of(folder: Path, settings: DatabaseSettings) -> Path:
    """Where the copy of a database is."""
    return folder / f"destinations.{settings.name}.json"


def write_copy(folder: Path, settings: DatabaseSettings, rows: tuple[Row, ...]) -> None:
    """Put ``rows`` in the place of the copy, whole or not at all, for its owner's eyes. Raises ``OSError``."""
    path = file_of(folder, settings)
    data = json.dumps(
        {**_source(folder, settings), "read": datetime.now(UTC).isoformat(timespec="seconds"), "rows": rows}, indent=0
    ).encode()
    write_file(path, data)


def read_copy(folder: Path, settings: DatabaseSettings) -> LocalCopy | None:
    """The copy of this very table; None where there is none, or where it is that of another one.

    Raises ``OSError``, and ``ValueError`` that says what was found where something else was expected.
    """
    try:
        data = read_file(file_of(folder, settings), limits.DATABASE_COPY_BYTES)
    except FileNotFoundError:
        return None
    try:
        kept = json.loads(data)
    except RecursionError:
        raise ValueError("expected rows, found one inside another without end") from None
    if not isinstance(kept, dict) or kept.get("version") != _VERSION:
        found = kept.get("version") if isinstance(kept, dict) else kept
        raise ValueError(f"expected version {_VERSION}, found {str(found)[:60]!r}")
    if any(kept.get(key) != value for key, value in _source(folder, settings).items()):
        return None
    columns = SCHEMAS[settings.schema].columns
    rows = kept.get("rows")
    if not isinstance(rows, list) or not all(_is_row(row, columns) for row in rows):
        raise ValueError("rows: expected a list of rows, found something else")
    return LocalCopy(tuple(rows), str(kept.get("read"))[:40])


def _source(folder: Path, settings: DatabaseSettings) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "database": place_of_database(settings, folder),
        "schema": settings.schema,
        "table": settings.table_name,
    }


def _is_row(row: object, columns: tuple[str, ...]) -> bool:
    return isinstance(row, dict) and all(
        name in columns and (value is None or isinstance(value, str | int | float)) for name, value in row.items()
    )
