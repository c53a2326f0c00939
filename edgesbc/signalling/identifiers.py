"""Branch parameters and tags that cannot be guessed, and the marks in branches that show a loop (RFC 5393)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Final

from edgesbc.base import limits
from edgesbc.base.address import Listener
from edgesbc.sip.build import new_branch, new_tag
from edgesbc.sip.message import Request

__all__ = ["Identifiers", "LoopDetector"]

_MARK_DIGITS: Final = 12
_SHORTEST_MARKED: Final = 43
"""Characters of a branch with one mark."""
_marked_branch: Final = re.compile(r";branch=z9hG4bK[0-9a-f]{24}((?:[0-9a-f]{12})+)(?![^;,\s])")
"""A branch as ``Identifiers.new_branch`` makes it, with marks behind."""


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

    A mark is a keyed hash of everything that the routing of the request depends on. A request in a loop has the same
    mark again; a *spiral*, which is routed differently the next time, has another one, and so has each branch of a
    proxy that forks. The edge removes the Via fields, and with them the marks, of the side that a request came from.
    So its branch also carries the marks from before, those of other edges included.

    ``key`` is 16 random bytes: with a known key, a sender could compute marks and have others' requests refused as
    loops.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def marks(self, request: Request, listener: Listener) -> str:
        """The end of the branch of a forwarded request outside a dialog: its own mark, and after it those of the Via
        fields that it came with, ``limits.LOOP_MARKS`` in all."""
        return self._mark(request, listener) + _earlier_marks(request)[: (limits.LOOP_MARKS - 1) * _MARK_DIGITS]

    def is_loop(self, request: Request, listener: Listener) -> bool:
        """Whether the edge has forwarded the request before and would forward it the same way again."""
        marks = _earlier_marks(request)
        return marks != "" and self._mark(request, listener) in marks  # usually no edge has marked it

    def _mark(self, request: Request, listener: Listener) -> str:
        text = "\n".join((
            listener.name, request.method, str(request.uri), request.call_id, request.from_tag, str(request.cseq),
            *request.get_all("Route"),
        ))  # fmt: skip
        key = text.encode("utf-8", "surrogateescape")
        return hashlib.blake2s(key, key=self._key, digest_size=_MARK_DIGITS // 2).hexdigest()


def _earlier_marks(request: Request) -> str:
    """The marks at the ends of the branches that are of an edge, those of the topmost Via first."""
    vias = request.get_all("Via")
    if len(vias) == 1 and len(request.via.branch) < _SHORTEST_MARKED:
        return ""  # the usual case: it comes from a user agent
    matches = [_marked_branch.search(via) for via in vias]
    return "".join([match[1] for match in matches if match is not None])
