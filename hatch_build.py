"""The build hook of the wheel: machine code of the packages without I/O, where there is a C compiler (docs/adr/0008).

``EDGESBC_COMPILE=no`` leaves it out, and with ``EDGESBC_COMPILE=yes`` it is an error where it cannot be made. An
editable installation is always interpreted. ``MYPYC_OPT_LEVEL`` (0 to 3) is mypyc's: 1 builds much faster than 3.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MYPY = "mypy==2.4.1"
"""The version that the whole build was tested with: that of requirements.lock."""
NEEDED = [MYPY, "setuptools", "attrs>=24.2", "cryptography>=43", "h11>=0.16"]
"""The compiler, and the packages whose types the compiled modules use."""
_SETUP = """
from setuptools import setup
from mypyc.build import mypycify

setup(name="edgesbc", ext_modules=mypycify({files!r}, opt_level={level!r}), packages=[])
"""


class MachineCodeHook(BuildHookInterface):  # type: ignore[misc, type-arg]
    """Compiles what ``include`` has and ``exclude`` has not, in a copy, so that nothing appears beside the sources."""

    def dependencies(self) -> list[str]:
        return [] if reason_to_interpret() else NEEDED

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        reason = "an editable installation" if version == "editable" else reason_to_interpret()
        if reason:
            if os.environ.get("EDGESBC_COMPILE") == "yes" and version != "editable":
                raise RuntimeError(f"machine code was asked for: {reason}")
            self.app.display_info(f"interpreted: {reason}")
            return
        self._copy = tempfile.TemporaryDirectory(prefix="edgesbc-build-")
        made = compile_modules(Path(self.root), self.config["include"], self.config["exclude"], Path(self._copy.name))
        build_data["force_include"].update({str(path): target for path, target in made.items()})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        copy = getattr(self, "_copy", None)
        if copy is not None:
            copy.cleanup()


def reason_to_interpret() -> str:
    """Why no machine code can or is to be made; "" where it is."""
    wanted = os.environ.get("EDGESBC_COMPILE", "auto")
    if wanted == "no":
        return "EDGESBC_COMPILE=no"
    if wanted not in ("auto", "yes"):
        raise ValueError(f"EDGESBC_COMPILE: expected auto, yes or no, found {wanted}")
    if platform.python_implementation() != "CPython":
        return f"{platform.python_implementation()} is not CPython"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    options = ["-fsyntax-only", "-x", "c", f"-I{sysconfig.get_path('include')}", "-"]
    try:
        subprocess.run(
            [*compiler, *options], input=b"#include <Python.h>\n", capture_output=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return "no C compiler, or no headers of C or of Python; on Debian: apt-get install gcc libc6-dev python3-dev"
    return ""


def chosen_modules(root: Path, include: list[str], exclude: list[str]) -> list[str]:
    """The files to compile, relative to ``root``."""
    chosen = {path.relative_to(root) for pattern in include for path in root.glob(pattern)}
    return sorted(str(path) for path in chosen if not any(path.match(pattern) for pattern in exclude))


def compile_modules(root: Path, include: list[str], exclude: list[str], folder: Path) -> dict[Path, str]:
    """Compile a copy of the package in ``folder``; the libraries, and where each belongs in the wheel."""
    shutil.copytree(root / "edgesbc", folder / "edgesbc", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    level = os.environ.get("MYPYC_OPT_LEVEL", "3")
    setup, out = folder / "setup.py", folder / "out"
    setup.write_text(_SETUP.format(files=chosen_modules(root, include, exclude), level=level))
    done = subprocess.run(
        [sys.executable, str(setup), "build_ext", "--build-lib", str(out), "--build-temp", str(folder / "objects")],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-40:])
        raise RuntimeError(f"the modules could not be compiled; EDGESBC_COMPILE=no leaves it out:\n{end}")
    return {path: str(path.relative_to(out)) for path in out.rglob("*.so")}
