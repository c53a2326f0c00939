"""The garbage collector visits what is new, in short runs, and nothing that lives long."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest
import trio
import trio.testing

from edgesbc.base import limits
from edgesbc.tasks.garbage import collect_young_garbage

RUNS = 40


async def generations(duration: float) -> list[int]:
    """The generations that are collected in the time of ``RUNS`` pauses, if the youngest takes ``duration``."""
    collected: list[int] = []
    now = 0.0

    def collect(generation: int) -> None:
        nonlocal now
        collected.append(generation)
        now += duration

    with trio.move_on_after((RUNS + 0.5) * limits.COLLECT_SECONDS):
        await collect_young_garbage(collect, lambda: now)
    return collected


@pytest.mark.parametrize("duration", [0.0, 0.0004, 0.002, 0.009, 0.03])
async def test_what_a_run_leaves_is_visited_once_more_and_takes_no_longer_than_all_those_runs(
    autojump_clock: trio.testing.MockClock, duration: float
) -> None:
    collected = await generations(duration)
    assert collected.count(0) == RUNS
    spent = 0.0
    for generation in collected:
        if generation == 0:
            assert spent < limits.COLLECT_AGAIN_SECONDS, "the middle generation grows on"
            spent += duration
        else:
            assert generation == 1, "a full collection visits every live call"
            assert spent < limits.COLLECT_AGAIN_SECONDS + duration
            spent = 0.0
    assert (1 in collected) is (RUNS * duration >= limits.COLLECT_AGAIN_SECONDS)


async def test_cycles_are_freed(autojump_clock: trio.testing.MockClock) -> None:
    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    def alive() -> int:
        return sum(isinstance(thing, Cycle) for thing in gc.get_objects())

    gc.disable()
    try:
        with trio.move_on_after(limits.COLLECT_SECONDS * 1.5):
            Cycle()
            assert alive() == 1
            await collect_young_garbage()
    finally:
        gc.enable()
    assert alive() == 0


def test_automatic_collections_stop() -> None:
    """In a process of its own: the setting is one of the process."""
    code = (
        "import gc; from edgesbc.tasks.garbage import stop_automatic_collections as stop; stop(); "
        "frozen = gc.get_freeze_count(); print(gc.isenabled(), frozen > 1000)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == ["False", "True"]
