"""A lease: the right of one call to one place at one member. Knows nothing of calls or of time limits."""

from __future__ import annotations

from edgesbc.dispatch.member import Member

__all__ = ["Lease", "Leases"]


class Leases:
    """How many leases are live in all."""

    __slots__ = ("live",)

    def __init__(self) -> None:
        self.live = 0


class Lease:
    """One place at ``member``, held until :meth:`release`, which may be called any number of times."""

    __slots__ = ("_all", "member", "since")

    def __init__(self, member: Member, leases: Leases, now: float) -> None:
        self.member = member
        self.since = now
        self._all: Leases | None = leases
        member.load += 1
        leases.live += 1

    @property
    def live(self) -> bool:
        return self._all is not None

    def release(self) -> None:
        """Give the place back; the second time and later do nothing."""
        leases, self._all = self._all, None
        if leases is not None:
            self.member.load -= 1
            leases.live -= 1

    def __repr__(self) -> str:
        return f"Lease({self.member.name!r}, {'live' if self.live else 'released'})"
