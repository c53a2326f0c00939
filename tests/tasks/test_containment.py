"""A task that fails is counted, reported and run again; cancellation ends it."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing

from edgesbc.base import limits
from edgesbc.tasks.containment import Containment


class Reports(list[tuple[str, Exception]]):
    def __call__(self, kind: str, error: Exception) -> None:
        self.append((kind, error))


async def test_a_task_that_raises_runs_again_after_growing_pauses(autojump_clock: trio.testing.MockClock) -> None:
    reports, starts = Reports(), []
    containment = Containment(reports)

    async def failing() -> None:
        starts.append(trio.current_time())
        raise MemoryError

    with trio.move_on_after(200):
        await containment.keep_running("timer", failing)
    pauses = [later - before for before, later in itertools.pairwise(starts)]
    assert pauses[:3] == pytest.approx([0.1, 0.2, 0.4])
    assert max(pauses) == pytest.approx(limits.RESTART_SECONDS_MOST)
    assert containment.faults == {("timer",): len(starts)}
    assert [kind for kind, _ in reports] == ["timer"] * len(starts)


async def test_after_a_long_run_the_pause_is_short_again(autojump_clock: trio.testing.MockClock) -> None:
    containment, ends, starts = Containment(Reports()), [], []

    async def failing() -> None:
        starts.append(trio.current_time())
        await trio.sleep(0 if len(starts) < 9 else limits.RESTART_SECONDS_MOST + 1)
        ends.append(trio.current_time())
        raise OSError

    with trio.move_on_after(300):
        await containment.keep_running("timer", failing)
    assert starts[8] - ends[7] > 10
    assert starts[9] - ends[8] == pytest.approx(limits.RESTART_SECONDS_LEAST)


async def test_a_task_that_returns_is_not_run_again() -> None:
    containment, runs = Containment(Reports()), []

    async def run() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise ValueError

    await containment.keep_running("accept", run)
    assert len(runs) == 2


async def test_cancellation_ends_it_also_while_a_fault_is_raised(autojump_clock: trio.testing.MockClock) -> None:
    """A nursery makes one group of both then."""
    reports = Reports()
    containment = Containment(reports)

    async def fail_at_the_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("at the end")

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail_at_the_end)

    with trio.move_on_after(1) as scope:
        await containment.keep_running("resolver", run)
    assert scope.cancelled_caught
    assert [str(error) for _, error in reports] == ["at the end"]


def test_a_report_that_fails_raises_nothing_and_is_counted() -> None:
    def report(kind: str, error: Exception) -> None:
        raise OSError("no space left")

    containment = Containment(report)
    with containment.contain("connection"):
        raise KeyError("k")
    assert containment.faults == {("connection",): 1, ("report",): 1}


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_passes(end: type[BaseException]) -> None:
    containment = Containment(Reports())
    with pytest.raises(end), containment.contain("connection"):
        raise end
    assert not containment.faults
