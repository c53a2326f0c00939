"""A call as the media plane sees it: two sides, and for each media section a pair of ports facing each side."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.media.latch import NOWHERE, MediaTarget
from edgesbc.sdp.session import SessionDescription

__all__ = ["MediaPorts", "MediaSession", "MediaStream", "MediaTraffic", "NoPorts", "PortSource", "SessionSide"]


class NoPorts(Exception):
    """The range has no pair of ports left, or the kernel no descriptor."""


class MediaTraffic(NamedTuple):
    """What a pair of ports has received from its peer and relayed."""

    packets: int
    octets: int
    errors: int


class MediaPorts(Protocol):
    """An RTP port (even) and the RTCP port above it, facing one peer."""

    @property
    def port(self) -> int:
        """The RTP port."""

    @property
    def peer(self) -> Source | None:
        """The learned or signalled RTP address of the peer."""

    @property
    def traffic(self) -> MediaTraffic:
        """What came from the peer so far, RTP and RTCP together."""

    def set_aim(self, rtp: MediaTarget, rtcp: MediaTarget) -> None:
        """Take over what signalling says about the peer; a learned peer stays if nothing changed."""

    def join(self, other: MediaPorts) -> None:
        """Relay between this pair and ``other``, both ways."""

    def close(self) -> None:
        """Close both ports and let their numbers rest."""


class PortSource(Protocol):
    """Where pairs of ports come from."""

    def open(self, interface: str) -> MediaPorts:
        """Bind a pair on the interface. Raises :class:`NoPorts`."""

    def holds(self, address: Source) -> bool:
        """Whether that is a port which is open here: media must not go round from leg to leg."""


class SessionSide:
    """One party: its tag (empty until it answered), interface and latest description."""

    __slots__ = ("description", "interface", "tag")

    def __init__(self, tag: str, interface: str) -> None:
        self.tag = tag
        self.interface = interface
        self.description: SessionDescription | None = None

    @property
    def held(self) -> bool:
        """Whether no section of its description both sends and receives: silence is then no failure."""
        session = self.description
        if session is None:
            return False
        for media in session.media:
            connection = session.connection_of(media)
            both_ways = media.port != 0 and session.direction_of(media) == "sendrecv"
            if both_ways and connection is not None and not connection.unspecified:
                return False
        return True


class MediaStream:
    """One media section: ``pairs[n]`` faces side n and is bound on ``interfaces[n]``."""

    __slots__ = ("interfaces", "mux", "pairs")

    def __init__(self, pairs: tuple[MediaPorts, MediaPorts], interfaces: tuple[str, str]) -> None:
        self.pairs = pairs
        self.interfaces = interfaces
        self.mux = False
        """Whether the latest offer asked for RTCP on the RTP port (RFC 5761)."""
        pairs[0].join(pairs[1])

    def close(self) -> None:
        for pair in self.pairs:
            pair.close()


class MediaSession:
    """Two sides, their streams by the index of the media section, and when something last happened."""

    __slots__ = (
        "active", "answered", "call_id", "created", "due", "offerer", "packets", "queued", "sides", "streams",
    )  # fmt: skip

    def __init__(self, call_id: str, sides: tuple[SessionSide, SessionSide], now: float) -> None:
        self.call_id = call_id
        self.sides = sides
        self.streams: list[MediaStream | None] = []
        self.offerer = 0
        """Index of the side whose offer is the latest."""
        self.answered = False
        self.created = now
        self.active = now
        """When a packet or a description was last known to have come (seconds, looked at in steps)."""
        self.packets = 0
        self.due: float | None = None
        self.queued: float | None = None

    def side_of(self, tag: str) -> int | None:
        """Index of the side with that tag, or None."""
        return next((n for n, side in enumerate(self.sides) if tag and side.tag == tag), None)

    def set_aims(self, side: int, aims: list[tuple[MediaTarget, MediaTarget] | None]) -> None:
        """Point the ports that face ``side``; a section without an aim falls silent."""
        for index, stream in enumerate(self.streams):
            if stream is not None:
                chosen = aims[index] if index < len(aims) else None
                stream.pairs[side].set_aim(*(chosen or (NOWHERE, NOWHERE)))

    def count_packets(self) -> int:
        """Packets of both sides and all streams so far."""
        return sum(pair.traffic.packets for stream in self.streams if stream for pair in stream.pairs)

    def lifetime(self, media_timeout: float) -> float:
        """Until when the call may live if nothing comes from now on (seconds, the plane's clock)."""
        end = self.created + limits.CALL_SECONDS + limits.SET_UP_SECONDS
        if not self.answered:
            return min(end, self.active + limits.SET_UP_SECONDS + media_timeout)
        if any(side.held for side in self.sides):
            return end
        return min(end, self.active + media_timeout)

    def close(self) -> None:
        """Close every port of the call."""
        for stream in self.streams:
            if stream is not None:
                stream.close()
        self.streams.clear()
