"""``python -m fuzz.run``: every target in turn, by plain seeded mutations. Exits 1 where an invariant broke."""

from __future__ import annotations

import argparse
import importlib
import time
import traceback
from collections.abc import Sequence

from fuzz.engine import Finding, fuzz, save, seeds_of

TARGETS = ("parse_message", "framing", "sdp")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz.run", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all, where none is named")
    parser.add_argument("--seconds", type=float, default=10.0, help="for all targets together (10)")
    parser.add_argument("--executions", type=int, help="for each target; the time is then not looked at")
    parser.add_argument("--seed", type=int, help="the same number, the same inputs (default: from the clock)")
    options = parser.parse_args(arguments)
    targets = options.targets or TARGETS
    if unknown := [target for target in targets if target not in TARGETS]:
        parser.error(f"there is no target {', '.join(unknown)}")
    seed = time.time_ns() % 2**32 if options.seed is None else options.seed
    seconds = options.seconds / len(targets) if options.executions is None else None
    failed = False
    for target in targets:
        check = importlib.import_module(f"fuzz.{target}").check
        try:
            done = fuzz(check, seeds_of(target), seed, options.executions, seconds)
        except Finding as finding:
            failed = True
            traceback.print_exception(finding)
            print(f"{target}: broken with seed {seed}; input kept in {save(target, finding.data)}")
        else:
            print(f"{target}: {done} executions with seed {seed}, nothing found")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
