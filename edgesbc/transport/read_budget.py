"""Fairness between connections: how long unproven peers may be read in one turn of the event loop."""

from __future__ import annotations

import math

import trio

from edgesbc.base import limits
from edgesbc.transport.trusted_queues import TrustedQueues

__all__ = ["ReadBudget"]


class ReadBudget:
    """The time that reads of peers without an account may take before all others have had their turn.

    The event loop gives every readable connection one read in each turn. With thousands of them a turn would take
    seconds, and a trunk's message would wait for it. Once the budget is spent, the tasks of these connections wait in
    their order, and a few go on in each turn: as many as take ``limits.UNPROVEN_GROUP_SECONDS`` together, by what reads
    have cost lately. Over any longer time they have ``limits.UNPROVEN_READS_SHARE`` of it, also where nobody else has
    anything to do: the rest is for what has not come yet. While ``queues`` fill up, the share is
    ``limits.UNPROVEN_BEHIND_SHARE``.
    """

    __slots__ = ("_cost", "_left", "_queues", "_refilled_at", "_spent", "_waiting")

    def __init__(self, queues: TrustedQueues | None = None) -> None:
        self._queues = TrustedQueues() if queues is None else queues
        self._left = limits.UNPROVEN_TURN_SECONDS
        self._refilled_at = -math.inf
        self._cost = limits.READ_COST_SECONDS  # of a read, smoothed
        self._spent = trio.Event()
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def spent(self) -> bool:
        """Whether a connection of a peer without an account must :meth:`wait` before it reads."""
        return self._left <= 0

    def charge(self, seconds: float) -> None:
        """Account for a read and for the work that it caused, which took ``seconds``."""
        cost = seconds + limits.READ_COST_SECONDS
        self._cost += (cost - self._cost) / 8
        self._left -= cost
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
                self._refill(trio.current_time())
                if self._left <= 0:
                    await trio.sleep(-self._left / limits.UNPROVEN_READS_SHARE)
                    continue
                reads = int(limits.UNPROVEN_GROUP_SECONDS / self._cost)
                self._waiting.unpark(count=min(max(1, reads), limits.UNPROVEN_TURN_READS))
            self._spent = trio.Event()

    def _refill(self, now: float) -> None:
        """Add the share of the time that has passed; at most ``limits.UNPROVEN_TURN_SECONDS`` are kept."""
        share = limits.UNPROVEN_BEHIND_SHARE if self._queues.behind else limits.UNPROVEN_READS_SHARE
        earned = (now - self._refilled_at) * share
        self._left = min(limits.UNPROVEN_TURN_SECONDS, self._left + earned)
        self._refilled_at = now
