"""Fuzz target: a WebSocket connection from its first byte, or from its first frame if the first byte is odd.

The bytes go through :class:`WebSocketLayer`, whole and in pieces. What it reads from frames is compared with what the
server of wsproto reads from them.

For any input:

- a handshake succeeds only with what RFC 6455 section 4.2.1 asks for, the subprotocol and, if origins are required, one
  of them; any other gets no response or a refusal, and the response to it is the one of section 4.2.2;
- nothing is raised; ``end`` is set once, and after it nothing is received;
- a message is within the bound, and :func:`parse_message` returns a message or raises WireError;
- whole or in pieces, the same bytes give the same messages, output, end and counts;
- messages, pongs and the code of the Close frame are those of wsproto, with the exceptions in :func:`compare`;
- no more is buffered than one message, one control frame and the header of a frame, or one opening request;
- the output is whole frames of RFC 6455, Close the last; it has one Close frame if and only if an opened WebSocket
  ends; frames give rise to no more bytes than they have;
- each response is one frame with the same bytes, as a text frame if it is UTF-8, and nothing after a Close frame.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator
from typing import Final
from unittest.mock import patch

from wsproto.connection import SERVER, Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.parse import parse_message
from edgesbc.streams.layer import StreamCounts, StreamEnd
from edgesbc.streams.websocket import WebSocketLayer
from fuzz.buffered import buffered_bytes

__all__ = ["check", "split_bytes", "unmasked_frames"]

ORIGIN: Final = "https://phone.example.com"
HANDSHAKE: Final = (
    b"GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\nOrigin: "
    + ORIGIN.encode() + b"\r\n\r\n"
)  # fmt: skip
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MOST_PIECES = 25
# Small, so that short inputs reach them.
_MESSAGE_BYTES = 1_000
_WEBSOCKET_FRAMES = 50
_UPGRADE_BYTES = 600
_HEADER = 14
"""Longest header of a frame."""
_CONTROL = 125
"""Most bytes in a control frame."""
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_PROTOCOL, _INVALID_DATA, _POLICY, _TOO_LARGE = 1002, 1007, 1008, 1009

Frames = list[tuple[int, bytes]]


class LayerRun:
    """One connection and its outcome."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self.counts = StreamCounts()
        self.layer = WebSocketLayer(self.counts, origins)
        self._empty = buffered_bytes(self.layer)
        self.messages: list[bytes] = []
        self.response = b""
        self.frames: Frames = []
        self._end: StreamEnd | None = None
        self._surplus = 0  # bytes of frames received, less those of the output

    def receive(self, data: bytes) -> None:
        layer = self.layer
        was_open = layer.is_open
        messages = layer.receive(data)
        assert self._end is None or (layer.end is self._end and not messages)
        self._end = layer.end
        self.messages += messages
        bound = limits.MESSAGE_BYTES + _CONTROL + _HEADER if layer.is_open else limits.UPGRADE_BYTES
        if layer.end is None:
            assert buffered_bytes(layer) - len(layer._output) - self._empty <= bound
        for message in messages:
            check_message(message)
            self.answer(message)
        output = layer.take_output()
        if was_open:
            self._surplus += len(data) - len(output)
            assert self._surplus >= -4  # of the Close frame
        else:
            self.response += output
            if not layer.is_open:
                return
            self.response, separator, output = self.response.partition(b"\r\n\r\n")
            self.response += separator
        self.frames += unmasked_frames(output)
        closes = [opcode for opcode, _ in self.frames].count(_CLOSE)
        assert closes == (layer.end is not None)
        assert not closes or self.frames[-1][0] == _CLOSE

    def answer(self, message: bytes) -> None:
        """Send a message: it follows what the layer has said itself, and is not in its output."""
        frames = list(unmasked_frames(self.layer.send(message)))
        assert frames == ([] if self.closed else [(_TEXT if is_text(message) else _BINARY, message)])

    def close(self) -> None:
        """Close from this side, after a last message."""
        was_closed = self.closed
        self.answer(b"the last")
        self.layer.close()
        frames = list(unmasked_frames(self.layer.take_output()))
        assert [opcode for opcode, _ in frames] == ([] if was_closed else [_CLOSE])
        assert not self.layer.send(b"after the Close frame")

    @property
    def closed(self) -> bool:
        """Whether a Close frame has been taken."""
        return bool(self.frames) and self.frames[-1][0] == _CLOSE

    @property
    def outcome(self) -> object:
        end = self.layer.end
        counts = {name: getattr(self.counts, name) for name in ("close_frames", "fragments", "pings", "pongs")}
        return self.messages, self.response, self.frames, counts, end and (end.reason, end.detail)


def check(data: bytes) -> None:
    with patch.multiple(
        limits, MESSAGE_BYTES=_MESSAGE_BYTES, WEBSOCKET_FRAMES=_WEBSOCKET_FRAMES, UPGRADE_BYTES=_UPGRADE_BYTES
    ):
        options, data = data[0] if data else 0, data[1:]
        origins = (ORIGIN,) if options & 2 else ()
        first = HANDSHAKE if options & 1 else b""
        whole = LayerRun(origins)
        whole.receive(first + data)
        pieces = LayerRun(origins)
        if first:
            pieces.receive(first)
            assert pieces.layer.is_open
        for piece in split_bytes(data, 1 + (options >> 2) + len(data) // _MOST_PIECES):
            pieces.receive(piece)
        assert pieces.outcome == whole.outcome
        head, _, frames = (first + data).partition(b"\r\n\r\n")
        check_response(head, origins, whole)
        if whole.layer.is_open:
            compare(frames, whole)
        for run in (whole, pieces):
            if run.layer.end is not None:
                run.receive(data)
            if run.layer.is_open:
                run.close()


def split_bytes(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def check_message(message: bytes) -> None:
    assert len(message) <= limits.MESSAGE_BYTES
    with contextlib.suppress(WireError):
        parse_message(message)


def check_response(head: bytes, origins: tuple[str, ...], run: LayerRun) -> None:
    """Compare the response with the request: RFC 6455 section 4.2, read leniently where it is not for a server."""
    status = run.response[9:12]
    if not run.layer.is_open:
        end = run.layer.end
        assert status[:1] in (b"", b"4")
        assert status == b"" or end is not None
        assert end is None or end.reason != "origin" or status == b"403"
        return
    assert len(head) + 4 <= limits.UPGRADE_BYTES
    request, fields = read_head(head)
    method, _, version = request.split(b" ")
    assert method == b"GET"
    assert version == b"HTTP/1.1"
    assert len(fields[b"host"]) == 1
    assert b"websocket" in tokens(fields[b"upgrade"])
    assert b"upgrade" in tokens(fields[b"connection"])
    assert fields[b"sec-websocket-version"] == [b"13"]
    assert b"sip" in tokens(fields[b"sec-websocket-protocol"])
    assert not origins or fields[b"origin"] == [ORIGIN.encode()]
    (key,) = fields[b"sec-websocket-key"]
    assert len(base64.b64decode(key, validate=True)) == 16
    status_line, answered = read_head(run.response[:-4])
    assert status_line.startswith(b"HTTP/1.1 101 ")
    assert tokens(answered.pop(b"upgrade")) == [b"websocket"]
    assert tokens(answered.pop(b"connection")) == [b"upgrade"]
    assert answered == {
        b"sec-websocket-accept": [base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())],
        b"sec-websocket-protocol": [b"sip"],
    }


def read_head(head: bytes) -> tuple[bytes, dict[bytes, list[bytes]]]:
    """The first line of a request or response, and its fields by names in lower case."""
    lines = [line.removesuffix(b"\r") for line in head.split(b"\n")]
    fields: dict[bytes, list[bytes]] = {}
    values: list[bytes] = []
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            values[-1] = (values[-1] + b" " + line).strip(b" \t")
            continue
        name, _, value = line.partition(b":")
        values = fields.setdefault(name.lower(), [])
        values.append(value.strip(b" \t"))
    return lines[0], fields


def tokens(values: list[bytes]) -> list[bytes]:
    return [token.strip(b" \t").lower() for value in values for token in value.split(b",")]


def unmasked_frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and content of a server's frames: whole and unmasked (RFC 6455 section 5.2)."""
    while data:
        assert data[0] & 0xF0 == 0x80
        opcode, size, start = data[0] & 15, data[1], 2
        assert opcode in (_TEXT, _BINARY) or (_CLOSE <= opcode <= _PONG and size <= _CONTROL)
        if size > _CONTROL:
            start, least = {126: (4, 126), 127: (10, 65_536)}[size]
            size = int.from_bytes(data[2:start])
            assert size >= least
        assert len(data) >= start + size
        content = data[start : start + size]
        assert opcode != _TEXT or is_text(content)
        yield opcode, content
        data = data[start + size :]


def is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Reading:
    """What the server of wsproto reads from frames."""

    def __init__(self, data: bytes) -> None:
        self.messages: list[bytes] = []
        self.pings: list[bytes] = []
        self.code: int | None = None
        """Of the Close frame that it would send."""
        self.is_refusal = False
        self._message = bytearray()
        self._connection = Connection(SERVER)
        self.read(data)

    def read(self, data: bytes) -> None:
        """Read until the peer closes or is refused."""
        self._connection.receive_data(data)
        for event in self._connection.events():
            if isinstance(event, Ping):
                self.pings.append(bytes(event.payload))
            elif isinstance(event, TextMessage | BytesMessage):
                self._message += event.data.encode() if isinstance(event, TextMessage) else event.data
                if event.message_finished:
                    self.messages.append(bytes(self._message))
                    self._message.clear()
            elif isinstance(event, CloseConnection):
                self.is_refusal = self._connection.state is not ConnectionState.REMOTE_CLOSING
                self.code = 1000 if event.code == 1005 else event.code  # 1005: the peer gives none
                return


def compare(data: bytes, run: LayerRun) -> None:
    """Compare with wsproto what was read from frames. The layer differs from it in these points:

    - it refuses what exceeds its bounds;
    - it refuses a frame when the first two bytes of its header are wrong, without waiting for the others;
    - it looks at the text in a frame once that is whole, which it may never be;
    - it takes code 1014 in a Close frame, which IANA has registered since.
    """
    theirs = Reading(data)
    end = run.layer.end
    code = None if end is None else int.from_bytes(run.frames[-1][1])
    pongs = [content for opcode, content in run.frames if opcode == _PONG]
    assert [opcode for opcode, _ in run.frames if opcode != _CLOSE] == [_PONG] * len(pongs)
    if code in (_TOO_LARGE, _POLICY) and end is not None and end.reason:
        assert run.messages == theirs.messages[: len(run.messages)]
        assert pongs == theirs.pings[: len(pongs)]
        return
    if theirs.code == _INVALID_DATA and theirs.is_refusal and code is None:
        code = _INVALID_DATA  # once the frame is whole
    if code == _PROTOCOL and theirs.code is None:
        theirs.read(bytes(_HEADER))
    if code == 1014 and theirs.code == _PROTOCOL:
        code = _PROTOCOL
    elif end is not None:
        assert bool(end.reason) == theirs.is_refusal
    assert code == theirs.code
    assert run.messages == theirs.messages
    assert pongs == theirs.pings
