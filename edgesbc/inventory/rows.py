"""Rows of a table: their cells read strictly, and every mistake named by its place. Knows no schema."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from edgesbc.base import limits

__all__ = [
    "Cell",
    "Cells",
    "Note",
    "Row",
    "RowError",
    "TableErrors",
    "pairs",
    "plain",
    "resources",
    "table_of_texts",
    "whole",
]

_T = TypeVar("_T")

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]
"""Column to value."""


class RowError(NamedTuple):
    """One mistake: where it is, what was found and what was expected. ``name`` is stable, for scripts and tests.

    ``key`` is the primary key of the row, or the line of a file; empty where the mistake is of the whole table.
    """

    table: str
    key: str
    column: str
    message: str
    name: str = "bad-value"

    def __str__(self) -> str:
        row = f" row {self.key}" if self.key else ""
        column = f" {self.column}" if self.column else ""
        return f"{self.table}{row}{column}: {self.message} ({self.name})"


class TableErrors(ValueError):
    """Every mistake of a table at once, in the order of its rows; nothing of that table is to be used."""

    def __init__(self, errors: Iterable[RowError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, self.errors)))


class Note(NamedTuple):
    """Something in a row that has no counterpart here; the row is used without it."""

    table: str
    key: str
    column: str
    message: str

    def __str__(self) -> str:
        return f"{self.table} row {self.key} {self.column}: {self.message}"


class Cells:
    """One row while it is read. A mistake is kept in ``errors`` and the reading goes on with the default."""

    __slots__ = ("_row", "errors", "key", "notes", "table")

    def __init__(self, table: str, key: str, row: Row, errors: list[RowError], notes: list[Note]) -> None:
        self.table = table
        self.key = key
        self._row = row
        self.errors = errors
        self.notes = notes

    def wrong(self, column: str, message: str, name: str = "bad-value") -> None:
        self.errors.append(RowError(self.table, self.key, column, message, name))

    def note(self, column: str, message: str) -> None:
        self.notes.append(Note(self.table, self.key, column, message))

    def text(self, column: str, required: bool = False) -> str:
        """A text without the blanks that fill up a CHAR column; "" for NULL and for a column that is not there."""
        value = self._row.get(column)
        if value is None and not required:
            return ""
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or (required and not value.strip()):
            self.wrong(column, f"expected a text, found {_shown(value)}")
            return ""
        if len(value) > limits.DATABASE_TEXT:
            self.wrong(column, f"expected at most {limits.DATABASE_TEXT} characters, found {len(value)}")
            return ""
        return value.strip()

    def whole(self, column: str, default: int = 0) -> int:
        """A whole number; ``default`` for NULL, an empty text, and a column that is not there."""
        value = self._row.get(column)
        return self._read(column, value, whole, default, "a whole number")

    def number(self, column: str) -> float | None:
        """A number, or None for NULL, an empty text, and a column that is not there."""
        value = self._row.get(column)
        return None if _empty(value) else self._read(column, value, _number, None, "a number")

    def whole_or_none(self, column: str) -> int | None:
        """As :meth:`whole`, None for what is not there."""
        value = self._row.get(column)
        return None if _empty(value) else self._read(column, value, whole, None, "a whole number")

    def truth(self, column: str) -> bool:
        """0 or 1, or true or false; False for NULL and for a column that is not there."""
        value = self._row.get(column)
        return self._read(column, value, _truth, False, "0 or 1")

    def _read(self, column: str, value: Cell, read: Callable[[Cell], _T], default: _T, expected: str) -> _T:
        if _empty(value):
            return default
        try:
            return read(value)
        except (ValueError, ArithmeticError):
            self.wrong(column, f"expected {expected}, found {_shown(value)}")
            return default


def pairs(text: str) -> dict[str, str]:
    """``name=value;name;...`` as a table; a name alone has an empty value.

    Raises ``ValueError`` for a name that is there twice, an empty name, or more than there may be.
    """
    found: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in text.split(";"))):
        name, _, value = (each.strip() for each in part.partition("="))
        if not name:
            raise ValueError(f"expected name=value, found {_shown(part)}")
        if name in found:
            raise ValueError(f"expected each name once, found {_shown(name)} again")
        found[name] = value
    if len(found) > limits.DATABASE_PAIRS:
        raise ValueError(f"expected at most {limits.DATABASE_PAIRS} pairs, found {len(found)}")
    return found


def table_of_texts(text: str) -> dict[str, str]:
    """A JSON object, or what :func:`pairs` reads. Raises ``ValueError``."""
    if not text.startswith("{"):
        return pairs(text)
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("expected a JSON object, found one inside another without end") from None
    except ValueError as error:
        raise ValueError(f"expected a JSON object, found {_shown(text)} ({error})") from None
    if len(found) > limits.DATABASE_PAIRS:
        raise ValueError(f"expected at most {limits.DATABASE_PAIRS} pairs, found {len(found)}")
    for name, value in found.items():
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise ValueError(f"expected texts and numbers in a JSON object, found {_shown(name)}: {_shown(value)}")
    return {name: str(value) for name, value in found.items()}


def resources(text: str) -> dict[str, int]:
    """``pstn=30;transcoder=10``, or the same as a JSON object, as numbers of calls. Raises ``ValueError``."""
    found = {}
    for name, value in table_of_texts(text).items():
        if value.startswith("fs://"):  # what follows has a password, and is not repeated
            raise ValueError(f"expected a number of calls for {name}, found an fs:// URL, which is not supported")
        try:
            found[name] = whole(value)
        except ValueError:
            raise ValueError(f"expected a number of calls for {name}, found {_shown(value)}") from None
    return found


def whole(value: Cell) -> int:
    """A whole number from what drivers make of one. Raises ``ValueError``."""
    if isinstance(value, bool) or value is None:
        raise ValueError(value)
    if isinstance(value, str):
        if not _WHOLE.match(value.strip()):
            raise ValueError(value)
        return int(value)
    if value != int(value):
        raise ValueError(value)
    return int(value)


_WHOLE = re.compile(r"-?[0-9]{1,18}\Z")
_SHOWN = 60


def _number(value: Cell) -> float:
    if isinstance(value, bool) or value is None:
        raise ValueError(value)
    return float(value)


def _truth(value: Cell) -> bool:
    if isinstance(value, str):
        value = {"0": 0, "1": 1, "false": 0, "true": 1}.get(value.strip().lower(), 2)
    if value not in (0, 1):
        raise ValueError(value)
    return bool(value)


def _empty(value: Cell) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def plain(text: str) -> str:
    """A text out of a row or a file inside a message: short, and safe to print."""
    return text if text.isprintable() and len(text) <= _SHOWN else repr(text[:_SHOWN])


def _shown(value: object) -> str:
    """A value in an error: short, on one line, and without the password of a URL in it."""
    if value is None:
        return "NULL"
    text = repr(value)
    if "fs://" in text:
        return "an fs:// URL"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
