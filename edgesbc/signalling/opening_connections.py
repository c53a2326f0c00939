"""OpeningConnection: what a connection that is being opened has to send once it is open, and its bounds."""

from __future__ import annotations

from typing import Protocol

from edgesbc.base import limits
from edgesbc.sip.delivery import SendFailure

__all__ = ["ConnectionWaiter", "OpeningConnection"]


class ConnectionWaiter(Protocol):
    """A request that is sent when the connection to its destination is open."""

    def on_connected(self, now: float) -> None: ...

    def on_connect_failed(self, failure: SendFailure | None, now: float) -> None: ...


class OpeningConnection:
    """Requests of which none is sent yet: ``waiters`` may go elsewhere until then, in order; others were given to the
    transport, which keeps them in its outbox. Both together fit into that, so that none is lost with it."""

    __slots__ = ("_count", "_size", "waiters")

    def __init__(self) -> None:
        self.waiters: dict[ConnectionWaiter, int] = {}
        self._count = 0
        self._size = 0

    def has_room(self, size: int, has_account: bool) -> bool:
        """Whether one more request of ``size`` bytes may wait. Those of senders without an account have half of the
        places and bytes, so that others have room whatever anybody sends."""
        parts = 1 if has_account else 2
        return (
            parts * (self._count + 1) <= limits.CONNECTION_WAITING
            and parts * (self._size + size) <= limits.CONNECTION_WAITING_BYTES
        )

    def give(self, size: int) -> None:
        """A request was given to the transport."""
        self._count += 1
        self._size += size

    def add(self, waiter: ConnectionWaiter, size: int) -> None:
        self.waiters[waiter] = size
        self.give(size)

    def remove(self, waiter: ConnectionWaiter) -> None:
        size = self.waiters.pop(waiter, None)
        if size is not None:
            self._count -= 1
            self._size -= size
