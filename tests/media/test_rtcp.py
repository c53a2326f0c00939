"""Sender and receiver reports as they pass."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rtcp import receiver_report, sender_report

from edgesbc.media.rtcp import ReceptionReport, read_reports


def test_a_sender_report_with_two_blocks() -> None:
    block = ReceptionReport(0xAABBCCDD, 0.25, 100, 160, 0x11112222, 1.5)
    twice = ReceptionReport(2, 0.0, -3, 0, 0, 0.0)
    (report,) = read_reports(sender_report(7, 0x1234_5678_9ABC_DEF0, 900, [block, twice]))
    assert (report.ssrc, report.sent_at, report.packets) == (7, 0x5678_9ABC, 900)
    assert report.receptions == (block, twice)


def test_the_reports_of_a_compound_packet() -> None:
    description = struct.pack("!BBHI", 0x81, 202, 2, 7) + bytes(4)
    reports = read_reports(sender_report(7, 1 << 16, 1, []) + description + receiver_report(8, []))
    assert [report.ssrc for report in reports] == [7, 8]
    assert [report.sent_at for report in reports] == [1, 0]


BLOCK = ReceptionReport(1, 0.0, 0, 0, 0, 0.0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        sender_report(7, 1, 1, [BLOCK])[:-1],
        b"\x40" + receiver_report(8, [])[1:],
        b"\x82" + receiver_report(8, [BLOCK])[1:],
        struct.pack("!BBHI", 0x80, 200, 1, 7),
    ],
    ids=["empty", "short", "cut", "version-1", "fewer-blocks-than-it-says", "without-sender-information"],
)
def test_what_cannot_be_read_has_no_reports(data: bytes) -> None:
    assert read_reports(data) == []


def test_reports_before_one_that_cannot_be_read_count() -> None:
    assert len(read_reports(receiver_report(8, []) + sender_report(7, 1, 1, [])[:-4])) == 1


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data: bytes) -> None:
    assert len(read_reports(data)) <= len(data) // 8
