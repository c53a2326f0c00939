"""Reads a table of destinations from a database, bounded in time and size. Every call blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import attrs
from sqlalchemy import Connection, column, create_engine, select, table, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from edgesbc.base import limits
from edgesbc.base.files import FileTooLarge, read_file
from edgesbc.inventory.databases import DRIVERS, DatabaseSettings, without_passwords
from edgesbc.inventory.rows import Cell, Row
from edgesbc.inventory.schemas import SCHEMAS, Sockets
from edgesbc.inventory.tables import Fit, Groups, read_rows

__all__ = [
    "DatabaseError",
    "TableQuery",
    "TableReading",
    "database_location",
    "evaluate",
    "read_database",
    "read_table",
]

FILE = "destinations.sqlite"


class DatabaseError(Exception):
    """A database could not be reached or read. The message is one line without any password."""


@attrs.frozen
class TableQuery:
    """What to read from a table: the groups of destination sets, and how the edge can send to their members."""

    groups: frozenset[str]
    sockets: Sockets
    fit: Fit
    algorithms: Mapping[str, int] = MappingProxyType({})
    """The ``peer_algorithm`` of the sets of each group, where they have one."""


@attrs.frozen
class TableReading:
    """Valid rows, and the members that they define."""

    rows: tuple[Row, ...]
    groups: Groups


def database_location(settings: DatabaseSettings, state_dir: Path) -> str:
    """The URL of a database without its password: for messages, and to compare databases."""
    return _url(settings, state_dir).render_as_string()


def _url(settings: DatabaseSettings, state_dir: Path) -> URL:
    if settings.url is None:
        return URL.create("sqlite", database=str(state_dir.absolute() / FILE))
    return make_url(settings.url)


def read_database(settings: DatabaseSettings, state_dir: Path, query: TableQuery) -> TableReading:
    """The rows of a database now, and the members that they define.

    Blocks for a few times ``settings.timeout``. Raises :class:`DatabaseError`, and
    :class:`~edgesbc.inventory.rows.TableErrors` for invalid rows.
    """
    return evaluate(read_table(settings, state_dir), settings, query)


def evaluate(rows: tuple[Row, ...], settings: DatabaseSettings, query: TableQuery) -> TableReading:
    """The members that ``rows`` define for the groups of ``query``. Raises ``TableErrors``."""
    name, skip = f"{settings.name} {settings.table_name}", settings.on_error == "skip"
    groups = read_rows(rows, settings.schema, name, query.groups, query.sockets, query.fit, query.algorithms, skip=skip)
    return TableReading(rows, groups)


def read_table(settings: DatabaseSettings, state_dir: Path) -> tuple[Row, ...]:
    """The rows of the table in the order of their keys, with the columns of the schema; at most one more than
    ``limits.DATABASE_ROWS``. Raises :class:`DatabaseError`."""
    with _as_database_error(settings, state_dir) as secrets:
        engine = _engine(settings, state_dir, secrets)
        try:
            with engine.connect() as connection:
                _bound_in_time(connection, settings.timeout)
                return tuple(_rows(connection, settings))
        finally:
            engine.dispose()


@contextmanager
def _as_database_error(settings: DatabaseSettings, state_dir: Path) -> Iterator[list[str]]:
    """Turn every error of a driver into a :class:`DatabaseError`. The caller puts the password into the list that this
    yields, so that it is removed from the message."""
    secrets: list[str] = []
    try:
        yield secrets
    except DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001 - drivers raise errors of any class on bad bytes of a server
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        message = " ".join(str(cause).split()) or type(cause).__name__
        for secret in filter(None, secrets):
            message = message.replace(secret, "***")
        raise DatabaseError(f"{database_location(settings, state_dir)}: {without_passwords(message)}") from None


def _engine(settings: DatabaseSettings, state_dir: Path, secrets: list[str]) -> Engine:
    url = _url(settings, state_dir)
    driver = DRIVERS[url.drivername]
    url = url.set(drivername=driver.dialect)
    if settings.password_file is not None:
        secrets.append(_password(settings.password_file))
        url = url.set(password=secrets[0])
    seconds = math.ceil(settings.timeout)
    arguments: dict[str, Any]
    if driver.module == "sqlite3":
        # Opened for reading only, so that a missing file is an error and is not created.
        url = URL.create(
            driver.dialect, database=f"file:{quote(url.database or '')}", query={"mode": "ro", "uri": "true"}
        )
        arguments = {"timeout": settings.timeout}
    elif driver.module == "psycopg":
        # connect_timeout of libpq is at least 2; the others end a connection to a server that has vanished.
        milliseconds = int(settings.timeout * 1000)
        arguments = {"connect_timeout": max(2, seconds), "tcp_user_timeout": milliseconds, "keepalives_idle": seconds}
    else:
        arguments = {"connect_timeout": seconds, "read_timeout": seconds, "write_timeout": seconds}
    try:
        # No connection is kept open: readings are rare, and any thread may do the next one.
        return create_engine(url, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    except ModuleNotFoundError:
        install = f"pip install '{driver.package}'"
        raise DatabaseError(f"expected the driver {driver.module}, found none: {install}") from None


def _password(path: Path) -> str:
    try:
        lines = read_file(path, limits.PASSWORD_BYTES).decode().splitlines()
    except OSError as error:
        raise DatabaseError(f"expected a password in {path}, found: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DatabaseError(f"expected a password in {path}, found: it is no text in UTF-8") from None
    except FileTooLarge as error:
        raise DatabaseError(f"expected a password: {error}") from None
    if not lines or not lines[0]:
        raise DatabaseError(f"expected a password in the first line of {path}, found none")
    return lines[0]


def _bound_in_time(connection: Connection, seconds: float) -> None:
    """Make a PostgreSQL server end a slow query, for which its driver has no timeout; the other drivers have one."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))


def _rows(connection: Connection, settings: DatabaseSettings) -> Iterator[Row]:
    """Rows in the order of their key, so that the order of a set is the same in each reading."""
    schema = SCHEMAS[settings.schema]
    owner, _, name = settings.table_name.rpartition(".")
    source = table(name, schema=owner or None)
    query = select(text("*")).select_from(source).order_by(column(schema.key)).limit(limits.DATABASE_ROWS + 1)
    for row in connection.execute(query).mappings():
        cells = {str(name).lower(): value for name, value in row.items()}
        yield {name: _cell(cells[name], name) for name in schema.columns if name in cells}


def _cell(value: object, name: str) -> Cell:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes | bytearray):  # a text with a binary collation
        return bytes(value).decode()
    raise DatabaseError(f"expected texts and numbers in column {name}, found {type(value).__name__}")
