"""Which members there are: those of the policy's sets, one for each address. Chooses none and watches none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport
from edgesbc.dispatch.member import Member, MemberKey, member_key
from edgesbc.dispatch.settings import MemberSettings, SetSettings
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri

__all__ = ["MemberChanges", "MemberRegistry"]


class MemberChanges:
    """What a change of the roster comes to. Members that stayed as they were are in none of the lists."""

    __slots__ = ("gone", "members", "new", "rewatched")

    def __init__(self) -> None:
        self.members: dict[str, list[Member]] = {}
        """All of them, by their set."""
        self.new: list[Member] = []
        self.gone: list[Member] = []
        self.rewatched: list[Member] = []
        """Those whose health is judged by other rules now, or that the policy puts out of use or back into it."""


class MemberRegistry:
    """The members by set. A member is the same over a change when its set, URI and address are; a URI with a name has
    a member for each address that the name is known to have."""

    __slots__ = ("_by_address", "_foreseen", "_leaving", "_members", "_parts", "_targets", "names", "settings")

    def __init__(self) -> None:
        self.settings: tuple[SetSettings, ...] = ()
        self.names: frozenset[ServerUri] = frozenset()
        """The names that members have."""
        self._targets: dict[ServerUri, tuple[ResolvedAddress, ...]] = {}
        self._parts: dict[ServerUri, list[tuple[ResolvedAddress, float]]] = {}
        """What part of its member's weight each of those addresses has."""
        self._members: dict[MemberKey, Member] = {}
        self._leaving: dict[MemberKey, Member] = {}
        """Members that are gone and still have calls: who is put back meanwhile is the same, and has that load."""
        self._foreseen: dict[MemberKey, Member] = {}
        self._by_address: dict[tuple[str, int, Transport], Member] = {}

    def __iter__(self) -> Iterator[Member]:
        """In the order of the policy."""
        return iter(self._members.values())

    def at(self, source: Source, transport: Transport) -> Member | None:
        """The member whose address ``source`` is, over ``transport``; the first, when sets share it."""
        return self._by_address.get((source.host, source.port, transport))

    def foresee(self, settings: Iterable[SetSettings]) -> None:
        """Make the members that these sets would bring, so that :meth:`replace` need not.

        Changes nothing of what is in force, and may go on in another thread meanwhile.
        """
        foreseen: dict[MemberKey, Member] = {}
        for each in settings:
            for wanted, target, share in self._addresses(each):
                key = member_key(each.set, wanted, target)
                if key not in self._members:
                    foreseen[key] = Member(each.set, wanted, each.health, target, share)
        self._foreseen = foreseen

    def replace(self, settings: Iterable[SetSettings]) -> MemberChanges:
        """Have these sets in the place of those before."""
        self.settings = tuple(settings)
        self.names = frozenset(
            member.place for each in self.settings for member in each.members if member.target is None
        )
        self._targets = {place: targets for place, targets in self._targets.items() if place in self.names}
        self._parts = {place: self._parts[place] for place in self._targets}
        return self._again()

    def resolve(self, place: ServerUri, targets: Sequence[ResolvedAddress]) -> MemberChanges | None:
        """A name has these addresses, in order; None where that changes nothing."""
        known = tuple(targets[: limits.TARGETS])
        if place not in self.names or not known or self._targets.get(place) == known:
            return None
        self._targets[place] = known
        self._parts[place] = list(zip(known, _shares(known), strict=True))
        return self._again()

    def _again(self) -> MemberChanges:
        before, self._members = self._members, {}
        changes = MemberChanges()
        for settings in self.settings:
            members = changes.members[settings.set] = []
            judged_by, others = settings.health, False  # what the last one was judged by before, and if that differs
            for wanted, target, share in self._addresses(settings):
                key = member_key(settings.set, wanted, target)
                if key in self._members:
                    continue  # a name that has an address twice
                member = before.pop(key, None)
                if member is None:
                    known = self._leaving.pop(key, None) or self._foreseen.get(key)
                    member = known or Member(settings.set, wanted, settings.health, target, share)
                    member.removed = False
                    member.adopt(wanted, settings.health, target, share)
                    changes.new.append(member)
                else:
                    if member.health.settings is not judged_by:
                        judged_by, others = member.health.settings, member.health.settings != settings.health
                    if others or wanted.disabled is not member.settings.disabled:
                        changes.rewatched.append(member)
                    member.adopt(wanted, settings.health, target, share)
                self._members[key] = member
                members.append(member)
        self._foreseen = {}
        changes.gone = list(before.values())
        self._leaving.update((member.key, member) for member in changes.gone)
        self._leaving = {key: member for key, member in self._leaving.items() if member.load}
        for member in changes.gone:
            member.removed = True
            member.usable = False
            member.algorithm = None
        self._by_address = {(*member.target, member.transport): member for member in reversed(self._members.values())}
        return changes

    def _addresses(self, settings: SetSettings) -> Iterator[tuple[MemberSettings, ResolvedAddress, float]]:
        """Each address of each member, and what part of the member's weight it has."""
        for wanted in settings.members:
            if wanted.target is not None:
                yield wanted, wanted.target, 1.0
            else:
                for target, share in self._parts.get(wanted.place, ()):
                    yield wanted, target, share


def _shares(targets: Sequence[ResolvedAddress]) -> list[float]:
    """What part of its member's weight each address has, among those of its own priority (RFC 2782).

    A weight of 0 beside others is "a very small chance", and equal chances where all are 0.
    """
    sums: dict[int, float] = {}
    weights = [target.weight or 0.1 for target in targets]
    for target, weight in zip(targets, weights, strict=True):
        sums[target.priority] = sums.get(target.priority, 0.0) + weight
    return [weight / sums[target.priority] for target, weight in zip(targets, weights, strict=True)]
