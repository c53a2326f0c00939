"""WebSocket frames as a server reads and writes them (RFC 6455 section 5)."""

from __future__ import annotations

from typing import Final, NoReturn

from edgesbc.base import limits
from edgesbc.streams.layer import StreamCounts

__all__ = [
    "ABNORMAL", "BINARY", "CLOSE", "CONTINUATION", "GOING_AWAY", "INVALID_DATA", "NORMAL", "PING", "POLICY", "PONG",
    "PROTOCOL", "TEXT", "TOO_LARGE", "Frame", "FrameError", "FrameReader", "close_frame", "control_frame",
    "message_frame",
]  # fmt: skip

# Opcodes: RFC 6455 section 11.8.
CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

# Status codes of a Close frame: RFC 6455 section 7.4.1.
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL: Final = 1002
ABNORMAL: Final = 1006  # never sent: no Close frame has come
INVALID_DATA: Final = 1007
POLICY: Final = 1008
TOO_LARGE: Final = 1009

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_CONTROL_BYTES: Final = 125

Frame = tuple[int, bytes]
"""Opcode and content: of a whole message (TEXT or BINARY), or of a control frame."""


class FrameError(Exception):
    """The peer has broken RFC 6455: ``code`` is the status code of the Close frame that says so."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class FrameReader:
    """Reads a client's frames: whole messages, and the control frames between their fragments.

    It buffers at most one frame that has not ended, and the fragments of one message; both together within
    ``limits.MESSAGE_BYTES``. A length that is too large is refused when it is read, before its bytes have come.
    """

    __slots__ = ("_buffer", "_counts", "_fragments", "_idle_bytes", "_idle_frames", "_needed", "_opcode", "error")

    def __init__(self, counts: StreamCounts) -> None:
        self._counts = counts
        self._buffer = bytearray()
        self._needed = 0  # bytes that the buffer must have before it is looked at again
        self._opcode = CONTINUATION  # of the message whose fragments are kept; CONTINUATION: there is none
        self._fragments = bytearray()
        self._idle_bytes = 0  # since the last whole message
        self._idle_frames = 0
        self.error: FrameError | None = None
        """How the peer has broken the protocol; nothing is read after it."""

    @property
    def pending(self) -> bool:
        """Whether a frame or a message has begun and not ended."""
        return self._opcode != CONTINUATION or bool(self._buffer)

    def receive(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes, in order, and before the ``error`` where the peer makes one."""
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._needed:
                return []  # a frame that comes in small pieces is not read from its begin with each of them
            data = bytes(buffer)
            buffer.clear()
        frames: list[Frame] = []
        self._needed = 0
        at, size = 0, len(data)
        try:
            while size - at >= 2:
                end = self._frame(data, at, size, frames)
                if end < 0:
                    break
                at = end
                if frames and frames[-1][0] == CLOSE:
                    return frames  # a peer sends nothing after it (section 5.5.1), and nothing is read or counted
        except FrameError as error:
            self.error = error.with_traceback(None)  # its frames refer to this reader
            return frames
        if at < size:
            buffer += data[at:]
        return frames

    def _frame(self, data: bytes, at: int, size: int, frames: list[Frame]) -> int:
        """Read the frame at ``at``; returns where it ends, or -1 where more bytes are needed."""
        first, second = data[at], data[at + 1]
        opcode = first & 15
        start = at + 2
        length = second & 127
        self._check(first, second)
        if length == 126:
            if size < start + 2:
                return -1
            length = data[start] << 8 | data[start + 1]
            start += 2
            if length < 126:
                _refuse("a length in more bytes than it needs")
        elif length == 127:
            if size < start + 8:
                return -1
            length = int.from_bytes(data[start : start + 8], "big")
            start += 8
            if length < 65_536 or length >> 63:
                _refuse("a length in more bytes than it needs, or a negative one")
        if opcode < CLOSE and length + len(self._fragments) > limits.MESSAGE_BYTES:
            _refuse("a message of more bytes than allowed", TOO_LARGE)
        end = start + 4 + length
        if size < end:
            self._needed = end - at
            return -1
        self._note(end - at, opcode, first)
        content = _unmasked(data[start + 4 : end], data[start : start + 4]) if length else b""
        if opcode >= CLOSE:
            frames.append((opcode, content))
        elif first & _FIN and opcode != CONTINUATION:
            self._message(opcode, content, frames)
        else:
            self._fragment(opcode, content, first & _FIN != 0, frames)
        return end

    def _check(self, first: int, second: int) -> None:
        """What the first two bytes of a frame may be, before anything else of it is read."""
        opcode = first & 15
        if first & _RESERVED:
            _refuse("a reserved bit is set, and no extension was agreed")
        if not second & _MASKED:
            _refuse("a frame of a client without mask")
        if opcode >= CLOSE:
            if opcode > PONG:
                _refuse(f"opcode {opcode} is reserved")
            if not first & _FIN or second & 127 > _CONTROL_BYTES:
                _refuse("a control frame in fragments or of more than 125 bytes")
        elif opcode > BINARY:
            _refuse(f"opcode {opcode} is reserved")
        elif opcode == CONTINUATION and self._opcode == CONTINUATION:
            _refuse("a continuation without a message")
        elif opcode != CONTINUATION and self._opcode != CONTINUATION:
            _refuse("a new message before the last fragment of another")

    def _note(self, size: int, opcode: int, first: int) -> None:
        """Count a frame. A peer that sends many bytes, or frames, and never a whole message is refused: only messages
        are screened, and a frame costs as much as a short one."""
        self._idle_bytes += size
        self._idle_frames += 1
        if self._idle_bytes > limits.WEBSOCKET_BYTES or self._idle_frames > limits.WEBSOCKET_FRAMES:
            _refuse("too much without a whole message", POLICY)
        counts = self._counts
        if opcode == PING:
            counts.pings += 1
        elif opcode == PONG:
            counts.pongs += 1
        elif opcode == CLOSE:
            counts.close_frames += 1
        elif opcode == CONTINUATION or not first & _FIN:
            counts.fragments += 1

    def _fragment(self, opcode: int, content: bytes, last: bool, frames: list[Frame]) -> None:
        if opcode != CONTINUATION:
            self._opcode = opcode
        self._fragments += content
        if last:
            opcode, self._opcode = self._opcode, CONTINUATION
            message = bytes(self._fragments)
            self._fragments.clear()
            self._message(opcode, message, frames)

    def _message(self, opcode: int, content: bytes, frames: list[Frame]) -> None:
        if opcode == TEXT and not content.isascii():
            try:
                content.decode()
            except UnicodeDecodeError:
                _refuse("a text that is not UTF-8", INVALID_DATA)
        self._idle_bytes = self._idle_frames = 0
        frames.append((opcode, content))


def message_frame(message: bytes) -> bytes:
    """A frame with one SIP message: text if it is UTF-8, which browsers log and older clients expect, else binary
    (RFC 7118 section 4.2)."""
    opcode = TEXT
    if not message.isascii():
        try:
            message.decode()
        except UnicodeDecodeError:
            opcode = BINARY
    size = len(message)
    if size <= _CONTROL_BYTES:
        return bytes((_FIN | opcode, size)) + message
    if size < 65_536:
        return bytes((_FIN | opcode, 126, size >> 8, size & 255)) + message
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + message


def control_frame(opcode: int, content: bytes) -> bytes:
    """A Ping, Pong or Close frame with at most 125 bytes."""
    return bytes((_FIN | opcode, len(content))) + content


def close_frame(code: int) -> bytes:
    """A Close frame with a status code and no reason in words."""
    return control_frame(CLOSE, code.to_bytes(2, "big"))


def close_code(content: bytes) -> int:
    """The status code to answer a Close frame with (RFC 6455 sections 5.5.1 and 7.4). Raises :class:`FrameError`."""
    if not content:
        return NORMAL
    if len(content) == 1:
        _refuse("a Close frame of one byte")
    code = content[0] << 8 | content[1]
    if not (3000 <= code <= 4999 or 1000 <= code <= 1003 or 1007 <= code <= 1014):
        _refuse(f"status code {code} may not be sent")
    try:
        content[2:].decode()
    except UnicodeDecodeError:
        _refuse("the reason of a Close frame is not UTF-8", INVALID_DATA)
    return code


def _unmasked(content: bytes, mask: bytes) -> bytes:
    """``content`` without its mask (RFC 6455 section 5.3), as one operation on whole numbers: bytes one by one take
    fifty times as long."""
    size = len(content)
    key = int.from_bytes((mask * (size + 3 >> 2))[:size], "big")
    return (int.from_bytes(content, "big") ^ key).to_bytes(size, "big")


def _refuse(detail: str, code: int = PROTOCOL) -> NoReturn:
    raise FrameError(code, detail)
