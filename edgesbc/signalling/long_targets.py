"""LongTargets: remote targets and route sets that are too long for a token, which names them by a digest instead.

A token stands in the Request-URI of each request of a dialog, and in the Contact of another dialog when a private
server sends the call on to a phone. Sealed whole, a long Contact would need more than a Request-URI, or a datagram, has
room for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from edgesbc.base import limits
from edgesbc.base.address import CallHolder

__all__ = ["LONG_TARGET", "LongTargets"]

LONG_TARGET: Final = "#"
"""Begins a digest in the place of a URI; no URI begins with it."""


class _Kept(NamedTuple):
    """Texts, and the peer whose they are; None for one without a bound."""

    peer: CallHolder | None
    texts: tuple[str, ...]


class LongTargets:
    """Keeps long texts of the last peers that had some, ``limits.LONG_TARGETS`` of those with an account, and as many
    of all others, so that strangers displace no text of users. The one not used for the longest time is dropped: a
    request with its token is of no dialog then.

    Of one account, or of one address without one, ``limits.LONG_TARGETS_OF_PEER`` are kept: beyond that its own oldest
    one is dropped, and none of others. Trunks and the private side have no such bound.
    """

    __slots__ = ("_of_peer", "_others", "_with_account")

    def __init__(self) -> None:
        self._others: dict[str, _Kept] = {}
        self._with_account: dict[str, _Kept] = {}
        self._of_peer: dict[CallHolder, dict[str, None]] = {}
        """The digests of each peer that has a bound, the one used last at the end."""

    def __len__(self) -> int:
        return len(self._others) + len(self._with_account)

    @staticmethod
    def are_long(uri: str, routes: Sequence[str]) -> bool:
        """Whether these texts are too long to be sealed; all that are not ASCII are."""
        text = "".join((uri, *routes))
        return len(text) > limits.SEALED_TARGET_CHARS or not text.isascii()

    def keep(self, uri: str, routes: Sequence[str], has_account: bool, peer: CallHolder | None) -> str:
        """What the token has in the place of the URI. ``peer`` is the account or the address whose texts these are,
        None for a trunk or the private side; ``has_account`` is whether it is one of these or registered."""
        # Two peers with the same text have it twice, so that neither can have that of the other dropped.
        text = "\n".join((repr(peer), uri, *routes))
        # 12 bytes: nobody can find another text with the same digest.
        digest = hashlib.blake2s(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
        table = self._with_account if has_account else self._others
        self._drop(table, digest)
        own = self._of_peer.get(peer) if peer is not None else None
        if own is not None and len(own) >= limits.LONG_TARGETS_OF_PEER:
            oldest = next(iter(own))
            self._drop(self._with_account, oldest)
            self._drop(self._others, oldest)
        if len(table) >= limits.LONG_TARGETS:
            self._drop(table, next(iter(table)))
        self._enter(table, digest, _Kept(peer, (uri, *routes)))
        return LONG_TARGET + digest

    def find(self, uri: str) -> tuple[str, ...] | None:
        """The URI and the route set that ``uri`` names; None where they are not kept any more."""
        digest = uri[len(LONG_TARGET) :]
        for table in (self._with_account, self._others):
            kept = self._drop(table, digest)
            if kept is not None:
                self._enter(table, digest, kept)
                return kept.texts
        return None

    def _enter(self, table: dict[str, _Kept], digest: str, kept: _Kept) -> None:
        table[digest] = kept
        if kept.peer is not None:
            self._of_peer.setdefault(kept.peer, {})[digest] = None

    def _drop(self, table: dict[str, _Kept], digest: str) -> _Kept | None:
        kept = table.pop(digest, None)
        if kept is not None and kept.peer is not None:
            own = self._of_peer[kept.peer]
            del own[digest]
            if not own:
                del self._of_peer[kept.peer]
        return kept
