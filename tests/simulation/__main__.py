"""``python -m simulation``: many seeds, with totals and the seeds that failed; or one seed with its trace."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from multiprocessing import Pool

from simulation.scenario import Outcome, simulate


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="run this one alone")
    parser.add_argument("--trace", action="store_true", help="print every message of that run")
    parser.add_argument("--seeds", type=int, default=300, help="how many, where no seed is named (300)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--processes", type=int, default=None, help="at once (one a core)")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _one(options.seed, options.trace)
    return _many(range(options.first, options.first + options.seeds), options.processes)


def _one(seed: int, trace: bool) -> int:
    outcome = simulate(seed, keep_trace=trace)
    for line in outcome.trace:
        print(line)
    print(f"seed {seed}: {outcome.calls} INVITEs, {outcome.messages} messages, digest {outcome.digest}")
    print(outcome.finding or "all held")
    return int(bool(outcome.finding))


def _many(seeds: range, processes: int | None) -> int:
    begin = time.perf_counter()
    failed: list[Outcome] = []
    invites = messages = 0
    hours = 0.0
    statuses: Counter[str] = Counter()
    with Pool(processes) as pool:
        for done, outcome in enumerate(pool.imap(simulate, seeds, chunksize=8), 1):
            invites += outcome.calls
            messages += outcome.messages
            hours += outcome.seconds / 3600
            statuses.update(outcome.statuses)
            if outcome.finding:
                failed.append(outcome)
                print(f"seed {outcome.seed}: {outcome.finding}", flush=True)
            if done % 500 == 0:
                print(f"{done} of {len(seeds)} seeds, {len(failed)} failed", file=sys.stderr, flush=True)
    print(
        f"{len(seeds)} seeds from {seeds.start}: {invites} INVITEs, {messages} messages, {hours:.0f} h of virtual time "
        f"in {time.perf_counter() - begin:.0f} s"
    )
    print("final answers: " + ", ".join(f"{status} {count}" for status, count in sorted(statuses.items())))
    print(f"{len(failed)} seeds failed" + (f"; again: python -m simulation {failed[0].seed} --trace" if failed else ""))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
