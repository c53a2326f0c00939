"""Random: every able member with the same probability; weights are ignored."""

from __future__ import annotations

from edgesbc.dispatch.algorithms.algorithm import Able, Algorithm
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest

__all__ = ["Random"]

_DRAWS = 4


class Random(Algorithm):
    """Draws among all usable members a few times, which nearly always finds an able one; then among the able ones."""

    __slots__ = ()

    def _choose(self, able: Able, selection: SelectionRequest) -> Member | None:
        members = self._usable
        for _ in range(_DRAWS if members else 0):
            member = members[int(self._random() * len(members))]
            if able(member):
                return member
        left = [member for member in members if able(member)]
        return left[int(self._random() * len(left))] if left else None
