"""Least loaded: the lowest share of its capacity in use, by live leases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgesbc.dispatch.algorithms.shape import Able, Algorithm

if TYPE_CHECKING:
    from edgesbc.dispatch.member import Member

__all__ = ["LeastLoaded"]


class LeastLoaded(Algorithm):
    """Load divided by ``max_calls``; by ``weight`` in a group where a member has no ``max_calls``.

    Capacities and weights are not compared with each other: one kind counts for the whole group. Equals
    take turns, so that an idle set does not send all its calls to the first.
    """

    __slots__ = ("_capacities", "_next")

    def __init__(self, members: Sequence[Member], random: Callable[[], float]) -> None:
        super().__init__(members, random)
        bounded = [member.settings.max_calls for member in self._members]
        weights = [member.settings.weight for member in self._members]
        self._capacities = [
            weight if None in bounded or bound is None else bound
            for bound, weight in zip(bounded, weights, strict=True)
        ]
        self._next = 0

    def choose(self, able: Able, key: bytes) -> Member | None:
        members, capacities = self._members, self._capacities
        best, lowest = -1, float("inf")
        for step in range(len(members)):
            place = (self._next + step) % len(members)
            share = members[place].load / capacities[place]
            if share < lowest and able(members[place]):
                best, lowest = place, share
        if best < 0:
            return None
        self._next = best + 1
        return members[best]
