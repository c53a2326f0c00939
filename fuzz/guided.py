"""Runs one target guided by coverage: ``python -m fuzz.guided MODULE [libFuzzer's options] FOLDER...``."""

from __future__ import annotations

import importlib
import sys

import atheris


def main() -> None:
    """Run the target. Does not return: libFuzzer ends the process."""
    module, *options = sys.argv[1:]
    # Only new branches of the package count as progress, not those of the targets.
    with atheris.instrument_imports(include=["edgesbc"]):
        check = importlib.import_module(module).check
    atheris.Setup([sys.argv[0], *options], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
