"""A media session: two sides, for each media section a pair of ports that faces each side, and an offer without an
answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.media.latch import NO_TARGET, MediaInterface, MediaTarget
from edgesbc.media.quality import StreamQuality, clock_rate_of
from edgesbc.media.side_activity import SideActivity
from edgesbc.sdp.session import SessionDescription

__all__ = [
    "MediaPorts",
    "MediaSession",
    "MediaState",
    "MediaStream",
    "NoPorts",
    "PendingOffer",
    "PortSource",
    "SectionTargets",
    "SessionSide",
    "SideInterfaces",
]

SectionTargets = list[tuple[MediaTarget, MediaTarget] | None]
"""The targets of RTP and RTCP of each media section; None for one that is rejected or not relayed."""

SideInterfaces = tuple[MediaInterface, MediaInterface]
"""The interface that faces each side of a session."""


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

    @property
    def rtp_packets(self) -> int:
        """Of these, RTP."""

    @property
    def octets(self) -> int:
        """Octets of all these packets."""

    @property
    def sockets(self) -> int:
        """How many sockets it has: one while RTCP shares the RTP port, otherwise two."""

    def share_rtcp(self, shared: bool) -> None:
        """Whether RTCP shares the RTP port (RFC 5761): its own port is closed then. Raises :class:`NoPorts` where it
        cannot be opened again."""

    def set_targets(self, rtp: MediaTarget, rtcp: MediaTarget) -> None:
        """Take over what signalling says about the peer; the same targets again keep a learned peer."""

    def reopen(self) -> None:
        """Learn the peer again, because its description was repeated."""

    def watch_reports(self, receiver: Callable[[bytes, float], None] | None) -> None:
        """Have ``receiver`` called with copies of the peer's RTCP packets, and when they were received (seconds, the
        relay's clock); None: no more."""

    def set_direct(self, direct: bool) -> None:
        """Whether the kernel may relay packets between these ports and those that face the other side, where it can."""

    def close(self) -> None:
        """Close both ports and let their numbers rest; a second time does nothing."""


class PortSource(Protocol):
    """Opens pairs of ports."""

    def open(self, interfaces: SideInterfaces, ports: tuple[int, int] = (0, 0)) -> tuple[MediaPorts, MediaPorts]:
        """Bind a pair on each interface, and relay between them; ``ports`` are the RTP ports, 0 for any. Raises
        :class:`NoPorts`."""

    def holds(self, address: Source) -> bool:
        """Whether an open port of the relay has this address: media must not loop between ports of the relay."""


class SessionSide:
    """One side of a session: its dialog tag ("" until it answered), its zone, its description and the targets in that.

    ``targets`` are those of RTP and RTCP, by the index of the media section; a section without one neither sends nor
    receives.
    """

    __slots__ = ("description", "tag", "targets", "zone")

    def __init__(
        self, tag: str, zone: Zone, description: SessionDescription | None = None, targets: SectionTargets | None = None
    ) -> None:
        self.tag = tag
        self.zone = zone
        self.description = description
        self.targets: SectionTargets = [] if targets is None else targets

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

    def target(self, index: int) -> tuple[MediaTarget, MediaTarget]:
        """The targets of RTP and RTCP of one media section."""
        pair = self.targets[index] if index < len(self.targets) else None
        return (NO_TARGET, NO_TARGET) if pair is None else pair

    def lift_limits(self) -> None:
        """Send to its peers without a limit from now on."""
        self.targets = [pair and (pair[0].with_limit(False), pair[1].with_limit(False)) for pair in self.targets]


class MediaStream:
    """The ports of one media section: ``pairs[n]`` faces side n, on ``interfaces[n]``. ``on_closed`` is called once,
    when it ends."""

    __slots__ = ("_direct", "_on_closed", "interfaces", "pairs", "quality")

    def __init__(
        self,
        pairs: tuple[MediaPorts, MediaPorts],
        interfaces: SideInterfaces,
        on_closed: Callable[[MediaStream], None],
    ) -> None:
        self.pairs = pairs
        self.interfaces = interfaces
        self._direct = False
        self.quality = StreamQuality()
        self._on_closed: Callable[[MediaStream], None] | None = on_closed
        for side, pair in enumerate(pairs):
            pair.watch_reports(partial(self.quality.on_packet, side))

    def set_direct(self, direct: bool) -> None:
        """Whether the kernel may relay its packets."""
        if direct != self._direct:
            self._direct = direct
            for pair in self.pairs:
                pair.set_direct(direct)

    @property
    def sockets(self) -> int:
        """How many sockets it has, in both pairs."""
        return self.pairs[0].sockets + self.pairs[1].sockets

    def share_rtcp(self, shared: bool) -> None:
        """See :meth:`MediaPorts.share_rtcp`, for both pairs. Raises :class:`NoPorts`."""
        for pair in self.pairs:
            pair.share_rtcp(shared)

    def close(self) -> None:
        for pair in self.pairs:
            pair.watch_reports(None)
            pair.close()
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed(self)


class PendingOffer:
    """An offer that has no final answer so far: the side that offers, as it will be, and the streams that it needs.

    ``offerer`` is the index of that side, ``interfaces`` has that of each side. ``mux`` says, by the index of the media
    section, whether RTCP is to share the RTP port (RFC 5761).
    """

    __slots__ = ("interfaces", "mux", "offerer", "side", "streams")

    def __init__(
        self,
        offerer: int,
        side: SessionSide,
        interfaces: SideInterfaces,
        streams: list[MediaStream | None],
        mux: list[bool],
    ) -> None:
        self.offerer = offerer
        self.side = side
        self.interfaces = interfaces
        self.streams = streams
        self.mux = mux


class MediaState:
    """What the last answered offer agreed on; before that, ``answered`` is False and there are no streams.

    ``offerer`` is the index of the side that offered, ``interfaces`` (None before an answer), ``streams`` and ``mux``
    are as in :class:`PendingOffer`.
    """

    __slots__ = ("answered", "interfaces", "mux", "mux_agreed", "offerer", "sides", "streams")

    def __init__(self, sides: tuple[SessionSide, SessionSide]) -> None:
        self.sides = sides
        self.offerer = 0
        self.interfaces: SideInterfaces | None = None
        self.streams: list[MediaStream | None] = []
        self.mux: list[bool] = []
        self.mux_agreed: list[bool] = []
        """Whether the answer has accepted that RTCP shares the RTP port, by the index of the media section."""
        self.answered = False

    def answer(self, offer: PendingOffer, side: SessionSide) -> MediaState:
        """The state after ``side`` has answered ``offer``."""
        state = MediaState((offer.side, side) if offer.offerer == 0 else (side, offer.side))
        state.offerer = offer.offerer
        state.interfaces = offer.interfaces
        state.streams = offer.streams
        state.mux = offer.mux
        sections = () if side.description is None else side.description.media
        state.mux_agreed = [
            offered and media.attribute("rtcp-mux") is not None
            for offered, media in zip(offer.mux, sections, strict=False)
        ]
        state.answered = True
        return state


class MediaSession:
    """Two sides, their streams by the index of the media section, and the time of the last packet or description.

    An offer changes nothing that is agreed until it is answered (RFC 3264 section 8, RFC 3261 section 14.1):
    ``current`` is the state that media is relayed by, ``pending`` the offer without a final answer. ``previous`` is the
    state to return to while there is only a provisional answer to it.
    """

    __slots__ = (
        "_open", "active", "activity", "counted", "counted_sockets", "created", "current", "due", "established",
        "packets", "pending", "previous", "queued", "session_id",
    )  # fmt: skip

    def __init__(self, session_id: str, sides: tuple[SessionSide, SessionSide], now: float) -> None:
        self.session_id = session_id
        self.current = MediaState(sides)
        self.previous: MediaState | None = None
        self.pending: PendingOffer | None = None
        self._open: list[MediaStream] = []
        self.counted: tuple[MediaStream, ...] = ()
        """Streams that the table has counted."""
        self.counted_sockets = 0
        """Of these streams, when they were counted."""
        self.created = now
        self.active = now
        """When the last description or refresh came, or an expiry last found new packets (seconds)."""
        self.packets = 0
        self.established = False
        """Whether the call is answered: before, nobody has to send."""
        self.activity = SideActivity(now), SideActivity(now)
        """Of each side, since it was answered."""
        self.due: float | None = None
        self.queued: float | None = None

    @property
    def sides(self) -> tuple[SessionSide, SessionSide]:
        """The sides as they are agreed on."""
        return self.current.sides

    @property
    def answered(self) -> bool:
        """Whether an offer has been answered."""
        return self.current.answered

    def side_of(self, tag: str) -> int | None:
        """Index of the side with that tag, or None; "" is the tag of no side."""
        if not tag:
            return None
        for index, side in enumerate(self.current.sides):
            if side.tag == tag:
                return index
        # Another fork that offers has its tag only once it is answered.
        return self.pending.offerer if self.pending is not None and self.pending.side.tag == tag else None

    def reusable(self, index: int, interfaces: SideInterfaces) -> MediaStream | None:
        """The stream of a media section that a new offer goes on with: that of the state, or of an offer before."""
        lists = [self.current.streams] if self.pending is None else [self.current.streams, self.pending.streams]
        for streams in lists:
            stream = streams[index] if index < len(streams) else None
            if stream is not None and stream.interfaces == interfaces:
                return stream
        return None

    # --- offer and answer -----------------------------------------------------------------------------

    def offer(self, pending: PendingOffer) -> None:
        """``pending`` is the offer from now on. What it adds can be sent to its offerer at once (section 5.1)."""
        self.previous = None
        self.pending = pending
        self._open += [stream for stream in pending.streams if stream is not None and stream not in self._open]
        self._apply()

    def answer(self, side: SessionSide, final: bool) -> None:
        """``side`` has answered the pending offer, or, where there is none, answers the last one again.

        An offer in an answered session, a re-INVITE or UPDATE, has the peers of its streams learned again: those that
        say the same as before may be at another port of their NAT by now.
        """
        offer, current = self.pending, self.current
        agreed = current if self.previous is None else self.previous
        offer_is_new = offer is not None
        if offer is None:
            if current.interfaces is None:
                raise ValueError("an answer without an offer")
            offerer = current.offerer
            offer = PendingOffer(offerer, current.sides[offerer], current.interfaces, current.streams, current.mux)
        elif final:
            self.pending = self.previous = None
        elif self.previous is None:
            self.previous = current
        self.current = current.answer(offer, side)
        sections = () if side.description is None else side.description.media
        for stream, media in zip(self.current.streams, sections, strict=False):
            if stream is not None:
                stream.quality.clock_rate = clock_rate_of(media)
        self._apply(agreed.streams if offer_is_new and final and agreed.answered else ())

    def roll_back(self) -> None:
        """Return to what is agreed: the pending offer will have no answer (RFC 8829 section 4.1.10.2)."""
        if self.previous is not None:
            self.current = self.previous
        self.pending = self.previous = None
        self._apply()

    def acknowledge(self, side: int) -> None:
        """Send to the peers of a side without a limit from now on."""
        for state in (self.current, self.previous):
            if state is not None:
                state.sides[side].lift_limits()
        if self.pending is not None and self.pending.offerer == side:
            self.pending.side.lift_limits()
        self._apply()

    def _apply(self, described_again: Sequence[MediaStream | None] = ()) -> None:
        """Close the streams that nothing needs any more, and set the targets of the others; the peers of those that
        were ``described_again`` are learned again."""
        current, pending = self.current, self.pending
        # The kernel relays what is agreed; while that may change, and on hold, each packet is looked at.
        direct = pending is None and not self.on_hold
        for index, stream in enumerate(current.streams):
            if stream is not None:
                if not direct:
                    stream.set_direct(False)
                for n, side in enumerate(current.sides):
                    stream.pairs[n].set_targets(*side.target(index))
                if stream in described_again:
                    for pair in stream.pairs:
                        pair.reopen()
                if direct:
                    stream.set_direct(True)
        if pending is not None:
            for index, stream in enumerate(pending.streams):
                if stream is not None and stream not in current.streams:
                    stream.pairs[pending.offerer].set_targets(*pending.side.target(index))
        for stream in tuple(self._open):
            if not self._needs(stream):
                self._open.remove(stream)
                stream.close()

        self._share_rtcp()

    def _share_rtcp(self) -> None:
        """Close the RTCP ports that are agreed to have no use, once no other answer or a rollback can need them."""
        current = self.current
        settled = self.pending is None and self.previous is None
        for stream, shared in zip(current.streams, current.mux_agreed, strict=False):
            if stream is not None and (settled or not shared):
                try:
                    stream.share_rtcp(shared)
                except NoPorts:
                    pass  # its port is in use elsewhere by now: the call goes on without RTCP

    def _needs(self, stream: MediaStream) -> bool:
        if stream in self.current.streams or (self.pending is not None and stream in self.pending.streams):
            return True
        return self.previous is not None and stream in self.previous.streams

    # --- its life -------------------------------------------------------------------------------------

    @property
    def streams(self) -> list[MediaStream]:
        """The streams that are open."""
        return self._open

    def establish(self, now: float) -> None:
        """The call is answered."""
        self.established = True
        self.expect_media(now)

    def expect_media(self, now: float) -> None:
        """Both sides have as long to send as after the first description."""
        for activity in self.activity:
            activity.begin(now)

    def look(self, now: float) -> None:
        """Compare the numbers of packets with those of the last look."""
        total = 0
        for side, activity in enumerate(self.activity):
            pairs = [stream.pairs[side] for stream in self._open]
            packets = sum(pair.packets for pair in pairs)
            activity.look(packets, sum(pair.rtp_packets for pair in pairs), now)
            total += packets
        if total != self.packets:
            self.packets = total
            self.active = now

    @property
    def on_hold(self) -> bool:
        """Whether a side holds the call: nobody has to send then."""
        return any(side.held for side in self.current.sides)

    @property
    def may_be_silent(self) -> bool:
        """Whether a side has described anything but RTP: with T.38 it is silent for as long as a page takes, and of a
        profile that the relay does not know nothing is known."""
        pairs = [pair for side in self.current.sides for pair in side.targets if pair is not None]
        return any(not rtp.is_rtp for rtp, _ in pairs)

    def lifetime(self, media_timeout: float, hold_timeout: float) -> float:
        """When the session ends if no more packets come and no side refreshes it (seconds, the plane's clock)."""
        end = self.created + limits.CALL_SECONDS + limits.RING_SECONDS
        if not self.established:
            return min(end, self.active + limits.RING_SECONDS + media_timeout)
        if self.on_hold:
            return min(end, self.active + max(media_timeout, hold_timeout))
        return min(end, self.active + media_timeout)

    def close(self) -> None:
        """Close every port of the session."""
        for stream in self._open:
            stream.close()
        self._open = []
