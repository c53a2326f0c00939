"""Least loaded: the lowest share of its capacity in use, by live leases."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from edgesbc.dispatch.algorithms.algorithm import Able, Algorithm
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import SetSettings

__all__ = ["LeastLoaded"]

_Entry = tuple[float, int, int, int]
"""Share in use, turn of the last choice, stamp, place among all."""


class LeastLoaded(Algorithm):
    """Load divided by ``max_calls``; by ``weight`` in a group where a member has no ``max_calls``.

    A call that needs named resources goes by those: by the scarcest, where it needs several. Capacities and
    weights are not compared with each other: one kind counts for the whole group. Equals take turns, so
    that an idle set does not send all its calls to the first.

    For each combination of needs there is a heap, in which the newest entry of a member is the one that
    counts; how many combinations there are is up to the policy's routes.
    """

    __slots__ = ("_by_needs", "_capacities", "_places", "_stamps", "_turn", "_turns")

    def __init__(self, members: Sequence[Member], settings: SetSettings, random: Callable[[], float]) -> None:
        super().__init__(members, settings, random)
        bounded = all(member.settings.max_calls is not None for member in self._all)
        self._capacities = [float((bounded and member.settings.max_calls) or member.weight) for member in self._all]
        self._places = {member: place for place, member in enumerate(self._all)}
        self._stamps = [0] * len(self._all)
        self._turns = [0] * len(self._all)
        self._turn = 0
        self._by_needs: dict[tuple[str, ...], list[_Entry]] = {}

    def _gathered(self) -> None:
        self._by_needs.clear()

    def loaded(self, member: Member, calls: int) -> None:
        place = self._places[member]
        self._stamps[place] += 1
        for needs, heap in self._by_needs.items():
            if len(heap) > 4 * len(self._all):
                heap[:] = self._all_entries(needs)
                heapq.heapify(heap)
            elif member.usable and _has(member, needs):
                heapq.heappush(heap, self._entry(place, needs))

    def _choose(self, able: Able, demand: SelectionRequest) -> Member | None:
        needs = demand.needs
        heap = self._by_needs.get(needs)
        if heap is None:
            heap = self._by_needs[needs] = self._all_entries(needs)
            heapq.heapify(heap)
        passed: list[_Entry] = []
        chosen = -1
        while heap:
            entry = heapq.heappop(heap)
            place = entry[3]
            if entry[2] != self._stamps[place]:
                continue
            if able(self._all[place]):
                chosen = place
                break
            passed.append(entry)
        for entry in passed:
            heapq.heappush(heap, entry)
        if chosen < 0:
            return None
        self._turn += 1
        self._turns[chosen] = self._turn
        self.loaded(self._all[chosen], 0)
        return self._all[chosen]

    def _all_entries(self, needs: tuple[str, ...]) -> list[_Entry]:
        return [self._entry(self._places[member], needs) for member in self._usable if _has(member, needs)]

    def _entry(self, place: int, needs: tuple[str, ...]) -> _Entry:
        member = self._all[place]
        if needs:
            most = member.settings.resources
            share = max(member.used.get(name, 0) / most[name] for name in needs)
        else:
            share = member.load / self._capacities[place]
        return share, self._turns[place], self._stamps[place], place


def _has(member: Member, needs: tuple[str, ...]) -> bool:
    """Whether it has such things at all: who has not would be the least loaded, and looked at for each call."""
    return all(member.settings.resources.get(name) for name in needs)
