"""A lease: one call counted at one member. Its owner, a call of ``signalling``, releases it."""

from __future__ import annotations

from collections.abc import Iterator

from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import NO_REQUIREMENTS, SelectionRequest

__all__ = ["Lease", "Leases"]


class Leases:
    """The set of live leases."""

    __slots__ = ("_live",)

    def __init__(self) -> None:
        self._live: dict[Lease, None] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Lease]:
        return iter(tuple(self._live))

    def add(self, lease: Lease) -> None:
        self._live[lease] = None

    def remove(self, lease: Lease) -> bool:
        """Remove a lease; false if it was not live."""
        if lease not in self._live:
            return False
        del self._live[lease]
        return True


class Lease:
    """One call at ``member``, with one of each resource that ``selection`` needs, counted until :meth:`release`.

    A request that is no call has a lease too, which is not counted.
    """

    __slots__ = ("_leases", "call", "member", "needs", "since")

    def __init__(
        self, member: Member, leases: Leases, now: float, selection: SelectionRequest = NO_REQUIREMENTS
    ) -> None:
        self.member = member
        self.since = now
        self.call = selection.call
        self.needs = selection.needs
        self._leases = leases
        leases.add(self)
        if self.call:
            member.starts.append(now)
            member.take(self.needs, 1)

    @property
    def live(self) -> bool:
        return self in self._leases._live

    def release(self) -> None:
        """End the lease. Further calls do nothing."""
        if self._leases.remove(self) and self.call:
            self.member.take(self.needs, -1)

    def withdraw(self) -> None:
        """End the lease of a request that was never sent: it does not count as a call begun either."""
        if self.call and self.live and self.since in self.member.starts:
            self.member.starts.remove(self.since)
        self.release()

    def __repr__(self) -> str:
        return f"Lease({self.member.name!r}, {'live' if self.live else 'released'})"
