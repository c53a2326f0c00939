"""Smooth weighted round-robin: each member's calls are spread evenly, in exact proportion to its weight."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from edgesbc.dispatch.algorithms.algorithm import Able, Algorithm
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import SetSettings

__all__ = ["Weighted"]

_Turn = tuple[float, int, int]
"""When a member comes up next, in rounds, when it was last chosen, and its place among all."""


class Weighted(Algorithm):
    """Earliest deadline first: a member of weight w comes up every 1/w of a round, in a heap.

    Unlike the credits of nginx this costs O(log n), not O(n). A member that is not able when its turn
    comes loses that turn; it does not get all of them at once when it is back. Of those that come up at the
    same time, who has waited longest is first: who loses its turns to calls that it cannot take gets the others.
    """

    __slots__ = ("_chosen", "_due", "_last", "_round", "_steps", "_turns")

    def __init__(self, members: Sequence[Member], settings: SetSettings, random: Callable[[], float]) -> None:
        super().__init__(members, settings, random)
        self._steps = [1.0 / member.weight for member in self._all]
        self._due = list(self._steps)
        self._round = 0.0
        self._chosen = 0  # how many choices there were, and at which of them each was chosen
        self._last = [0] * len(self._all)
        self._turns: list[_Turn] = []

    def _gathered(self) -> None:
        due = self._due
        for place, member in enumerate(self._all):
            if not member.usable:
                due[place] = 0.0
            elif due[place] < self._round:  # it is back
                due[place] = self._round + self._steps[place]
        self._turns = [
            (due[place], self._last[place], place) for place, member in enumerate(self._all) if member.usable
        ]
        heapq.heapify(self._turns)

    def _choose(self, able: Able, demand: SelectionRequest) -> Member | None:
        passed: list[_Turn] = []
        turns, chosen = self._turns, None
        while turns:
            turn = heapq.heappop(turns)
            place = turn[2]
            member = self._all[place]
            if able(member):
                self._round = turn[0]
                self._chosen += 1
                self._last[place] = self._chosen
                self._again(place)
                chosen = member
                break
            passed.append(turn)
        for turn in passed:
            if chosen is None:
                heapq.heappush(turns, turn)  # nobody got ahead, and the turns stay as they were
            else:
                self._again(turn[2])
        return chosen

    def _again(self, place: int) -> None:
        due = self._due[place] = self._round + self._steps[place]
        heapq.heappush(self._turns, (due, self._last[place], place))
