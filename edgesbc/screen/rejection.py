"""The refusal of new work for a while: 503 with a Retry-After that differs from call to call."""

from __future__ import annotations

from zlib import crc32

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.screen.stage import Drop, Reject, Subject, Verdict
from edgesbc.screen.standing import Standing

__all__ = ["reject_with_retry_after"]


def reject_with_retry_after(
    subject: Subject,
    reason: Reason,
    least: int,
    limit: float | None = None,
    value: float | None = None,
    detail: str = "",
) -> Verdict:
    """A 503 with a Retry-After of at least ``least`` seconds (RFC 3261 section 21.5.4).

    The excess depends on the Call-ID, so that refused clients do not all return at once. A request of an unproven
    source, whose address may be forged, gets no response.
    """
    request = subject.request
    if request is None or subject.standing is Standing.UNPROVEN:
        return Drop(reason, limit, value, detail=detail)
    spread = crc32(request.call_id.encode("utf-8", "surrogateescape")) % (2 * least + 3)
    return Reject(503, reason, min(least + spread, limits.RETRY_AFTER_SECONDS), limit, value, detail)
