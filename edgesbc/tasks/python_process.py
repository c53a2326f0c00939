"""How a further process of this program is started: the same interpreter, and a module of ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["module_command", "module_environment"]

_ROOT = str(Path(__file__).parents[2])
"""The folder of the package."""


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs ``module``. It is not looked for in the working directory, where anybody may have put
    another one of that name."""
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment() -> dict[str, str]:
    """The environment for it: modules come from the folder of this one first."""
    folders = [_ROOT, os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders))}
