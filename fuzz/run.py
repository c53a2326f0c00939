"""``python -m fuzz.run``: runs the targets, each in a process of its own. Exits with 1 if an invariant broke."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fuzz.mutation import MOST_BYTES, PIECES

__all__ = ["ROOT", "TARGETS", "main"]

ROOT = Path(__file__).parent
EXECUTIONS = {
    "signalling": 40, "parse_message": 18_000, "framing": 2_200, "websocket": 3_500, "session": 550,
    "proxy_header": 27_000, "uri": 74_000, "headers": 41_000, "multipart": 24_000, "sdp": 16_000,
    "sdp_rewrite": 19_000, "media": 480, "ng": 150, "ng_client": 30, "rtp": 1_900, "capture": 500,
}  # fmt: skip
"""About how many executions a second each target does on one core of a server."""
TARGETS = tuple(EXECUTIONS)

_INPUT_SECONDS = 5
"""Seconds that one input may take; one that takes longer is a finding."""
_MEMORY_MIB = 1024
"""MiB that the process of a target may use."""
_FINDING_LINES = 40
"""Lines of a log that are printed for a finding, each cut to ``_FINDING_COLUMNS``."""
_FINDING_COLUMNS = 4000


class Bounds(NamedTuple):
    """How long each target runs: by time or, if ``executions`` is given, by number."""

    seconds: float
    executions: int | None
    seed: int


class Outcome(NamedTuple):
    target: str
    passed: bool
    executions: int
    edges: int
    """Branches of the package that were reached, as libFuzzer counts them; 0 without coverage."""
    seconds: float
    log: Path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz.run", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all if none is named")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each target (10)")
    parser.add_argument("--executions", type=int, help="for each target, instead of the time")
    parser.add_argument(
        "--repeatable",
        action="store_true",
        help="as many executions as about fit into the time, whatever they take: the same inputs on each machine",
    )
    parser.add_argument("--seed", type=int, help="the same number gives the same inputs (default: from the clock)")
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="targets at a time (%(default)s)"
    )
    parser.add_argument("--plain", action="store_true", help="without coverage, even if atheris is installed")
    parser.add_argument(
        "--grown", type=Path, help="store inputs that reach new code in FOLDER/TARGET, and continue from them"
    )
    parser.add_argument(
        "--findings", type=Path, default=ROOT / "findings", help="folder for inputs that break an invariant"
    )
    options = parser.parse_args(arguments)
    targets = options.targets or TARGETS
    if unknown := [target for target in targets if target not in TARGETS]:
        parser.error(f"there is no target {', '.join(unknown)}")
    seed = time.time_ns() % 2**31 if options.seed is None else options.seed
    bounds = {target: Bounds(options.seconds, options.executions, seed) for target in targets}
    if options.repeatable and options.executions is None:
        for target, of_target in bounds.items():
            bounds[target] = of_target._replace(executions=int(EXECUTIONS[target] * options.seconds))
    guided = not options.plain and importlib.util.find_spec("atheris") is not None
    bound = f"{options.executions} executions" if options.executions is not None else f"{options.seconds:g} s"
    print(
        f"{len(targets)} targets, {bound} each, {options.jobs} at a time, "
        f"{'guided by coverage' if guided else 'plain mutations'}, seed {seed}; logs in {options.findings}",
        flush=True,
    )
    one = partial(_run, bounds=bounds, guided=guided, findings=options.findings, grown=options.grown)
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = []
        for outcome in pool.map(one, targets):
            print(_line(outcome, guided), flush=True)
            if not outcome.passed:
                print(_finding(outcome.log), flush=True)
            outcomes.append(outcome)
    total = sum(outcome.executions for outcome in outcomes)
    broken = [outcome.target for outcome in outcomes if not outcome.passed]
    print(f"{total} executions, {'broken: ' + ', '.join(broken) if broken else 'nothing found'}")
    return int(bool(broken))


def _run(target: str, bounds: Mapping[str, Bounds], guided: bool, findings: Path, grown: Path | None) -> Outcome:
    artifacts = findings / target
    artifacts.mkdir(parents=True, exist_ok=True)
    log = findings / f"{target}.log"
    command = _guided if guided else _plain
    # With a random hash seed the order of sets, and so the run, would differ between processes.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, log.open("wb") as stream:
        arguments = command(target, bounds[target], artifacts, Path(scratch), grown)
        status = subprocess.run(
            [sys.executable, *arguments], stdout=stream, stderr=stream, cwd=ROOT.parent, env=environment, check=False
        ).returncode
    text = log.read_text(errors="replace")
    done = [
        int(number) for number in re.findall(r"^(?:executions: |stat::number_of_executed_units: )(\d+)", text, re.M)
    ]
    edges = [int(number) for number in re.findall(r" cov: (\d+) ", text)]
    return Outcome(
        target, status == 0 and bool(done), sum(done), max(edges, default=0), time.monotonic() - started, log
    )


def _plain(target: str, bounds: Bounds, artifacts: Path, scratch: Path, grown: Path | None) -> list[str]:
    bound = f"--seconds={bounds.seconds}" if bounds.executions is None else f"--executions={bounds.executions}"
    return [
        "-m",
        "fuzz.engine",
        f"fuzz.{target}",
        str(ROOT / "corpus" / target),
        str(artifacts),
        f"--seed={bounds.seed}",
        bound,
    ]


def _guided(target: str, bounds: Bounds, artifacts: Path, scratch: Path, grown: Path | None) -> list[str]:
    dictionary = scratch / "dictionary"
    dictionary.write_text("".join(f'"{_escaped(piece)}"\n' for piece in PIECES))
    # libFuzzer adds inputs to the first folder, which must not be the one under version control.
    folder = (grown or scratch) / target
    folder.mkdir(parents=True, exist_ok=True)
    bound = f"-max_total_time={bounds.seconds:.0f}" if bounds.executions is None else f"-runs={bounds.executions}"
    return [
        "-m", "fuzz.guided", f"fuzz.{target}", bound, f"-seed={bounds.seed or 2**31}", f"-dict={dictionary}",
        f"-max_len={MOST_BYTES}", f"-timeout={_INPUT_SECONDS}", f"-rss_limit_mb={_MEMORY_MIB}",
        f"-artifact_prefix={artifacts}/", "-print_final_stats=1", str(folder), str(ROOT / "corpus" / target),
    ]  # fmt: skip


def _escaped(piece: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in piece)


def _finding(log: Path) -> str:
    """The end of a log, without libFuzzer's lists: a machine that runs the tests may keep no files."""
    of_fuzzer = ("#", "stat::", "0x", "INFO:", "WARNING:")
    lines = [line for line in log.read_text(errors="replace").splitlines() if not line.startswith(of_fuzzer)]
    return "\n".join(f"    {line[:_FINDING_COLUMNS]}" for line in lines[-_FINDING_LINES:])


def _line(outcome: Outcome, guided: bool) -> str:
    reached = f", {outcome.edges} edges reached" if guided else ""
    end = "nothing found" if outcome.passed else f"BROKEN, see {outcome.log}"
    return f"{outcome.target}: {outcome.executions} executions in {outcome.seconds:.0f} s{reached}, {end}"


if __name__ == "__main__":
    raise SystemExit(main())
