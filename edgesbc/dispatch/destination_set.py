"""A destination set while the edge runs: its members, in the order that they are asked. Watches nobody."""

from __future__ import annotations

from collections.abc import Callable, Collection
from zlib import crc32

from edgesbc.dispatch.algorithms import ALGORITHMS, Algorithm
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import SetSettings

__all__ = ["DestinationSet"]


class DestinationSet:
    """The members of a set, and an algorithm for each priority, the best first.

    ``random`` gives numbers in [0, 1).
    """

    __slots__ = ("_enabled", "_panics", "_random", "_shares", "_up", "algorithms", "members", "settings")

    def __init__(self, settings: SetSettings, members: list[Member], random: Callable[[], float]) -> None:
        self.settings = settings
        self.members = members
        self._random = random
        self._shares = _shares(members)
        self.algorithms: list[Algorithm] = []
        by_priority: dict[tuple[int, int], list[Member]] = {}
        for member in members:
            by_priority.setdefault(member.priority, []).append(member)
        make = ALGORITHMS[settings.algorithm]
        for _, those in sorted(by_priority.items()):
            algorithm = make(those, settings, random)
            self.algorithms.append(algorithm)
            for member in those:
                member.algorithm = algorithm
        self._enabled = self._up = 0
        self._panics = False
        self.count()

    def is_made_of(self, settings: SetSettings, members: list[Member]) -> bool:
        """Whether nothing would be different: whose turn it is need not be forgotten then."""
        return members == self.members and settings == self.settings and _shares(members) == self._shares

    # --- who is usable -----------------------------------------------------------------------------------

    def count(self) -> None:
        """Look at the order and health of every member."""
        enabled = [member for member in self.members if member.order is AdminState.ENABLED]
        self._enabled = len(enabled)
        self._up = sum(member.health.up for member in enabled)
        self._panics = self._few()
        for member in self.members:
            self._judge(member)

    def changed(self, was_enabled: bool, was_up: bool, member: Member) -> None:
        """Order or health of ``member`` are others than they were."""
        enabled, up = member.order is AdminState.ENABLED, member.health.up
        self._enabled += enabled - was_enabled
        self._up += (enabled and up) - (was_enabled and was_up)
        if self._few() is not self._panics:
            self.count()
        else:
            self._judge(member)

    def _few(self) -> bool:
        """Whether so few members are up that the fault is more likely ours than theirs."""
        return self._up * 100 <= self.settings.health.panic * self._enabled

    def _judge(self, member: Member) -> None:
        usable = member.order is AdminState.ENABLED and (member.health.up or self._panics)
        if usable is not member.usable:
            member.usable = usable
            if member.algorithm is not None:
                member.algorithm.restate()

    @property
    def usable(self) -> bool:
        """Whether any member is in use and up. When none is, all are called, and that is no reason to rely on them."""
        return self._up > 0

    # --- choosing ----------------------------------------------------------------------------------------

    def choose(
        self, now: float, exclude: Collection[Member], demand: SelectionRequest, most: int, last: bool = True
    ) -> list[Member]:
        """Who takes a request that ``exclude`` have not: several, up to ``most``, with ``broadcast`` only.

        ``last`` is whether nobody else is left to ask: only then is one called that wants a rest.
        """
        draw: float | None = None
        slow = resting = True  # whether those that have just come back, and those that asked for a rest, are spared
        spared_slow = spared_resting = False
        tried = {member.key for member in exclude}  # who was taken away and put back meanwhile is another object

        def able(member: Member) -> bool:
            nonlocal draw, spared_slow, spared_resting
            if not member.usable or (tried and member.key in tried):
                return False
            if demand.call and not member.has_room(now, demand.needs):
                return False
            if resting and member.resting_until > now:
                spared_resting = True
                return False
            if slow and (share := member.health.share(now)) < 1.0:
                if draw is None:
                    draw = self._draw(demand)
                if draw >= share:
                    spared_slow = True
                    return False
            return True

        for algorithm in self.algorithms:
            chosen = algorithm.choose_all(able, demand, most)
            if not chosen and spared_slow:
                slow = False  # who has just come back is better than nobody
                chosen = algorithm.choose_all(able, demand, most)
                slow = True
            spared_slow = False
            if chosen:
                return chosen
        if spared_resting and last:  # and so is who wants a rest: a caller may have brought it to say so
            slow = resting = False
            for algorithm in self.algorithms:
                if chosen := algorithm.choose_all(able, demand, most):
                    return chosen
        return []

    def _draw(self, demand: SelectionRequest) -> float:
        """Where the call at hand falls among those that a member in slow start gets; the same for a key each time."""
        return crc32(demand.key) / 2**32 if demand.key else self._random()


def _shares(members: list[Member]) -> list[tuple[tuple[int, int], float]]:
    return [(member.priority, member.weight) for member in members]
