"""Sender and receiver reports of RTCP (RFC 3550 section 6.4), read as they pass and never altered. Without I/O."""

from __future__ import annotations

import struct
from typing import Final

import attrs

__all__ = ["ReceptionReport", "RtcpReport", "read_reports"]

_SENDER_REPORT: Final = 200
_RECEIVER_REPORT: Final = 201
_HEAD: Final = struct.Struct("!BBHI")
_SENDER_INFO: Final = struct.Struct("!IIIII")
_BLOCK: Final = struct.Struct("!IIIIII")
_UNITS_A_SECOND: Final = 65_536  # of the delay since the last sender report
_LOST_SIGN: Final = 1 << 23


@attrs.frozen
class ReceptionReport:
    """What a receiver says of one stream that it receives (RFC 3550 section 6.4.1)."""

    ssrc: int
    """The stream."""
    fraction_lost: float
    """Of the packets expected since the report before, from 0 to 1."""
    lost: int
    """Packets lost since the beginning; less than 0 where packets came twice."""
    jitter: int
    """Interarrival jitter, in units of the stream's RTP clock."""
    last_sender_report: int
    """The middle 32 bits of the NTP time in the last sender report of that stream; 0: none came."""
    delay: float
    """Seconds from the arrival of that sender report to the sending of this report."""


@attrs.frozen
class RtcpReport:
    """A sender or receiver report."""

    ssrc: int
    """Its sender."""
    sent_at: int
    """The middle 32 bits of the NTP time in a sender report; 0 in a receiver report."""
    packets: int
    """RTP packets sent so far, by a sender report."""
    receptions: tuple[ReceptionReport, ...]


def read_reports(data: bytes | memoryview) -> list[RtcpReport]:
    """The reports of a compound packet up to the first part that cannot be read; no more than it has room for."""
    reports = []
    position = 0
    while position + _HEAD.size <= len(data):
        first, kind, words, ssrc = _HEAD.unpack_from(data, position)
        end = position + (words + 1) * 4
        if first >> 6 != 2 or end > len(data):
            break
        if kind in (_SENDER_REPORT, _RECEIVER_REPORT):
            report = _read_report(data, position + _HEAD.size, end, ssrc, kind == _SENDER_REPORT, first & 31)
            if report is None:
                break
            reports.append(report)
        position = end
    return reports


def _read_report(
    data: bytes | memoryview, position: int, end: int, ssrc: int, of_sender: bool, count: int
) -> RtcpReport | None:
    sent_at = packets = 0
    if of_sender:
        if position + _SENDER_INFO.size > end:
            return None
        seconds, fraction, _timestamp, packets, _octets = _SENDER_INFO.unpack_from(data, position)
        sent_at = (seconds & 0xFFFF) << 16 | fraction >> 16
        position += _SENDER_INFO.size
    if position + count * _BLOCK.size > end:
        return None
    receptions = tuple([_read_block(data, position + number * _BLOCK.size) for number in range(count)])
    return RtcpReport(ssrc, sent_at, packets, receptions)


def _read_block(data: bytes | memoryview, position: int) -> ReceptionReport:
    ssrc, loss, _highest, jitter, last_sender_report, delay = _BLOCK.unpack_from(data, position)
    lost = loss & 0xFFFFFF
    if lost >= _LOST_SIGN:
        lost -= 2 * _LOST_SIGN
    return ReceptionReport(ssrc, (loss >> 24) / 256, lost, jitter, last_sender_report, delay / _UNITS_A_SECOND)
