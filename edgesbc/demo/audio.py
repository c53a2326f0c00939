"""The audio of a demo call: RTP packets with unique payloads, and the count of those that come back."""

from __future__ import annotations

import hashlib
import struct

__all__ = ["INTERVAL", "PAYLOAD_BYTES", "Conversation"]

INTERVAL = 0.02
"""Seconds between two packets: the usual packet time of G.711 (RFC 3551 section 4.5.14)."""
PAYLOAD_BYTES = 160
_HEADER = struct.Struct("!BBHII")


class Conversation:
    """The packets that one caller sends to an echo, and those that come back. ``ssrc`` makes the payloads unique.

    ``heard`` counts packets that came back unchanged, ``foreign`` packets that were never sent or
    were changed on the way, ``repeated`` packets that came back more than once.
    """

    __slots__ = ("_missing", "_ssrc", "foreign", "heard", "packets", "repeated")

    def __init__(self, ssrc: int, packets: int) -> None:
        self._ssrc = ssrc
        self.packets = packets
        self._missing = set(range(packets))
        self.heard = 0
        self.foreign = 0
        self.repeated = 0

    def packet(self, number: int) -> bytes:
        """The RTP packet (RFC 3550 section 5.1) with this number, counted from 0: PCMU, 20 ms."""
        payload = hashlib.shake_128(struct.pack("!II", self._ssrc, number)).digest(PAYLOAD_BYTES)
        marker = 0x80 if number == 0 else 0
        return _HEADER.pack(0x80, marker, number, number * PAYLOAD_BYTES, self._ssrc) + payload

    def receive(self, data: bytes) -> None:
        """Count a received packet, whose bytes may be anything."""
        number = _HEADER.unpack_from(data)[2] if len(data) >= _HEADER.size else -1
        if not 0 <= number < self.packets or data != self.packet(number):
            self.foreign += 1
        elif number not in self._missing:
            self.repeated += 1
        else:
            self._missing.remove(number)
            self.heard += 1

    @property
    def complete(self) -> bool:
        """Whether every packet came back."""
        return not self._missing

    @property
    def verified(self) -> bool:
        """Whether every packet came back once and unchanged, and no other packet came."""
        return not self._missing and self.packets > 0 and not self.foreign and not self.repeated

    def __repr__(self) -> str:
        return f"<{self.heard} of {self.packets} heard, {self.foreign} foreign, {self.repeated} repeated>"
