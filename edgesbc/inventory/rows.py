"""Rows of a table: strict reading of their cells, with an error for each by table, row and column."""

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
"""Values by column."""


class RowError(NamedTuple):
    """One error: its location, what was found and what was expected. ``name`` is stable, for scripts and tests.

    ``key`` is the primary key of the row, or the line of a file; empty for an error of the whole table.
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
    """All errors of a table, in the order of its rows; nothing of the table is used then."""

    def __init__(self, errors: Iterable[RowError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, self.errors)))


class Note(NamedTuple):
    """A part of a row without a counterpart here; the row is used without it."""

    table: str
    key: str
    column: str
    message: str

    def __str__(self) -> str:
        row = f" row {self.key}" if self.key else ""
        column = f" {self.column}" if self.column else ""
        return f"{self.table}{row}{column}: {self.message}"


class Cells:
    """The cells of one row. An error is added to ``errors``, and the default is returned in the place of the value."""

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
        """A text without the blanks that pad a CHAR column; "" for NULL and for a missing column."""
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
        """A whole number; ``default`` for NULL, an empty text and a missing column."""
        value = self._row.get(column)
        return self._read(column, value, whole, default, "a whole number")

    def number(self, column: str) -> float | None:
        """A number, or None for NULL, an empty text and a missing column."""
        value = self._row.get(column)
        return None if _empty(value) else self._read(column, value, _number, None, "a number")

    def whole_or_none(self, column: str) -> int | None:
        """A whole number, or None for NULL, an empty text and a missing column."""
        value = self._row.get(column)
        return None if _empty(value) else self._read(column, value, whole, None, "a whole number")

    def truth(self, column: str) -> bool:
        """0 or 1, or true or false; False for NULL and for a missing column."""
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
    """``name=value;name;...`` as a dict; a name alone has an empty value.

    Raises ``ValueError`` for a repeated name, an empty name, or more than ``limits.DATABASE_PAIRS`` names.
    """
    values: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(";"))):
        name, _, value = (part.strip() for part in pair.partition("="))
        if not name:
            raise ValueError(f"expected name=value, found {_shown(pair)}")
        if name in values:
            raise ValueError(f"expected each name once, found {_shown(name)} again")
        values[name] = value
    if len(values) > limits.DATABASE_PAIRS:
        raise ValueError(f"expected at most {limits.DATABASE_PAIRS} pairs, found {len(values)}")
    return values


def table_of_texts(text: str) -> dict[str, str]:
    """A JSON object of texts and numbers, or a text for :func:`pairs`, as a dict of texts. Raises ``ValueError``."""
    if not text.startswith("{"):
        return pairs(text)
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("expected a JSON object, found one inside another without end") from None
    except ValueError as error:
        raise ValueError(f"expected a JSON object, found {_shown(text)} ({error})") from None
    if len(values) > limits.DATABASE_PAIRS:
        raise ValueError(f"expected at most {limits.DATABASE_PAIRS} pairs, found {len(values)}")
    for name, value in values.items():
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise ValueError(f"expected texts and numbers in a JSON object, found {_shown(name)}: {_shown(value)}")
    return {name: str(value) for name, value in values.items()}


def resources(text: str) -> dict[str, int]:
    """``pstn=30;transcoder=10``, or the same as a JSON object, as numbers of calls. Raises ``ValueError``."""
    calls = {}
    for name, value in table_of_texts(text).items():
        if value.startswith("fs://"):  # such a URL has a password, which must not be in the error
            raise ValueError(f"expected a number of calls for {name}, found an fs:// URL, which is not supported")
        try:
            calls[name] = whole(value)
        except ValueError:
            raise ValueError(f"expected a number of calls for {name}, found {_shown(value)}") from None
    return calls


def whole(value: Cell) -> int:
    """The whole number of a cell, which drivers return as text, int or float. Raises ``ValueError``."""
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
    """A text of a row or file for use in a message: shortened, and escaped if it is not printable."""
    return text if text.isprintable() and len(text) <= _SHOWN else repr(text[:_SHOWN])


def _shown(value: object) -> str:
    """A value for use in an error: shortened, on one line, and without the password of a URL."""
    if value is None:
        return "NULL"
    text = repr(value)
    if "fs://" in text:
        return "an fs:// URL"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
