"""MediaServer: the media plane's end of the link to signalling."""

from __future__ import annotations

import socket
from collections import deque
from functools import partial

import trio

from edgesbc.base import limits
from edgesbc.base.log import Log
from edgesbc.base.version import VERSION
from edgesbc.media.commands import (
    Acknowledge,
    Answer,
    Delete,
    Establish,
    MediaSilence,
    MediaTimeout,
    Offer,
    Refresh,
    Restore,
    Rollback,
)
from edgesbc.media.encoding import decode, encode
from edgesbc.media.link_messages import Hello, ListSessions, PrivateSide, SessionsListed
from edgesbc.media.plane import MediaPlane
from edgesbc.media.private_addresses import PrivateAddresses
from edgesbc.media.session_journal import SessionJournal
from edgesbc.processes.packet_link import PacketLink, is_same_user
from edgesbc.tasks.containment import Containment

__all__ = ["MediaServer"]


class MediaServer:
    """Carries out the commands of one signalling process at a time; without one, sessions go on.

    ``private`` gets what signalling tells of the private side. ``containment`` counts and reports faults. The media
    plane is :attr:`plane`, whose events go to :meth:`tell`.
    """

    plane: MediaPlane

    def __init__(self, private: PrivateAddresses, containment: Containment, log: Log) -> None:
        self._private = private
        self._containment = containment
        self._log = log
        self._client: PacketLink | None = None
        self._missed: deque[MediaTimeout | MediaSilence] = deque(maxlen=limits.MEDIA_SESSIONS)
        self.journal = SessionJournal()

    @property
    def linked(self) -> bool:
        """Whether signalling is linked."""
        return self._client is not None

    def tell(self, event: MediaTimeout | MediaSilence) -> None:
        """Tell signalling an event, at the latest when it is linked again."""
        if isinstance(event, MediaTimeout):
            self.journal.ended(event.session_id)
        if self._client is None:
            self._missed.append(event)
        else:
            self._send(self._client, encode(event))

    async def run(self, listening: socket.socket, nursery: trio.Nursery) -> None:
        """Serve each process that connects to ``listening`` in the place of the one before, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(listening)
            try:
                sock, _ = listening.accept()
            except BlockingIOError:
                continue
            sock.setblocking(False)
            if not is_same_user(sock):
                sock.close()
                continue
            if self._client is not None:
                self._client.break_off()
            link = self._client = PacketLink(sock)
            nursery.start_soon(self._serve, sock, link)

    async def _serve(self, sock: socket.socket, link: PacketLink) -> None:
        """One connection of signalling."""
        try:
            with sock, self._containment.contain("signalling link"):
                link.send(encode(Hello(VERSION)))
                self._log.info("linked with signalling", sessions=len(self.journal))
                await link.run(partial(self._receive, link))
        finally:
            if self._client is link:
                self._client = None
                self._log.info("signalling is away: media goes on", sessions=len(self.journal))

    def _send(self, link: PacketLink, data: bytes) -> None:
        link.send(data)
        if len(link) > limits.MEDIA_LINK_QUEUE + limits.MEDIA_SESSIONS:
            link.break_off()  # it does not read; it will link again and ask for what there is

    def _receive(self, link: PacketLink, data: bytes) -> None:
        message, cookie = decode(data)
        if link is not self._client:
            return
        if isinstance(message, Offer | Answer | Restore):
            self.journal.sent(cookie, message)
            reply = None
            with self._containment.contain("media command"):
                reply = self.plane.carry_out(message)
            if reply is None:  # a fault: signalling refuses the message when it has waited long enough
                self.journal.fail_unanswered()
                return
            self.journal.replied(cookie, reply)
            self._send(link, encode(reply, cookie))
        elif isinstance(message, Delete | Establish | Rollback | Acknowledge | Refresh):
            self.journal.sent(cookie, message)
            with self._containment.contain("media command"):
                self.plane.carry_out(message)
        elif isinstance(message, PrivateSide):
            self._private.receive(message)
        elif isinstance(message, ListSessions):
            self._list(link)

    def _list(self, link: PacketLink) -> None:
        while self._missed:
            link.send(encode(self._missed.popleft()))
        for copy in self.journal.copies():
            link.send(encode(copy))
        link.send(encode(SessionsListed()))
