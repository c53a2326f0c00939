"""The share of time in which connections of peers without an account are read."""

from __future__ import annotations

import trio
import trio.lowlevel
import trio.testing

from edgesbc.base import limits
from edgesbc.transport.read_budget import ReadBudget
from edgesbc.transport.trusted_queues import TrustedQueues

CONNECTIONS = 50


async def reading_seconds(
    clock: trio.testing.MockClock, cost: float, seconds: float, behind: bool = False
) -> tuple[float, list[int], list[int]]:
    """For how long all connections together are read in so many seconds, if each read takes ``cost``; how often each
    was read; and how many were read in each turn. ``behind``: whether trusted sources wait."""
    queues = TrustedQueues()
    queues.note(0, limits.UDP_BEHIND if behind else 0)
    budget = ReadBudget(queues)
    numbers = [0] * CONNECTIONS
    turns = [0]
    until = trio.current_time() + seconds

    async def connection(number: int) -> None:
        with trio.CancelScope() as scope:
            while trio.current_time() < until:
                await trio.lowlevel.checkpoint()
                if budget.spent:
                    await budget.wait(scope, limits.POSTPONED_SECONDS)
                numbers[number] += 1
                turns[-1] += 1
                clock.jump(cost)
                budget.charge(cost)

    async def count_turns() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            turns.append(0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(budget.run)
        nursery.start_soon(count_turns)
        async with trio.open_nursery() as connections:
            for number in range(CONNECTIONS):
                connections.start_soon(connection, number)
            while trio.current_time() < until:
                await trio.lowlevel.checkpoint()
                clock.jump(0.0005)  # the other work of a turn
            connections.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    return sum(numbers) * cost, numbers, turns


async def test_reads_have_their_share_of_the_time(mock_clock: trio.testing.MockClock) -> None:
    for cost in (0.0001, 0.001, 0.005):
        seconds, numbers, _ = await reading_seconds(mock_clock, cost, 1.0)
        most = 1.0 * limits.UNPROVEN_READS_SHARE + limits.UNPROVEN_TURN_SECONDS + CONNECTIONS * cost
        assert 0.2 <= seconds <= most
        assert min(numbers) > 0, "none of them waits for ever"


async def test_reads_have_a_small_share_while_datagrams_of_trusted_sources_wait(
    mock_clock: trio.testing.MockClock,
) -> None:
    for cost in (0.0001, 0.001, 0.005):
        seconds, numbers, _ = await reading_seconds(mock_clock, cost, 4.0, behind=True)
        most = 4.0 * limits.UNPROVEN_BEHIND_SHARE + limits.UNPROVEN_TURN_SECONDS + CONNECTIONS * cost
        assert 0.05 <= seconds <= most
        assert sum(numbers) > 0


async def test_costly_reads_are_few_in_a_turn(mock_clock: trio.testing.MockClock) -> None:
    _, _, turns = await reading_seconds(mock_clock, 0.005, 1.0)
    assert max(turns[len(turns) // 2 :]) <= 2
    _, _, turns = await reading_seconds(mock_clock, 0.0001, 1.0)
    # What is released in one turn may be counted with the next, and a few need not wait.
    assert max(turns[len(turns) // 2 :]) <= 3 * limits.UNPROVEN_TURN_READS < CONNECTIONS
