"""Broadcast: all able members at once; the first to answer gets the call (RFC 3261 section 16.6, parallel forking)."""

from __future__ import annotations

from itertools import islice

from edgesbc.dispatch.algorithms.algorithm import Able
from edgesbc.dispatch.algorithms.priority import Priority
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest

__all__ = ["Broadcast"]


class Broadcast(Priority):
    """For a few members of which any may take the call, for example two gateways of an alarm line."""

    __slots__ = ()

    def _choose_all(self, able: Able, selection: SelectionRequest, limit: int) -> list[Member]:
        return list(islice(filter(able, self._usable), limit))
