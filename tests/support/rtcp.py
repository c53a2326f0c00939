"""RTCP reports as bytes (RFC 3550 section 6.4)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from edgesbc.media.rtcp import ReceptionReport


def sender_report(ssrc: int, ntp: int, packets: int, blocks: Sequence[ReceptionReport]) -> bytes:
    """A sender report; ``ntp`` is the time in it, 64 bits."""
    return _report(200, ssrc, struct.pack("!QIII", ntp, 0, packets, packets * 160), blocks)


def receiver_report(ssrc: int, blocks: Sequence[ReceptionReport]) -> bytes:
    return _report(201, ssrc, b"", blocks)


def _report(kind: int, ssrc: int, information: bytes, blocks: Sequence[ReceptionReport]) -> bytes:
    body = information + b"".join(map(_block, blocks))
    return struct.pack("!BBHI", 0x80 | len(blocks), kind, 1 + len(body) // 4, ssrc) + body


def _block(block: ReceptionReport) -> bytes:
    loss = int(block.fraction_lost * 256) << 24 | block.lost & 0xFFFFFF
    delay = int(block.delay * 65_536)
    return struct.pack("!IIIIII", block.ssrc, loss, 0, block.jitter, block.last_sender_report, delay)
