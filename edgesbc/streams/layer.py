"""The interface of all layers of a connection: received bytes become messages, messages become bytes to write; no I/O.

A connection is a stack of layers: SIP framing or a WebSocket, alone or inside TLS. The owner passes each piece of
received bytes to :meth:`StreamLayer.receive`, which returns whole SIP messages, and then writes
:meth:`StreamLayer.take_output`: what the layers send on their own, as handshakes, pongs, alerts and Close frames. A
layer reads no clock.
"""

from __future__ import annotations

from typing import Final

from edgesbc.base.errors import WireError

__all__ = ["WORK_KINDS", "StreamCounts", "StreamEnd", "StreamLayer", "drop_frames"]

WORK_KINDS: Final = ("close-frames", "empty-records", "fragments", "partial-reads", "pings", "pongs")
"""The kinds of work that completes no message, as labels for metrics."""


class StreamCounts:
    """What has come from the peer of one connection, for screening and metrics. Bytes are those of the transport."""

    __slots__ = (
        "_taken", "bytes_received", "close_frames", "empty_records", "fragments", "messages", "new_work",
        "partial_reads", "pings", "pongs", "records",
    )  # fmt: skip

    def __init__(self) -> None:
        self.bytes_received = 0
        self.messages = 0  # whole SIP messages and keep-alives
        self.records = 0  # TLS records after the handshake
        # What completed no message:
        self.empty_records = 0  # TLS records without data for the inner layer: empty ones, KeyUpdate, alerts
        self.fragments = 0  # WebSocket frames that are a part of a message
        self.partial_reads = 0  # reads that completed no message, and ended within one
        self.pings = 0  # WebSocket Ping frames
        self.pongs = 0
        self.close_frames = 0
        self.new_work = 0  # the sum of these since they were last taken
        self._taken: tuple[int, ...] = (0,) * len(WORK_KINDS)

    def take_work(self) -> list[int]:
        """What completed no message, since the last call: numbers in the order of :data:`WORK_KINDS`."""
        before = self._taken
        self.new_work = 0
        self._taken = (
            self.close_frames, self.empty_records, self.fragments, self.partial_reads, self.pings, self.pongs,
        )  # fmt: skip
        return [number - taken for number, taken in zip(self._taken, before, strict=True)]


class StreamEnd:
    """Why a connection ends: ``reason`` as a label for metrics ("" for a regular end), ``detail`` in words.

    ``error`` is set if bytes cannot be framed as SIP, with the beginning of the message in ``broken``; ``cause`` is
    the exception of the TLS library.
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
        for exception in (error, cause):
            if exception is not None:
                drop_frames(exception)  # they refer to the layers, which refer to this end
        self.reason = reason
        self.detail = detail
        self.error = error
        self.broken = broken
        self.cause = cause


def drop_frames(exception: Exception) -> None:
    """Drop the frames to which an exception refers, itself or by the one that was handled when it was raised.

    An exception that is kept by an object of one of its frames is a cycle, which only the garbage collector frees.
    """
    exception.__traceback__ = exception.__context__ = None


class StreamLayer:
    """One layer of a connection, or a stack of them, of which it is the outermost.

    The contract: call ``receive`` until ``end`` is set, ``send`` while ``is_open``, and ``take_output`` after each call
    of ``receive``, ``start`` and ``close``. Nothing is received after ``end`` is set: only ``close`` and a last
    ``take_output`` follow. No method raises because of what the peer has sent.
    """

    __slots__ = ("counts", "end", "is_open")

    def __init__(self, counts: StreamCounts) -> None:
        self.counts = counts
        self.is_open = False
        """Whether all opening handshakes are complete."""
        self.end: StreamEnd | None = None
        """Why nothing more is received; None while the stream goes on."""

    @property
    def ended(self) -> bool:
        """Whether ``end`` is set. A guard of ``receive`` asks this, and not ``end``: mypy would take that for None
        until the end of the method, in machine code too."""
        return self.end is not None

    @property
    def pending(self) -> bool:
        """Whether only a part of a message has come: the owner sets a deadline for the rest of it."""
        return False

    @property
    def peer_names(self) -> tuple[str, ...]:
        """The DNS names of the peer's verified certificate (RFC 5922 section 7.1), once the layer is open."""
        return ()

    def start(self) -> None:
        """Begin the handshake, if this side sends first: a TLS client does."""

    def receive(self, data: bytes) -> list[bytes]:
        """The SIP messages and keep-alives that ``data`` completes. Why there are no more is in ``end``."""
        raise NotImplementedError

    def receive_end(self) -> None:
        """The peer sends no more: the transport has ended."""
        if self.end is None:
            self.end = StreamEnd("" if self.is_open else "handshake", "the peer closed the connection")

    def send(self, message: bytes) -> bytes:
        """The bytes to write for one SIP message or keep-alive."""
        raise NotImplementedError

    def ping(self) -> bytes:
        """The bytes to write for a question that the peer must answer; empty if the protocol has none."""
        return b""

    def close(self) -> None:
        """End the layer: what is sent before the end of the transport, as a Close frame, is in the next output."""

    def take_output(self) -> bytes:
        """What this layer and those inside it send on their own, and what has not been taken yet."""
        return b""
