"""Decisions as they are made, for programs that embed the edge: a bounded queue for each subscription."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from edgesbc.base import limits
from edgesbc.base.decision import Decision

__all__ = ["DecisionFeed", "DecisionSubscription"]


class DecisionSubscription:
    """An asynchronous iterator of decisions, oldest first. It ends when the edge has ended.

    At most ``limits.DECISIONS_WAITING`` decisions wait in it. While it is full, later ones are left out, and counted in
    :attr:`lost`: a slow reader never delays the edge.
    """

    __slots__ = ("_receive", "_send", "lost")

    def __init__(self, capacity: int) -> None:
        self._send, self._receive = trio.open_memory_channel[Decision](capacity)
        self.lost = 0
        """How many decisions were left out so far."""

    def __aiter__(self) -> DecisionSubscription:
        return self

    async def __anext__(self) -> Decision:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def put(self, decision: Decision) -> None:
        try:
            self._send.send_nowait(decision)
        except trio.WouldBlock:
            self.lost += 1

    def end(self) -> None:
        """Let the iteration end after what waits."""
        self._send.close()


class DecisionFeed:
    """Passes decisions on to all subscriptions."""

    __slots__ = ("_ended", "_subscriptions")

    def __init__(self) -> None:
        self._subscriptions: list[DecisionSubscription] = []
        self._ended = False

    def publish(self, decision: Decision) -> None:
        for subscription in self._subscriptions:
            subscription.put(decision)

    @contextmanager
    def subscribe(self) -> Iterator[DecisionSubscription]:
        """A subscription, from the next decision on until the end of the block."""
        subscription = DecisionSubscription(limits.DECISIONS_WAITING)
        if self._ended:
            subscription.end()
        else:
            self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    def end(self) -> None:
        """End all subscriptions: no more decisions will come."""
        self._ended = True
        for subscription in self._subscriptions:
            subscription.end()
        self._subscriptions.clear()
