"""NgServer: carries out the commands of SIP proxies by the media plane. Without I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.base.counts import Counts
from edgesbc.base.deadlines import Deadlines
from edgesbc.base.errors import WireError
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.commands import (
    Answer,
    Delete,
    Establish,
    MediaCommand,
    MediaError,
    MediaReply,
    MediaSilence,
    MediaTimeout,
    Offer,
)
from edgesbc.media.latch import MediaInterface
from edgesbc.media.session import MediaSession
from edgesbc.ng.bencode import decode, decode_first, encode
from edgesbc.ng.descriptions import adapt_answer, adapt_offer, passed_before
from edgesbc.ng.dialogs import NgDialog, NgDialogs
from edgesbc.ng.kept_replies import KeptReplies
from edgesbc.ng.messages import error, frame, split_cookie
from edgesbc.ng.options import NgOptions, read_options
from edgesbc.ng.reports import query_reply, statistics_reply

__all__ = ["COMMANDS", "ControlledMedia", "NgInterfaces", "NgServer"]

COMMANDS: Final = ("ping", "offer", "answer", "delete", "query", "list", "statistics")
"""The commands that are carried out."""
NgInterfaces = Mapping[str, Sequence[MediaInterface]]
"""The interfaces of each name, at most one of each address family; the first name is the default."""

# As rtpengine says them: proxies compare these texts, and try the next media plane.
_NO_SESSION_LEFT: Final = "Parallel session limit reached"
_NO_PORT_LEFT: Final = "Ran out of ports"
_UNKNOWN_CALL: Final = "Unknown call-id"
_UNKNOWN_COMMAND: Final = "Unrecognized command"


class ControlledMedia(Protocol):
    """The media plane, as the NG server uses it."""

    def carry_out(self, command: MediaCommand) -> MediaReply | MediaError | None:
        """Carry out a command at once."""

    def find(self, session_id: str) -> MediaSession | None:
        """The session with that identifier."""

    @property
    def sessions(self) -> int:
        """Number of live sessions."""

    @property
    def packets(self) -> int:
        """Packets received from peers since the start."""


class NgServer:
    """Answers commands of the NG protocol.

    ``instance`` names this process in descriptions that must not come by twice; ``wall_clock`` gives seconds since 1970
    to a time on the monotonic clock. A session beyond ``max_sessions`` is refused. ``counts`` are commands by (command,
    outcome), where a command is one of this program's words and an outcome is ``ok``, ``error``, ``again`` or ``junk``.
    """

    def __init__(
        self,
        media: ControlledMedia,
        interfaces: NgInterfaces,
        instance: str,
        wall_clock: Callable[[float], float],
        now: float,
        max_sessions: int = limits.MEDIA_SESSIONS,
    ) -> None:
        self._media = media
        self._interfaces = interfaces
        self._default = next(iter(interfaces))
        self._instance = instance
        self._wall_clock = wall_clock
        self._most = max_sessions
        self._started = now
        self._dialogs = NgDialogs()
        self._deadlines: Deadlines[NgDialog] = Deadlines()
        self._replies = KeptReplies()
        self._last_answers = KeptReplies(limits.ENDED_CALL_SECONDS)
        self.counts = Counts()
        self.timeouts = 0
        """Sessions that ended for silence."""
        self.total = 0
        """Sessions opened since the start."""
        methods = self._ping, self._offer, self._answer, self._delete, self._query, self._list, self._statistics
        self._commands: Mapping[str, Callable[[Mapping[str, Any], float], dict[str, Any]]]
        self._commands = dict(zip(COMMANDS, methods, strict=True))

    def __len__(self) -> int:
        """Number of dialogs."""
        return len(self._dialogs)

    def call_ids(self) -> list[str]:
        """Each Call-ID once."""
        return list(self._dialogs.call_ids())

    def dialogs_of(self, call_id: str) -> list[NgDialog]:
        """The dialogs of a call."""
        return self._dialogs.of_call(call_id)

    # --- bytes in, bytes out ---------------------------------------------------------------------------

    def receive(self, data: bytes, client: str, now: float) -> bytes | None:
        """The reply to a datagram of ``client``, an address with its port; None for what is none of the NG protocol.

        Raises nothing for what is in it.
        """
        try:
            cookie, rest = split_cookie(data)
        except WireError:
            self.count_junk()
            return None
        kept = self._replies.get((client, cookie), now)
        if kept is not None:
            self.counts.add("any", "again")
            return kept
        reply = frame(cookie, self._carry_out(rest, now))
        self._replies.put((client, cookie), reply, now)
        return reply

    def receive_stream(self, data: bytes, now: float) -> tuple[bytes, int]:
        """The reply to the command that a stream begins with, and the command's size; (b"", 0): it is not complete.

        As Kamailio writes to a Unix socket: a dictionary without a cookie. Raises :class:`WireError` for what is no
        dictionary: the stream cannot go on.
        """
        try:
            value, size = decode_first(data)
            if size == 0:
                return b"", 0
            if not isinstance(value, dict):
                raise WireError("an NG command is a dictionary")
        except WireError:
            self.count_junk()
            raise
        return encode(self._dispatch(value, now)), size

    def count_junk(self) -> None:
        """Something came that is none of the NG protocol."""
        self.counts.add("any", "junk")

    def _carry_out(self, data: bytes, now: float) -> dict[str, Any]:
        try:
            command = decode(data)
            if not isinstance(command, dict):
                raise WireError("an NG command is a dictionary")
        except WireError as broken:
            self.count_junk()
            return error(broken.reason)
        return self._dispatch(command, now)

    def _dispatch(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        name = command.get("command")
        carry_out = self._commands.get(name) if isinstance(name, str) else None
        if carry_out is None:
            self.counts.add("other", "error")
            return error(_UNKNOWN_COMMAND)
        try:
            reply = carry_out(command, now)
        except WireError as refused:
            reply = error(refused.reason)
        self.counts.add(str(name), "error" if reply["result"] == "error" else "ok")
        return reply

    # --- time ---------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is next to be called (seconds), or None."""
        return self._deadlines.next()

    def expire(self, now: float) -> None:
        """End the sessions whose delayed delete is due."""
        for dialog in self._deadlines.pop_due(now):
            self._end(dialog, now)

    def media_event(self, event: MediaTimeout | MediaSilence) -> None:
        """The media plane has ended a session, or tells of one side's silence."""
        if isinstance(event, MediaTimeout):
            dialog = self._dialogs.of_session(event.session_id)
            if dialog is not None:
                self.timeouts += 1
                self._forget(dialog)

    # --- commands -----------------------------------------------------------------------------------------

    def _ping(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        return {"result": "pong"}

    def _offer(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        options = read_options(command)
        sdp = options.sdp.encode("utf-8", "surrogateescape")
        if options.loop_protect and passed_before(sdp, self._instance):
            return {"result": "ok", "sdp": sdp}
        sdp, protocols = adapt_offer(sdp, options, self._instance)
        dialogs, call_id, offerer = self._dialogs, options.call_id, options.from_tag
        found = dialogs.for_offer(call_id, offerer, options.to_tag, options.via_branch)
        dialog = found or dialogs.new(call_id, offerer, options.to_tag, options.via_branch, now)
        # A tag that is new is that of the side which had none.
        side = dialog.side_of(offerer) if offerer in dialog.tags else 1 - dialog.side_of(options.to_tag)
        answerer = options.to_tag or dialog.tags[1 - side]
        facing = self._facing(dialog, side, options)
        reply = self._media.carry_out(
            Offer(
                dialog.session_id, offerer, answerer, sdp, self._zone(facing[0]), self._zone(facing[1]),
                options.received_from, answerer_family=options.family, offerer_interface=facing[0],
                answerer_interface=facing[1], latch=_latch(options),
            )
        )  # fmt: skip
        if not isinstance(reply, MediaReply):
            return self._refusal(reply, options)
        if found is None:
            self.total += 1
            dialogs.add(dialog)
        dialog.tags = (offerer, answerer) if side == 0 else (answerer, offerer)
        dialog.interfaces = facing if side == 0 else (facing[1], facing[0])
        dialog.protocols = protocols
        self._note(dialog, side, options, now)
        return {"result": "ok", "sdp": reply.sdp}

    def _answer(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        options = read_options(command)
        if not options.to_tag:
            raise WireError("no to-tag in the command")
        sdp = options.sdp.encode("utf-8", "surrogateescape")
        if options.loop_protect and passed_before(sdp, self._instance):
            return {"result": "ok", "sdp": sdp}
        dialog = self._dialogs.for_answer(options.call_id, options.from_tag, options.to_tag, options.via_branch)
        if dialog is None:
            # A 2xx is repeated until its ACK comes (RFC 3261 section 13.3.1.4), which the BYE may have overtaken. A
            # proxy that got an error would send on the description as it is.
            names = _answer_names(options.call_id, options.from_tag, options.to_tag)
            kept = self._last_answers.get((names, sdp), now)
            return error(_UNKNOWN_CALL) if kept is None else {"result": "ok", "sdp": kept}
        received = sdp
        sdp = adapt_answer(sdp, options, dialog.protocols)
        reply = self._media.carry_out(
            Answer(
                dialog.session_id, options.from_tag, options.to_tag, sdp, options.received_from, latch=_latch(options)
            )
        )
        if not isinstance(reply, MediaReply):
            return self._refusal(reply, options)
        side = 1 - dialog.side_of(options.from_tag)
        tags = [*dialog.tags]
        tags[side] = options.to_tag
        dialog.tags = tags[0], tags[1]
        dialog.answer = options.from_tag, options.to_tag, received, reply.sdp
        if not dialog.answered:
            # As rtpengine: from the first answer on, silence ends a session. Nothing says whether the call is answered.
            dialog.answered = True
            self._media.carry_out(Establish(dialog.session_id, options.from_tag))
        self._note(dialog, side, options, now)
        return {"result": "ok", "sdp": reply.sdp}

    def _delete(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        options = read_options(command, tags=False)
        ending = self._dialogs.to_end(options.call_id, options.from_tag, options.to_tag, options.via_branch)
        if not ending:
            reason = "Call-ID not found or tags didn't match"
            return error(reason) if options.fatal else {"result": "ok", "warning": reason}
        reply = {"result": "ok", **query_reply([(one, self._media.find(one.session_id)) for one in ending], self._time)}
        for dialog in ending:
            if options.delay:
                self._deadlines.schedule(dialog, now + options.delay)
            else:
                self._end(dialog, now)
        return _fitting(reply)

    def _query(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        options = read_options(command, tags=False)
        dialogs = [
            dialog
            for dialog in self._dialogs.of_call(options.call_id)
            if all(not tag or tag in dialog.tags for tag in (options.from_tag, options.to_tag))
        ]
        if not dialogs:
            return error(_UNKNOWN_CALL)
        sessions = [(dialog, self._media.find(dialog.session_id)) for dialog in dialogs]
        return _fitting({"result": "ok", **query_reply(sessions, self._time)})

    def _list(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        limit = read_options({"call-id": "none", **command}, tags=False).limit
        calls: list[str] = []
        size = limits.NG_COOKIE_BYTES + 64
        for call_id in self._dialogs.call_ids():
            size += len(call_id.encode("utf-8", "surrogateescape")) + 8
            if len(calls) >= limit or size > limits.NG_BYTES:
                break
            calls.append(call_id)
        return {"result": "ok", "calls": calls}

    def _statistics(self, command: Mapping[str, Any], now: float) -> dict[str, Any]:
        return {
            "result": "ok",
            "statistics": statistics_reply(
                self.counts,
                sessions=len(self._dialogs),
                total=self.total,
                timeouts=self.timeouts,
                packets=self._media.packets,
                uptime=int(now - self._started),
            ),
        }

    # --- parts ----------------------------------------------------------------------------------------------

    def _time(self, moment: float) -> int:
        return int(self._wall_clock(moment))

    def _facing(self, dialog: NgDialog, side: int, options: NgOptions) -> tuple[str, str]:
        """The names of the interfaces that face the side that offers and the other one. Raises :class:`WireError`."""
        before = dialog.interfaces if side == 0 else dialog.interfaces[::-1]
        facing = options.direction[0] or before[0] or self._default, options.direction[1] or before[1] or self._default
        for name in facing:
            if name not in self._interfaces:
                raise WireError(f"direction: no interface {name[:40]!a}; there are {', '.join(self._interfaces)}")
        if options.family and all(one.family != options.family for one in self._interfaces[facing[1]]):
            raise WireError(f"address-family: the interface {facing[1]} has no address of {options.family}")
        return facing

    def _zone(self, name: str) -> Zone:
        return self._interfaces[name][0].zone

    def _refusal(self, reply: MediaError | None, options: NgOptions) -> dict[str, Any]:
        if reply is None or reply.status != 503:
            return error("no reply" if reply is None else reply.reason)
        full = self._media.sessions >= self._most
        reason = _NO_SESSION_LEFT if full else _NO_PORT_LEFT
        return {"result": "load limit", "message": reason} if options.load_limit else error(reason)

    def _note(self, dialog: NgDialog, side: int, options: NgOptions, now: float) -> None:
        """Keep what a command that was carried out says of its dialog."""
        dialog.last_signal = now
        self._deadlines.schedule(dialog, None)
        if options.label:
            dialog.labels[side] = options.label
        if options.metadata:
            dialog.metadata = options.metadata
        for _ in options.ignored:
            self.counts.add("flag", "ignored")

    def _end(self, dialog: NgDialog, now: float) -> None:
        if dialog.answer is not None:
            offerer, answerer, sdp, relayed = dialog.answer
            self._last_answers.put((_answer_names(dialog.call_id, offerer, answerer), sdp), relayed, now)
        self._media.carry_out(Delete(dialog.session_id, dialog.tags[0] or dialog.tags[1]))
        self._forget(dialog)

    def _forget(self, dialog: NgDialog) -> None:
        self._deadlines.schedule(dialog, None)
        self._dialogs.remove(dialog)


def _latch(options: NgOptions) -> LatchMode:
    return LatchMode.SYMMETRIC_OFF if options.asymmetric else LatchMode.STRICT


def _answer_names(call_id: str, offerer: str, answerer: str) -> str:
    return f"{call_id}\0{offerer}\0{answerer}"


def _fitting(reply: dict[str, Any]) -> dict[str, Any]:
    """``reply``, or without its details where it would not fit into a datagram."""
    if len(encode(reply)) + limits.NG_COOKIE_BYTES + 1 <= limits.NG_BYTES - 28:
        return reply
    return {"result": "ok", "warning": "the details do not fit into a message"}
