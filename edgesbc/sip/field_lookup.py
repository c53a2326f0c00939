"""Finds a header field by a name that an operator wrote, in any case (RFC 3261 section 7.3.1)."""

from __future__ import annotations

from edgesbc.sip.grammar import CANONICAL
from edgesbc.sip.message import Request

__all__ = ["field_value"]


def field_value(request: Request, name: str) -> str | None:
    """The first value of the header field ``name``, whose case does not matter; None where the request has none."""
    canonical = CANONICAL.get(name) or CANONICAL.get(name.lower())
    if canonical is not None:
        return request.get(canonical)
    folded = name.lower()  # an extension header field keeps the spelling of its sender
    return next((value for key, value in request.fields if key.lower() == folded), None)
