"""The whole demo as a user runs it, with a shorter flood."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from edgesbc.cli import main


@pytest.mark.alone
def test_the_demo_passes_and_prints_its_table() -> None:
    command = [sys.executable, "-m", "edgesbc", "demo", "--seconds", "2", "--rate", "2000"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    table = dict(line.split(" = ") for line in ended.stdout.splitlines() if " = " in line)
    for group in ("udp", "tcp", "tls", "wss"):
        assert table[f"{group}: calls placed"] == table[f"{group}: calls completed"] == "10"
        assert table[f"{group}: audio verified"] == "10"
    cut = int(table["calls cut by the kill (in conversation on pbx-1)"])
    assert int(table["trunk: calls completed"]) == 140 - cut
    assert int(table["flood: sent"].split()[0]) == 4000
    dropped = sum(int(value) for name, value in table.items() if name.startswith("flood: dropped"))
    assert dropped + int(table["flood: answered"]) == 4000
    assert int(table["flood: answered"]) < 100
    for name in ("calls left", "ports left", "transactions left"):
        assert table[name] == "0"


def test_options_out_of_bounds_are_refused() -> None:
    for arguments in (["--rate", "50001"], ["--rate", "0"], ["--seconds", "61"], ["--seconds", "0"]):
        assert CliRunner().invoke(main, ["demo", *arguments]).exit_code == 2
