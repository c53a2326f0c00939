"""The meter of work without messages: what connections make the edge do that never becomes a message to be screened."""

from __future__ import annotations

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Flow, SourceKey
from edgesbc.base.prefixes import source_key
from edgesbc.base.validation import between, positive
from edgesbc.screen.buckets import SECOND, TokenBucket
from edgesbc.screen.standing import Standing

__all__ = ["WorkMeter", "WorkSettings"]


@attrs.frozen
class WorkSettings:
    """``[screen.work]``.

    A unit is a control frame or a fragment of a WebSocket, a TLS record without data, or a read that ends within a
    message; a failed handshake is ``limits.FAILED_HANDSHAKE_UNITS``. A browser makes one unit or two in 25 seconds, an
    address of 256 browsers about twenty in a second.
    """

    per_second: float = attrs.field(default=100.0, validator=positive)
    """Units a second that all unregistered connections of an address, or of a /64, may make, or a registered one."""
    burst: int = attrs.field(default=5_000, validator=between(1, 1_000_000))
    """Units that they may make at once: twice the parts of the largest message in the smallest fragments."""
    ban: float = attrs.field(default=120.0, validator=positive)
    """Seconds of the ban on the connection that made one more."""


class WorkMeter:
    """A bucket of units for each address, and for each registered connection, so that it does not pay for others behind
    its address; for at most twice ``limits.BUCKET_KEYS``, of which the least recently changed are dropped."""

    __slots__ = ("_bucket", "settings")

    def __init__(self, settings: WorkSettings) -> None:
        self.settings = settings
        # One unit more than a source may make is one too many.
        self._bucket = TokenBucket("work", settings.per_second, settings.burst + 1, limits.BUCKET_KEYS)

    def add(self, flow: Flow, standing: Standing, units: int, now: float) -> bool:
        """Add units of ``flow``. True if they are too many: its bucket is full again then."""
        key: SourceKey = flow.key if standing is Standing.REGISTERED else source_key(flow.peer[0])
        at, bucket = int(now * SECOND), self._bucket
        bucket.take(key, at, units)
        if not bucket.wait(key, at):
            return False
        bucket.refill(key)
        return True
