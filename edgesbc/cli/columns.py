"""Rows in columns: a table on a terminal, elsewhere plain text. Knows nothing of what stands in them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

__all__ = ["print_columns"]


def print_columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print ``rows`` below ``headings``; in plain text with two blanks or more between columns.

    A terminal is narrow, and is spared the columns in which all have "-"; programs find each in its place.
    """
    if sys.stdout.isatty():
        _print_table(headings, rows)
        return
    lines = [headings, *rows]
    widths = [max(len(line[number]) for line in lines) for number in range(len(headings))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # takes 0.1 s, which most commands need not wait for
    from rich.table import Table
    from rich.text import Text

    told = [number for number in range(len(headings)) if not rows or any(row[number] != "-" for row in rows)]
    table = Table()
    for number in told:
        table.add_column(headings[number], overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[number]) for number in told))
    Console().print(table)
