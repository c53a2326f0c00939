"""The members of all destination sets of the policy, one for each address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport
from edgesbc.dispatch.member import Member, MemberKey, member_key
from edgesbc.dispatch.settings import MemberSettings, SetSettings
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri

__all__ = ["MemberChanges", "MemberRegistry"]


class MemberChanges:
    """The result of a change of the registry. Members that did not change are in ``members`` only."""

    __slots__ = ("added", "members", "removed", "rescheduled")

    def __init__(self) -> None:
        self.members: dict[str, list[Member]] = {}
        """All members, by their set."""
        self.added: list[Member] = []
        self.removed: list[Member] = []
        self.rescheduled: list[Member] = []
        """Members whose health settings changed, or that the policy disables or enables: their probes start anew."""


class MemberRegistry:
    """The members of all sets. A member is the same over a change when its set, URI and address are; a URI with a host
    name has a member for each address that the name is known to have."""

    __slots__ = ("_by_address", "_leaving", "_members", "_prepared", "_shares", "_targets", "names", "settings")

    def __init__(self) -> None:
        self.settings: tuple[SetSettings, ...] = ()
        self.names: frozenset[ServerUri] = frozenset()
        """The host names of members, with their port and transport."""
        self._targets: dict[ServerUri, tuple[ResolvedAddress, ...]] = {}
        self._shares: dict[ServerUri, list[tuple[ResolvedAddress, float]]] = {}
        """The addresses of each name, with the part of the member's weight that each has."""
        self._members: dict[MemberKey, Member] = {}
        self._leaving: dict[MemberKey, Member] = {}
        """Removed members that still have calls: if one is added again meanwhile, it keeps its load."""
        self._prepared: dict[MemberKey, Member] = {}
        self._by_address: dict[tuple[str, int, Transport], Member] = {}

    def __iter__(self) -> Iterator[Member]:
        """All members, in the order of the policy."""
        return iter(self._members.values())

    def at(self, source: Source, transport: Transport) -> Member | None:
        """The member with the address ``source`` over ``transport``; the first, if several sets have it."""
        return self._by_address.get((source.host, source.port, transport))

    def hosts(self, sets: frozenset[str] | None) -> frozenset[str]:
        """The addresses of the members of these sets, None for all."""
        members = self._members.values()
        return frozenset(member.target.host for member in members if sets is None or member.set_name in sets)

    def leaving(self, sets: frozenset[str] | None) -> tuple[Member, ...]:
        """Removed members of these sets, None for all, that had calls at the last change."""
        return tuple([member for member in self._leaving.values() if sets is None or member.set_name in sets])

    def prepare(self, settings: Iterable[SetSettings]) -> None:
        """Make the new members of these sets ahead of :meth:`replace`, which then takes less time.

        Changes nothing that is in force, and may be called in another thread.
        """
        prepared: dict[MemberKey, Member] = {}
        for set_settings in settings:
            for member_settings, target, share in self._addresses(set_settings):
                key = member_key(set_settings.set, member_settings, target)
                if key not in self._members:
                    prepared[key] = Member(set_settings.set, member_settings, set_settings.health, target, share)
        self._prepared = prepared

    def replace(self, settings: Iterable[SetSettings]) -> MemberChanges:
        """Replace all sets by those of ``settings``, and return what has changed."""
        self.settings = tuple(settings)
        self.names = frozenset(
            member.server_uri for one_set in self.settings for member in one_set.members if member.target is None
        )
        self._targets = {
            server_uri: targets for server_uri, targets in self._targets.items() if server_uri in self.names
        }
        self._shares = {server_uri: self._shares[server_uri] for server_uri in self._targets}
        return self._rebuild()

    def resolve(self, server_uri: ServerUri, targets: Sequence[ResolvedAddress]) -> MemberChanges | None:
        """Set the addresses of a host name, in order; None if that changes nothing."""
        known = tuple(targets[: limits.TARGETS])
        if server_uri not in self.names or not known or self._targets.get(server_uri) == known:
            return None
        self._targets[server_uri] = known
        self._shares[server_uri] = list(zip(known, _shares(known), strict=True))
        return self._rebuild()

    def _rebuild(self) -> MemberChanges:
        before, self._members = self._members, {}
        changes = MemberChanges()
        for settings in self.settings:
            members = changes.members[settings.set] = []
            old_health, health_differs = settings.health, False  # compared once for members that share an object
            for member_settings, target, share in self._addresses(settings):
                key = member_key(settings.set, member_settings, target)
                if key in self._members:
                    continue  # the name has the address twice
                member = before.pop(key, None)
                if member is None:
                    known = self._leaving.pop(key, None) or self._prepared.get(key)
                    member = known or Member(settings.set, member_settings, settings.health, target, share)
                    member.removed = False
                    member.adopt(member_settings, settings.health, target, share)
                    changes.added.append(member)
                else:
                    if member.health.settings is not old_health:
                        old_health, health_differs = member.health.settings, member.health.settings != settings.health
                    if health_differs or member_settings.disabled is not member.settings.disabled:
                        changes.rescheduled.append(member)
                    member.adopt(member_settings, settings.health, target, share)
                self._members[key] = member
                members.append(member)
        self._prepared = {}
        changes.removed = list(before.values())
        self._leaving.update((member.key, member) for member in changes.removed)
        self._leaving = {key: member for key, member in self._leaving.items() if member.load}
        for member in changes.removed:
            member.removed = True
            member.usable = False
            member.algorithm = None
        self._by_address = {(*member.target, member.transport): member for member in reversed(self._members.values())}
        return changes

    def _addresses(self, settings: SetSettings) -> Iterator[tuple[MemberSettings, ResolvedAddress, float]]:
        """Each address of each member, with the part of the member's weight that it has."""
        for member_settings in settings.members:
            if member_settings.target is not None:
                yield member_settings, member_settings.target, 1.0
            else:
                for target, share in self._shares.get(member_settings.server_uri, ()):
                    yield member_settings, target, share


def _shares(targets: Sequence[ResolvedAddress]) -> list[float]:
    """The part of the member's weight that each address has among those of its priority (RFC 2782).

    A weight of 0 beside others gives a very small part; if all are 0, the parts are equal.
    """
    sums: dict[int, float] = {}
    weights = [target.weight or 0.1 for target in targets]
    for target, weight in zip(targets, weights, strict=True):
        sums[target.priority] = sums.get(target.priority, 0.0) + weight
    return [weight / sums[target.priority] for target, weight in zip(targets, weights, strict=True)]
