"""Reading what goes in and out of the signalling core, for those who look on: once, however many ask."""

from __future__ import annotations

from functools import lru_cache

from edgesbc.base.errors import WireError
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message

__all__ = ["read"]


@lru_cache(4096)
def read(data: bytes) -> Request | Response | None:
    """The message, not to be changed; None where it cannot be read."""
    try:
        return parse_message(data)
    except WireError:
        return None
