"""A connection without I/O: its stack of layers, its deadlines, and its keep-alive."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgesbc.base import limits
from edgesbc.base.address import Transport
from edgesbc.sip.framing import PING, PONG
from edgesbc.streams.layer import StreamCounts, StreamEnd, StreamLayer
from edgesbc.streams.sip_stream import SipLayer
from edgesbc.streams.tls import TlsContext, TlsLayer
from edgesbc.streams.websocket import WebSocketLayer

__all__ = ["StreamSession", "client_session", "server_session"]


class StreamSession:
    """One connection: received bytes become SIP messages, messages become bytes to write. ``open_by`` is the deadline
    of its opening handshakes.

    After each call of :meth:`receive`, pass the messages on, write :meth:`take_output` and look at ``end``; where the
    call has opened the session, write :meth:`take_output` before anything that is sent. Bytes are written in the order
    in which they were got. At ``deadline`` (seconds, the clock of ``now``) call :meth:`expire`.

    Three absolute deadlines follow one another: for all opening handshakes, for the first message, and then for each
    message from its first byte to its last. Between messages the peer may be silent for ``limits.IDLE_SECONDS``.

    With ``ping``, the peer of a WebSocket is asked after so many seconds without a byte whether it is there, and has
    ``limits.PONG_SECONDS`` to send anything.
    """

    __slots__ = (
        "_asks",
        "_begun",
        "_ends",
        "_opening",
        "_ping",
        "_ping_at",
        "_pinged",
        "_pong",
        "_silent_until",
        "deadline",
        "layer",
    )

    def __init__(self, layer: StreamLayer, now: float, open_by: float, ping: float = 0.0) -> None:
        self.layer = layer
        self._opening = b""  # the end of the handshakes, which nothing may come before
        self._pong = False  # whether a keep-alive is to be answered
        self._begun = -1.0  # when the message that has begun and not ended began; negative: there is none
        self._silent_until = now + limits.FIRST_MESSAGE_SECONDS
        self._ends = self._silent_until if layer.is_open else open_by
        self._ping = ping
        self._ping_at = math.inf  # when the peer is asked whether it is there; then, when it has not answered
        self._pinged = False  # whether it has been asked, and has sent nothing since
        self._asks = False  # whether the ping is to be sent
        self.deadline = self._ends
        layer.start()

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
        3.5.1).
        """
        layer = self.layer
        was_open = layer.is_open
        counts = layer.counts
        counts.bytes_received += len(data)
        messages = layer.receive(data)
        if not was_open and layer.is_open:
            self._opening = layer.take_output()
        if messages:
            counts.messages += len(messages)
            if PING in messages:
                self._pong = True
            self._silent_until = now + limits.IDLE_SECONDS
            self._begun = -1.0
        elif not was_open:
            if not layer.is_open:
                return messages
            self._silent_until = now + limits.FIRST_MESSAGE_SECONDS
        if not layer.pending:
            self._begun = -1.0
            self._ends = self._silent_until
        elif self._begun < 0.0:
            self._begun = now
            self._ends = now + limits.MESSAGE_SECONDS
        if self._ping and layer.is_open:
            self._pinged = False
            self._ping_at = now + self._ping
        self.deadline = self._ends if self._ends < self._ping_at else self._ping_at
        return messages

    def receive_end(self) -> None:
        """The transport has ended: the peer sends no more."""
        self.layer.receive_end()

    def send(self, message: bytes) -> bytes:
        """The bytes to write for ``message``."""
        return self.layer.send(message)

    def close(self) -> None:
        """End in order: a Close frame, a close_notify alert. Write :meth:`take_output` and then end the transport."""
        self.layer.close()

    def expire(self, now: float) -> None:
        """What is due at ``deadline``: a ping, or the end. Write :meth:`take_output` and look at ``end`` after it."""
        if now < self.deadline or self.layer.end is not None:
            return
        if now >= self._ends or self._pinged:
            self.layer.end = StreamEnd("timeout" if self.is_open else "handshake", "the peer took too long")
            return
        self._pinged = self._asks = True
        self._ping_at = now + limits.PONG_SECONDS
        self.deadline = min(self._ends, self._ping_at)

    def take_output(self) -> bytes:
        """What the session itself has to say, since the last call; the bytes of :meth:`send` are not in it."""
        output, self._opening = self._opening, b""
        if self._pong:
            self._pong = False
            output += self.layer.send(PONG)
        if self._asks:
            self._asks = False
            output += self.layer.ping()
        return output + self.layer.take_output() if output else self.layer.take_output()


def server_session(
    transport: Transport,
    now: float,
    context: TlsContext | None = None,
    origins: Sequence[str] = (),
    ping: float = 0.0,
) -> StreamSession:
    """The session of a connection that a listener of ``transport`` has accepted; ``context`` where it has TLS."""
    counts = StreamCounts()
    websocket = transport is Transport.WS or transport is Transport.WSS
    top: StreamLayer = WebSocketLayer(counts, origins) if websocket else SipLayer(counts)
    layer = top if context is None else TlsLayer(counts, top, context)
    return StreamSession(layer, now, now + limits.HANDSHAKE_SECONDS, ping if websocket else 0.0)


def client_session(
    now: float, open_by: float, context: TlsContext | None = None, server_name: str = ""
) -> StreamSession:
    """The session of a connection to a destination; with ``context``, over TLS to a peer named ``server_name``."""
    counts = StreamCounts()
    top = SipLayer(counts)
    return StreamSession(top if context is None else TlsLayer(counts, top, context, server_name), now, open_by)
