"""SIP over a byte stream (RFC 3261 section 18.3), as the innermost layer of a TCP or TLS connection."""

from __future__ import annotations

from edgesbc.base.errors import WireError
from edgesbc.sip.framing import StreamFramer
from edgesbc.streams.layer import StreamCounts, StreamEnd, StreamLayer

__all__ = ["SipLayer"]


class SipLayer(StreamLayer):
    """Cuts a byte stream into SIP messages. It is open from the start: SIP has no handshake."""

    __slots__ = ("_framer",)

    def __init__(self, counts: StreamCounts) -> None:
        super().__init__(counts)
        self._framer = StreamFramer()
        self.is_open = True

    @property
    def pending(self) -> bool:
        return self._framer.pending

    def receive(self, data: bytes) -> list[bytes]:
        if self.ended:
            return []
        try:
            return self._framer.receive(data)
        except WireError as error:
            self.end = StreamEnd("framing", error.reason, error, self._framer.broken)
            return []

    def send(self, message: bytes) -> bytes:
        return message
