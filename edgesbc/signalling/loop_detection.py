"""LoopDetector: finds requests that have come round to the edge again (RFC 5393 section 4.2)."""

from __future__ import annotations

import hashlib

from edgesbc.base.address import Listener
from edgesbc.sip.message import Request

__all__ = ["LoopDetector"]


class LoopDetector:
    """``key``: 16 random bytes, so that a sender cannot compute marks and have others' requests refused."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def mark(self, request: Request, listener: Listener) -> str:
        """What ends the branch of a forwarded request outside a dialog.

        A keyed hash of all that its way through the edge depends on: the same request by the same way has
        the same mark, by which a loop is found; a *spiral*, which is forwarded elsewhere, has another.
        """
        text = "\n".join((
            listener.name, request.method, str(request.uri), request.call_id, request.from_tag, str(request.cseq),
            *request.get_all("Route"),
        ))  # fmt: skip
        return hashlib.blake2s(text.encode("utf-8", "surrogateescape"), key=self._key, digest_size=6).hexdigest()

    def is_loop(self, request: Request, listener: Listener) -> bool:
        """Whether the edge has forwarded the request before and would forward it the same way again."""
        vias = request.get_all("Via")
        if len(vias) < 2:
            return False  # the usual case: it comes from the user agent that made it
        mark = self.mark(request, listener)
        return any(mark in value for value in vias)
