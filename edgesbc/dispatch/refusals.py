"""Refusals: which part of a member's last calls it refused, for how many callers and numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

from edgesbc.base import limits
from edgesbc.dispatch.settings import HealthSettings

__all__ = ["Refusals"]


class _Outcome(NamedTuple):
    """The outcome of one call at ``when``; ``caller`` and ``number`` are digests, None where it was not refused."""

    when: float
    caller: int | None
    number: int | None


class Refusals:
    """The outcomes of the last calls of one member, at most ``limits.REFUSAL_CALLS``.

    One 503 or 500 is the failure of one call: a server also answers so for a number whose phone is gone. Only where a
    member refuses nearly all of its calls, of several callers for several numbers, is the member itself in trouble.
    """

    __slots__ = ("_outcomes",)

    def __init__(self) -> None:
        self._outcomes: deque[_Outcome] = deque(maxlen=limits.REFUSAL_CALLS)

    def accepted(self, now: float) -> None:
        """A call was not refused."""
        self._outcomes.append(_Outcome(now, None, None))

    def refused(self, now: float, caller: Hashable, number: Hashable) -> None:
        """A call of ``caller`` to ``number`` was refused; only digests of both are kept."""
        self._outcomes.append(_Outcome(now, hash(caller), hash(number)))

    def verdict(self, now: float, settings: HealthSettings) -> str:
        """Why the member is in trouble by the last ``refused_calls``, "" if it is not."""
        last = [outcome for outcome in self._outcomes if now - outcome.when <= limits.REFUSAL_SECONDS]
        last = last[-settings.refused_calls :]
        refused = [outcome for outcome in last if outcome.caller is not None]
        if len(last) < settings.refused_calls or len(refused) * 100 < settings.refused_share * len(last):
            return ""
        callers = len({outcome.caller for outcome in refused})
        numbers = len({outcome.number for outcome in refused})
        if min(callers, numbers) < settings.refused_spread:
            return ""
        return f"refused {len(refused)} of the last {len(last)} calls, of {callers} callers to {numbers} numbers"

    def clear(self) -> None:
        """Forget all outcomes: they were before the member's return."""
        self._outcomes.clear()
