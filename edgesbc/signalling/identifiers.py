"""Identifiers: branch parameters and tags that cannot be guessed, made from the entropy that the edge is given."""

from __future__ import annotations

from collections.abc import Callable

from edgesbc.sip.build import new_branch, new_tag

__all__ = ["Identifiers"]


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
