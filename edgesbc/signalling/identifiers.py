"""Branch parameters and tags that cannot be guessed, and the marks in branches that show a loop (RFC 5393)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from edgesbc.base.address import Listener
from edgesbc.sip.build import new_branch, new_tag
from edgesbc.sip.message import Request

__all__ = ["Identifiers", "LoopDetector"]


class Identifiers:
    """Makes branches, tags and Call-IDs. ``entropy`` gives n random bytes."""

    __slots__ = ("entropy",)

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self.entropy = entropy

    def new_branch(self) -> str:
        """A branch parameter (RFC 3261 section 8.1.1.7), 96 random bits: it proves that an answer's sender saw it."""
        return new_branch(self.entropy(12))

    def new_tag(self) -> str:
        """A tag for From or To (RFC 3261 section 19.3), or a Call-ID: 64 random bits."""
        return new_tag(self.entropy(8))


class LoopDetector:
    """Marks forwarded requests, and finds those that come back (RFC 5393).

    ``key`` is 16 random bytes: with a known key, a sender could compute marks and have others' requests refused as
    loops.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def mark(self, request: Request, listener: Listener) -> str:
        """The mark at the end of the branch of a forwarded request outside a dialog.

        It is a keyed hash of everything that the routing of the request depends on. A request in a loop has the same
        mark again; a *spiral*, which is routed differently the next time, has another one.
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
            return False  # the usual case: it comes from a user agent, not from a proxy
        mark = self.mark(request, listener)
        return any(mark in value for value in vias)
