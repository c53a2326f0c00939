"""What one side of a media session has sent: when it was last heard, and when it last sent RTP."""

from __future__ import annotations

import enum

__all__ = ["OneWay", "SideActivity", "Silence"]


class OneWay(enum.StrEnum):
    """What happens to a call of which one side has fallen silent, although the other one still sends."""

    END = "end"
    """The call ends, and after half of the time an event says so, once until the side is heard again."""
    TELL = "tell"
    """An event says so, once until the side is heard again."""
    OFF = "off"
    """Nothing: only a call without any packet ends."""


class Silence(enum.StrEnum):
    """What a side has not sent for too long."""

    PACKETS = "packets"
    """Neither RTP nor RTCP."""
    RTP = "RTP"
    """No RTP; it may send RTCP."""


class SideActivity:
    """``packets`` and ``rtp`` are the numbers of its packets at the last look, ``heard`` and ``spoke`` the times of the
    looks that found more of them (seconds). ``reported`` is whether an event has said that it is silent, ``warned``
    whether one has before the call is to end."""

    __slots__ = ("heard", "packets", "reported", "rtp", "spoke", "warned")

    def __init__(self, now: float) -> None:
        self.packets = 0
        self.rtp = 0
        self.heard = now
        self.spoke = now
        self.reported = False
        self.warned = False

    def begin(self, now: float) -> None:
        """A new description holds: the side has as long as after the first one."""
        self.heard = self.spoke = now

    def look(self, packets: int, rtp: int, now: float) -> None:
        """Compare with the numbers of packets that have come by now; they begin anew with other ports."""
        if rtp != self.rtp:
            self.rtp = rtp
            self.spoke = now
            self.reported = False
            self.warned = False
        if packets != self.packets:
            self.packets = packets
            self.heard = now

    def silence(self, media_timeout: float, rtp_timeout: float, now: float) -> Silence | None:
        """What it has not sent for ``media_timeout`` seconds, or, of RTP alone, for ``rtp_timeout``; None: it is
        active."""
        if now - self.heard >= media_timeout:
            return Silence.PACKETS
        return Silence.RTP if now - self.spoke >= rtp_timeout else None
