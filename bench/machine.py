"""Describes the machine, and the versions of all measured programs, for the head of the report."""

from __future__ import annotations

import os
import platform
import re
import shutil
import ssl
import subprocess
import timeit
from pathlib import Path

from edgesbc import __version__
from edgesbc.cli.group import build

__all__ = ["describe", "installed", "kamailio_has"]

_VERSION_OF = {"kamailio": ["-v"], "rtpengine": ["--version"], "sipp": ["-v"]}
_NUMBER = re.compile(r"\d+(\.\d+)+[\w.+-]*\w")


def installed(program: str) -> bool:
    return shutil.which(program) is not None


def kamailio_has(*modules: str) -> bool:
    """Whether Kamailio's modules, which Debian packs one by one, are installed."""
    output = subprocess.run(["kamailio", "-I"], capture_output=True, text=True, timeout=10, check=False).stdout
    path = re.search(r"paths to modules: *(\S+)", output)
    folders = path[1].split(":") if path else []
    return all(any(Path(folder, f"{name}.so").exists() for folder in folders) for name in modules)


def describe() -> dict[str, str]:
    """The rows at the head of the report."""
    rows = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": f"{platform.system()} {platform.release()}",
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "edgesbc": f"{__version__} ({build()})",
        "python": f"{platform.python_implementation()} {platform.python_version()}, a small loop in {_loop():.0f} ns",
    }
    rows["openssl"] = ssl.OPENSSL_VERSION.removeprefix("OpenSSL ")
    for program in _VERSION_OF:
        rows[program] = _version(program)
    return rows


def _loop() -> float:
    """Nanoseconds of one turn of a small loop, in which builds of one Python version differ by up to a third."""
    turns = 100_000
    work = f"for n in range({turns}): x = (n & 7, n); y = x[0] + len(x)"
    return min(timeit.repeat(work, number=1, repeat=7)) / turns * 1e9


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        return "not installed"
    output = subprocess.run([path, *_VERSION_OF[program]], capture_output=True, text=True, timeout=10, check=False)
    match = _NUMBER.search(output.stdout + output.stderr)
    return match[0] if match else "installed"
