"""Settings of the databases that hold destinations, and what may be shown of them. Connects to nothing."""

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
    """``text`` with ``***`` where a URL or a key has a password: for errors, logs and the audit log."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\1***", text)
    return text


@attrs.frozen
class DatabaseSettings:
    """``[[database]]``: a table that has the members of destination sets."""

    name: str = attrs.field(validator=_NAME)
    """What ``database`` of a destination set refers to."""
    url: str | None = None
    """Where it is, as a URL of SQLAlchemy without a password; None: ``destinations.sqlite`` in the state directory."""
    schema: str = attrs.field(default="edgesbc", validator=one_of(*SCHEMAS))
    """What the columns mean: one of :data:`~edgesbc.inventory.schemas.SCHEMAS`."""
    table: str | None = attrs.field(default=None, validator=optional(_TABLE))
    """None: the name that the schema's own project gives it."""
    refresh: float = attrs.field(default=30.0, validator=between(1, 3600, "seconds"))
    """Seconds from one reading to the next."""
    timeout: float = attrs.field(default=5.0, validator=between(1, 30, "seconds"))
    """Seconds that connecting, and then reading, may take."""
    password_file: Path | None = None
    """A file whose first line is the password; read each time, so that a new one needs no reload."""

    @property
    def table_name(self) -> str:
        """The table that is read."""
        return self.table or SCHEMAS[self.schema].table
