"""SIP over WebSocket, the server's side: opening handshake, messages, closing handshake (RFC 6455, RFC 7118)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edgesbc.base import limits
from edgesbc.streams.frames import (
    BINARY,
    CLOSE,
    GOING_AWAY,
    PING,
    PONG,
    FrameError,
    FrameReader,
    close_code,
    close_frame,
    control_frame,
    message_frame,
)
from edgesbc.streams.handshake import HandshakeError, accept_request
from edgesbc.streams.layer import StreamCounts, StreamEnd, StreamLayer

__all__ = ["WebSocketLayer"]

_METHOD: Final = b"GET "


class WebSocketLayer(StreamLayer):
    """SIP messages over a WebSocket, one in each WebSocket message (RFC 7118 section 5.1).

    ``origins`` are the values of Origin with which a client may open it; if there are none, any client may.
    """

    __slots__ = ("_close_taken", "_closing", "_origins", "_output", "_reader", "_request")

    def __init__(self, counts: StreamCounts, origins: Sequence[str] = ()) -> None:
        super().__init__(counts)
        self._origins = origins
        self._request = bytearray()  # of the opening handshake
        self._reader = FrameReader(counts)
        self._output = bytearray()
        self._closing = False  # whether a Close frame is in the output, or has been taken
        self._close_taken = False  # whether it has been taken: no message follows it (RFC 6455 section 5.5.1)

    @property
    def pending(self) -> bool:
        return self._reader.pending

    def take_output(self) -> bytes:
        if not self._output:
            return b""
        output = bytes(self._output)
        self._output.clear()
        self._close_taken = self._closing
        return output

    def send(self, message: bytes) -> bytes:
        return b"" if self._close_taken else message_frame(message)

    def ping(self) -> bytes:
        return b"" if self._close_taken else control_frame(PING, b"")

    def close(self, code: int = GOING_AWAY) -> None:
        # Not 1000, by which clients take the WebSocket for done with: they would not connect again.
        if self.is_open and not self._closing:
            self._closing = True
            self._output += close_frame(code)

    def receive(self, data: bytes) -> list[bytes]:
        if self.ended:
            return []
        if not self.is_open:
            data = self._open(data)
            if not data:
                return []
        messages: list[bytes] = []
        for opcode, content in self._reader.receive(data):
            if opcode <= BINARY:
                messages.append(content)
            elif opcode == PING and not self._closing:  # nothing follows a Close frame
                self._output += control_frame(PONG, content)
            elif opcode == CLOSE:
                self._closed_by_peer(content)
                return messages
        if self._reader.error is not None:
            self._fail(self._reader.error)
        return messages

    def _closed_by_peer(self, content: bytes) -> None:
        try:
            self.close(close_code(content))
            self.end = StreamEnd("", "the peer closed the WebSocket")
        except FrameError as error:
            self._fail(error)

    def _fail(self, error: FrameError) -> None:
        self.close(error.code)
        self.end = StreamEnd("websocket", error.detail)

    # --- the opening handshake (RFC 6455 section 4.2) ------------------------------------------------------

    def _open(self, data: bytes) -> bytes:
        """Receive the opening request. Returns what follows it, once the WebSocket is open."""
        request = self._request
        searched = max(0, len(request) - 3)
        request += data
        end = request.find(b"\r\n\r\n", searched) + 4
        is_get = request[:4] == _METHOD[: len(request)]
        if is_get and end < 4 and len(request) < limits.UPGRADE_BYTES:
            return b""
        try:
            if not is_get:
                raise HandshakeError("no GET request of HTTP/1.1")
            if not 4 <= end <= limits.UPGRADE_BYTES:
                raise HandshakeError("the opening request is too long", status=431)
            self._output += accept_request(bytes(request[:end]), self._origins)
            self.is_open = True
        except HandshakeError as error:
            self._output += error.response
            self.end = StreamEnd(error.reason, error.detail)
        rest = bytes(request[end:]) if self.is_open else b""
        request.clear()
        return rest
