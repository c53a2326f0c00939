"""Message boundaries on a byte stream (RFC 3261 section 18.3) and its keep-alive (RFC 5626 section 3.5.1)."""

from __future__ import annotations

from typing import Final, NoReturn

from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.limits import DEFAULT_LIMITS, Limits
from edgesbc.sip.parse import check_version, is_sip
from edgesbc.sip.values import parse_content_length

__all__ = ["PING", "PONG", "StreamFramer"]

PING: Final = b"\r\n\r\n"
"""Keep-alive of a client on a stream; the answer to it is :data:`PONG` (RFC 5626 section 4.4.1)."""
PONG: Final = b"\r\n"


class StreamFramer:
    """Cuts the bytes of one stream into messages. It buffers at most one message that has not ended.

    Use one framer a connection and direction. :meth:`receive` returns whole messages, not parsed, and :data:`PING`
    for a keep-alive that is to be answered; a pong is discarded. After a :class:`WireError` the boundaries are lost:
    ``broken`` holds the begin of the message that caused it, from which ``salvage`` may build an answer, and the
    connection is to be closed.
    """

    __slots__ = ("_begun", "_buffer", "_length", "_limits", "_scanned", "broken")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._scanned = 0
        self._begun = False  # whether the buffer has a whole start line, and one of SIP
        self._length = -1  # of the message at the front of the buffer, known once its header block is complete
        self.broken = b""

    @property
    def pending(self) -> bool:
        """Whether a message has begun and not ended: the caller may set a deadline for the rest of it."""
        return bool(self._buffer) and self._buffer[0] != 13

    def receive(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes. Raises :class:`WireError` where the stream cannot go on.

        Messages that the same ``data`` completed before the error are dropped too: after broken framing, the
        boundaries before it cannot be trusted either.
        """
        self._buffer += data
        messages: list[bytes] = []
        while self._buffer:
            message = self._next()
            if message is None:
                break
            if message:
                messages.append(message)
        return messages

    def _next(self) -> bytes | None:
        """The message at the front; b"" when only a pong was removed; None when more bytes are needed."""
        buffer = self._buffer
        if self._length < 0:
            if buffer[0] == 13:
                return self._keep_alive()
            if not self._begun:
                self._begin()
            end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
            if end < 0:
                self._scanned = len(buffer)
                if len(buffer) > self._limits.header_block_bytes + 3:  # of the blank line, three bytes may be there
                    self._break("the header fields do not end", 513)
                return None
            self._length = end + 4 + self._content_length(end)
        if len(buffer) < self._length:
            return None
        message = bytes(buffer[: self._length])
        del buffer[: self._length]
        self._length = -1
        self._scanned = 0
        self._begun = False
        return message

    def _begin(self) -> None:
        """Refuse a start line that is not SIP as soon as it is known, without waiting for a whole message."""
        buffer = self._buffer
        end = buffer.find(b"\r\n", max(0, self._scanned - 1), self._limits.header_block_bytes + 3)
        self._begun = end >= 0
        if not 32 <= buffer[0] < 127 or (self._begun and not is_sip(bytes(buffer[:end]))):
            self._break("the stream does not speak SIP")

    def _keep_alive(self) -> bytes | None:
        buffer = self._buffer
        if buffer[:4] == PING:
            del buffer[:4]
            return PING
        if len(buffer) < 4 and PING.startswith(buffer):
            return None  # a ping may arrive in pieces, and nothing is lost while a pong waits for the next bytes
        if buffer[:2] != PONG:
            self._break("a CR without LF begins a message")
        del buffer[:2]  # a pong, or the empty line that may stand before a message (RFC 3261 section 7.5)
        return b""

    def _content_length(self, end: int) -> int:
        """The length of the body, from the only Content-Length of the header block (RFC 3261 section 20.14)."""
        if end > self._limits.header_block_bytes:
            self._break("the header fields are too long", 513)
        written = grammar.content_lengths(self._buffer, 0, end)
        if len(written) != 1:
            self._break("a message on a stream needs Content-Length" if not written else "Content-Length stands twice")
        try:
            length = parse_content_length(grammar.fold.sub(b" ", written[0]).strip(b" \t").decode("latin-1"))
        except WireError as error:
            self._break(error.reason)
        if length > self._limits.message_bytes - end - 4:
            self._break("the body is too large", 413)
        return length

    def _break(self, reason: str, status_hint: int = 400) -> NoReturn:
        self.broken = bytes(self._buffer[: self._limits.header_block_bytes])
        if self._begun and 32 <= self.broken[0] < 127:  # not before the whole start line is there, however it arrives
            check_version(self.broken, self._limits)  # the framing of another version is not known to be broken
        raise WireError(reason, status_hint)
