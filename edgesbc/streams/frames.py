"""WebSocket frames as a server reads and writes them (RFC 6455 section 5)."""

from __future__ import annotations

import codecs
from typing import Final, NoReturn

from edgesbc.base import limits
from edgesbc.streams.layer import StreamCounts, drop_frames

__all__ = [
    "BINARY", "CLOSE", "CONTINUATION", "GOING_AWAY", "INVALID_DATA", "NORMAL", "PING", "POLICY", "PONG", "PROTOCOL",
    "TEXT", "TOO_LARGE", "Frame", "FrameError", "FrameReader", "close_code", "close_frame", "control_frame",
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
INVALID_DATA: Final = 1007
POLICY: Final = 1008
TOO_LARGE: Final = 1009

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_FINAL_CLOSE: Final = _FIN | CLOSE
_CONTROL_BYTES: Final = 125

# What the first byte of a frame may be (RFC 6455 sections 5.2 and 5.4): reserved bits and opcodes are not used, and
# control frames are final.
_CONTROL_FRAMES: Final = (_FIN | CLOSE, _FIN | PING, _FIN | PONG)
_BETWEEN_MESSAGES: Final = frozenset((_FIN | TEXT, _FIN | BINARY, TEXT, BINARY, *_CONTROL_FRAMES))
_WITHIN_MESSAGE: Final = frozenset((_FIN | CONTINUATION, CONTINUATION, *_CONTROL_FRAMES))

Frame = tuple[int, bytes]
"""Opcode and content: of a whole message (TEXT or BINARY), or of a control frame."""

_utf8_decoder: Final = codecs.getincrementaldecoder("utf-8")


class FrameError(Exception):
    """The peer has broken RFC 6455: ``code`` is the status code of the Close frame that says so."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class FrameReader:
    """Reads a client's frames: whole messages, and the control frames between their fragments.

    It buffers at most one incomplete frame and the fragments of one message, together at most ``limits.MESSAGE_BYTES``.
    A length that is too large is refused before the content comes, and a text that is not UTF-8 with the fragment that
    shows it.

    The work is linear in the bytes, however they come. The parts of a frame are appended to the buffer, which is read
    again only for the head of at most 14 bytes, and when the frame is complete. Fragments are appended and decoded one
    by one; their number is bounded by ``limits.WEBSOCKET_FRAMES``.
    """

    __slots__ = (
        "_buffer", "_counts", "_decoder", "_expected", "_fragments", "_idle_frames", "_needed", "_opcode",
        "error",
    )  # fmt: skip

    def __init__(self, counts: StreamCounts) -> None:
        self._counts = counts
        self._buffer = bytearray()
        self._needed = 0  # bytes that the buffer must have before it is read again
        self._expected = _BETWEEN_MESSAGES  # what the first byte of the next frame may be
        self._opcode = CONTINUATION  # of the message whose fragments are kept; CONTINUATION: there is none
        self._fragments = bytearray()
        self._decoder: codecs.IncrementalDecoder | None = None  # of the fragments of a text
        self._idle_frames = 0  # since the last whole message
        self.error: FrameError | None = None
        """How the peer has broken the protocol; nothing is read after it."""

    @property
    def pending(self) -> bool:
        """Whether only a part of a frame, or of a message, has come."""
        return self._opcode != CONTINUATION or bool(self._buffer)

    def receive(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes, in order; those before the ``error``, if there is one."""
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._needed:
                return []
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
        except FrameError as error:
            drop_frames(error)  # they refer to this reader
            self.error = error
            return frames
        if at < size:
            buffer += data[at:]
        return frames

    def _frame(self, data: bytes, at: int, size: int, frames: list[Frame]) -> int:
        """Read the frame at ``at``. Returns where it ends, or -1 if it is incomplete."""
        first, length = data[at], data[at + 1] - _MASKED
        if first not in self._expected or length < 0 or (first >= _FINAL_CLOSE and length > _CONTROL_BYTES):
            self._refuse_head(first, length)
        start = at + 6  # of the content, after the mask
        if length > 125:
            wide = 2 if length == 126 else 8
            start += wide
            if size < start - 4:
                return -1
            length = int.from_bytes(data[at + 2 : start - 4], "big")
            if length < 126 or (wide == 8 and (length < 65_536 or length >> 63)):
                _refuse("a length in more bytes than it needs, or a negative one")
        if length + len(self._fragments) > limits.MESSAGE_BYTES and first < _FINAL_CLOSE:
            _refuse("a message of more bytes than allowed", TOO_LARGE)
        end = start + length
        if size < end:
            self._needed = end - at
            return -1
        self._idle_frames += 1
        if self._idle_frames > limits.WEBSOCKET_FRAMES:
            # Only messages are screened, and a frame costs as much as a short one.
            _refuse("too many frames without a whole message", POLICY)
        content = _unmasked(data[start:end], data[start - 4 : start]) if length else b""
        if first >= _FINAL_CLOSE:
            self._control(first & 15, content, frames)
            if first == _FINAL_CLOSE:
                return size  # nothing follows it (section 5.5.1): what a peer sends all the same is not read or counted
        elif first > _FIN:  # a message in one frame
            if first == _FIN | TEXT and not content.isascii():
                _check_text(content)
            self._idle_frames = 0
            frames.append((first & 15, content))
        else:
            self._fragment(first, content, frames)
        return end

    def _refuse_head(self, first: int, length: int) -> NoReturn:
        """Refuse the first two bytes of a frame, with what is wrong with them."""
        opcode = first & 15
        if first & _RESERVED:
            _refuse("a reserved bit is set, and no extension was agreed")
        if length < 0:
            _refuse("a frame of a client without mask")
        if opcode > PONG or BINARY < opcode < CLOSE:
            _refuse(f"opcode {opcode} is reserved")
        if opcode >= CLOSE:
            _refuse("a control frame in fragments or of more than 125 bytes")
        if opcode == CONTINUATION:
            _refuse("a continuation without a message")
        _refuse("a new message before the last fragment of another")

    def _control(self, opcode: int, content: bytes, frames: list[Frame]) -> None:
        counts = self._counts
        counts.new_work += 1
        if opcode == PING:
            counts.pings += 1
        elif opcode == PONG:
            counts.pongs += 1
        else:
            counts.close_frames += 1
        frames.append((opcode, content))

    def _fragment(self, first: int, content: bytes, frames: list[Frame]) -> None:
        self._counts.fragments += 1
        self._counts.new_work += 1
        last = first == _FIN
        if not last and first != CONTINUATION:
            self._opcode = first
            self._expected = _WITHIN_MESSAGE
            self._decoder = _utf8_decoder() if first == TEXT else None
        if self._decoder is not None:
            try:
                self._decoder.decode(content, last)
            except UnicodeDecodeError:
                _refuse("a text that is not UTF-8", INVALID_DATA)
        self._fragments += content
        if last:
            frames.append((self._opcode, bytes(self._fragments)))
            self._fragments.clear()
            self._decoder = None
            self._opcode = CONTINUATION
            self._expected = _BETWEEN_MESSAGES
            self._idle_frames = 0


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


def _check_text(content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError:
        _refuse("a text that is not UTF-8", INVALID_DATA)


def _unmasked(content: bytes, mask: bytes) -> bytes:
    """``content`` without its mask (RFC 6455 section 5.3), as one operation on whole numbers: bytes one by one take
    fifty times as long."""
    size = len(content)
    key = int.from_bytes((mask * (size + 3 >> 2))[:size], "big")
    return (int.from_bytes(content, "big") ^ key).to_bytes(size, "big")


def _refuse(detail: str, code: int = PROTOCOL) -> NoReturn:
    raise FrameError(code, detail)
