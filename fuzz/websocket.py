"""Fuzz target: a WebSocket, from its first byte, or from its first frame where the first byte is odd.

The bytes go through the WebSocket library and our carrier as they do in the edge, on a stream without a socket and
by a clock that jumps. For whatever bytes come:

- nobody comes in without the subprotocol and, where origins are asked for, one of them; nobody else gets
  an answer other than a refusal;
- nothing is raised but what stands for a peer that has gone, and who is inside and has gone holds nobody up;
- a message is within the bound, and :func:`parse_message` gives a message or raises WireError;
- whole or in pieces, the same frames are the same messages; but a peer that breaks off may lose its last ones;
- each answer goes out as one frame with the same bytes: as text where it is text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final
from unittest.mock import patch

import trio
import trio_websocket
from trio.testing import MockClock

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.sip.framing import PING, PONG
from edgesbc.sip.parse import parse_message
from edgesbc.transport.connection import Connection
from edgesbc.transport.websocket import accept_websocket

ORIGIN: Final = "https://phone.example.com"
HANDSHAKE: Final = (
    b"GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\nOrigin: "
    + ORIGIN.encode() + b"\r\n\r\n"
)  # fmt: skip
# What Door takes for a peer that has gone.
_GONE = (
    trio.BrokenResourceError, trio.ClosedResourceError, EOFError, OSError,
    trio_websocket.HandshakeError, trio_websocket.ConnectionClosed, UnicodeError,
)  # fmt: skip
_MOST_PIECES = 25
_MESSAGE_BYTES = 1_000
"""Small, so that small inputs reach it."""
_LAST_WORDS = 1.0
"""Seconds that a carrier may take to close."""
_FLOW: Final = Flow(
    Listener(1, "ws", Zone.PUBLIC, Transport.WS, "127.0.0.1", 80), Source("127.0.0.2", 4000), serial=1
)  # fmt: skip


class Stream(trio.abc.Stream):
    """Gives bytes in pieces, those of ``late`` when something has been written; then the end."""

    def __init__(self, first: bytes, late: bytes, size: int) -> None:
        self._pieces = [first] if late else cut(first, size)
        self._late = cut(late, size)
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


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


class Visit:
    """One connection: what came of it."""

    def __init__(self, first: bytes, late: bytes, size: int, origins: tuple[str, ...]) -> None:
        self._stream = Stream(first, late, size)
        self._origins = origins
        self._connection = Connection(_FLOW, self._receive, self._broken)
        self.messages: list[bytes] = []
        self.reason = ""
        self.refused = ""
        self.inside = False

    def _receive(self, flow: Flow, data: bytes, now: float) -> None:
        self.messages.append(data)
        if data != PING:
            self._connection.send(data)

    def _broken(self, flow: Flow, data: bytes, error: WireError, now: float) -> None:
        self.reason = error.reason

    async def run(self) -> None:
        """As :class:`edgesbc.transport.stream_listener.StreamListener` does it."""
        with contextlib.suppress(*_GONE):
            try:
                async with trio.open_nursery() as nursery:
                    carrier = await accept_websocket(nursery, self._stream, self._origins)
                    if isinstance(carrier, str):
                        self.refused = carrier
                    else:
                        self.inside = True
                        await self._connection.run(carrier, nursery)
                    nursery.cancel_scope.cancel()
            except* _GONE:
                pass

    @property
    def status(self) -> bytes:
        """That of the answer to the opening handshake; empty where there was none."""
        return self._stream.written[9:12]

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        return list(frames(self._stream.written.partition(b"\r\n\r\n")[2])) if self.inside else []


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Opcode and content of what a server has written: whole frames, unmasked (RFC 6455 section 5.2)."""
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
    framed = bool(options & 1)
    origins = (ORIGIN,) if options & 2 else ()
    visits = []
    for size in (len(data) + len(HANDSHAKE), 1 + (options >> 2) + len(data) // _MOST_PIECES):
        visit = Visit(HANDSHAKE, data, size, origins) if framed else Visit(data, b"", size, origins)
        begun = trio.current_time()
        with trio.move_on_after(limits.HANDSHAKE_SECONDS):
            await visit.run()
        assert not visit.inside or trio.current_time() <= begun + _LAST_WORDS
        look_at(visit)
        visits.append(visit)
        if not framed:
            asked = data.lower()
            assert not visit.inside or b"sip" in asked
            assert not visit.inside or not origins or ORIGIN.encode() in data
    if framed:
        whole, pieces = visits
        assert whole.inside
        assert pieces.inside
        shorter, longer = sorted((whole.messages, pieces.messages), key=len)
        assert longer[: len(shorter)] == shorter


def look_at(visit: Visit) -> None:
    expected = {"origin": b"403", "subprotocol": b"400"}.get(visit.refused, b"101" if visit.inside else b"")
    assert visit.status == expected or (not expected and visit.status[:1] == b"4")
    for message in visit.messages:
        assert len(message) <= limits.MESSAGE_BYTES
        with contextlib.suppress(WireError):
            parse_message(message)
    answers = [PONG if message == PING else message for message in visit.messages]
    written = [(code, content) for code, content in visit.frames if code in (1, 2)]
    assert [content for _, content in written] == answers[: len(written)]
    for code, content in written:
        assert code == (1 if is_text(content) else 2)


def is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
