"""A connection without I/O: its stack of layers, its deadlines, and its keep-alive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from edgesbc.base import limits
from edgesbc.base.address import Transport
from edgesbc.sip.framing import PING, PONG
from edgesbc.streams.layer import StreamCounts, StreamEnd, StreamLayer
from edgesbc.streams.sip_stream import SipLayer
from edgesbc.streams.tls import TlsContext, TlsLayer
from edgesbc.streams.websocket import WebSocketLayer

__all__ = ["StreamSession", "client_session", "server_session"]

_BLANK: Final = b"\r\n\0"
"""What a keep-alive consists of, that of older clients too. A WebSocket may bring one of any length."""


class StreamSession:
    """One connection: received bytes become SIP messages, messages become bytes to write. ``open_by`` is the deadline
    of its opening handshakes. All times are in seconds, of the clock of ``now``.

    After each call of :meth:`receive`, pass the messages on, write :meth:`take_output` and look at ``end``. If the call
    has opened the session, write :meth:`take_output` before anything else. Bytes must be written in the order in which
    the methods return them. Call :meth:`expire` at ``deadline``.

    Three absolute deadlines follow one another: for all opening handshakes, for the first message, and then for each
    message from its first byte to its last. ``first_message`` is the time for the first one in seconds; after it the
    peer may be silent for ``limits.IDLE_SECONDS`` between messages.

    ``unregistered_idle`` is the shorter silence, in seconds, that a peer is allowed which :meth:`expire` is not told to
    spare; keep-alives, Ping and Pong frames are silence here. It holds for the first message too. The session does not
    know what its peer has proven, so it asks when this time is over, and again after the same time: a peer that has
    lost its registration or call is found out no later than that. ``math.inf``: all peers may be silent alike.

    ``ping`` is the silence after which the peer of a WebSocket is sent a Ping frame; if nothing comes from it within
    ``limits.PONG_SECONDS``, the session ends. 0: no Ping is sent.
    """

    __slots__ = (
        "_control_frames", "_end_at", "_first_message", "_handshake_end", "_look_at", "_message_begun", "_message_by",
        "_ping", "_ping_at", "_ping_due", "_ping_sent", "_pong_due", "_silent_until", "_spared", "_unregistered_idle",
        "deadline", "layer",
    )  # fmt: skip

    def __init__(
        self,
        layer: StreamLayer,
        now: float,
        open_by: float,
        ping: float,
        first_message: float,
        unregistered_idle: float = math.inf,
    ) -> None:
        self.layer = layer
        self._first_message = first_message
        self._unregistered_idle = unregistered_idle
        self._handshake_end = b""  # the last bytes of the opening handshakes: nothing is written before them
        self._pong_due = False  # whether a keep-alive is not answered yet
        self._message_begun = -1.0  # when the first bytes of an incomplete message came; negative: there is none
        self._silent_until = now + first_message
        self._end_at = self._silent_until if layer.is_open else open_by
        self._ping = ping
        self._ping_at = math.inf  # when a ping is due; after it was sent, when the peer must have answered
        self._ping_sent = False  # whether nothing has come since the last ping
        self._ping_due = False  # whether the ping is not in the output yet
        self._message_by = math.inf  # when the next message is due of a peer that is not spared
        self._look_at = math.inf  # when the owner is next asked whether it is
        self._spared = False  # whether it was when the owner was asked last
        self._control_frames = 0  # Ping and Pong frames so far
        if layer.is_open:
            self._expect_message(now, first_message)
        self.deadline = min(self._end_at, self._look_at)
        layer.start()

    def _expect_message(self, now: float, seconds: float) -> None:
        """A peer that is not spared has so many seconds for its next message, and ``unregistered_idle`` at most."""
        idle = self._unregistered_idle
        if idle < math.inf:
            self._message_by = self._look_at = now + min(seconds, idle)

    @property
    def is_open(self) -> bool:
        """Whether all opening handshakes are complete: messages may be sent."""
        return self.layer.is_open

    @property
    def end(self) -> StreamEnd | None:
        """Why the connection ends; None while it goes on."""
        return self.layer.end

    @property
    def counts(self) -> StreamCounts:
        return self.layer.counts

    def receive(self, data: bytes, now: float) -> list[bytes]:
        """The messages, and :data:`PING` for keep-alives, that ``data`` completes.

        A keep-alive is answered here, once for all of one read, so that pings are not amplified (RFC 5626 section
        3.5.1). What comes after the deadline ends the session unless it completes a message or the handshakes.
        """
        layer = self.layer
        was_open = layer.is_open
        counts = layer.counts
        counts.bytes_received += len(data)
        messages = layer.receive(data)
        if not was_open and layer.is_open:
            self._handshake_end = layer.take_output()
        if not was_open:
            if layer.is_open:
                self._silent_until = now + self._first_message
                self._expect_message(now, self._first_message)
            elif not messages:
                self._expire(now)
                return messages
        if messages:
            self._note_messages(messages, now)
        elif counts.pings + counts.pongs != self._control_frames:
            self._control_frames = counts.pings + counts.pongs
            if self._spared:
                self._silent_until = now + limits.IDLE_SECONDS
        if not layer.pending:
            self._message_begun = -1.0
            self._end_at = self._silent_until
        else:
            if not messages:
                counts.partial_reads += 1
                counts.new_work += 1
            if self._message_begun < 0.0:
                self._message_begun = now
                self._end_at = now + limits.MESSAGE_SECONDS
        if self._ping and layer.is_open:
            self._ping_sent = False
            self._ping_at = now + self._ping
        self.deadline = self._end_at if self._end_at < self._ping_at else self._ping_at
        if now >= self.deadline:
            self._expire(now)  # what has come late, and is no message, extends nothing
        if self._look_at < self.deadline:
            self.deadline = self._look_at
        return messages

    def _note_messages(self, messages: list[bytes], now: float) -> None:
        self.layer.counts.messages += len(messages)
        if PING in messages:
            self._pong_due = True
        self._silent_until = now + limits.IDLE_SECONDS
        self._message_begun = -1.0
        for message in messages:
            if message.strip(_BLANK):
                self._expect_message(now, self._unregistered_idle)
                return

    def receive_end(self) -> None:
        """The transport has ended: the peer sends no more."""
        self.layer.receive_end()

    def send(self, message: bytes) -> bytes:
        """The bytes to write for ``message``."""
        return self.layer.send(message)

    def close(self) -> None:
        """End the session by a Close frame and close_notify: write :meth:`take_output`, then end the transport."""
        self.layer.close()

    def expire(self, now: float, spared: bool = False) -> None:
        """Do what is due at ``deadline``: a ping, or the end. Then write :meth:`take_output` and look at ``end``.

        ``spared`` is whether the peer may be silent for longer than ``unregistered_idle``.
        """
        if now < self.deadline or self.layer.end is not None:
            return
        if now >= self._look_at:
            self._spared = spared
            late_message_by = self._message_by + limits.MESSAGE_SECONDS
            if spared:
                self._look_at = now + self._unregistered_idle
            elif self.layer.pending and now < late_message_by:
                self._look_at = late_message_by  # absolute: keep-alives between parts of messages extend nothing
            else:
                self.layer.end = StreamEnd("timeout", "the peer is neither registered nor in a call, and silent")
                return
        if now >= min(self._end_at, self._ping_at):
            self._expire(now)
        self.deadline = min(self._end_at, self._ping_at, self._look_at)

    def _expire(self, now: float) -> None:
        """Do what is due by the deadlines that hold for every peer."""
        if now < min(self._end_at, self._ping_at) or self.layer.end is not None:
            return
        if now >= self._end_at or self._ping_sent:
            self.layer.end = StreamEnd("timeout" if self.is_open else "handshake", "the peer took too long")
            return
        self._ping_sent = self._ping_due = True
        self._ping_at = now + limits.PONG_SECONDS
        self.deadline = min(self._end_at, self._ping_at)

    def postpone(self, seconds: float, opening: bool = False) -> None:
        """Let each deadline be so much later, since nothing was read meanwhile: the peer may have sent what is due.

        That of the opening handshakes stays, unless ``opening``: a peer that does not read does not get more time.
        """
        if opening or self.is_open:
            self._silent_until += seconds
            self._end_at += seconds
            self._ping_at += seconds
            self._message_by += seconds
            self._look_at += seconds
            self.deadline += seconds

    def take_output(self) -> bytes:
        """What the session sends on its own, and what has not been taken yet; without what :meth:`send` returned."""
        output, self._handshake_end = self._handshake_end, b""
        if self._pong_due:
            self._pong_due = False
            output += self.layer.send(PONG)
        if self._ping_due:
            self._ping_due = False
            output += self.layer.ping()
        return output + self.layer.take_output() if output else self.layer.take_output()


def server_session(
    transport: Transport,
    now: float,
    context: TlsContext | None = None,
    origins: Sequence[str] = (),
    ping: float = 0.0,
    unregistered_idle: float = math.inf,
) -> StreamSession:
    """The session of a connection that a listener of ``transport`` has accepted; over TLS with ``context``."""
    counts = StreamCounts()
    websocket = transport is Transport.WS or transport is Transport.WSS
    inner: StreamLayer = WebSocketLayer(counts, origins) if websocket else SipLayer(counts)
    layer = inner if context is None else TlsLayer(counts, inner, context)
    return StreamSession(
        layer, now, now + limits.HANDSHAKE_SECONDS, ping if websocket else 0.0, limits.FIRST_MESSAGE_SECONDS,
        unregistered_idle,
    )  # fmt: skip


def client_session(
    now: float, open_by: float, context: TlsContext | None = None, server_name: str = ""
) -> StreamSession:
    """The session of a connection to a destination; with ``context``, over TLS to a peer named ``server_name``.
    Raises ``ValueError`` for a name that cannot be verified.

    The peer did not ask for it, and need not have anything to say: it may be silent from the start as long as later.
    A call may ring for minutes, and its answer go to the peer by this connection.
    """
    counts = StreamCounts()
    inner = SipLayer(counts)
    layer = inner if context is None else TlsLayer(counts, inner, context, server_name)
    return StreamSession(layer, now, open_by, 0.0, limits.IDLE_SECONDS)
