"""The media plane's table of sessions: commands in, replies out, ports opened and closed. Without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.base.deadlines import Deadlines
from edgesbc.base.errors import WireError
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.commands import (
    Answer,
    Consent,
    Delete,
    Establish,
    MediaCommand,
    MediaError,
    MediaReply,
    MediaSilence,
    MediaTimeout,
    Offer,
    Refresh,
    RelayLayout,
    Restore,
    Rollback,
)
from edgesbc.media.families import interfaces_for_offer, interfaces_of_layout
from edgesbc.media.latch import MediaInterface, MediaTarget
from edgesbc.media.port_reserve import SECTION_SOCKETS, PortReserve
from edgesbc.media.quality import QualityHistograms
from edgesbc.media.session import (
    MediaSession,
    MediaStream,
    NoPorts,
    PendingOffer,
    PortSource,
    SectionTargets,
    SessionSide,
    SideInterfaces,
)
from edgesbc.media.side_activity import OneWay, Silence
from edgesbc.media.targets import is_relayed, media_targets
from edgesbc.sdp.rewrite import RelayAddress, rewrite_session
from edgesbc.sdp.session import SessionDescription, parse_session

__all__ = ["SessionTable"]


class SessionTable:
    """Media sessions by identifier and dialog tags.

    ``ports`` opens pairs of ports, ``interfaces`` has one for each zone or one of each address family, and
    ``media_timeout`` is how many seconds an answered session that is not on hold may go without a packet,
    ``hold_timeout`` the same for one on hold.
    Sections with one of ``opaque_profiles`` are relayed whatever their datagrams are.
    There are descriptors for ``max_streams`` media sections with RTCP ports; a part of these, and of the ports, is kept
    for trunks and the private side. Raises :class:`ValueError` where a zone has no interface.

    Drive it by :meth:`receive` for each command and by :meth:`expire` when :meth:`deadline` is reached. ``now``
    is in seconds on one monotonic clock.
    """

    __slots__ = (
        "_count", "_deadlines", "_hold_timeout", "_interfaces", "_most", "_one_way", "_opaque", "_ports", "_reserve",
        "_rtp_timeout", "_sessions", "_timeout", "quality", "total",
    )  # fmt: skip

    def __init__(
        self,
        ports: PortSource,
        interfaces: Mapping[Zone, Sequence[MediaInterface]],
        media_timeout: float = 60.0,
        max_sessions: int | None = None,
        hold_timeout: float = limits.MEDIA_HOLD_SECONDS,
        max_streams: int | None = None,
        one_way: OneWay = OneWay.OFF,
        one_way_timeout: float = limits.ONE_WAY_SECONDS,
        opaque_profiles: Iterable[str] = (),
    ) -> None:
        missing = [zone.value for zone in Zone if not interfaces.get(zone)]
        if missing:
            raise ValueError(f"expected a media interface for each zone, found none for {', '.join(missing)}")
        self._ports = ports
        self._interfaces = dict(interfaces)
        self._timeout = media_timeout
        self._hold_timeout = hold_timeout
        self._reserve = PortReserve(interfaces, max_streams)
        self._one_way = one_way
        self._rtp_timeout = one_way_timeout
        self._opaque = frozenset([profile.upper() for profile in opaque_profiles])
        self._most = limits.MEDIA_SESSIONS if max_sessions is None else max_sessions
        self._sessions: dict[str, list[MediaSession]] = {}
        self._count = 0
        self._deadlines: Deadlines[MediaSession] = Deadlines()
        self.total = 0
        """Sessions opened since the start."""
        self.quality = QualityHistograms()
        """What sides have reported of media sections that have ended."""

    def __len__(self) -> int:
        return self._count

    def sessions(self) -> Iterator[MediaSession]:
        """Every live session."""
        return (session for sessions in self._sessions.values() for session in sessions)

    def find(self, session_id: str) -> MediaSession | None:
        """The first session with that identifier, or None."""
        return next(iter(self._sessions.get(session_id, ())), None)

    def receive(self, command: MediaCommand, now: float) -> MediaReply | MediaError | None:
        """Carry out one command; None is the reply to any but an :class:`Offer`, an :class:`Answer` and a
        :class:`Restore`. Raises nothing for what is in it.

        A refused command leaves ports and sessions as they were.
        """
        try:
            if isinstance(command, Offer):
                return self._offer(command, now)
            if isinstance(command, Answer):
                return self._answer(command, now)
            if isinstance(command, Restore):
                return self._restore(command, now)
        except WireError as error:
            return MediaError(error.status_hint, error.reason)
        except NoPorts as refusal:
            return MediaError(503, str(refusal))
        if isinstance(command, Rollback):
            self._roll_back(command)
            return None
        for session in self._find_all(command.session_id, command.tag):
            side = session.side_of(command.tag)
            if isinstance(command, Delete):
                self._remove(session)
            elif isinstance(command, Refresh):
                self._touch(session, now)
            elif isinstance(command, Establish):
                session.establish(now)
                self._touch(session, now)
            elif side is not None:
                session.acknowledge(side)
        return None

    def deadline(self) -> float | None:
        """When :meth:`expire` is next to be called (seconds), or None while there is no session."""
        return self._deadlines.next()

    def expire(self, now: float) -> list[MediaTimeout | MediaSilence]:
        """End the sessions that received nothing for too long, also of one side; one event for each.

        Packets are counted and not timed: a session is looked at four times in a ``media_timeout``, and
        ends after that time and at most a quarter more.
        """
        events: list[MediaTimeout | MediaSilence] = []
        for session in self._deadlines.pop_due(now):
            session.look(now)
            ended = now >= session.lifetime(self._timeout, self._hold_timeout)
            silent = () if ended else self._silent_sides(session, now)
            if ended or (silent and self._one_way is OneWay.END):
                self._remove(session)
                tags = tuple(side.tag for side in session.sides if side.tag)
                events.append(MediaTimeout(session.session_id, tags, silent))
            else:
                events += silent or self._warnings(session, now)
                self._watch(session, now)
        return events

    def _silent_sides(self, session: MediaSession, now: float) -> tuple[MediaSilence, ...]:
        """The sides that have fallen silent, and were not reported yet."""
        if not self._watches_sides(session):
            return ()
        silent = []
        for side, activity in zip(session.sides, session.activity, strict=True):
            missing = activity.silence(self._timeout, self._rtp_timeout, now)
            if missing is not None and not activity.reported:
                activity.reported = True
                seconds = self._timeout if missing is Silence.PACKETS else self._rtp_timeout
                silent.append(MediaSilence(session.session_id, side.tag, missing.value, seconds))
        return tuple(silent)

    def _warnings(self, session: MediaSession, now: float) -> list[MediaSilence]:
        """The side that has been silent for half of the time after which the session ends, while the other one sends;
        each side once until it is heard again."""
        if self._one_way is not OneWay.END or not self._watches_sides(session):
            return []
        timeouts = self._timeout / 2, self._rtp_timeout / 2
        silent = [activity.silence(*timeouts, now) for activity in session.activity]
        if None not in silent:
            return []
        warnings = []
        for side, activity, missing in zip(session.sides, session.activity, silent, strict=True):
            if missing is not None and not activity.warned:
                activity.warned = True
                seconds = timeouts[0] if missing is Silence.PACKETS else timeouts[1]
                warnings.append(MediaSilence(session.session_id, side.tag, missing.value, seconds))
        return warnings

    def _watches_sides(self, session: MediaSession) -> bool:
        """Whether both sides of a session have to send: it is answered, is not on hold and has RTP alone."""
        if self._one_way is OneWay.OFF or not session.established:
            return False
        return not (session.on_hold or session.may_be_silent)

    def close(self) -> None:
        """End every session without an event."""
        for session in list(self.sessions()):
            self._remove(session)

    # --- offer and answer -----------------------------------------------------------------------------

    def _offer(self, offer: Offer, now: float, layout: RelayLayout | None = None) -> MediaReply:
        """``layout`` is that of a session which is restored."""
        _check_names(offer)
        description = parse_session(offer.sdp)
        session, offerer, known = self._session_for_offer(offer, now)
        interfaces = interfaces_for_offer(
            self._interfaces, offer, description, offerer, session.current.interfaces, self._opaque
        )
        if layout is not None:
            interfaces = interfaces_of_layout(self._interfaces, interfaces, layout, offerer)
        targets = self._targets(description, interfaces[offerer], offer)
        if not any(targets):
            raise WireError("the offer has no section that can be relayed", 488)
        wanted = [pair is not None for pair in targets]
        ports = None if layout is None else [pair if offerer == 0 else (pair[1], pair[0]) for pair in layout.ports]
        mux = [media.attribute("rtcp-mux") is not None for media in description.media]
        streams = self._open_streams(session, wanted, mux, interfaces, offer.reserved, ports)
        side = SessionSide(offer.offerer, offer.offerer_zone, description, targets)
        session.offer(PendingOffer(offerer, side, interfaces, streams, mux))
        self._reserve.count(session)
        if not known:
            self._add(session)
        self._touch(session, now)
        return self._reply(description, interfaces, offerer, 1 - offerer, streams, mux)

    def _answer(self, answer: Answer, now: float) -> MediaReply:
        _check_names(answer)
        session = next(iter(self._find_all(answer.session_id, answer.offerer)), None)
        if session is None or _offerer_of(session) != answer.offerer:
            raise WireError("an answer to an offer that was not made", 481)
        if not answer.answerer:
            raise WireError("an answer whose sender has no tag")
        pending, current = session.pending, session.current
        offerer = pending.offerer if pending is not None else current.offerer
        offered = pending.side if pending is not None else current.sides[offerer]
        interfaces = pending.interfaces if pending is not None else current.interfaces
        description = parse_session(answer.sdp)
        if (
            offered.description is None
            or interfaces is None
            or len(offered.description.media) != len(description.media)
        ):
            raise WireError("an answer has as many sections as its offer (RFC 3264 section 6)", 488)
        facing = interfaces[1 - offerer]
        targets = self._targets(description, facing, answer)
        streams = pending.streams if pending is not None else current.streams
        relayed = any(target and stream for target, stream in zip(targets, streams, strict=True))
        if not relayed and any(media.port for media in description.media):
            raise WireError("the answer has no section that can be relayed", 488)
        session.answer(SessionSide(answer.answerer, facing.zone, description, targets), answer.final)
        session.expect_media(now)
        self._reserve.count(session)
        self._touch(session, now)
        state = session.current
        return self._reply(description, interfaces, offerer, offerer, state.streams, state.mux)

    def _restore(self, command: Restore, now: float) -> MediaReply:
        offer, answer = command.offer, command.answer
        known = bool(
            self._find_all(offer.session_id, offer.offerer) or self._find_all(offer.session_id, offer.answerer)
        )
        reply = self._offer(attrs.evolve(offer, reserved=True), now, command.layout)
        if answer is None:
            return reply
        try:
            return self._answer(answer, now)
        except WireError:
            if known:
                self._roll_back(Rollback(offer.session_id, offer.offerer))
            else:
                self.receive(Delete(offer.session_id, offer.offerer), now)
            raise

    def _roll_back(self, command: Rollback) -> None:
        for session in self._sessions.get(command.session_id, ()):
            pending = session.pending
            if pending is not None and pending.side.tag == command.offerer:
                session.roll_back()
                self._reserve.count(session)

    # --- the sessions ---------------------------------------------------------------------------------

    def _session_for_offer(self, offer: Offer, now: float) -> tuple[MediaSession, int, bool]:
        """The session, the index of its side that offers, and whether it existed before.

        Sessions are matched by tags and not by the identifier alone, so that another sender with the same Call-ID does
        not get into the call.
        """
        sessions = self._sessions.get(offer.session_id, ())
        for session in sessions:
            side = session.side_of(offer.offerer)
            if side is not None:
                return session, side, True
        for session in sessions:
            side = session.side_of(offer.answerer)
            if side is not None:  # another fork offers in its answer to an INVITE without a description
                return session, 1 - side, True
        if self._count >= self._most:
            raise NoPorts("the table of media sessions is full")
        if len(sessions) >= limits.MEDIA_SESSIONS_PER_ID:
            raise WireError("too many media sessions with one Call-ID")
        sides = SessionSide(offer.offerer, offer.offerer_zone), SessionSide(offer.answerer, offer.answerer_zone)
        return MediaSession(offer.session_id, sides, now), 0, False

    def _find_all(self, session_id: str, tag: str) -> list[MediaSession]:
        return [session for session in self._sessions.get(session_id, ()) if session.side_of(tag) is not None]

    def _add(self, session: MediaSession) -> None:
        self._sessions.setdefault(session.session_id, []).append(session)
        self._count += 1
        self.total += 1

    def _remove(self, session: MediaSession) -> None:
        session.close()
        self._reserve.count(session)
        self._deadlines.schedule(session, None)
        sessions = self._sessions[session.session_id]
        sessions.remove(session)
        if not sessions:
            del self._sessions[session.session_id]
        self._count -= 1

    def _record_quality(self, stream: MediaStream) -> None:
        for side, interface in enumerate(stream.interfaces):
            summary = stream.quality.summary(side)
            if summary is not None:
                self.quality.record(interface.zone, summary)

    def _touch(self, session: MediaSession, now: float) -> None:
        session.active = now
        self._watch(session, now)

    def _watch(self, session: MediaSession, now: float) -> None:
        self._deadlines.schedule(session, now + self._timeout / 4)

    # --- descriptions and ports -----------------------------------------------------------------------

    def _targets(
        self, description: SessionDescription, interface: MediaInterface, command: Offer | Answer
    ) -> SectionTargets:
        """Where the description of ``command`` wants media from ``interface``. Raises :class:`WireError`."""
        # Of an offer, sections of another family are rejected (RFC 3264 section 6); an answer has that of its offer.
        one_family = isinstance(command, Answer)
        targets = media_targets(description, interface, command.received_from, one_family, self._opaque)
        mode = command.latch
        if mode is not LatchMode.STRICT:
            targets = [pair and (pair[0].with_latch(mode), pair[1].with_latch(mode)) for pair in targets]
        if not interface.trusted:
            targets = _first_sections(targets)
        if interface.trusted:
            return targets  # a proxy inside sends the call out again: media goes from one relay port to another
        for pair in targets:
            for target in pair or ():
                if target.signalled is not None and self._ports.holds(target.signalled):
                    raise WireError("the media address is the relay itself", 488)
        if command.consent is Consent.ANY:
            return targets
        source = command.received_from if command.consent is Consent.SOURCE else ""
        return [pair and (_limited(pair[0], source), _limited(pair[1], source)) for pair in targets]

    def _reply(
        self,
        description: SessionDescription,
        interfaces: SideInterfaces,
        offerer: int,
        receiver: int,
        streams: list[MediaStream | None],
        mux: list[bool],
    ) -> MediaReply:
        """The reply with the description that the side ``receiver`` is to get."""
        addresses = [
            RelayAddress(stream.pairs[receiver].port, shared)
            if stream is not None and is_relayed(media, self._opaque)
            else RelayAddress(0)
            for stream, shared, media in zip(streams, mux, description.media, strict=True)
        ]
        layout = RelayLayout(
            (interfaces[offerer].address, interfaces[1 - offerer].address),
            tuple(
                (0, 0) if stream is None else (stream.pairs[offerer].port, stream.pairs[1 - offerer].port)
                for stream in streams
            ),
        )
        return MediaReply(rewrite_session(description, interfaces[receiver].advertise, addresses).serialise(), layout)

    def _open_streams(
        self,
        session: MediaSession,
        wanted: list[bool],
        mux: list[bool],
        interfaces: SideInterfaces,
        reserved: bool,
        ports: Sequence[tuple[int, int]] | None,
    ) -> list[MediaStream | None]:
        """A stream on these interfaces for each wanted section; all or nothing. Those that the session has are used
        again, and none of them is closed; those that do not offer to share the RTP port by ``mux`` have one for RTCP.
        ``ports`` has the RTP ports of each section that face side 0 and side 1; 0:
        any.

        Raises :class:`NoPorts` where there would be more than before, ``reserved`` is False and those that are left
        are kept for trunks.
        """
        streams = [session.reusable(index, interfaces) if want else None for index, want in enumerate(wanted)]
        reopened = [
            stream for stream, shared in zip(streams, mux, strict=True) if stream is not None and not shared
            and stream.sockets < SECTION_SOCKETS
        ]  # fmt: skip
        if not reserved:
            kept = [stream for stream in session.current.streams if stream is not None]
            after = [stream.interfaces for stream in kept]
            after += [interfaces for index, want in enumerate(wanted) if want and streams[index] not in kept]
            sockets = sum(SECTION_SOCKETS if stream in reopened else stream.sockets for stream in kept)
            sockets += SECTION_SOCKETS * (len(after) - len(kept))
            self._reserve.check(session, after, sockets)
        opened: list[MediaStream] = []
        try:
            for stream in reopened:
                stream.share_rtcp(False)
            for index, want in enumerate(wanted):
                if want and streams[index] is None:
                    known = (0, 0) if ports is None or index >= len(ports) else ports[index]
                    opened.append(MediaStream(self._ports.open(interfaces, known), interfaces, self._record_quality))
                    streams[index] = opened[-1]
        except NoPorts:
            for stream in opened:
                stream.close()
            for stream in reopened:
                stream.share_rtcp(True)
            raise
        return streams


def _offerer_of(session: MediaSession) -> str | None:
    """The tag of the side whose offer an answer is for: the pending one, or else the last that was answered."""
    if session.pending is not None:
        return session.pending.side.tag
    current = session.current
    return current.sides[current.offerer].tag if current.answered else None


def _check_names(command: Offer | Answer) -> None:
    """Raise :class:`WireError` for an identifier or tags that a session cannot be kept under.

    A tag says which side sent a description: two sides of a call have different ones (RFC 3261 section 19.3).
    """
    if not command.offerer:
        raise WireError("an offer whose sender has no tag")
    for name in (command.session_id, command.offerer, command.answerer):
        if len(name.encode("utf-8", "surrogateescape")) > limits.MEDIA_NAME_BYTES:
            raise WireError(f"a Call-ID or tag of more than {limits.MEDIA_NAME_BYTES} bytes")
    if command.offerer == command.answerer:
        raise WireError("both sides have the same tag", 488)


def _limited(target: MediaTarget, source: str) -> MediaTarget:
    """``target`` with a limit, unless its peer can be at the address ``source`` only."""
    return target if target.learn_from <= {source} else target.with_limit(True)


def _first_sections(
    targets: SectionTargets,
) -> SectionTargets:
    """The targets of as many sections as a call may have; the others are rejected (RFC 3264 section 6)."""
    left = limits.MEDIA_SECTIONS
    kept: SectionTargets = []
    for pair in targets:
        kept.append(pair if left > 0 else None)
        left -= pair is not None
    return kept
