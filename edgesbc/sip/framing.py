"""Where one message ends and the next begins on a stream (RFC 3261 section 18.3, RFC 5626 section 3.5.1)."""

from __future__ import annotations

from typing import NoReturn

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.parse import is_sip
from edgesbc.sip.values import parse_content_length

__all__ = ["PING", "PONG", "StreamFramer"]

PING = b"\r\n\r\n"
PONG = b"\r\n"


class StreamFramer:
    """Cuts a byte stream into messages. Holds what was received and nothing more.

    :meth:`receive` yields whole messages and, for a keep-alive, :data:`PING`; a pong (a single CRLF) is
    swallowed. After a :class:`WireError` the stream has no known boundary: ``broken`` holds what can be
    answered, and the connection is to be closed.
    """

    __slots__ = ("_begun", "_buffer", "_length", "_scanned", "broken")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._begun = False  # whether the start line of the message at the front is there, and is one of SIP
        self._length = -1  # of the whole message at the front, once its header block is complete
        self.broken = b""

    @property
    def pending(self) -> bool:
        """Whether a message has begun and not ended: its sender owes the rest."""
        return bool(self._buffer) and self._buffer[0] != 13

    def receive(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes. Raises :class:`WireError` where the stream cannot go on.

        Messages completed before the broken one are lost with it: a peer that breaks the framing has
        shown that its earlier boundaries were not to be trusted either.
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
        """The message at the front; b"" when only a pong was taken away; None when more bytes are needed."""
        buffer = self._buffer
        if self._length < 0:
            if buffer[0] == 13:
                return self._keep_alive()
            if not self._begun:
                self._begin()
            end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
            if end < 0:
                self._scanned = len(buffer)
                if len(buffer) > limits.HEADER_BLOCK_BYTES + 3:  # three bytes of the blank line may be there
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
        """Break off at what is not SIP as soon as that can be seen: it need not be waited for."""
        buffer = self._buffer
        end = buffer.find(b"\r\n", max(0, self._scanned - 1), limits.HEADER_BLOCK_BYTES + 3)
        self._begun = end >= 0
        if not 32 <= buffer[0] < 127 or (self._begun and not is_sip(bytes(buffer[:end]))):
            self._break("the stream does not speak SIP")

    def _keep_alive(self) -> bytes | None:
        buffer = self._buffer
        if buffer[:4] == PING:
            del buffer[:4]
            return PING
        if len(buffer) < 4 and PING.startswith(buffer):
            return None  # a ping may come in pieces, and a pong can wait for what follows it
        if buffer[:2] != PONG:
            self._break("a CR without LF begins a message")
        del buffer[:2]  # a pong, or the empty line that may stand before a message (RFC 3261 section 7.5)
        return b""

    def _content_length(self, end: int) -> int:
        """The body's length, from the one Content-Length of the header block (RFC 3261 section 20.14)."""
        if end > limits.HEADER_BLOCK_BYTES:
            self._break("the header fields are too long", 513)
        written = grammar.content_lengths(self._buffer, 0, end)
        if len(written) != 1:
            self._break("a message on a stream needs Content-Length" if not written else "Content-Length stands twice")
        try:
            found = parse_content_length(grammar.fold.sub(b" ", written[0]).strip(b" \t").decode("latin-1"))
        except WireError as error:
            self._break(error.reason)
        if found > limits.MESSAGE_BYTES - end - 4:
            self._break("the body is too large", 413)
        return found

    def _break(self, reason: str, status_hint: int = 400) -> NoReturn:
        self.broken = bytes(self._buffer[: limits.HEADER_BLOCK_BYTES])
        raise WireError(reason, status_hint)
