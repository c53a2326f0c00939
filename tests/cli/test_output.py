"""Output in columns: plain text in a pipe, a table on a terminal."""

from __future__ import annotations

import os
import sys

import trio

PRINT = """
from edgesbc.cli.output import print_columns
print_columns(["name", "calls", "resources"], [["a[b]", "1/2", "-"], ["bcdef", "-", "-"]])
"""
WIDE = """
from edgesbc.cli.output import print_columns
print_columns(
    ["set", "member", "state", "calls", "cps", "remarks"],
    [
        ["pbx", "sip:10.0.0.11:5060", "active", "1/20", "-", "failed 7 s ago: OPTIONS failed"],
        ["backup", "sip:10.0.0.12:5060", "inactive", "0/20", "-", "-"],
    ],
)
"""


async def test_columns_in_a_pipe_are_separated_by_blanks() -> None:
    result = await trio.run_process([sys.executable, "-c", PRINT], capture_stdout=True)
    assert result.stdout.decode() == "name   calls  resources\na[b]   1/2    -\nbcdef  -      -\n"


async def on_a_terminal(program: str, columns: int) -> str:
    """The output of a Python program on a terminal of this width."""
    ours, theirs = os.openpty()
    try:
        environment = {**os.environ, "COLUMNS": str(columns)}
        await trio.run_process([sys.executable, "-c", program], stdout=theirs, stderr=theirs, env=environment)
        return os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


async def test_a_terminal_gets_a_table() -> None:
    output = await on_a_terminal(PRINT, 80)
    assert "│ a[b]" in output or "| a[b]" in output
    assert "calls" in output
    assert "resources" not in output


async def test_columns_that_do_not_fit_a_terminal_stand_below_the_row() -> None:
    output = await on_a_terminal(WIDE, 40)
    assert output.split("\r\n") == [
        "set     member              state",
        "pbx     sip:10.0.0.11:5060  active",
        "    calls 1/20, remarks failed 7 s ago:",
        "    OPTIONS failed",
        "backup  sip:10.0.0.12:5060  inactive",
        "    calls 0/20",
        "",
    ]


async def test_a_cell_that_is_wider_than_the_terminal_is_not_broken() -> None:
    output = await on_a_terminal(WIDE, 5)
    assert output.startswith("set\r\npbx\r\n")
    assert "\r\nbackup\r\n" in output
    assert "    sip:10.0.0.12:5060," in output
