"""What every algorithm looks like from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesbc.dispatch.member import Member

__all__ = ["Able", "Algorithm"]

Able = Callable[["Member"], bool]
"""Whether a member can take the call at hand."""


class Algorithm(ABC):
    """Picks among the members of one priority of one set.

    Built anew when the members change. ``able`` is asked, rather than a list of the able handed in, so
    that a choice among a thousand members need not look at all of them.
    """

    __slots__ = ("_members", "_random")

    def __init__(self, members: Sequence[Member], random: Callable[[], float]) -> None:
        self._members = tuple(members)
        self._random = random

    @abstractmethod
    def choose(self, able: Able, key: bytes) -> Member | None:
        """The member for the next call, or None when none is able; ``key`` is what ``hash`` goes by."""

    def choose_all(self, able: Able, key: bytes, most: int) -> list[Member]:
        """The members to send the next call to at the same time, at most ``most``: one, but for ``broadcast``."""
        member = self.choose(able, key)
        return [] if member is None else [member]
