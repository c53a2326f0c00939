"""A lease: the right of one call to one place at one member. Knows nothing of calls or of time limits."""

from __future__ import annotations

from collections.abc import Iterator

from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import ANYTHING, SelectionRequest

__all__ = ["Lease", "Leases"]


class Leases:
    """The leases that are live."""

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
        """Whether it was live."""
        if lease not in self._live:
            return False
        del self._live[lease]
        return True


class Lease:
    """One place at ``member``, and one of each of its resources that ``demand`` needs, held until :meth:`release`,
    which may be called any number of times. A request that is no call has a lease too, and takes up no place."""

    __slots__ = ("_all", "call", "member", "needs", "since")

    def __init__(self, member: Member, leases: Leases, now: float, demand: SelectionRequest = ANYTHING) -> None:
        self.member = member
        self.since = now
        self.call = demand.call
        self.needs = demand.needs
        self._all = leases
        leases.add(self)
        if self.call:
            member.starts.append(now)
            member.take(self.needs, 1)

    @property
    def live(self) -> bool:
        return self in self._all._live

    def release(self) -> None:
        """Give the place back; the second time and later do nothing."""
        if self._all.remove(self) and self.call:
            self.member.take(self.needs, -1)

    def __repr__(self) -> str:
        return f"Lease({self.member.name!r}, {'live' if self.live else 'released'})"
