"""Least loaded: the member with the lowest share of its capacity in use, by live leases; and two that go by numbers of
calls, as programs that others come from do."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from edgesbc.dispatch.algorithms.algorithm import Able, Algorithm
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import SetSettings

__all__ = ["FewestCalls", "LeastLoaded", "MostFree"]

_Entry = tuple[float, int, int, int]
"""Share in use, turn of the last choice, stamp, index of the member."""


class LeastLoaded(Algorithm):
    """Load divided by ``max_calls``; by ``weight`` if a member of the priority has no ``max_calls``.

    A call that needs named resources is placed by those, and by the scarcest if it needs several. Capacities and
    weights are not compared with each other: one of them counts for all members. Members with an equal share take
    turns, so that an idle set does not send all its calls to the first.

    There is a heap for each combination of needs, in which only the newest entry of a member counts; the policy's
    routes bound the number of combinations.
    """

    __slots__ = ("_by_needs", "_capacities", "_indexes", "_stamps", "_turn", "_turns")

    def __init__(self, members: Sequence[Member], settings: SetSettings, random: Callable[[], float]) -> None:
        super().__init__(members, settings, random)
        bounded = all(member.settings.max_calls is not None for member in self._all)
        self._capacities = [float((bounded and member.settings.max_calls) or member.weight) for member in self._all]
        self._indexes = {member: index for index, member in enumerate(self._all)}
        self._stamps = [0] * len(self._all)
        self._turns = [0] * len(self._all)
        self._turn = 0
        self._by_needs: dict[tuple[str, ...], list[_Entry]] = {}

    def _rebuild(self) -> None:
        self._by_needs.clear()

    def load_changed(self, member: Member, calls: int) -> None:
        index = self._indexes[member]
        self._stamps[index] += 1
        for needs, heap in self._by_needs.items():
            if len(heap) > 4 * len(self._all):
                heap[:] = self._all_entries(needs)
                heapq.heapify(heap)
            elif member.usable and _has(member, needs):
                heapq.heappush(heap, self._entry(index, needs))

    def _choose(self, able: Able, selection: SelectionRequest) -> Member | None:
        needs = selection.needs
        heap = self._by_needs.get(needs)
        if heap is None:
            heap = self._by_needs[needs] = self._all_entries(needs)
            heapq.heapify(heap)
        passed: list[_Entry] = []
        chosen = -1
        while heap:
            entry = heapq.heappop(heap)
            index = entry[3]
            if entry[2] != self._stamps[index]:
                continue
            if able(self._all[index]):
                chosen = index
                break
            passed.append(entry)
        for entry in passed:
            heapq.heappush(heap, entry)
        if chosen < 0:
            return None
        self._turn += 1
        self._turns[chosen] = self._turn
        self.load_changed(self._all[chosen], 0)
        return self._all[chosen]

    def _all_entries(self, needs: tuple[str, ...]) -> list[_Entry]:
        return [self._entry(self._indexes[member], needs) for member in self._usable if _has(member, needs)]

    def _entry(self, index: int, needs: tuple[str, ...]) -> _Entry:
        return self._load(index, needs), self._turns[index], self._stamps[index], index

    def _load(self, index: int, needs: tuple[str, ...]) -> float:
        """What orders the members: the lowest is chosen."""
        member = self._all[index]
        if needs:
            most = member.settings.resources
            return max(member.used.get(name, 0) / most[name] for name in needs)
        return member.load / self._capacities[index]


class FewestCalls(LeastLoaded):
    """The lowest number of live calls, whatever a member's capacity or weight; algorithm 10 of Kamailio."""

    __slots__ = ()

    def _load(self, index: int, needs: tuple[str, ...]) -> float:
        return float(self._all[index].load)


class MostFree(LeastLoaded):
    """The highest number of calls that a member can still take, and not the highest share of them: as OpenSIPS's
    ``lb_start`` without the flag ``r``. A call that needs several resources goes by the one with the fewest units free.
    """

    __slots__ = ()

    def _load(self, index: int, needs: tuple[str, ...]) -> float:
        member = self._all[index]
        if needs:
            most = member.settings.resources
            return float(max(member.used.get(name, 0) - most[name] for name in needs))
        return member.load - self._capacities[index]


def _has(member: Member, needs: tuple[str, ...]) -> bool:
    """Whether the member has these resources at all. A member without them would look least loaded, and be tried for
    each call."""
    return all(member.settings.resources.get(name) for name in needs)
