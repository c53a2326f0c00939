"""The one shape of all layers of a connection: bytes in, messages out; messages in, bytes out; no I/O.

A connection is a stack of layers: SIP framing, or a WebSocket, alone or inside TLS. The owner passes each piece of
received bytes to :meth:`StreamLayer.receive`, gets whole SIP messages, and then sends :meth:`StreamLayer.take_output`:
what the layers themselves have to say (handshakes, pongs, alerts, close frames). Layers keep no time and no queue.
"""

from __future__ import annotations

from edgesbc.base.errors import WireError

__all__ = ["StreamCounts", "StreamEnd", "StreamLayer"]


class StreamCounts:
    """What one connection has carried from its peer, for screening and metrics. Bytes are those of the transport."""

    __slots__ = (
        "bytes_received", "close_frames", "empty_records", "fragments", "messages", "pings", "pongs", "records",
    )  # fmt: skip

    def __init__(self) -> None:
        self.bytes_received = 0
        self.messages = 0  # whole SIP messages and keep-alives
        self.records = 0  # of TLS, after the handshake
        self.empty_records = 0  # of these, the ones that gave no data: empty ones, KeyUpdate, alerts
        self.fragments = 0  # WebSocket frames that were only a part of a message
        self.pings = 0  # WebSocket Ping frames
        self.pongs = 0
        self.close_frames = 0


class StreamEnd:
    """Why a connection ends: ``reason`` as a label for metrics ("" for an end as it should be), ``detail`` in words.

    ``error`` is set where bytes cannot be framed as SIP, with the begin of the message in ``broken``; ``cause`` is what
    the TLS library has raised.
    """

    __slots__ = ("broken", "cause", "detail", "error", "reason")

    def __init__(
        self,
        reason: str = "",
        detail: str = "",
        error: WireError | None = None,
        broken: bytes = b"",
        cause: Exception | None = None,
    ) -> None:
        self.reason = reason
        self.detail = detail
        self.error = error
        self.broken = broken
        self.cause = cause


class StreamLayer:
    """One layer of a connection, or a stack of them seen from below.

    The contract: ``receive`` until ``end`` is set; ``send`` only while ``is_open``; ``take_output`` after each call of
    ``receive``, ``start`` and ``close``. After ``end`` is set nothing is received, and only ``take_output`` has more.
    """

    __slots__ = ("counts", "end", "is_open")

    def __init__(self, counts: StreamCounts) -> None:
        self.counts = counts
        self.is_open = False
        """Whether all opening handshakes are complete."""
        self.end: StreamEnd | None = None
        """Why nothing more is received; None while the stream goes on."""

    @property
    def pending(self) -> bool:
        """Whether a message has begun and not ended: the owner sets a deadline for the rest of it."""
        return False

    @property
    def peer_names(self) -> tuple[str, ...]:
        """The DNS names of the peer's verified certificate (RFC 5922 section 7.1), once the layer is open."""
        return ()

    def start(self) -> None:
        """Begin, where it is this side that speaks first (a TLS client)."""

    def receive(self, data: bytes) -> list[bytes]:
        """The SIP messages and keep-alives that ``data`` completes. Raises nothing: see ``end``."""
        raise NotImplementedError

    def receive_end(self) -> None:
        """The peer sends no more: the transport has ended."""
        if self.end is None:
            self.end = StreamEnd("" if self.is_open else "handshake", "the peer closed the connection")

    def send(self, message: bytes) -> bytes:
        """The bytes to write for one SIP message or keep-alive."""
        raise NotImplementedError

    def ping(self) -> bytes:
        """The bytes to write for asking the peer whether it is there; empty where the protocol has no such question."""
        return b""

    def close(self) -> None:
        """End in order: what is to be said before the transport is closed goes to the output."""

    def take_output(self) -> bytes:
        """What this layer and those above it have to say themselves, since the last call."""
        return b""
