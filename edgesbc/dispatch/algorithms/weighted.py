"""Smooth weighted round-robin: each member's calls are spread evenly, in exact proportion to its weight."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgesbc.dispatch.algorithms.shape import Able, Algorithm

if TYPE_CHECKING:
    from edgesbc.dispatch.member import Member

__all__ = ["Weighted"]


class Weighted(Algorithm):
    """Earliest deadline first: a member of weight w comes up every 1/w of a round, in a heap.

    Unlike the credits of nginx this costs O(log n), not O(n). A member that is not able when its turn
    comes loses that turn; it does not get all of them at once when it is back.
    """

    __slots__ = ("_turns",)

    def __init__(self, members: Sequence[Member], random: Callable[[], float]) -> None:
        super().__init__(members, random)
        self._turns = [(1.0 / member.settings.weight, place, member) for place, member in enumerate(self._members)]
        heapq.heapify(self._turns)

    def choose(self, able: Able, key: bytes) -> Member | None:
        passed: list[tuple[float, int, Member]] = []
        turns, chosen, round_ = self._turns, None, 0.0
        while turns:
            round_, place, member = heapq.heappop(turns)
            if able(member):
                heapq.heappush(turns, (round_ + 1.0 / member.settings.weight, place, member))
                chosen = member
                break
            passed.append((round_, place, member))
        for turn, place, member in passed:
            # When nobody was able nobody got ahead, and the turns stay as they were.
            later = turn if chosen is None else round_ + 1.0 / member.settings.weight
            heapq.heappush(turns, (later, place, member))
        return chosen
