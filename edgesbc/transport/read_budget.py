"""Fairness between connections: how long unproven peers may be read in one turn of the event loop."""

from __future__ import annotations

import trio

from edgesbc.base import limits

__all__ = ["ReadBudget"]


class ReadBudget:
    """The time that reads of peers without an account may take before all others have had their turn.

    The event loop gives every readable connection one read in each turn. With thousands of them a turn would take
    seconds, and a trunk's message would wait for it. Once the budget is spent, the tasks of these connections wait in
    their order, and a few go on in each turn.
    """

    __slots__ = ("_left", "_spent", "_waiting")

    def __init__(self) -> None:
        self._left = limits.UNPROVEN_TURN_SECONDS
        self._spent = trio.Event()
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def spent(self) -> bool:
        """Whether a connection of a peer without an account must :meth:`wait` before it reads."""
        return self._left <= 0

    def charge(self, seconds: float) -> None:
        """Account for a read and for the work that it caused, which took ``seconds``."""
        self._left -= seconds + limits.READ_COST_SECONDS
        if self._left <= 0:
            self._spent.set()

    async def wait(self, scope: trio.CancelScope, longest: float) -> None:
        """Wait for a turn. The peer may have sent in time what is due: the deadline of ``scope`` is later by the time
        that this takes, but by at most ``longest`` seconds."""
        begun, deadline = trio.current_time(), scope.deadline
        scope.deadline = deadline + longest
        try:
            await self._waiting.park()
        finally:
            scope.deadline = deadline + min(trio.current_time() - begun, longest)

    async def run(self) -> None:
        """Begin new turns until cancelled; sleep while the budget is not spent."""
        while True:
            await self._spent.wait()
            while self._left <= 0 or self._waiting:
                # All that is readable now is read first, by the tasks that need not wait.
                await trio.lowlevel.checkpoint()
                self._left = limits.UNPROVEN_TURN_SECONDS
                self._waiting.unpark(count=limits.UNPROVEN_TURN_READS)
            self._spent = trio.Event()
