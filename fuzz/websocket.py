"""Fuzz target: a WebSocket connection from its first byte, or from its first frame if the first byte is odd.

The bytes go through the WebSocket library and the message stream of the edge, on a stream without a socket and
with a mock clock.

For any input:

- a handshake succeeds only with the subprotocol and, if origins are required, with one of them; any other
  gets no response or a refusal;
- only errors of a peer that disconnected are raised, and such a peer does not delay the listener;
- a message is within the bound, and :func:`parse_message` returns a message or raises WireError;
- whole or in pieces, the same frames give the same messages; a peer that disconnects may lose its last ones;
- each response is sent as one frame with the same bytes, as a text frame if it is UTF-8.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final
from unittest.mock import patch

import trio
import trio_websocket
from edgesbc.transport.websocket import accept_websocket
from trio.testing import MockClock

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.sip.framing import PING, PONG
from edgesbc.sip.parse import parse_message
from edgesbc.transport.connection import Connection

ORIGIN: Final = "https://phone.example.com"
HANDSHAKE: Final = (
    b"GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\nOrigin: "
    + ORIGIN.encode() + b"\r\n\r\n"
)  # fmt: skip
# The errors by which StreamListener recognises a peer that disconnected.
_DISCONNECTED = (
    trio.BrokenResourceError, trio.ClosedResourceError, EOFError, OSError,
    trio_websocket.HandshakeError, trio_websocket.ConnectionClosed, UnicodeError,
)  # fmt: skip
_MOST_PIECES = 25
_MESSAGE_BYTES = 1_000
"""Small, so that short inputs reach it."""
_CLOSE_SECONDS = 1.0
"""Seconds that a connection may take to close."""
_FLOW: Final = Flow(
    Listener(1, "ws", Zone.PUBLIC, Transport.WS, "127.0.0.1", 80), Source("127.0.0.2", 4000), serial=1
)  # fmt: skip


class Stream(trio.abc.Stream):
    """Yields bytes in pieces, those of ``late`` once something was written, and then the end."""

    def __init__(self, first: bytes, late: bytes, size: int) -> None:
        self._pieces = [first] if late else split_bytes(first, size)
        self._late = split_bytes(late, size)
        self._answered = trio.Event()
        self.written = b""
        self.closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._pieces and self._late:
            await self._answered.wait()
            self._pieces, self._late = self._late, []
        if self.closed:
            raise trio.ClosedResourceError
        return self._pieces.pop(0) if self._pieces else b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError
        self.written += data
        self._answered.set()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closed = True
        self._answered.set()
        await trio.lowlevel.checkpoint()


def split_bytes(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


class ConnectionRun:
    """One connection and its outcome."""

    def __init__(self, first: bytes, late: bytes, size: int, origins: tuple[str, ...]) -> None:
        self._stream = Stream(first, late, size)
        self._origins = origins
        self._connection = Connection(_FLOW, self._receive, self._broken)
        self.messages: list[bytes] = []
        self.reason = ""
        self.refusal = ""
        self.accepted = False

    def _receive(self, flow: Flow, data: bytes, now: float) -> None:
        self.messages.append(data)
        if data != PING:
            self._connection.send(data)

    def _broken(self, flow: Flow, data: bytes, error: WireError, now: float) -> None:
        self.reason = error.reason

    async def run(self) -> None:
        """Serve the connection as :class:`edgesbc.transport.stream_listener.StreamListener` does."""
        with contextlib.suppress(*_DISCONNECTED):
            try:
                async with trio.open_nursery() as nursery:
                    stream = await accept_websocket(nursery, self._stream, self._origins)
                    if isinstance(stream, str):
                        self.refusal = stream
                    else:
                        self.accepted = True
                        await self._connection.run(stream, nursery)
                    nursery.cancel_scope.cancel()
            except* _DISCONNECTED:
                pass

    @property
    def status(self) -> bytes:
        """The status of the response to the opening handshake; empty if there is none."""
        return self._stream.written[9:12]

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        return list(frames(self._stream.written.partition(b"\r\n\r\n")[2])) if self.accepted else []


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and content of a server's frames: whole and unmasked (RFC 6455 section 5.2)."""
    while data:
        assert data[0] & 0xF0 == 0x80
        size, start = data[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start])
        assert len(data) >= start + size
        yield data[0] & 15, data[start : start + size]
        data = data[start + size :]


def check(data: bytes) -> None:
    with patch.object(limits, "MESSAGE_BYTES", _MESSAGE_BYTES):
        trio.run(_check, data, clock=MockClock(autojump_threshold=0))


async def _check(data: bytes) -> None:
    options, data = data[0] if data else 0, data[1:]
    after_handshake = bool(options & 1)
    origins = (ORIGIN,) if options & 2 else ()
    runs = []
    for size in (len(data) + len(HANDSHAKE), 1 + (options >> 2) + len(data) // _MOST_PIECES):
        run = (
            ConnectionRun(HANDSHAKE, data, size, origins)
            if after_handshake
            else ConnectionRun(data, b"", size, origins)
        )
        started = trio.current_time()
        with trio.move_on_after(limits.HANDSHAKE_SECONDS):
            await run.run()
        assert not run.accepted or trio.current_time() <= started + _CLOSE_SECONDS
        check_run(run)
        runs.append(run)
        if not after_handshake:
            request = data.lower()
            assert not run.accepted or b"sip" in request
            assert not run.accepted or not origins or ORIGIN.encode() in data
    if after_handshake:
        whole, pieces = runs
        assert whole.accepted
        assert pieces.accepted
        shorter, longer = sorted((whole.messages, pieces.messages), key=len)
        assert longer[: len(shorter)] == shorter


def check_run(run: ConnectionRun) -> None:
    expected = {"origin": b"403", "subprotocol": b"400"}.get(run.refusal, b"101" if run.accepted else b"")
    assert run.status == expected or (not expected and run.status[:1] == b"4")
    for message in run.messages:
        assert len(message) <= limits.MESSAGE_BYTES
        with contextlib.suppress(WireError):
            parse_message(message)
    answers = [PONG if message == PING else message for message in run.messages]
    written = [(code, content) for code, content in run.frames if code in (1, 2)]
    assert [content for _, content in written] == answers[: len(written)]
    for code, content in written:
        assert code == (1 if is_text(content) else 2)


def is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
