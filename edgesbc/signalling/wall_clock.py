"""WallClock: the time of day, which routes with times depend on. All else goes by the plane's monotonic clock."""

from __future__ import annotations

__all__ = ["WallClock"]


class WallClock:
    """Converts the plane's clock. ``offset`` is the seconds since 1970 minus the plane's clock; the shell updates it,
    because the machine's clock may be set."""

    __slots__ = ("offset",)

    def __init__(self) -> None:
        self.offset = 0.0

    def at(self, now: float) -> float:
        """The seconds since 1970 at ``now`` of the plane's clock."""
        return now + self.offset
