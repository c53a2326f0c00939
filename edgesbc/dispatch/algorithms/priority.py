"""Strict order: the first able member of the policy, always."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesbc.dispatch.algorithms.algorithm import Able, Algorithm
from edgesbc.dispatch.selection_request import SelectionRequest

if TYPE_CHECKING:
    from edgesbc.dispatch.member import Member

__all__ = ["Priority"]


class Priority(Algorithm):
    """Main and standby, without writing a ``priority`` on each member."""

    __slots__ = ()

    def _choose(self, able: Able, demand: SelectionRequest) -> Member | None:
        return next(filter(able, self._usable), None)
