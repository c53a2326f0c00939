"""The misbehaviour score of a flow: points for its refused messages, which drain with time."""

from __future__ import annotations

from typing import Final

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import between, positive
from edgesbc.screen.buckets import SECOND, TokenBucket

__all__ = ["POINTS", "MisbehaviourScore", "MisbehaviourSettings"]

POINTS: Final = {
    Reason.SCANNER: 10,
    Reason.MALFORMED: 2,
    Reason.SANITY: 1,
    Reason.METHOD: 1,
    Reason.ADMISSION: 1,
    Reason.TOO_MANY_HOPS: 1,
}
"""Points for a refusal, by its reason. Refusals that a well-behaved client meets regularly have none: empty buckets,
loops, unsupported extensions, calls without a free destination."""


@attrs.frozen
class MisbehaviourSettings:
    """``[screen.conduct]``."""

    points: int = attrs.field(default=20, validator=between(1, 10_000))
    """Points that a flow may have: a malformed message is 2, a scanner's 10, a method or a rule of the protocol 1. A
    success takes all of them away."""
    window: float = attrs.field(default=60.0, validator=positive)
    """Seconds in which as many points drain."""
    ban: float = attrs.field(default=120.0, validator=positive)
    """Seconds of the ban on a flow that has more points; at most 60 where its address may be forged."""


class MisbehaviourScore:
    """The scores of flows, of at most twice ``limits.BUCKET_KEYS``: the least recently changed are dropped.

    A score is kept as the time when it will be 0, as in a token bucket.
    """

    __slots__ = ("_bucket", "settings")

    def __init__(self, settings: MisbehaviourSettings) -> None:
        self.settings = settings
        # One point more than a flow may have makes it one too many.
        self._bucket = TokenBucket(
            "conduct", settings.points / settings.window, settings.points + 1, limits.BUCKET_KEYS
        )

    def add(self, flow: Flow, reason: Reason, now: float) -> bool:
        """Add the points of ``reason`` to the score of ``flow``. True if it is then too high: it is set to 0 again."""
        points = POINTS.get(reason, 0)
        if not points:
            return False
        at, bucket = int(now * SECOND), self._bucket
        bucket.take(flow.key, at, points)
        if not bucket.wait(flow.key, at):
            return False
        bucket.refill(flow.key)
        return True

    def clear(self, flow: Flow) -> None:
        """Set the score of ``flow`` to 0: a request of it has succeeded."""
        self._bucket.refill(flow.key)
