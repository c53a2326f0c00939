"""The media plane's table of calls: NG commands in, replies out, ports asked for and given back. No sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edgesbc.base import limits
from edgesbc.base.deadlines import Deadlines
from edgesbc.base.errors import WireError
from edgesbc.media import ng
from edgesbc.media.latch import MediaInterface, MediaTarget
from edgesbc.media.report import report_call, report_table
from edgesbc.media.session import MediaPorts, MediaSession, MediaStream, NoPorts, PortSource, SessionSide
from edgesbc.media.targets import is_relayed, media_targets
from edgesbc.sdp.rewrite import RelayAddress, rewrite_session
from edgesbc.sdp.session import SessionDescription, parse_session

__all__ = ["SessionTable"]


class SessionTable:
    """Calls by Call-ID and tags, driven by NG commands.

    ``ports`` opens pairs of ports, ``interfaces`` are the sides by name, ``media_timeout`` is how many
    seconds an answered call that is not on hold may go without a packet.
    """

    __slots__ = ("_calls", "_count", "_deadlines", "_interfaces", "_ports", "_timeout", "_verbs", "total")

    def __init__(
        self, ports: PortSource, interfaces: Mapping[str, MediaInterface], media_timeout: float = 60.0
    ) -> None:
        if not interfaces:
            raise ValueError("a media table has at least one interface")
        self._ports = ports
        self._interfaces = dict(interfaces)
        self._timeout = media_timeout
        self._calls: dict[str, list[MediaSession]] = {}
        self._count = 0
        self._deadlines = Deadlines()
        self.total = 0
        """Calls ever made."""
        self._verbs: dict[str, Callable[[Mapping[str, Any], float], dict[str, Any]]] = {
            "ping": self._ping,
            "offer": self._offer,
            "answer": self._answer,
            "delete": self._delete,
            "query": self._query,
            "list": self._list,
            "statistics": self._statistics,
        }

    def __len__(self) -> int:
        return self._count

    def calls(self) -> Iterator[MediaSession]:
        """Every live call."""
        return (call for calls in self._calls.values() for call in calls)

    def command(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        """Carry out one NG command; never raises for what is in it.

        A refusal is ``{"result": "error", "error-reason": ..., "status-hint": ...}``, where the hint is
        the SIP status that fits. Otherwise ``result`` is ``ok`` (``pong`` to a ping), and an offer or answer
        is replied to with the ``sdp`` for the other side, as text or bytes as the command's was. A refused
        command leaves ports and calls as they were.
        """
        try:
            verb = self._verbs.get(ng.read_text(command, "command"))
            if verb is None:
                raise WireError("a command that this media plane does not know")
            return verb(command, now)
        except WireError as error:
            return ng.error(error.reason) | {"status-hint": error.status_hint}
        except NoPorts as error:
            return ng.error(str(error)) | {"status-hint": 503}

    def deadline(self) -> float | None:
        """When :meth:`expire` next has something to look at (seconds)."""
        return self._deadlines.next()

    def expire(self, now: float) -> list[dict[str, Any]]:
        """End the calls that went silent; one ``{"event": "timeout", "call-id", "tags"}`` for each.

        Packets are counted, not timed, so a call is looked at four times in a ``media_timeout``, and
        ends after that time and at most a quarter more.
        """
        events: list[dict[str, Any]] = []
        for call in self._deadlines.pop_due(now):
            if not isinstance(call, MediaSession):
                continue
            packets = call.count_packets()
            if packets != call.packets:
                call.packets = packets
                call.active = now
            if now >= call.lifetime(self._timeout):
                self._remove(call)
                tags = [side.tag for side in call.sides if side.tag]
                events.append({"event": "timeout", "call-id": call.call_id, "tags": tags})
            else:
                self._watch(call, now)
        return events

    def close(self) -> None:
        """End every call without an event."""
        for call in list(self.calls()):
            self._remove(call)

    # --- the commands ---------------------------------------------------------------------------------

    def _ping(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        return {"result": "pong"}

    def _offer(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        call_id, tag = ng.read_text(command, "call-id"), ng.read_text(command, "from-tag")
        _check_tags(command)
        session = parse_session(ng.read_sdp(command))
        call, offerer, known = self._call_for_offer(command, call_id, tag, now)
        names = self._directed(command, call, offerer, known)
        aims = self._aims(command, session, names[offerer])
        if not any(aims):
            raise WireError("the offer has no section that can be relayed", 488)
        self._open_streams(call, [chosen is not None for chosen in aims], names)
        for side, name in zip(call.sides, names, strict=True):
            side.interface = name
        call.sides[offerer].tag = tag
        call.sides[offerer].description = session
        call.offerer = offerer
        call.set_aims(offerer, aims)
        for stream, media in zip(call.streams, session.media, strict=False):
            if stream is not None:
                stream.mux = media.attribute("rtcp-mux") is not None
        if not known:
            self._add(call)
        self._touch(call, now)
        return self._shown(command, call, session, 1 - offerer)

    def _answer(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        call = self._find(command)
        if call is None or call.side_of(ng.read_text(command, "from-tag")) != call.offerer:
            raise WireError("an answer to an offer that was not made", 481)
        _check_tags(command)
        offered = call.sides[call.offerer].description
        session = parse_session(ng.read_sdp(command))
        if offered is None or len(offered.media) != len(session.media):
            raise WireError("an answer has as many sections as its offer (RFC 3264 section 6)", 488)
        answerer = call.sides[1 - call.offerer]
        aims = self._aims(command, session, answerer.interface)
        # another tag is another fork or the next destination: it takes the place of the one before
        answerer.tag = ng.read_text(command, "to-tag")
        answerer.description = session
        call.set_aims(1 - call.offerer, aims)
        call.answered = True
        self._touch(call, now)
        return self._shown(command, call, session, call.offerer)

    def _delete(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        gone = self._matching(command)
        if not gone:
            return {"result": "ok", "warning": "no such call"}
        for call in gone:
            self._remove(call)
        return {"result": "ok"}

    def _query(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        call = self._find(command)
        if call is None:
            raise WireError("no such call", 481)
        return report_call(call)

    def _list(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        limit = command.get("limit", limits.MEDIA_LISTED)
        shown = min(limit, limits.MEDIA_LISTED) if isinstance(limit, int) and limit > 0 else 0
        return {"result": "ok", "calls": list(self._calls)[:shown]}

    def _statistics(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        return report_table(self.calls(), self._count, self.total)

    # --- finding and keeping calls --------------------------------------------------------------------

    def _call_for_offer(
        self, command: Mapping[str, Any], call_id: str, tag: str, now: float
    ) -> tuple[MediaSession, int, bool]:
        """The call, the index of its side that offers, and whether it was there before.

        Matching on tags and not on the Call-ID alone keeps a stranger who reuses one out of the call.
        """
        to_tag = ng.read_text(command, "to-tag", required=False)
        for call in self._calls.get(call_id, ()):
            side = call.side_of(tag)
            if side is not None:
                return call, side, True
        for call in self._calls.get(call_id, ()):
            side = call.side_of(to_tag)
            if side is not None:  # another fork offers in its answer to an INVITE without a description
                return call, 1 - side, True
        if self._count >= limits.MEDIA_CALLS:
            raise NoPorts("the table of calls is full")
        if len(self._calls.get(call_id, ())) >= limits.MEDIA_CALLS_PER_CALL_ID:
            raise WireError("too many calls with one Call-ID")
        first = next(iter(self._interfaces))
        return MediaSession(call_id, (SessionSide(tag, first), SessionSide(to_tag, first)), now), 0, False

    def _directed(self, command: Mapping[str, Any], call: MediaSession, offerer: int, known: bool) -> tuple[str, str]:
        """Interfaces of side 0 and side 1; a later offer without ``direction`` keeps those of before."""
        direction = command.get("direction")
        if direction is None:
            return call.sides[0].interface, call.sides[1].interface
        if not isinstance(direction, list | tuple) or len(direction) != 2:
            raise WireError("direction is a list of two interfaces")
        for name in direction:
            if not isinstance(name, str) or name not in self._interfaces:
                raise WireError("direction names an interface that does not exist")
        return (direction[0], direction[1]) if offerer == 0 else (direction[1], direction[0])

    def _find(self, command: Mapping[str, Any]) -> MediaSession | None:
        return next(iter(self._matching(command)), None)

    def _matching(self, command: Mapping[str, Any]) -> list[MediaSession]:
        calls = self._calls.get(ng.read_text(command, "call-id"), [])
        tag = ng.read_text(command, "from-tag", required=False)
        return [call for call in calls if not tag or call.side_of(tag) is not None]

    def _add(self, call: MediaSession) -> None:
        self._calls.setdefault(call.call_id, []).append(call)
        self._count += 1
        self.total += 1

    def _remove(self, call: MediaSession) -> None:
        call.close()
        self._deadlines.schedule(call, None)
        calls = self._calls[call.call_id]
        calls.remove(call)
        if not calls:
            del self._calls[call.call_id]
        self._count -= 1

    def _touch(self, call: MediaSession, now: float) -> None:
        call.active = now
        self._watch(call, now)

    def _watch(self, call: MediaSession, now: float) -> None:
        self._deadlines.schedule(call, now + self._timeout / 4)

    # --- descriptions and ports -----------------------------------------------------------------------

    def _aims(
        self, command: Mapping[str, Any], session: SessionDescription, name: str
    ) -> list[tuple[MediaTarget, MediaTarget] | None]:
        """Where a description from the interface ``name`` wants media. Raises :class:`WireError`."""
        aims = media_targets(session, self._interfaces[name], ng.read_received_from(command))
        if self._interfaces[name].trusted:
            return aims  # a proxy inside sends a call out again, and its media from one of our ports to another
        for chosen in aims:
            for signalled in (each.signalled for each in chosen or ()):
                if signalled is not None and self._ports.holds(signalled):
                    raise WireError("the media address is the relay itself", 488)
        return aims

    def _open_streams(self, call: MediaSession, wanted: list[bool], names: tuple[str, str]) -> None:
        """Have a stream on the right interfaces for each wanted section, and no other; all or nothing."""
        streams: list[MediaStream | None] = []
        opened: list[MediaPorts] = []
        try:
            for index, want in enumerate(wanted):
                old = call.streams[index] if index < len(call.streams) else None
                if not want or (old is not None and old.interfaces == names):
                    streams.append(old if want else None)
                    continue
                opened.append(self._ports.open(names[0]))
                opened.append(self._ports.open(names[1]))
                streams.append(MediaStream((opened[-2], opened[-1]), names))
        except NoPorts:
            for pair in opened:
                pair.close()
            raise
        for stream in call.streams:
            if stream is not None and stream not in streams:
                stream.close()
        call.streams = streams

    def _shown(
        self, command: Mapping[str, Any], call: MediaSession, session: SessionDescription, side: int
    ) -> dict[str, Any]:
        """The reply with ``session`` as ``side`` is to see it."""
        interface = self._interfaces[call.sides[side].interface]
        places = [
            RelayAddress(stream.pairs[side].port, stream.mux)
            if stream is not None and is_relayed(media)
            else RelayAddress(0)
            for stream, media in zip(call.streams, session.media, strict=True)
        ]
        data = rewrite_session(session, interface.advertise, places).serialise()
        return {"result": "ok", "sdp": data if isinstance(command["sdp"], bytes) else data.decode()}


def _check_tags(command: Mapping[str, Any]) -> None:
    """A tag says whose a description is: two sides of a call have different ones (RFC 3261 section 19.3)."""
    if ng.read_text(command, "from-tag") == ng.read_text(command, "to-tag", required=False):
        raise WireError("both sides have the same tag", 488)
