"""Every able member at once: the first to answer has the call (RFC 3261 section 16.6, parallel forking)."""

from __future__ import annotations

from itertools import islice

from edgesbc.dispatch.algorithms.algorithm import Able
from edgesbc.dispatch.algorithms.priority import Priority
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest

__all__ = ["Broadcast"]


class Broadcast(Priority):
    """For a few members of which any may take the call: two gateways of an alarm line, say."""

    __slots__ = ()

    def _choose_all(self, able: Able, demand: SelectionRequest, most: int) -> list[Member]:
        return list(islice(filter(able, self._usable), most))
