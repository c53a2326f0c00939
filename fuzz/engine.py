"""Runs one target on seeded mutations without coverage; the same seed number gives the same inputs."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from fuzz.mutation import mutations

__all__ = ["Check", "Finding", "fuzz", "main", "read_seeds"]

Check = Callable[[bytes], None]
"""Raises any exception if the input breaks an invariant of the target."""


class Finding(Exception):
    """An input that breaks an invariant; ``__cause__`` is the error that the target raised."""

    def __init__(self, data: bytes) -> None:
        super().__init__(f"{len(data)} bytes: {data[:200]!r}")
        self.data = data


def read_seeds(folder: Path) -> list[bytes]:
    """The inputs in a folder, one a file, in the order of their names."""
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def fuzz(
    check: Check, seeds: list[bytes], seed: int, executions: int | None = None, seconds: float | None = None
) -> int:
    """Run ``check`` on mutations until either bound is reached; return how often. Raises :class:`Finding`."""
    deadline = None if seconds is None else time.monotonic() + seconds
    executions_done = 0
    for data in mutations(seeds, Random(seed)):
        if executions_done == executions or (deadline is not None and time.monotonic() >= deadline):
            break
        try:
            check(data)
        except Exception as error:
            raise Finding(data) from error
        executions_done += 1
    return executions_done


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of :mod:`fuzz.run`; returns 1 if an invariant broke, and the input is then in ``findings``."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.engine", description=__doc__)
    parser.add_argument("module")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("findings", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--executions", type=int)
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args(arguments)
    check: Check = importlib.import_module(options.module).check
    try:
        executions_done = fuzz(check, read_seeds(options.corpus), options.seed, options.executions, options.seconds)
    except Finding as finding:
        traceback.print_exception(finding)
        path = options.findings / f"crash-{hashlib.sha256(finding.data).hexdigest()[:16]}"
        path.write_bytes(finding.data)
        print(f"input stored in {path}")
        return 1
    print(f"executions: {executions_done}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
