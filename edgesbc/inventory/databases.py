"""The settings of databases with destinations, and the removal of passwords from texts that are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import attrs

from edgesbc.base.validation import between, matching, one_of, optional
from edgesbc.inventory.schemas import SCHEMAS

__all__ = ["DRIVERS", "DatabaseSettings", "Driver", "without_passwords"]


class Driver(NamedTuple):
    """A database driver: its SQLAlchemy dialect, its module, and the package to install."""

    dialect: str
    module: str
    package: str


_SQLITE = Driver("sqlite+pysqlite", "sqlite3", "")
_POSTGRESQL = Driver("postgresql+psycopg", "psycopg", "psycopg[binary]")
_MYSQL = Driver("mysql+pymysql", "pymysql", "pymysql")
_MARIADB = Driver("mariadb+pymysql", "pymysql", "pymysql")

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
"""Drivers by the scheme of a URL."""

_NAME = matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a name of letters, digits, dots and dashes")
_TABLE = matching(
    r"([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,62}", "the name of a table, or SCHEMA.TABLE"
)
_SECRETS = (
    re.compile(r"(://[^\s:/@\"']*:)[^\s\"']*(?=@)"),
    re.compile(r"([?&;](?:password|passwd|pwd)=)[^&;\s\"']*", re.IGNORECASE),
    re.compile(r"(\bpass(?:word|wd)?[\"']?\s*=\s*)(\"[^\"\n]*\"?|'[^'\n]*'?)", re.IGNORECASE),
)


def without_passwords(text: str) -> str:
    """``text`` with ``***`` in the place of passwords in URLs and keys, for errors, logs and the audit log."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\1***", text)
    return text


@attrs.frozen
class DatabaseSettings:
    """``[[database]]``: a table with the members of destination sets."""

    name: str = attrs.field(validator=_NAME)
    """The name that ``database`` of a destination set refers to."""
    url: str | None = None
    """An SQLAlchemy URL without a password; None: ``destinations.sqlite`` in the state directory."""
    schema: str = attrs.field(default="edgesbc", validator=one_of(*SCHEMAS))
    """The columns of the table: one of :data:`~edgesbc.inventory.schemas.SCHEMAS`."""
    table: str | None = attrs.field(default=None, validator=optional(_TABLE))
    """The table's name; None: the default name of the schema."""
    refresh: float = attrs.field(default=30.0, validator=between(1, 3600, "seconds"))
    """Seconds between two readings."""
    timeout: float = attrs.field(default=5.0, validator=between(1, 30, "seconds"))
    """Seconds that connecting may take, and then reading."""
    on_error: str = attrs.field(default="refuse", validator=one_of("refuse", "skip"))
    """What becomes of a row that cannot be used: nothing of the reading is used, or all but that row."""
    password_file: Path | None = None
    """A file whose first line is the password; it is read for each connection, so that a change needs no reload."""

    @property
    def table_name(self) -> str:
        """The table that is read."""
        return self.table or SCHEMAS[self.schema].table
