"""Round robin: one member after the other in the order of the policy; weights are ignored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgesbc.dispatch.algorithms.algorithm import Able, Algorithm
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import SetSettings

__all__ = ["RoundRobin"]


class RoundRobin(Algorithm):
    """Begins the search at the member after the one chosen last."""

    __slots__ = ("_next",)

    def __init__(self, members: Sequence[Member], settings: SetSettings, random: Callable[[], float]) -> None:
        super().__init__(members, settings, random)
        self._next = 0

    def _choose(self, able: Able, selection: SelectionRequest) -> Member | None:
        members = self._usable
        for step in range(len(members)):
            index = (self._next + step) % len(members)
            if able(members[index]):
                self._next = index + 1
                return members[index]
        return None
