"""Parses the messages to and from the signalling core, once for all oracles."""

from __future__ import annotations

from functools import lru_cache

from edgesbc.base.errors import WireError
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message

__all__ = ["read"]


@lru_cache(4096)
def read(data: bytes) -> Request | Response | None:
    """The message, which must not be changed; None if it is malformed."""
    try:
        return parse_message(data)
    except WireError:
        return None
