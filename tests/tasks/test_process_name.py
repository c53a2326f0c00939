from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SHOW = (
    "import sys; from edgesbc.tasks.process_name import name_process; name_process(sys.argv[1]);"
    "print(open('/proc/self/cmdline', 'rb').read().rstrip(b'\\0').decode(), open('/proc/self/comm').read(), sep='|')"
)


def shown(name: str) -> tuple[str, str]:
    """The command line and the short name of a process that was given ``name``."""
    output = subprocess.run([sys.executable, "-c", SHOW, name], check=True, capture_output=True, text=True).stdout
    line, _, short = output.rstrip("\n").partition("|")
    return line, short


def test_a_process_has_the_name_that_it_is_given() -> None:
    assert shown("edgesbc: signalling") == ("edgesbc: signalling", "signalling")


def test_a_name_that_is_too_long_is_cut() -> None:
    environment, name = Path(f"/proc/{os.getpid()}/environ").read_bytes(), "edgesbc: " + "n" * 5_000
    line, short = shown(name)
    assert name.startswith(line)
    assert line
    assert short == "n" * 15
    assert Path(f"/proc/{os.getpid()}/environ").read_bytes() == environment
