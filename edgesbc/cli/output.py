"""Output that all commands share: refusals with their exit code, counts, and rows in columns."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

import click

__all__ = ["USAGE_ERROR", "counted", "print_columns", "refuse"]

USAGE_ERROR = 2
"""The exit code of a command that was given something wrong."""

_GAP: Final = "  "
_INDENT: Final = "    "


def refuse(mistakes: Iterable[object], consequence: str = "nothing was started", code: int = USAGE_ERROR) -> NoReturn:
    """Print ``mistakes``, a line each, how many they are and the ``consequence``; end the program with ``code``."""
    lines = list(map(str, mistakes))
    for line in lines:
        click.echo(line, err=True)
    click.echo(f"{counted(len(lines), 'mistake')}; {consequence}", err=True)
    sys.exit(code)


def counted(number: int, thing: str) -> str:
    """``1 call``, ``2 calls``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def print_columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print ``rows`` below ``headings``; in plain text with two blanks or more between columns.

    On a terminal, which is narrow, columns with "-" in every row are left out; a program finds every column.
    """
    if not sys.stdout.isatty():
        widths = _widths(headings, rows)
        for line in (headings, *rows):
            click.echo(_line(line, widths))
        return
    shown = [number for number in range(len(headings)) if not rows or any(row[number] != "-" for row in rows)]
    headings = [headings[number] for number in shown]
    rows = [[row[number] for number in shown] for row in rows]
    width = shutil.get_terminal_size().columns
    if sum(_widths(headings, rows)) + 3 * len(headings) + 1 <= width:
        _print_table(headings, rows)
    else:
        _print_narrow(headings, rows, width)


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(headings, *rows, strict=True)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _print_narrow(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> None:
    """The columns that fit into ``width`` characters; the values of the others follow below each row.

    Folded cells would make a row of a dozen columns as high as the terminal, and split addresses.
    """
    widths = _widths(headings, rows)
    fitting = len(headings)
    while fitting > 1 and sum(widths[:fitting]) + len(_GAP) * (fitting - 1) > width:
        fitting -= 1
    click.echo(_line(headings[:fitting], widths[:fitting]))
    for row in rows:
        click.echo(_line(row[:fitting], widths[:fitting]))
        rest = [f"{name} {cell}" for name, cell in zip(headings[fitting:], row[fitting:], strict=True) if cell != "-"]
        for line in textwrap.wrap(
            ", ".join(rest),
            width,
            initial_indent=_INDENT,
            subsequent_indent=_INDENT,
            break_long_words=False,  # a URI can be copied
            break_on_hyphens=False,
        ):
            click.echo(line)


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # its import takes 0.1 s, and most commands do not need it
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
