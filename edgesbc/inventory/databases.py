"""Settings of the databases that hold destinations, and what may be shown of them. Connects to nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from edgesbc.inventory.schemas import SCHEMAS

__all__ = ["DRIVERS", "DatabaseSettings", "Driver", "without_passwords"]


class Driver(NamedTuple):
    """What speaks to one kind of database: its name for SQLAlchemy, its module, and the extra that brings it."""

    dialect: str
    module: str
    extra: str


_SQLITE = Driver("sqlite+pysqlite", "sqlite3", "")
_POSTGRESQL = Driver("postgresql+psycopg", "psycopg", "postgresql")
_MYSQL = Driver("mysql+pymysql", "pymysql", "mysql")
_MARIADB = Driver("mariadb+pymysql", "pymysql", "mysql")

DRIVERS: Mapping[str, Driver] = {
    "sqlite": _SQLITE,
    "sqlite+pysqlite": _SQLITE,
    "postgresql": _POSTGRESQL,
    "postgresql+psycopg": _POSTGRESQL,
    "mysql": _MYSQL,
    "mysql+pymysql": _MYSQL,
    "mariadb": _MARIADB,
    "mariadb+pymysql": _MARIADB,
}
"""Drivers by the first word of a URL."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_TABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
_SECRETS = (
    re.compile(r"(://[^\s:/@\"']*:)[^\s\"']*(?=@)"),
    re.compile(r"([?&;](?:password|passwd|pwd)=)[^&;\s\"']*", re.IGNORECASE),
    re.compile(r"(\bpass(?:word|wd)?[\"']?\s*=\s*)(\"[^\"\n]*\"?|'[^'\n]*'?)", re.IGNORECASE),
)


def without_passwords(text: str) -> str:
    """``text`` with ``***`` where a URL or a key has a password: for errors, logs and the audit log."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\1***", text)
    return text


def _named(_instance: object, _attribute: attrs.Attribute[Any], value: str) -> None:
    if not _NAME.match(value):
        raise ValueError(f"expected a name of letters, digits, dots and dashes, found {value!r}")


def _known_schema(_instance: object, _attribute: attrs.Attribute[Any], value: str) -> None:
    if value not in SCHEMAS:
        raise ValueError(f"expected one of {', '.join(SCHEMAS)}; found {value!r}")


def _table(_instance: object, _attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and not _TABLE.match(value):
        raise ValueError(f"expected the name of a table, or SCHEMA.TABLE, found {value!r}")


def _seconds(low: float, high: float) -> Any:
    def check(_instance: object, _attribute: attrs.Attribute[Any], value: float) -> None:
        if not low <= value <= high:
            raise ValueError(f"expected {low:g} to {high:g} seconds, found {value:g}")

    return check


@attrs.frozen
class DatabaseSettings:
    """``[[database]]``: a table that has the members of destination sets."""

    name: str = attrs.field(validator=_named)
    """What ``database`` of a destination set refers to."""
    url: str | None = None
    """Where it is, as a URL of SQLAlchemy without a password; None: ``destinations.sqlite`` in the state directory."""
    schema: str = attrs.field(default="edgesbc", validator=_known_schema)
    """What the columns mean: one of :data:`~edgesbc.inventory.schemas.SCHEMAS`."""
    table: str | None = attrs.field(default=None, validator=_table)
    """None: the name that the schema's own project gives it."""
    refresh: float = attrs.field(default=30.0, validator=_seconds(1, 3600))
    """Seconds from one reading to the next."""
    timeout: float = attrs.field(default=5.0, validator=_seconds(1, 30))
    """Seconds that connecting, and then reading, may take."""
    password_file: Path | None = None
    """A file whose first line is the password; read each time, so that a new one needs no reload."""

    @property
    def table_name(self) -> str:
        """The table that is read."""
        return self.table or SCHEMAS[self.schema].table
