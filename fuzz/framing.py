"""Fuzz target: a SIP stream.

For any input:

- :class:`StreamFramer` yields messages or raises WireError, and nothing else;
- whole, in pieces or byte by byte, the stream yields the same messages, or breaks for the same reason;
- every message is one piece of the stream, in order, no longer than the bound;
- the messages before a break are a prefix of those that the stream yields byte by byte.
"""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.framing import PING, StreamFramer


def check(data: bytes) -> None:
    by_byte, reason = frame_stream(data, 1)
    for size in (7, 61, len(data) or 1):
        messages, other_reason = frame_stream(data, size)
        assert other_reason == reason
        if reason is None:
            assert messages == by_byte
        else:
            assert messages == by_byte[: len(messages)]
    position = 0
    for message in by_byte:
        assert message == PING or len(message) <= limits.MESSAGE_BYTES
        position = data.index(message, position) + len(message)


def frame_stream(data: bytes, size: int) -> tuple[list[bytes], str | None]:
    """The messages of a stream that arrives in pieces of ``size`` bytes, and the reason if it breaks."""
    framer = StreamFramer()
    messages: list[bytes] = []
    for start in range(0, len(data), size):
        try:
            messages += framer.receive(data[start : start + size])
        except WireError as error:
            return messages, error.reason
    return messages, None
