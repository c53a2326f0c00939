"""When the relay lets packets gather before it relays them, as a network card moderates its interrupts."""

from __future__ import annotations

from edgesbc.base import limits

__all__ = ["BatchingPolicy"]

_WINDOW = 0.1  # seconds over which the rate is taken


class BatchingPolicy:
    """Decides whether packets gather: in a relay that wakes up very often, not in one that is quiet or gets bursts.

    Waking up costs a multiple of relaying a packet. With few calls that does not matter, and packets
    that arrive together are relayed in one turn anyway. Beyond ``MEDIA_BUSY_RATE`` packets and
    ``MEDIA_BUSY_TURNS`` turns a second, the relay looks at its ports every ``MEDIA_GATHER_SECONDS``, a delay
    that a jitter buffer hides. ``now`` is in seconds on a monotonic clock.
    """

    __slots__ = ("_busy", "_packets", "_since", "_turns")

    def __init__(self, now: float) -> None:
        self._since = now
        self._packets = 0
        self._turns = 0
        self._busy = False

    def should_gather(self, packets: int, now: float) -> bool:
        """Whether to let packets gather now, after a turn that took ``packets`` of them.

        Never after an empty turn, nor after one that left packets waiting.
        """
        self._packets += packets
        self._turns += packets > 0
        elapsed = now - self._since
        if elapsed >= _WINDOW:
            many_turns = self._turns >= limits.MEDIA_BUSY_TURNS * elapsed
            self._busy = many_turns and self._packets >= limits.MEDIA_BUSY_RATE * elapsed
            self._since = now
            self._packets = self._turns = 0
        return self._busy and 0 < packets < limits.MEDIA_TURN_PACKETS
