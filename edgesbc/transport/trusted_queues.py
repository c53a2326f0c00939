"""Whether the receive queues of trusted sources and of the private side fill up: those of all others wait for them."""

from __future__ import annotations

from edgesbc.base import limits

__all__ = ["TrustedQueues"]


class TrustedQueues:
    """The listeners that had many datagrams of trusted sources, or of the private side, in their last turn.

    One message of a stranger may cost more than the time in which it is read: a REGISTER comes back from its registrar
    as a response, which waits with those of calls in the queue of a core listener. So if one of these queues had
    ``limits.UDP_BEHIND`` datagrams, strangers are read at a small rate until a turn finds fewer. Otherwise, once the
    edge does not keep up, the queue grows until calls are repeated and fail, and the repetitions keep it full.
    """

    __slots__ = ("_behind",)

    def __init__(self) -> None:
        self._behind: set[int] = set()

    def note(self, listener: int, datagrams: int) -> None:
        """Record how many datagrams a turn has received at the listener with that id."""
        if datagrams >= limits.UDP_BEHIND:
            self._behind.add(listener)
        else:
            self._behind.discard(listener)

    @property
    def behind(self) -> bool:
        """Whether strangers wait."""
        return bool(self._behind)
