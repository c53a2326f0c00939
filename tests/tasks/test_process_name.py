from __future__ import annotations

import json
import subprocess
import sys

SHOW = """
import json, sys
from edgesbc.tasks.process_name import name_process
def read(name):
    with open(f"/proc/self/{name}", "rb") as file:
        return file.read().decode()
environment = read("environ")
name_process(sys.argv[1])
print(json.dumps([read("cmdline").rstrip("\\0"), read("comm").strip(), read("environ") == environment]))
"""


def shown(name: str) -> tuple[str, str, bool]:
    """The command line and the short name of a process that was given ``name``, and whether its environment is as
    before."""
    command = [sys.executable, "-c", SHOW, name]
    line, short, same = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return line, short, same


def test_a_process_has_the_name_that_it_is_given() -> None:
    assert shown("edgesbc: signalling") == ("edgesbc: signalling", "signalling", True)


def test_a_name_that_is_too_long_is_cut() -> None:
    name = "edgesbc: " + "n" * 100
    line, short, same = shown(name + "n" * 5_000)
    assert line.startswith(name)
    assert short == "n" * 15
    assert same
