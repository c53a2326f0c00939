"""Counters of a relay in memory that it shares with media control, which reads them without asking.

Each number is 64 bits wide, aligned, and written by the relay alone. The numbers of a channel never go back: where the
channel is closed and its place taken by another, that one goes on counting from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = [
    "DROP_REASONS", "FULL", "INTERNAL", "INVALID", "LIMITED", "NO_DESTINATION", "REFUSED", "SOURCE", "UNREACHABLE",
    "RelayCounters",
]  # fmt: skip

DROP_REASONS: Final = (
    "invalid", "source", "no-destination", "limited", "refused", "full", "unreachable", "internal",
)  # fmt: skip
"""Why a packet was not relayed; the numbers below are places in this list."""
INVALID: Final = 0
SOURCE: Final = 1
NO_DESTINATION: Final = 2
LIMITED: Final = 3
REFUSED: Final = 4
FULL: Final = 5
UNREACHABLE: Final = 6
INTERNAL: Final = 7

_HEAD: Final = 16
"""Numbers before those of the channels: the drops, and the value of the last ping."""
_PING: Final = 15


class RelayCounters:
    """Counters of a relay that has ``capacity`` channels at most, in ``memory`` of at least :meth:`size` bytes."""

    __slots__ = ("_numbers", "capacity", "drops", "octets", "packets", "rtcp_packets")

    def __init__(self, memory: memoryview, capacity: int) -> None:
        numbers = memory[: self.size(capacity)].cast("B").cast("Q")
        self._numbers = numbers
        self.capacity = capacity
        self.drops: memoryview = numbers[: len(DROP_REASONS)]
        """Packets not relayed, by the place of the reason."""
        first = _HEAD
        self.packets: memoryview = numbers[first : first + capacity]
        """Packets that came from the peer of a channel, by the number of the channel."""
        first += capacity
        self.rtcp_packets: memoryview = numbers[first : first + capacity]
        """Of these, RTCP."""
        first += capacity
        self.octets: memoryview = numbers[first : first + capacity]
        """Octets of these packets, from the first one of RTP on."""

    @staticmethod
    def size(capacity: int) -> int:
        """How many bytes the counters take."""
        return 8 * (_HEAD + 3 * capacity)

    @property
    def ping(self) -> int:
        """The value of the last ping that the relay has answered."""
        return int(self._numbers[_PING])

    @ping.setter
    def ping(self, value: int) -> None:
        self._numbers[_PING] = value

    def drops_by_reason(self) -> Sequence[tuple[str, int]]:
        """How many packets were not relayed for each reason."""
        return [(reason, int(number)) for reason, number in zip(DROP_REASONS, self.drops, strict=True)]
