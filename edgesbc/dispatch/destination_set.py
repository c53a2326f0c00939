"""A destination set at run time: its members by priority, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from zlib import crc32

from edgesbc.base.address import family_of
from edgesbc.dispatch.algorithms import ALGORITHMS, Algorithm
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import SetSettings

__all__ = ["DestinationSet"]


class DestinationSet:
    """The members of a set, and an algorithm for each priority, the lowest number first.

    ``random`` returns numbers in [0, 1).
    """

    __slots__ = ("_enabled", "_panic", "_random", "_shares", "_up", "algorithms", "family", "members", "settings")

    def __init__(self, settings: SetSettings, members: list[Member], random: Callable[[], float]) -> None:
        self.settings = settings
        self.members = members
        self._random = random
        self._shares = _shares(members)
        families = {family_of(member.target.host) for member in members}
        self.family = families.pop() if len(families) == 1 else ""
        """The address family that all members have, ``IP4`` or ``IP6``; "" where some have the one and some the
        other."""
        self.algorithms: list[Algorithm] = []
        by_priority: dict[tuple[int, int], list[Member]] = {}
        for member in members:
            by_priority.setdefault(member.priority, []).append(member)
        make = ALGORITHMS[settings.algorithm]
        for _, members_of_priority in sorted(by_priority.items()):
            algorithm = make(members_of_priority, settings, random)
            self.algorithms.append(algorithm)
            for member in members_of_priority:
                member.algorithm = algorithm
        self._enabled = self._up = 0
        self._panic = False
        self.recount()

    def matches(self, settings: SetSettings, members: list[Member]) -> bool:
        """Whether a set made of these would be the same: it can be kept then, with the turns of its algorithms."""
        return members == self.members and settings == self.settings and _shares(members) == self._shares

    # --- usable members ----------------------------------------------------------------------------------

    def recount(self) -> None:
        """Count enabled and healthy members, and update which of them are usable."""
        enabled = [member for member in self.members if member.admin_state is AdminState.ENABLED]
        self._enabled = len(enabled)
        self._up = sum(member.health.up for member in enabled)
        self._panic = self._too_few_up()
        for member in self.members:
            self._update_usable(member)

    def member_changed(self, was_enabled: bool, was_up: bool, member: Member) -> None:
        """The administrative state or the health of ``member`` has changed."""
        enabled, up = member.admin_state is AdminState.ENABLED, member.health.up
        self._enabled += enabled - was_enabled
        self._up += (enabled and up) - (was_enabled and was_up)
        if self._too_few_up() is not self._panic:
            self.recount()
        else:
            self._update_usable(member)

    def _too_few_up(self) -> bool:
        """Whether so few members are up that the fault is more likely at the edge itself (``panic``)."""
        return self._up * 100 <= self.settings.health.panic * self._enabled

    def _update_usable(self, member: Member) -> None:
        usable = member.admin_state is AdminState.ENABLED and (member.health.up or self._panic)
        if usable is not member.usable:
            member.usable = usable
            if member.algorithm is not None:
                member.algorithm.usable_changed()

    @property
    def usable(self) -> bool:
        """Whether any member is enabled and up. False also while all are used because of ``panic``."""
        return self._up > 0

    # --- choosing ----------------------------------------------------------------------------------------

    def choose(
        self, now: float, exclude: Collection[Member], selection: SelectionRequest, limit: int, last: bool = True
    ) -> list[Member]:
        """The members for a request, without those of ``exclude``: one, or with ``broadcast`` up to ``limit``.

        ``last`` is whether there is no other set to try: only then is a resting member chosen, one that has sent
        Retry-After or that connections to fail.
        """
        draw: float | None = None
        slow = resting = True  # whether members in slow start, and resting members, are skipped
        skipped_slow = skipped_resting = False
        tried = {member.key for member in exclude}  # by key: a member that was removed and added again is a new object

        def able(member: Member) -> bool:
            nonlocal draw, skipped_slow, skipped_resting
            if not member.usable or (tried and member.key in tried):
                return False
            if selection.call and not member.has_room(now, selection.needs):
                return False
            if resting and member.rests(now):
                skipped_resting = True
                return False
            if slow and (share := member.health.share(now)) < 1.0:
                if draw is None:
                    draw = self._draw(selection)
                if draw >= share:
                    skipped_slow = True
                    return False
            return True

        for algorithm in self.algorithms:
            chosen = algorithm.choose_all(able, selection, limit)
            if not chosen and skipped_slow:
                slow = False  # a member in slow start is better than none
                chosen = algorithm.choose_all(able, selection, limit)
                slow = True
            skipped_slow = False
            if chosen:
                return chosen
        if skipped_resting and last:  # so is a resting member: a caller may have provoked its Retry-After
            slow = resting = False
            for algorithm in self.algorithms:
                if chosen := algorithm.choose_all(able, selection, limit):
                    return chosen
        return []

    def has_both_families(self, member: Member) -> bool:
        """Whether the host of ``member`` has addresses of both families, so that :meth:`alternative` may change it."""
        ipv6 = ":" in member.target.host
        return any(
            (":" in other.target.host) is not ipv6 and other.host == member.host and other.transport is member.transport
            for other in self.members
        )

    def alternative(
        self, member: Member, now: float, exclude: Collection[Member], selection: SelectionRequest
    ) -> Member | None:
        """Another address of the host of ``member`` that can take the request, at the same priority; None without one.

        Addresses of the other family come first (RFC 8305 section 4). Those of ``exclude`` were tried.
        """
        tried = {other.key for other in exclude}
        ipv6, uri = ":" in member.target.host, member.settings.uri
        same_family: Member | None = None
        for other in self.members:
            if other.settings.uri != uri or other.host != member.host or other.transport is not member.transport:
                continue
            if other.priority != member.priority or other.key in tried or not other.usable or other.rests(now):
                continue
            if selection.call and not other.has_room(now, selection.needs):
                continue
            if (":" in other.target.host) is not ipv6:
                return other
            same_family = same_family or other
        return same_family

    def _draw(self, selection: SelectionRequest) -> float:
        """A number in [0, 1) that decides whether a member in slow start gets the call; the same for a key each
        time."""
        return crc32(selection.key) / 2**32 if selection.key else self._random()


def _shares(members: list[Member]) -> list[tuple[tuple[int, int], float]]:
    return [(member.priority, member.weight) for member in members]
