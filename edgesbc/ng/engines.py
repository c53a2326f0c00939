"""RtpengineMedia: the media plane of an edge, where real rtpengines are it; run by trio."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from selectors import EVENT_READ, DefaultSelector
from typing import Protocol, cast

import trio

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone, family_of
from edgesbc.base.counts import Counts
from edgesbc.base.errors import WireError
from edgesbc.base.log import Log
from edgesbc.media.commands import MediaCommand, MediaError, MediaReply, MediaSilence, MediaTimeout
from edgesbc.media.interfaces import MediaInterface
from edgesbc.ng.client import ClientEffect, EngineReply, RtpengineClient, ToEngine
from edgesbc.ng.messages import frame, parse_frame
from edgesbc.ng.settings import RtpengineSettings
from edgesbc.tasks.containment import Containment

__all__ = ["RtpengineMedia", "rtpengines_that_reply"]

_BATCH = 64
"""Datagrams of one rtpengine that are taken in a row."""
_COOKIE_BYTES = 16
"""Random bytes with which cookies begin: who does not see them cannot forge a reply."""


class _RepliesReceiver(Protocol):
    """The signalling plane, as it gets replies and events."""

    def media_replied(self, cookie: int, reply: MediaReply | MediaError) -> None:
        """The reply to a command."""

    def media_event(self, event: MediaTimeout | MediaSilence) -> None:
        """An event."""


class RtpengineMedia:
    """Carries out commands of signalling by the rtpengines ``engines``; see :class:`RtpengineClient`. ``random`` gives
    floats in [0, 1). Its sockets are open while :meth:`run` runs."""

    def __init__(
        self,
        engines: Sequence[RtpengineSettings],
        interfaces: Mapping[Zone, Sequence[MediaInterface]],
        check_seconds: float,
        random: Callable[[], float],
        log: Log,
        containment: Containment,
    ) -> None:
        prefix = os.urandom(_COOKIE_BYTES).hex().encode("ascii")
        self._addresses = [settings.address for settings in engines]
        self._client = RtpengineClient(engines, interfaces, prefix, random, check_seconds, trio.current_time())
        self._log = log
        self._containment = containment
        self._plane: _RepliesReceiver | None = None
        self._sockets: list[socket.socket | None] = [None] * len(engines)
        self._was_up = [True] * len(engines)
        self._wake_at = -math.inf
        self._wake_sooner = trio.Event()
        self._deferred: list[EngineReply | MediaTimeout] = []
        """What the plane gets when it is not carrying out effects itself."""

    def attach(self, plane: _RepliesReceiver) -> None:
        """``plane`` gets replies and events; before :meth:`run`."""
        self._plane = plane

    @property
    def up(self) -> bool:
        """Whether an rtpengine replies."""
        return self._client.up

    @property
    def sessions(self) -> int:
        """Number of sessions."""
        return len(self._client)

    @property
    def counts(self) -> Counts:
        """Commands by (rtpengine, outcome)."""
        return self._client.counts

    def is_up(self, engine: int) -> bool:
        """Whether the rtpengine of that number replies."""
        return self._client.is_up(engine)

    def sessions_at(self, engine: int) -> int:
        """Number of sessions at the rtpengine of that number."""
        return self._client.sessions_at(engine)

    def carry_out(self, cookie: int, command: MediaCommand) -> MediaReply | MediaError | None:
        """Have a command carried out. The reply is None, and comes later, unless it is known at once."""
        reply = None
        for effect in self._client.carry_out(cookie, command, trio.current_time()):
            if isinstance(effect, ToEngine):
                self._send(effect)
            elif isinstance(effect, EngineReply) and effect.cookie == cookie:
                reply = effect.reply
            else:
                self._deferred.append(effect)
        self._wake()
        return reply

    # --- running ---------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Talk to the rtpengines until cancelled. One that cannot be reached is tried again, and keeps nothing up."""
        try:
            for number in range(len(self._addresses)):
                self.connect(number)
            async with trio.open_nursery() as nursery:
                for number in range(len(self._addresses)):
                    reader = _Reader(self, number)
                    nursery.start_soon(self._containment.keep_running, "rtpengine datagrams", reader.run)
                nursery.start_soon(self._containment.keep_running, "rtpengine timer", self._expire)
                task_status.started()
        finally:
            for sock in self._sockets:
                if sock is not None:
                    sock.close()
            self._sockets = [None] * len(self._addresses)

    def connect(self, number: int) -> socket.socket | None:
        """The socket of that rtpengine; None where the kernel knows no way to it now."""
        if self._sockets[number] is None:
            try:
                self._sockets[number] = _connected(self._addresses[number])
            except OSError:
                self._apply(self._client.unreachable(number, trio.current_time()))
        return self._sockets[number]

    def receive(self, number: int) -> None:
        """Take the datagrams that have come from one rtpengine."""
        sock = self._sockets[number]
        if sock is None:
            return
        for _ in range(_BATCH):
            try:
                data = sock.recv(limits.NG_BYTES)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error: nobody listens there
                self._apply(self._client.unreachable(number, trio.current_time()))
                continue
            self._apply(self._client.receive(number, data, trio.current_time()))

    async def _expire(self) -> None:
        while True:
            deadline = self._client.deadline()
            self._wake_at = -math.inf if self._deferred else math.inf if deadline is None else deadline
            self._wake_sooner = trio.Event()
            with trio.move_on_at(self._wake_at):
                await self._wake_sooner.wait()
            # Where this process was kept from running, replies have come in time, and wait in the sockets.
            for number in range(len(self._addresses)):
                self.receive(number)
            deferred, self._deferred = self._deferred, []
            self._apply([*deferred, *self._client.expire(trio.current_time())])

    # --- effects -----------------------------------------------------------------------------------------

    def _apply(self, effects: Sequence[ClientEffect]) -> None:
        for effect in effects:
            if isinstance(effect, ToEngine):
                self._send(effect)
            elif self._plane is not None:
                with self._containment.contain("rtpengine reply"):
                    if isinstance(effect, EngineReply):
                        self._plane.media_replied(effect.cookie, effect.reply)
                    else:
                        self._plane.media_event(effect)
        self._log_changes()
        self._wake()

    def _wake(self) -> None:
        """Have the timer look again, if something is due before it would."""
        deadline = self._client.deadline()
        if self._deferred or (deadline is not None and deadline < self._wake_at):
            self._wake_sooner.set()

    def _send(self, effect: ToEngine) -> None:
        sock = self._sockets[effect.engine]
        if sock is None:
            return
        for _ in range(2):
            try:
                sock.send(effect.data)
            except ConnectionRefusedError:  # the error of a datagram before; this one was not sent
                continue
            except OSError:  # no room, or no way there now: it is repeated
                return
            return

    def _log_changes(self) -> None:
        for number, address in enumerate(self._addresses):
            is_up = self._client.is_up(number)
            if is_up is not self._was_up[number]:
                self._was_up[number] = is_up
                if is_up:
                    self._log.info("rtpengine replies again", address=str(address))
                else:
                    self._log.error("rtpengine does not reply: new calls go to others", address=str(address))


def rtpengines_that_reply(addresses: Sequence[Source], seconds: float) -> list[Source]:
    """Which of them reply to a ping within so many seconds, for a check before an edge runs. It waits meanwhile."""
    found: set[Source] = set()
    with ExitStack() as stack, DefaultSelector() as selector:
        for address in addresses:
            try:
                sock = stack.enter_context(_connected(address))
                sock.send(frame(os.urandom(_COOKIE_BYTES).hex().encode("ascii"), {"command": "ping"}))
            except OSError:
                continue
            selector.register(sock, EVENT_READ, address)
        end = time.monotonic() + seconds
        while selector.get_map() and (left := end - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                selector.unregister(key.fileobj)
                with suppress(OSError, WireError):  # OSError: nobody listens there
                    _, reply = parse_frame(cast("socket.socket", key.fileobj).recv(limits.NG_BYTES))
                    if reply.get("result") == "pong":
                        found.add(key.data)
    return [address for address in addresses if address in found]


class _Reader:
    """The task of one rtpengine's socket."""

    def __init__(self, media: RtpengineMedia, number: int) -> None:
        self._media = media
        self._number = number

    async def run(self) -> None:
        while True:
            sock = self._media.connect(self._number)
            if sock is None:
                await trio.sleep(limits.NG_RECHECK_SECONDS)
            else:
                await trio.lowlevel.wait_readable(sock)
                self._media.receive(self._number)


def _connected(address: Source) -> socket.socket:
    """A UDP socket that receives from ``address`` alone. Raises ``OSError``."""
    family = socket.AF_INET6 if family_of(address.host) == "IP6" else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
