"""The base class of selection algorithms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import SetSettings

__all__ = ["Able", "Algorithm"]

Able = Callable[[Member], bool]
"""Whether a member can take this call."""


class Algorithm(ABC):
    """Selects among the members of one priority of one set.

    A new object is made when the members change. ``able`` is a function, not a list of members, so that a choice
    among a thousand members need not examine all of them; members that are down or disabled are left out of
    :attr:`_usable` beforehand. ``random`` returns numbers in [0, 1).
    """

    __slots__ = ("_all", "_random", "_settings", "_stale", "_usable")

    def __init__(self, members: Sequence[Member], settings: SetSettings, random: Callable[[], float]) -> None:
        self._all = tuple(members)
        self._settings = settings
        self._random = random
        self._usable: Sequence[Member] = ()
        self._stale = True

    def choose_all(self, able: Able, selection: SelectionRequest, limit: int) -> list[Member]:
        """The members for the next call, at most ``limit``: one, except with ``broadcast``."""
        if self._stale:
            self._stale = False
            self._usable = [member for member in self._all if member.usable]
            self._rebuild()
        return self._choose_all(able, selection, limit)

    def _choose_all(self, able: Able, selection: SelectionRequest, limit: int) -> list[Member]:
        member = self._choose(able, selection)
        return [] if member is None else [member]

    @abstractmethod
    def _choose(self, able: Able, selection: SelectionRequest) -> Member | None:
        """The member for the next call, or None if none is able."""

    def _rebuild(self) -> None:  # noqa: B027 - most algorithms keep no state by usable member
        """:attr:`_usable` has changed."""

    # --- changes of members ------------------------------------------------------------------------------

    def usable_changed(self) -> None:
        """A member became usable, or is no longer usable."""
        self._stale = True

    def load_changed(self, member: Member, calls: int) -> None:  # noqa: B027 - most algorithms ignore the load
        """``member`` has ``calls`` more calls than before; the number may be negative."""
