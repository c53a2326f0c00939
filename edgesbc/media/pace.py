"""When the relay lets packets gather, as a network card moderates its interrupts. Reads no clock."""

from __future__ import annotations

from edgesbc.base import limits

__all__ = ["Pace"]

_WINDOW = 0.1  # seconds over which the rate is taken


class Pace:
    """Tells a quiet relay, which serves each packet as it comes, from a busy one.

    Waking up costs a multiple of relaying a packet. With a few calls that does not matter and every
    packet is passed on at once; from ``MEDIA_BUSY_RATE`` packets a second on, the relay looks at its ports
    every ``MEDIA_GATHER_SECONDS``, which a jitter buffer does not notice.
    """

    __slots__ = ("_busy", "_packets", "_since")

    def __init__(self, now: float) -> None:
        self._since = now
        self._packets = 0
        self._busy = False

    def gather(self, packets: int, now: float) -> bool:
        """Whether to let packets gather, after a turn that took ``packets`` of them.

        Never after an empty turn, nor after one that left packets waiting.
        """
        self._packets += packets
        passed = now - self._since
        if passed >= _WINDOW:
            self._busy = self._packets >= limits.MEDIA_BUSY_RATE * passed
            self._since = now
            self._packets = 0
        return self._busy and 0 < packets < limits.MEDIA_TURN_PACKETS
