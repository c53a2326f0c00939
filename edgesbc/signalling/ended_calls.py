"""EndedCalls: for how long the tokens of a call still lead to its peers after its end."""

from __future__ import annotations

from edgesbc.base import limits

__all__ = ["EndedCalls"]

_OF_SUBSCRIPTIONS = frozenset({"NOTIFY", "SUBSCRIBE"})


class EndedCalls:
    """The calls that have ended last, by a hash: the peer chooses the length of the texts.

    Messages that crossed with the BYE pass for ``limits.ENDED_CALL_SECONDS``, the time of a transaction. A subscription
    that a REFER or SUBSCRIBE began within the call goes on after the BYE (RFC 5057 section 4.2), for
    ``limits.ENDED_SUBSCRIPTION_SECONDS``. Of each table the oldest entry is dropped when it is full.
    """

    __slots__ = ("_calls", "_subscriptions")

    def __init__(self) -> None:
        self._calls: dict[int, float] = {}  # until when (seconds, the plane's clock), oldest first
        self._subscriptions: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._calls) + len(self._subscriptions)

    def add(self, key: int, has_subscription: bool, now: float) -> None:
        """A call has ended; ``has_subscription`` is whether a REFER or SUBSCRIBE was sent within it."""
        _enter(self._calls, key, limits.ENDED_CALL_SECONDS, limits.ENDED_CALLS, now)
        if has_subscription:
            _enter(self._subscriptions, key, limits.ENDED_SUBSCRIPTION_SECONDS, limits.ENDED_SUBSCRIPTIONS, now)

    def admit(self, key: int, method: str, now: float) -> bool:
        """Whether a request of that method still passes."""
        if self._calls.get(key, now) > now:
            return True
        return method in _OF_SUBSCRIPTIONS and self._subscriptions.get(key, now) > now


def _enter(table: dict[int, float], key: int, seconds: float, most: int, now: float) -> None:
    table.pop(key, None)
    for _ in range(2):  # so that it also shrinks
        oldest = next(iter(table), None)
        if oldest is None or (table[oldest] > now and len(table) < most):
            break
        del table[oldest]
    table[key] = now + seconds
