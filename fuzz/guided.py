"""Runs one target guided by coverage: ``python -m fuzz.guided MODULE [libFuzzer's options] FOLDER...``."""

from __future__ import annotations

import importlib
import sys

import atheris


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    module, *options = sys.argv[1:]
    # What the targets themselves do is not looked at: only new ways through the package are news.
    with atheris.instrument_imports(include=["edgesbc"]):
        check = importlib.import_module(module).check
    atheris.Setup([sys.argv[0], *options], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
