"""SIP over WebSocket (RFC 7118), by trio-websocket."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import trio
import trio_websocket

from edgesbc.base import limits
from edgesbc.base.errors import WireError

__all__ = ["WebSocketStream", "accept_websocket"]

SUBPROTOCOL = "sip"
_TOO_BIG = 1009  # RFC 6455 section 7.4.1
_PROTOCOL_ERRORS = (1002, 1007)  # a frame against the protocol, a text that is no UTF-8
_CLOSE = b"\x88"
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class WebSocketStream:
    """SIP messages over a WebSocket, one in each WebSocket message (RFC 7118 section 5)."""

    __slots__ = ("_code", "_meter", "_socket")

    pending = False
    broken = b""

    def __init__(self, socket: trio_websocket.WebSocketConnection, meter: _Metered) -> None:
        self._socket = socket
        self._meter = meter
        self._code = 1000

    async def receive(self) -> list[bytes]:
        try:
            message = await self._socket.get_message()
        except trio_websocket.ConnectionClosed:
            raise EOFError from None
        self._meter.received = 0
        data: bytes = message.encode("utf-8") if isinstance(message, str) else bytes(message)
        if len(data) > limits.MESSAGE_BYTES:  # the library counts the characters of a text, not its bytes
            self._code = _TOO_BIG
            raise WireError("the message is too large", 513)
        return [data]

    async def send(self, messages: list[bytes]) -> None:
        try:
            for data in messages:
                await self._socket.send_message(_as_frame(data))
        except trio_websocket.ConnectionClosed:
            raise trio.BrokenResourceError from None

    async def aclose(self) -> None:
        await self._socket.aclose(self._code)


class _Metered(trio.abc.Stream):
    """A stream that ends when too many bytes are read without a complete message.

    When it ends it cancels ``opening``, the scope of the opening handshake: the library's reader ends then, but not the
    task that waits for the handshake. The library also sends no close frame to a peer that breaks the protocol; it is
    sent here, so that the peer's developer sees the reason (RFC 6455 section 7.1.7).
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.received = 0  # bytes since the last complete message
        self.opening = trio.CancelScope()
        self.socket: trio_websocket.WebSocketConnection | None = None
        self._sent_close = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.received > limits.WEBSOCKET_BYTES:
            raise trio.BrokenResourceError
        data: bytes | bytearray = b""
        try:
            data = await self._stream.receive_some(max_bytes)
        finally:
            if not data:
                self.opening.cancel()
        self.received += len(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._sent_close = self._sent_close or bytes(data[:1]) == _CLOSE
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        self.opening.cancel()
        reason = self.socket.closed if self.socket is not None else None
        if reason is not None and reason.code in _PROTOCOL_ERRORS and not self._sent_close:
            self._sent_close = True
            with trio.move_on_after(limits.LAST_ANSWERS_SECONDS), contextlib.suppress(*_GONE):
                await self._stream.send_all(_CLOSE + b"\x02" + reason.code.to_bytes(2, "big"))
        await self._stream.aclose()


def _as_frame(data: bytes) -> str | bytes:
    """The message as a text frame if it is UTF-8, which browsers log and older clients expect; else as a binary one."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


async def accept_websocket(
    nursery: trio.Nursery, stream: trio.abc.Stream, origins: Sequence[str]
) -> WebSocketStream | str:
    """Accept the opening handshake on ``stream``; the library's tasks run in ``nursery``.

    Returns the WebSocket, or why the handshake was refused: ``"origin"`` (403) or ``"subprotocol"`` (400).
    Raises ``trio_websocket.HandshakeError``, ``trio.BrokenResourceError`` or ``EOFError`` for a peer
    that does not complete it.
    """
    meter = _Metered(stream)
    request: trio_websocket.WebSocketRequest | None = None
    with meter.opening:
        request = await trio_websocket.wrap_server_stream(
            nursery,
            meter,
            max_message_size=limits.MESSAGE_BYTES,
            message_queue_size=limits.WEBSOCKET_QUEUE,
        )
    if request is None:
        raise EOFError
    if origins:
        values = [value.decode("latin-1") for name, value in request.headers if name.lower() == b"origin"]
        if len(values) != 1 or values[0] not in origins:
            await request.reject(403)
            return "origin"
    if SUBPROTOCOL not in request.proposed_subprotocols:
        await request.reject(400)
        return "subprotocol"
    meter.socket = await request.accept(subprotocol=SUBPROTOCOL)
    return WebSocketStream(meter.socket, meter)
