"""Priority: always the first able member, in the order of the policy."""

from __future__ import annotations

from edgesbc.dispatch.algorithms.algorithm import Able, Algorithm
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest

__all__ = ["Priority"]


class Priority(Algorithm):
    """Main and standby, without a ``priority`` for each member."""

    __slots__ = ()

    def _choose(self, able: Able, selection: SelectionRequest) -> Member | None:
        return next(filter(able, self._usable), None)
