"""A media session: two sides, and for each media section a pair of ports that faces each side."""

from __future__ import annotations

from typing import Protocol

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.media.latch import NO_TARGET, MediaTarget
from edgesbc.sdp.session import SessionDescription

__all__ = ["MediaPorts", "MediaSession", "MediaStream", "NoPorts", "PortSource", "SessionSide"]


class NoPorts(Exception):
    """The range has no pair of ports left, or the kernel no descriptor."""


class MediaPorts(Protocol):
    """An RTP port (even) and the RTCP port above it, which face one peer (RFC 3550 section 11)."""

    @property
    def port(self) -> int:
        """The RTP port."""

    @property
    def packets(self) -> int:
        """Packets that came from the peer so far, RTP and RTCP together."""

    def set_targets(self, rtp: MediaTarget, rtcp: MediaTarget) -> None:
        """Take over what signalling says about the peer; the same targets again keep a learned peer."""

    def join(self, other: MediaPorts) -> None:
        """Relay between this pair and ``other``, both ways."""

    def close(self) -> None:
        """Close both ports and let their numbers rest; a second time does nothing."""


class PortSource(Protocol):
    """Opens pairs of ports."""

    def open(self, zone: Zone) -> MediaPorts:
        """Bind a pair on the interface of that zone. Raises :class:`NoPorts`."""

    def holds(self, address: Source) -> bool:
        """Whether an open port of the relay has this address: media must not loop between ports of the relay."""


class SessionSide:
    """One side of a session: its dialog tag ("" until it answered), its zone, its latest description and the targets in
    that."""

    __slots__ = ("description", "tag", "targets", "zone")

    def __init__(self, tag: str, zone: Zone) -> None:
        self.tag = tag
        self.zone = zone
        self.description: SessionDescription | None = None
        self.targets: list[tuple[MediaTarget, MediaTarget] | None] = []

    @property
    def held(self) -> bool:
        """Whether no section of its description both sends and receives (RFC 3264 section 8.4).

        Silence is then no failure.
        """
        description = self.description
        if description is None:
            return False
        for media in description.media:
            connection = description.connection_of(media)
            both_ways = media.port != 0 and description.direction_of(media) == "sendrecv"
            if both_ways and connection is not None and not connection.unspecified:
                return False
        return True


class MediaStream:
    """The ports of one media section: ``pairs[n]`` faces side n, in ``zones[n]``."""

    __slots__ = ("mux", "pairs", "zones")

    def __init__(self, pairs: tuple[MediaPorts, MediaPorts], zones: tuple[Zone, Zone]) -> None:
        self.pairs = pairs
        self.zones = zones
        self.mux = False
        """Whether the latest offer asked for RTCP on the RTP port (RFC 5761)."""
        pairs[0].join(pairs[1])

    def close(self) -> None:
        for pair in self.pairs:
            pair.close()


class MediaSession:
    """Two sides, their streams by the index of the media section, and the time of the last packet or description."""

    __slots__ = (
        "active", "answered", "created", "due", "offerer", "packets", "queued", "session_id", "sides", "streams",
    )  # fmt: skip

    def __init__(self, session_id: str, sides: tuple[SessionSide, SessionSide], now: float) -> None:
        self.session_id = session_id
        self.sides = sides
        self.streams: list[MediaStream | None] = []
        self.offerer = 0
        """Index of the side whose offer is the latest."""
        self.answered = False
        self.created = now
        self.active = now
        """When the last description or refresh came, or an expiry last found new packets (seconds)."""
        self.packets = 0
        self.due: float | None = None
        self.queued: float | None = None

    def side_of(self, tag: str) -> int | None:
        """Index of the side with that tag, or None; "" is the tag of no side."""
        return next((n for n, side in enumerate(self.sides) if tag and side.tag == tag), None)

    def set_targets(self, side: int, targets: list[tuple[MediaTarget, MediaTarget] | None]) -> None:
        """Set the targets, of RTP and RTCP, of the ports that face ``side``, by the index of the media section.

        A section without a target neither sends nor receives.
        """
        self.sides[side].targets = targets
        for index, stream in enumerate(self.streams):
            if stream is not None:
                pair = targets[index] if index < len(targets) else None
                stream.pairs[side].set_targets(*(pair or (NO_TARGET, NO_TARGET)))

    def acknowledge(self, side: int) -> None:
        """Send to the peers of a side without a limit from now on."""
        targets = self.sides[side].targets
        self.set_targets(side, [pair and (_unlimited(pair[0]), _unlimited(pair[1])) for pair in targets])

    def count_streams(self) -> int:
        """Media sections that have ports."""
        return sum(stream is not None for stream in self.streams)

    def count_packets(self) -> int:
        """Packets that both sides have sent on all streams so far."""
        return sum(pair.packets for stream in self.streams if stream for pair in stream.pairs)

    def lifetime(self, media_timeout: float, hold_timeout: float) -> float:
        """When the session ends if no more packets come and no side refreshes it (seconds, the plane's clock)."""
        end = self.created + limits.CALL_SECONDS + limits.SET_UP_SECONDS
        if not self.answered:
            return min(end, self.active + limits.SET_UP_SECONDS + media_timeout)
        if any(side.held for side in self.sides):
            return min(end, self.active + max(media_timeout, hold_timeout))
        return min(end, self.active + media_timeout)

    def close(self) -> None:
        """Close every port of the session."""
        for stream in self.streams:
            if stream is not None:
                stream.close()
        self.streams.clear()


def _unlimited(target: MediaTarget) -> MediaTarget:
    return attrs.evolve(target, limited=False) if target.limited else target
