"""What runs a target: atheris, where it is installed, or a plain loop of seeded mutations."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from fuzz.mutation import mutations

__all__ = ["ROOT", "Finding", "fuzz", "main", "seeds_of"]

ROOT = Path(__file__).parent

Check = Callable[[bytes], None]
"""Raises whatever it likes where the input breaks an invariant of the target."""


class Finding(Exception):
    """An input that breaks an invariant; the error that it broke with is the cause."""

    def __init__(self, data: bytes) -> None:
        super().__init__(f"{len(data)} bytes: {data[:200]!r}")
        self.data = data


def seeds_of(target: str) -> list[bytes]:
    """The corpus of a target, in the order of its file names."""
    return [path.read_bytes() for path in sorted((ROOT / "corpus" / target).iterdir())]


def fuzz(
    check: Check, seeds: list[bytes], seed: int, executions: int | None = None, seconds: float | None = None
) -> int:
    """Run ``check`` on mutations until either bound is reached; how often it ran. Raises :class:`Finding`."""
    deadline = None if seconds is None else time.monotonic() + seconds
    done = 0
    for data in mutations(seeds, Random(seed)):
        if done == executions or (deadline is not None and time.monotonic() >= deadline):
            break
        try:
            check(data)
        except Exception as error:
            raise Finding(data) from error
        done += 1
    return done


def save(target: str, data: bytes) -> Path:
    """Keep an input that broke something; it is to become a seed, or a test, when the fault is mended."""
    folder = ROOT / "findings" / target
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


def main(target: str, check: Check) -> None:
    """The whole of a target's command line: libFuzzer's options under atheris, none otherwise."""
    if importlib.util.find_spec("atheris") is not None:
        import atheris

        atheris.instrument_all()
        # libFuzzer adds what it finds to the first folder: not to the one that is under version control.
        folder = ROOT / "findings" / f"{target}.corpus"
        folder.mkdir(parents=True, exist_ok=True)
        findings = ROOT / "findings" / target
        findings.mkdir(parents=True, exist_ok=True)
        options = [f"-artifact_prefix={findings}/", *sys.argv[1:]]
        atheris.Setup([sys.argv[0], *options, str(folder), str(ROOT / "corpus" / target)], check)
        atheris.Fuzz()
    else:
        print(f"{target}: atheris is not installed; ten seconds of plain mutations instead")
        print(f"{target}: {fuzz(check, seeds_of(target), 0, seconds=10)} executions")
