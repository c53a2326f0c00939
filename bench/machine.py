"""What the figures were taken on: the machine, and the versions of everything that was measured."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from edgesbc import __version__

__all__ = ["describe", "installed"]

_VERSION_OF = {"kamailio": ["-v"], "rtpengine": ["--version"], "sipp": ["-v"]}
_NUMBER = re.compile(r"\d+(\.\d+)+[\w.+-]*\w")


def installed(program: str) -> bool:
    return shutil.which(program) is not None


def describe() -> dict[str, str]:
    """Words for the head of the report."""
    found = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": f"{platform.system()} {platform.release()}",
        "load before": " ".join(f"{each:.2f}" for each in os.getloadavg()),
        "edgesbc": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()} ({sys.platform})",
    }
    for program in _VERSION_OF:
        found[program] = _version(program)
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        return "not installed"
    done = subprocess.run([path, *_VERSION_OF[program]], capture_output=True, text=True, timeout=10, check=False)
    match = _NUMBER.search(done.stdout + done.stderr)
    return match[0] if match else "installed"
