"""Every able member at once: the first to answer has the call (RFC 3261 section 16.6, parallel forking)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from edgesbc.dispatch.algorithms.shape import Able, Algorithm

if TYPE_CHECKING:
    from edgesbc.dispatch.member import Member

__all__ = ["Broadcast"]


class Broadcast(Algorithm):
    """For a few members of which any may take the call: two gateways of an alarm line, say."""

    __slots__ = ()

    def choose(self, able: Able, key: bytes) -> Member | None:
        return next(filter(able, self._members), None)

    def choose_all(self, able: Able, key: bytes, most: int) -> list[Member]:
        return list(islice(filter(able, self._members), most))
