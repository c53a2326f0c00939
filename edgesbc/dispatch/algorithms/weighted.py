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
"""When a member is due next, in rounds; at which choice it was last chosen; its index."""


class Weighted(Algorithm):
    """Earliest deadline first: a member of weight w is due every 1/w of a round, in a heap.

    This costs O(log n), where the credits of nginx cost O(n). A member that is not able when it is due loses that
    turn; it does not get the lost turns later. Of members due at the same time, the one that was chosen longest ago
    is first, so that a member that loses turns to calls that it cannot take gets the others.
    """

    __slots__ = ("_chosen", "_due", "_last", "_round", "_steps", "_turns")

    def __init__(self, members: Sequence[Member], settings: SetSettings, random: Callable[[], float]) -> None:
        super().__init__(members, settings, random)
        self._steps = [1.0 / member.weight for member in self._all]
        self._due = list(self._steps)
        self._round = 0.0
        self._chosen = 0  # the number of choices so far; `_last` has the number at which each member was chosen
        self._last = [0] * len(self._all)
        self._turns: list[_Turn] = []

    def _rebuild(self) -> None:
        due = self._due
        for index, member in enumerate(self._all):
            if not member.usable:
                due[index] = 0.0
            elif due[index] < self._round:  # it is usable again
                due[index] = self._round + self._steps[index]
        self._turns = [
            (due[index], self._last[index], index) for index, member in enumerate(self._all) if member.usable
        ]
        heapq.heapify(self._turns)

    def _choose(self, able: Able, selection: SelectionRequest) -> Member | None:
        passed: list[_Turn] = []
        turns, chosen = self._turns, None
        while turns:
            turn = heapq.heappop(turns)
            index = turn[2]
            member = self._all[index]
            if able(member):
                self._round = turn[0]
                self._chosen += 1
                self._last[index] = self._chosen
                self._reschedule(index)
                chosen = member
                break
            passed.append(turn)
        for turn in passed:
            if chosen is None:
                heapq.heappush(turns, turn)  # no member was chosen, so the turns stay as they were
            else:
                self._reschedule(turn[2])
        return chosen

    def _reschedule(self, index: int) -> None:
        due = self._due[index] = self._round + self._steps[index]
        heapq.heappush(self._turns, (due, self._last[index], index))
