"""SIP over WebSocket (RFC 7118): the one file that knows the WebSocket library."""

from __future__ import annotations

from collections.abc import Sequence

import trio
import trio_websocket

from edgesbc.base import limits

__all__ = ["WebSocketCarrier", "accept_websocket"]

SUBPROTOCOL = "sip"


class WebSocketCarrier:
    """One message of the WebSocket is one SIP message (RFC 7118 section 5)."""

    __slots__ = ("_socket",)

    pending = False
    broken = b""

    def __init__(self, socket: trio_websocket.WebSocketConnection) -> None:
        self._socket = socket

    async def receive(self) -> list[bytes]:
        try:
            message = await self._socket.get_message()
        except trio_websocket.ConnectionClosed:
            raise EOFError from None
        data: bytes = message.encode("utf-8") if isinstance(message, str) else bytes(message)
        return [data]

    async def send(self, messages: list[bytes]) -> None:
        try:
            for data in messages:
                await self._socket.send_message(_as_frame(data))
        except trio_websocket.ConnectionClosed:
            raise trio.BrokenResourceError from None

    async def aclose(self) -> None:
        await self._socket.aclose()


def _as_frame(data: bytes) -> str | bytes:
    """A text frame where the message is text, since that is what browsers log and older clients expect."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


async def accept_websocket(
    nursery: trio.Nursery, stream: trio.abc.Stream, origins: Sequence[str]
) -> WebSocketCarrier | str:
    """Take the opening handshake on ``stream``; the connection lives in ``nursery``.

    Returns the carrier, or why the handshake was refused: ``"origin"`` (403) or ``"subprotocol"`` (400).
    Raises ``trio_websocket.HandshakeError``, ``trio.BrokenResourceError`` or ``EOFError`` for a peer
    that does not complete it.
    """
    request = await trio_websocket.wrap_server_stream(
        nursery,
        stream,
        max_message_size=limits.MESSAGE_BYTES,
        message_queue_size=limits.WEBSOCKET_QUEUE,
    )
    if origins:
        origin = next((value.decode("latin-1") for name, value in request.headers if name.lower() == b"origin"), "")
        if origin not in origins:
            await request.reject(403)
            return "origin"
    if SUBPROTOCOL not in request.proposed_subprotocols:
        await request.reject(400)
        return "subprotocol"
    return WebSocketCarrier(await request.accept(subprotocol=SUBPROTOCOL))
