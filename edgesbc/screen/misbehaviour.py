"""How a flow behaves: a score of what was refused, that time takes away. Bans nobody: says when it is enough."""

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
    Reason.TOKEN: 5,
    Reason.MALFORMED: 2,
    Reason.SANITY: 1,
    Reason.METHOD: 1,
    Reason.ADMISSION: 1,
    Reason.NO_DIALOG: 1,
    Reason.TOO_MANY_HOPS: 1,
}
"""What a refusal counts. What an honest client may run into again and again counts nothing: empty buckets, loops,
extensions that are not there, calls that find no place."""


@attrs.frozen
class MisbehaviourSettings:
    """``[screen.conduct]``."""

    points: int = attrs.field(default=20, validator=between(1, 10_000))
    """What a flow may run up: a malformed message is 2, a scanner's 10, a token that was tampered with 5, a method or a
    rule of the protocol 1. A success takes all of them away."""
    window: float = attrs.field(default=60.0, validator=positive)
    """Seconds in which time takes so many points away."""
    ban: float = attrs.field(default=120.0, validator=positive)
    """Seconds of the penalty on a flow that has run up more; at most 60 where its address may be forged."""


class MisbehaviourScore:
    """The scores of flows; those that time has emptied are forgotten, and the oldest where there are too many.

    A score is kept as the time when it will be empty, as token buckets keep theirs.
    """

    __slots__ = ("_bucket", "settings")

    def __init__(self, settings: MisbehaviourSettings) -> None:
        self.settings = settings
        # One point more than a flow may have makes it one too many.
        self._bucket = TokenBucket(
            "conduct", settings.points / settings.window, settings.points + 1, limits.BUCKET_KEYS
        )

    def blame(self, flow: Flow, reason: Reason, now: float) -> bool:
        """Add what ``reason`` counts to the score of ``flow``; whether that is too much, and it starts anew."""
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
        """Something that ``flow`` asked for has succeeded."""
        self._bucket.refill(flow.key)
