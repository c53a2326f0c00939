"""What every algorithm looks like from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import SetSettings

__all__ = ["Able", "Algorithm"]

Able = Callable[[Member], bool]
"""Whether a member can take the call at hand."""


class Algorithm(ABC):
    """Picks among the members of one priority of one set.

    Built anew when the members change. ``able`` is asked, rather than a list of the able handed in, so
    that a choice among a thousand members need not look at all of them; those that are out for longer,
    by health or by order, are left out of :attr:`_usable` beforehand. ``random`` gives numbers in [0, 1).
    """

    __slots__ = ("_all", "_random", "_settings", "_stale", "_usable")

    def __init__(self, members: Sequence[Member], settings: SetSettings, random: Callable[[], float]) -> None:
        self._all = tuple(members)
        self._settings = settings
        self._random = random
        self._usable: Sequence[Member] = ()
        self._stale = True

    def choose_all(self, able: Able, demand: SelectionRequest, most: int) -> list[Member]:
        """The members to send the next call to at the same time, at most ``most``: one, but for ``broadcast``."""
        if self._stale:
            self._stale = False
            self._usable = [member for member in self._all if member.usable]
            self._gathered()
        return self._choose_all(able, demand, most)

    def _choose_all(self, able: Able, demand: SelectionRequest, most: int) -> list[Member]:
        member = self._choose(able, demand)
        return [] if member is None else [member]

    @abstractmethod
    def _choose(self, able: Able, demand: SelectionRequest) -> Member | None:
        """The member for the next call, or None when none is able."""

    def _gathered(self) -> None:  # noqa: B027 - most have nothing to do
        """:attr:`_usable` is another one now."""

    # --- what changes from outside -----------------------------------------------------------------------

    def restate(self) -> None:
        """Some member is usable now that was not, or the other way round."""
        self._stale = True

    def loaded(self, member: Member, calls: int) -> None:  # noqa: B027 - most do not go by load
        """``member`` has ``calls`` more than before; they may be negative."""
