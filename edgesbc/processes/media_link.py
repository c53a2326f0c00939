"""MediaLink: signalling's end of the link to a media plane in another process.

While there is no link, offers and answers are refused with 503, and calls go on. When there is one again, the media
plane gets back the sessions that it does not have: those of before its end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import trio

from edgesbc.base import limits
from edgesbc.base.log import Log
from edgesbc.media.commands import (
    Answer,
    Delete,
    MediaCommand,
    MediaError,
    MediaReply,
    MediaSilence,
    MediaTimeout,
    Offer,
    Restore,
)
from edgesbc.media.encoding import LinkError, decode, encode
from edgesbc.media.link_messages import Hello, LinkMessage, ListSessions, SessionsListed
from edgesbc.media.private_addresses import messages_of
from edgesbc.media.session_journal import SessionCopy, SessionJournal
from edgesbc.processes.packet_link import PacketLink, connect_link
from edgesbc.transport.plane import SignallingPlane

__all__ = ["MediaLink"]

_AWAY: Final = MediaError(503, "the media plane is being started again")
_BEHIND: Final = MediaError(503, "the media plane has too much to do")
_FIRST_RESTORE: Final = 1 << 63
"""The first cookie of commands that restore sessions: signalling counts its own from 1."""


class MediaLink:
    """Keeps a link to the media plane that listens at ``path``.

    The first time that it is linked, it takes over the sessions that the media plane has from an earlier run of
    signalling.
    """

    def __init__(self, path: Path, log: Log) -> None:
        self._path = path
        self._log = log
        self._plane: SignallingPlane | None = None
        self._link: PacketLink | None = None
        self._private_side: tuple[int, int] | None = None
        """The version of the private side that the media plane knows."""
        self._listed: list[SessionCopy] = []
        self._took_over = False
        self._cookies: Iterator[int] = itertools.count(_FIRST_RESTORE)
        self._restoring: dict[int, SessionCopy] = {}
        self._linked = trio.Event()
        self.journal = SessionJournal()

    def attach(self, plane: SignallingPlane) -> None:
        """``plane`` gets replies and events; before :meth:`run`."""
        self._plane = plane

    @property
    def up(self) -> bool:
        """Whether the media plane takes commands."""
        return self._link is not None and not self._link.broken

    def carry_out(self, cookie: int, command: MediaCommand) -> MediaReply | MediaError | None:
        """Send a command. The reply is None, and comes later, unless it could not be sent."""
        link = self._link
        is_asked = isinstance(command, Offer | Answer | Restore)
        if link is None or link.broken or len(link) > limits.MEDIA_LINK_QUEUE:
            if is_asked:
                return _AWAY if link is None or link.broken else _BEHIND
            if link is None or link.broken:
                self.journal.sent(cookie, command)
                return None
        try:
            data = encode(command, cookie)
        except LinkError as error:
            if is_asked:
                return MediaError(488, str(error))
            raise
        self._tell_private_side(link)
        self.journal.sent(cookie, command)
        link.send(data)
        return None

    def _tell_private_side(self, link: PacketLink) -> None:
        """Tell the media plane the addresses of the private side, if they have changed."""
        edge = self._plane_of().edge
        version = edge.private_side_version
        if version != self._private_side:
            self._private_side = version
            for message in messages_of(edge.private_side):
                link.send(encode(message))

    # --- the connection ----------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the link until cancelled. Started when it is there for the first time, or could not be there for
        ``limits.MEDIA_LINK_START_SECONDS``."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._plane_of().containment.keep_running, "media link", self._keep_linked)
            with trio.move_on_after(limits.MEDIA_LINK_START_SECONDS):
                await self._linked.wait()
            task_status.started()

    async def _keep_linked(self) -> None:
        pause = limits.MEDIA_LINK_SECONDS_LEAST
        while True:
            try:
                sock = await connect_link(self._path)
            except OSError:  # the socket is not bound yet, or its backlog is full
                await trio.sleep(pause)
                pause = min(2 * pause, limits.MEDIA_LINK_SECONDS_MOST)
                continue
            try:
                with sock, self._plane_of().containment.contain("media link"):
                    link = PacketLink(sock)
                    await link.run(partial(self._receive, link))
                if self._link is not None:
                    self._log.error("the media plane is away: new calls are refused", sessions=len(self.journal))
            finally:
                self._lost()
            await trio.sleep(pause)
            pause = limits.MEDIA_LINK_SECONDS_LEAST

    def _lost(self) -> None:
        """The link has ended: no reply comes any more."""
        self._link = self._private_side = None
        self._listed.clear()
        self._restoring.clear()
        for cookie in self.journal.fail_unanswered():
            self._plane_of().media_replied(cookie, _AWAY)

    def _plane_of(self) -> SignallingPlane:
        if self._plane is None:
            raise RuntimeError("the link is not attached")
        return self._plane

    # --- receiving ---------------------------------------------------------------------------------------

    def _receive(self, link: PacketLink, data: bytes) -> None:
        message, cookie = decode(data)
        with self._plane_of().containment.contain("media link message"):
            self._take(link, message, cookie)

    def _take(self, link: PacketLink, message: LinkMessage, cookie: int) -> None:
        if isinstance(message, MediaReply | MediaError):
            if cookie >= _FIRST_RESTORE:
                self._restored(cookie, message)
            else:
                self.journal.replied(cookie, message)
                self._plane_of().media_replied(cookie, message)
        elif isinstance(message, MediaTimeout):
            self.journal.ended(message.session_id)
            self._plane_of().media_event(message)
        elif isinstance(message, MediaSilence):
            self._plane_of().media_event(message)
        elif isinstance(message, Hello):
            self._tell_private_side(link)
            link.send(encode(ListSessions()))
        elif isinstance(message, SessionCopy):
            self._listed.append(message)
        elif isinstance(message, SessionsListed):
            self._synchronise(link)

    def _synchronise(self, link: PacketLink) -> None:
        """Agree with the media plane on the sessions that there are, and use the link from now on."""
        listed, self._listed = self._listed, []
        known = {copy.session_id for copy in listed}
        for copy in self.journal.copies():
            if copy.session_id not in known:
                self._restore(link, copy)
        self._link = link
        if not self._took_over:
            self._took_over = True
            for copy in listed:
                self.journal.take_over(copy)
            plane = self._plane_of()
            plane.carry_out(plane.edge.adopt_sessions(listed))
        else:
            for copy in listed:
                if copy.session_id not in self.journal:  # its call has ended meanwhile
                    for tag in copy.tags[:1]:
                        link.send(encode(Delete(copy.session_id, tag)))
        self._log.info("linked with the media plane", sessions=len(listed), restored=len(self._restoring))
        self._linked.set()

    def _restore(self, link: PacketLink, copy: SessionCopy) -> None:
        for command in copy.commands:
            cookie = 0
            if isinstance(command, Restore):
                cookie = next(self._cookies)
                self._restoring[cookie] = copy
            link.send(encode(command, cookie))

    def _restored(self, cookie: int, reply: MediaReply | MediaError) -> None:
        """The media plane has restored a session, or has not: then its call has no media, as after a time-out."""
        copy = self._restoring.pop(cookie, None)
        if copy is None or isinstance(reply, MediaReply) or copy.session_id not in self.journal:
            return
        self._log.error("a media session is lost", session=copy.session_id, reason=reply.reason)
        if self._link is not None:
            for tag in copy.tags[:1]:
                self._link.send(encode(Delete(copy.session_id, tag)))
        self.journal.ended(copy.session_id)
        self._plane_of().media_event(MediaTimeout(copy.session_id, copy.tags))
