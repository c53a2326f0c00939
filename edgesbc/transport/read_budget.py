"""Fairness between connections: how much unproven peers may have read in one turn of the event loop."""

from __future__ import annotations

import trio

from edgesbc.base import limits

__all__ = ["ReadBudget"]


class ReadBudget:
    """Bytes that connections of peers without an account may have read before all others have had their turn.

    The event loop gives every readable connection one read in each turn. With thousands of them a turn would take
    seconds, and a trunk's message would wait for it. Once the budget is spent, the tasks of these connections wait in
    their order, and a few go on in each turn.
    """

    __slots__ = ("_left", "_spent", "_waiting")

    def __init__(self) -> None:
        self._left = limits.UNPROVEN_TURN_BYTES
        self._spent = trio.Event()
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def spent(self) -> bool:
        """Whether a connection of a peer without an account must :meth:`wait` before it reads."""
        return self._left <= 0

    def charge(self, size: int) -> None:
        """Account for a read of ``size`` bytes."""
        self._left -= size
        if self._left <= 0:
            self._spent.set()

    async def wait(self) -> None:
        """Wait for a turn."""
        await self._waiting.park()

    async def run(self) -> None:
        """Begin new turns until cancelled; sleep while the budget is not spent."""
        while True:
            await self._spent.wait()
            while self._left <= 0 or self._waiting:
                # All that is readable now is read first, by the tasks that need not wait.
                await trio.lowlevel.checkpoint()
                self._left = limits.UNPROVEN_TURN_BYTES
                self._waiting.unpark(count=limits.UNPROVEN_TURN_READS)
            self._spent = trio.Event()
