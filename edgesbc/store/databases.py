"""Reads a table of destinations from a database: blocking, bounded in time and size. Decides nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
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
    "evaluate",
    "place_of_database",
    "read_database",
    "read_table",
]

FILE = "destinations.sqlite"


class DatabaseError(Exception):
    """A database could not be reached or read. Its text is one line that says why, without any password."""


@attrs.frozen
class TableQuery:
    """What is wanted of a table: the groups that sets ask for, and how the edge could send to their members."""

    groups: frozenset[str]
    sockets: Sockets
    fit: Fit


@attrs.frozen
class TableReading:
    """Rows that are right, and what they mean."""

    rows: tuple[Row, ...]
    groups: Groups


def place_of_database(settings: DatabaseSettings, state_dir: Path) -> str:
    """Where it is, as a URL without its password: for messages, and to tell one database from another."""
    return _url(settings, state_dir).render_as_string()


def _url(settings: DatabaseSettings, state_dir: Path) -> URL:
    if settings.url is None:
        return URL.create("sqlite", database=str(state_dir.absolute() / FILE))
    return make_url(settings.url)


def read_database(settings: DatabaseSettings, state_dir: Path, wanted: TableQuery) -> TableReading:
    """Its rows now, and the members that they make.

    Blocks for a few times ``settings.timeout``. Raises :class:`DatabaseError`, or
    :class:`~edgesbc.inventory.rows.TableErrors` where it answers, and rows are bad.
    """
    return evaluate(read_table(settings, state_dir), settings, wanted)


def evaluate(rows: tuple[Row, ...], settings: DatabaseSettings, wanted: TableQuery) -> TableReading:
    """What ``rows`` mean to the sets that are wanted. Raises ``TableErrors``."""
    where = f"{settings.name} {settings.table_name}"
    return TableReading(rows, read_rows(rows, settings.schema, where, wanted.groups, wanted.sockets, wanted.fit))


def read_table(settings: DatabaseSettings, state_dir: Path) -> tuple[Row, ...]:
    """The rows of the table in the order of their keys, with the columns that the schema knows; up to one more than
    there may be. Blocks; raises :class:`DatabaseError`."""
    with _as_database_error(settings, state_dir) as secret:
        engine = _engine(settings, state_dir, secret)
        try:
            with engine.connect() as connection:
                _bound_in_time(connection, settings.timeout)
                return tuple(_rows(connection, settings))
        finally:
            engine.dispose()


@contextmanager
def _as_database_error(settings: DatabaseSettings, state_dir: Path) -> Iterator[list[str]]:
    """Make one error of what drivers raise. The list is for the password, which must not be in it."""
    secret: list[str] = []
    try:
        yield secret
    except DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001 - what a driver makes of a server's bytes costs this reading alone
        found = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        said = " ".join(str(found).split()) or type(found).__name__
        for each in filter(None, secret):
            said = said.replace(each, "***")
        where = place_of_database(settings, state_dir)
        raise DatabaseError(f"{where}: {without_passwords(said)}") from None


def _engine(settings: DatabaseSettings, state_dir: Path, secret: list[str]) -> Engine:
    url = _url(settings, state_dir)
    driver = DRIVERS[url.drivername]
    url = url.set(drivername=driver.dialect)
    if settings.password_file is not None:
        secret.append(_password(settings.password_file))
        url = url.set(password=secret[0])
    seconds = math.ceil(settings.timeout)
    arguments: dict[str, Any]
    if driver.module == "sqlite3":
        # Opened for reading only: a file that is missing is to be said, and not to be made.
        url = URL.create(
            driver.dialect, database=f"file:{quote(url.database or '')}", query={"mode": "ro", "uri": "true"}
        )
        arguments = {"timeout": settings.timeout}
    elif driver.module == "psycopg":
        # connect_timeout of libpq is at least 2; the rest is for a server that is gone without a word.
        milliseconds = int(settings.timeout * 1000)
        arguments = {"connect_timeout": max(2, seconds), "tcp_user_timeout": milliseconds, "keepalives_idle": seconds}
    else:
        arguments = {"connect_timeout": seconds, "read_timeout": seconds, "write_timeout": seconds}
    try:
        # No connection is kept: readings are rare, and each comes from whatever thread is free.
        return create_engine(url, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    except ModuleNotFoundError:
        install = f"pip install 'edgesbc[{driver.extra}]'"
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
    """Have the server give up where the driver would wait for ever; the others have a timeout of their socket."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))


def _rows(connection: Connection, settings: DatabaseSettings) -> Iterator[Row]:
    """Rows by their key, so that the order of a set does not change from one reading to the next."""
    schema = SCHEMAS[settings.schema]
    owner, _, name = settings.table_name.rpartition(".")
    source = table(name, schema=owner or None)
    query = select(text("*")).select_from(source).order_by(column(schema.key)).limit(limits.DATABASE_ROWS + 1)
    for row in connection.execute(query).mappings():
        found = {str(name).lower(): value for name, value in row.items()}
        yield {name: _cell(found[name], name) for name in schema.columns if name in found}


def _cell(value: object, name: str) -> Cell:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes | bytearray):  # what a binary collation makes of a text
        return bytes(value).decode()
    raise DatabaseError(f"expected texts and numbers in column {name}, found {type(value).__name__}")
