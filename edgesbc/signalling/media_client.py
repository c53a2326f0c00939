"""The signalling core's side of the media plane: NG commands out, replies in, and who waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.base.reasons import Reason
from edgesbc.signalling.calls import Call
from edgesbc.signalling.effects import Media
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.sip.message import Message

__all__ = ["MediaCallback", "MediaClient", "MediaRefusal", "PendingMediaReply", "has_sdp", "hides_sdp"]


class MediaRefusal:
    """The media plane would not: ``status`` is the SIP status that fits, ``why`` its words."""

    __slots__ = ("status", "why")

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        self.why = why


MediaCallback = Callable[[bytes | MediaRefusal, float], None]


class PendingMediaReply:
    """Somebody who waits for the media plane; ``then`` gets the new SDP, or a refusal."""

    __slots__ = ("cookie", "due", "queued", "then")

    def __init__(self, cookie: int, then: MediaCallback) -> None:
        self.cookie = cookie
        self.then = then
        self.due: float | None = None
        self.queued: float | None = None


class MediaClient:
    """Sends media through the media plane. Where ``enabled`` is False, SDP passes as it is."""

    __slots__ = ("_board", "_cookie", "_waiting", "enabled")

    def __init__(self, board: Switchboard, enabled: bool) -> None:
        self._board = board
        self._cookie = 0
        self._waiting: dict[int, PendingMediaReply] = {}
        self.enabled = enabled

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(
        self,
        call: Call,
        message: Message,
        offerer: str,
        other: str,
        sender: Flow,
        zone: Zone,
        then: MediaCallback,
        now: float,
    ) -> None:
        """Anchor an offer: the SDP of ``message`` on its way from ``sender`` to the side ``zone``.

        ``offerer`` is the dialog tag of its sender, ``other`` that of the other side, "" before it has one.
        """
        tags = {"from-tag": offerer, "to-tag": other} if other else {"from-tag": offerer}
        self._ask(call, "offer", message, tags, sender, zone, then, now)

    def answer(
        self,
        call: Call,
        message: Message,
        offerer: str,
        answerer: str,
        sender: Flow,
        zone: Zone,
        then: MediaCallback,
        now: float,
    ) -> None:
        """Anchor the answer of ``answerer`` to the last offer of ``offerer``; both are dialog tags."""
        tags = {"from-tag": offerer, "to-tag": answerer}
        self._ask(call, "answer", message, tags, sender, zone, then, now)

    def _ask(
        self,
        call: Call,
        verb: str,
        message: Message,
        tags: dict[str, str],
        sender: Flow,
        zone: Zone,
        then: MediaCallback,
        now: float,
    ) -> None:
        host = sender.peer[0]
        self._cookie += 1
        waiting = self._waiting[self._cookie] = PendingMediaReply(self._cookie, then)
        self._board.deadlines.schedule(waiting, now + limits.MEDIA_REPLY_SECONDS)
        command: dict[str, Any] = {
            "command": verb,
            "call-id": call.media_id,
            **tags,
            "sdp": message.body,
            "direction": [sender.listener.zone.value, zone.value],
            "received-from": ["IP6" if ":" in host else "IP4", host],
            "replace": ["origin", "session-connection"],
            "ICE": "remove",
        }
        call.anchored = True
        self._board.emit(Media(self._cookie, command))

    def replied(self, cookie: int, reply: dict[str, Any], now: float) -> None:
        """The media plane's reply to an offer or answer; one that nobody waits for any more is ignored."""
        waiting = self._waiting.pop(cookie, None)
        if waiting is None:
            return
        self._board.deadlines.schedule(waiting, None)
        if reply.get("result") == "ok":
            sdp = reply.get("sdp")
            if isinstance(sdp, str):  # NG carries it as text, which bencoding turns into bytes
                sdp = sdp.encode("utf-8", "surrogateescape")
            waiting.then(sdp if isinstance(sdp, bytes) else MediaRefusal(500, "a reply without a description"), now)
        else:
            why = str(reply.get("error-reason", "no reason given"))
            waiting.then(MediaRefusal(reply.get("status-hint", Reason.NO_MEDIA.status), why), now)

    def expire(self, waiting: PendingMediaReply, now: float) -> None:
        """The media plane did not reply in time."""
        if self._waiting.pop(waiting.cookie, None) is not None:
            waiting.then(MediaRefusal(500, "the media plane did not reply in time"), now)

    def delete(self, call: Call) -> None:
        self._cookie += 1
        command = {"command": "delete", "call-id": call.media_id, "from-tag": call.caller.tag}
        self._board.emit(Media(self._cookie, command))


def has_sdp(message: Message) -> bool:
    """Whether the body is a session description (RFC 3264)."""
    if not message.body:
        return False
    return _kind(message) == "application/sdp"


def hides_sdp(message: Message) -> bool:
    """Whether SDP may stand in a multipart body or in one of no kind, where it would pass the media plane by."""
    return bool(message.body) and (not _kind(message) or _kind(message).startswith("multipart/"))


def _kind(message: Message) -> str:
    """Type and subtype of the body; space may stand about the slash (RFC 3261 section 25.1 *SLASH*)."""
    return "".join((message.get("Content-Type") or "").partition(";")[0].split()).lower()
