"""Random: every able member alike, weights ignored."""

from __future__ import annotations

from edgesbc.dispatch.algorithms.algorithm import Able, Algorithm
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest

__all__ = ["Random"]

_TRIES = 4


class Random(Algorithm):
    """A few blind draws, which nearly always meet an able member; then a draw among the able ones."""

    __slots__ = ()

    def _choose(self, able: Able, demand: SelectionRequest) -> Member | None:
        members = self._usable
        for _ in range(_TRIES if members else 0):
            member = members[int(self._random() * len(members))]
            if able(member):
                return member
        left = [member for member in members if able(member)]
        return left[int(self._random() * len(left))] if left else None
