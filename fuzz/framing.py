"""Fuzz target: a SIP stream.

For whatever bytes come:

- :class:`StreamFramer` gives messages or raises WireError, and nothing else;
- whole, in pieces or byte by byte, it gives the same messages, or breaks for the same reason;
- every message is one piece of the stream, in order, no longer than the bound;
- what it gives before a break is the beginning of what the stream without the broken part gives.
"""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.framing import PING, StreamFramer


def check(data: bytes) -> None:
    by_byte, reason = framed(data, 1)
    for size in (7, 61, len(data) or 1):
        messages, other = framed(data, size)
        assert other == reason
        if reason is None:
            assert messages == by_byte
        else:
            assert messages == by_byte[: len(messages)]
    at = 0
    for message in by_byte:
        assert message == PING or len(message) <= limits.MESSAGE_BYTES
        at = data.index(message, at) + len(message)


def framed(data: bytes, size: int) -> tuple[list[bytes], str | None]:
    """The messages of a stream that comes in pieces of this size, and why it broke."""
    framer = StreamFramer()
    messages: list[bytes] = []
    for start in range(0, len(data), size):
        try:
            messages += framer.receive(data[start : start + size])
        except WireError as error:
            return messages, error.reason
    return messages, None
