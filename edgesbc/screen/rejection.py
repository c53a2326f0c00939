"""How new work is put off: 503 with a Retry-After that is spread, or nothing. Decides about nobody."""

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
    """Refuse for ``least`` seconds or some more, which differs from call to call, so that those who are refused
    do not all return at once (RFC 3261 section 21.5.4). To what may be a forged source, nothing is said."""
    request = subject.request
    if request is None or subject.standing is Standing.UNPROVEN:
        return Drop(reason, limit, value, detail=detail)
    spread = crc32(request.call_id.encode("utf-8", "surrogateescape")) % (2 * least + 3)
    return Reject(503, reason, min(least + spread, limits.RETRY_AFTER_SECONDS), limit, value, detail)
