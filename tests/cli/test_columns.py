"""Rows in columns: plain text in a pipe, a table on a terminal."""

from __future__ import annotations

import os
import sys

import trio

PRINT = """
from edgesbc.cli.columns import print_columns
print_columns(["name", "calls", "resources"], [["a[b]", "1/2", "-"], ["bcdef", "-", "-"]])
"""


async def test_in_a_pipe_columns_are_of_blanks() -> None:
    result = await trio.run_process([sys.executable, "-c", PRINT], capture_stdout=True)
    assert result.stdout.decode() == "name   calls  resources\na[b]   1/2    -\nbcdef  -      -\n"


async def test_on_a_terminal_it_is_a_table() -> None:
    ours, theirs = os.openpty()
    try:
        await trio.run_process([sys.executable, "-c", PRINT], stdout=theirs, stderr=theirs)
        told = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "│ a[b]" in told or "| a[b]" in told
    assert "calls" in told
    assert "resources" not in told
