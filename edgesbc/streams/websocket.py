"""SIP over WebSocket, the server's side: opening handshake, messages, closing handshake (RFC 6455, RFC 7118)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.handshake import H11Handshake
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from edgesbc.base import limits
from edgesbc.streams.frames import (
    BINARY,
    CLOSE,
    NORMAL,
    PING,
    PONG,
    FrameError,
    FrameReader,
    close_code,
    close_frame,
    control_frame,
    message_frame,
)
from edgesbc.streams.layer import StreamCounts, StreamEnd, StreamLayer

__all__ = ["WebSocketLayer"]

SUBPROTOCOL: Final = "sip"

_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")  # 16 bytes in base64 (RFC 6455 section 4.2.1)


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
        self._output = b""
        self._closing = False  # whether a Close frame is in the output, or has been taken
        self._close_taken = False  # whether it has been taken: no message follows it (RFC 6455 section 5.5.1)

    @property
    def pending(self) -> bool:
        return self._reader.pending

    def take_output(self) -> bytes:
        output, self._output = self._output, b""
        self._close_taken = self._closing
        return output

    def send(self, message: bytes) -> bytes:
        return b"" if self._close_taken else message_frame(message)

    def ping(self) -> bytes:
        return b"" if self._close_taken else control_frame(PING, b"")

    def close(self, code: int = NORMAL) -> None:
        if self.is_open and not self._closing:
            self._closing = True
            self._output += close_frame(code)

    def receive(self, data: bytes) -> list[bytes]:
        if self.end is not None:
            return []
        if not self.is_open:
            data = self._open(data)
            if not data:
                return []
        messages: list[bytes] = []
        for opcode, content in self._reader.receive(data):
            if opcode <= BINARY:
                messages.append(content)
            elif opcode == PING:
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
        end = request.find(b"\r\n\r\n", searched, limits.UPGRADE_BYTES)
        if end < 0:
            if len(request) >= limits.UPGRADE_BYTES:
                self.end = StreamEnd("handshake", "the opening request is too long")
            return b""
        head, rest = bytes(request[: end + 4]), bytes(request[end + 4 :])
        request.clear()
        self._answer(head)
        return rest if self.is_open else b""

    def _answer(self, head: bytes) -> None:
        handshake = H11Handshake(ConnectionType.SERVER)
        refusal = RejectConnection(status_code=400)
        reason, detail = "handshake", "no request that opens a WebSocket"
        request: object = None
        try:
            handshake.receive_data(head)
            request = next(handshake.events(), None)
        except RemoteProtocolError as error:
            detail = str(error)
            if isinstance(error.event_hint, RejectConnection):
                refusal = error.event_hint
        except UnicodeError:  # wsproto raises it for header fields that are not ASCII
            detail = "a header field that is not ASCII"
        if isinstance(request, Request):
            keys = [value for name, value in request.extra_headers if name == b"sec-websocket-key"]
            versions = sum(name == b"sec-websocket-version" for name, _ in request.extra_headers)
            origins = [value.decode("latin-1") for name, value in request.extra_headers if name == b"origin"]
            if self._origins and (len(origins) != 1 or origins[0] not in self._origins):
                reason, detail, refusal = "origin", "an Origin that is not listed", RejectConnection(status_code=403)
            elif len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
                detail = "Sec-WebSocket-Key is not the one of 16 bytes"
            elif versions != 1 or not head.partition(b"\n")[0].rstrip().endswith(b" HTTP/1.1"):
                detail = "another version of HTTP, or two of the WebSocket"
            elif SUBPROTOCOL not in request.subprotocols:
                reason, detail = "subprotocol", "the subprotocol sip is not offered"
            else:
                self._output += handshake.send(AcceptConnection(subprotocol=SUBPROTOCOL))
                self.is_open = True
                return
        self.end = StreamEnd(reason, detail)
        try:
            self._output += handshake.send(refusal)
        except LocalProtocolError:
            pass  # it was no HTTP request, and is not answered
