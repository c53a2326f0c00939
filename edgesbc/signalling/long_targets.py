"""LongTargets: remote targets and route sets that are too long for a token, which names them by a digest instead.

A token stands in the Request-URI of each request of a dialog, and in the Contact of another dialog when a private
server sends the call on to a phone. Sealed whole, a long Contact would need more than a Request-URI, or a datagram, has
room for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from edgesbc.base import limits

__all__ = ["LongTargets"]

_MARK: Final = "#"
"""Begins a digest in the place of a URI; no URI begins with it."""


class LongTargets:
    """Keeps long texts of the last peers that had some, ``limits.LONG_TARGETS`` of those with an account, and as many
    of all others, so that strangers displace no text of users. The one not used for the longest time is dropped: a
    request with its token is of no dialog then."""

    __slots__ = ("_others", "_with_account")

    def __init__(self) -> None:
        self._others: dict[str, tuple[str, ...]] = {}
        self._with_account: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._others) + len(self._with_account)

    @staticmethod
    def are_long(uri: str, routes: Sequence[str]) -> bool:
        """Whether these texts are too long to be sealed; all that are not ASCII are."""
        text = "".join((uri, *routes))
        return len(text) > limits.SEALED_TARGET_CHARS or not text.isascii()

    @staticmethod
    def is_name(uri: str) -> bool:
        """Whether a token has that in the place of the URI."""
        return uri.startswith(_MARK)

    def keep(self, uri: str, routes: Sequence[str], has_account: bool) -> str:
        """What the token has in the place of the URI; ``has_account`` is that of the peer whose texts these are."""
        text = "\n".join((uri, *routes))
        # 12 bytes: nobody can find another text with the same digest.
        digest = hashlib.blake2s(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
        table = self._with_account if has_account else self._others
        table.pop(digest, None)
        if len(table) >= limits.LONG_TARGETS:
            del table[next(iter(table))]
        table[digest] = (uri, *routes)
        return _MARK + digest

    def find(self, uri: str) -> tuple[str, ...] | None:
        """The URI and the route set that ``uri`` names; None where they are not kept any more."""
        digest = uri[len(_MARK) :]
        for table in (self._with_account, self._others):
            texts = table.pop(digest, None)
            if texts is not None:
                table[digest] = texts
                return texts
        return None
