"""What receiver reports say of the quality of a side."""

from __future__ import annotations

import pytest
from support.media import TableHarness, answer, offer, sdp
from support.rtcp import receiver_report, sender_report

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.media.quality import ReceptionQuality, clock_rate_of, opinion_score
from edgesbc.media.rtcp import ReceptionReport, RtcpReport
from edgesbc.sdp.session import MediaDescription, parse_session

PUBLIC, CORE = Zone.PUBLIC, Zone.CORE


def sent(at: int) -> RtcpReport:
    return RtcpReport(1, at, 0, ())


def heard(loss: float = 0.0, jitter: int = 0, answers: int = 0, delay: float = 0.0) -> RtcpReport:
    return RtcpReport(2, 0, 0, (ReceptionReport(1, loss, 0, jitter, answers, delay),))


def test_loss_and_jitter_are_means_of_the_reports() -> None:
    quality = ReceptionQuality(8000)
    quality.on_received([heard(loss=0.1, jitter=80)], 0.0)
    quality.on_received([heard(loss=0.3, jitter=240)], 5.0)
    summary = quality.summary()
    assert summary is not None
    assert (summary.reports, summary.round_trip) == (2, None)
    assert summary.loss == pytest.approx(0.2)
    assert summary.jitter == pytest.approx(0.02)


def test_without_a_report_there_is_no_quality() -> None:
    quality = ReceptionQuality(8000)
    quality.on_relayed([sent(5)], 0.0)
    assert quality.summary() is None


def test_the_round_trip_is_without_the_delay_at_the_receiver() -> None:
    """RFC 3550 figure 2, seen from the relay."""
    quality = ReceptionQuality(8000)
    quality.on_relayed([sent(5)], 100.0)
    quality.on_received([heard(answers=5, delay=2.0)], 102.125)
    summary = quality.summary()
    assert summary is not None
    assert summary.round_trip == pytest.approx(0.125)


@pytest.mark.parametrize(
    ("answers", "delay"), [(6, 2.0), (0, 2.0), (5, 2.5), (5, -20.0)], ids=["unknown", "none", "negative", "too-long"]
)
def test_a_report_that_answers_no_sender_report_has_no_round_trip(answers: int, delay: float) -> None:
    quality = ReceptionQuality(8000)
    quality.on_relayed([sent(5)], 100.0)
    quality.on_received([heard(answers=answers, delay=delay)], 102.125)
    summary = quality.summary()
    assert summary is not None
    assert summary.round_trip is None


def test_sender_reports_that_are_waited_for_have_a_bound() -> None:
    quality = ReceptionQuality(8000)
    for number in range(1, limits.RTCP_SENDER_REPORTS + 2):
        quality.on_relayed([sent(number)], 0.0)
    quality.on_received([heard(answers=1), heard(answers=2)], 1.0)
    summary = quality.summary()
    assert summary is not None
    assert summary.round_trip == 1.0, "the oldest is forgotten, the next is known"
    assert len(quality._passed) == limits.RTCP_SENDER_REPORTS


@pytest.mark.parametrize(
    ("loss", "jitter", "round_trip", "score"),
    [
        # R of ITU-T G.107 worked out by hand: 93.2 - 24 d - 110 (d - 0.1773) - 95 p / (p + 25.1)
        (0.0, 0.0, 0.0, 4.40),  # R 92.7
        (0.0, 0.0, 0.36, 4.23),  # d 0.2: R 85.9
        (0.01, 0.0, 0.0, 4.32),  # R 89.1
        (0.05, 0.005, 0.1, 3.84),  # d 0.08: R 75.5
        (0.2, 0.0, 0.0, 2.61),  # R 50.6
        (1.0, 0.0, 10.0, 1.0),
    ],
)
def test_the_score_of_the_e_model(loss: float, jitter: float, round_trip: float, score: float) -> None:
    assert opinion_score(loss, jitter, round_trip) == pytest.approx(score, abs=0.005)


def description(lines: str) -> MediaDescription:
    head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    return parse_session((head + lines).encode()).media[0]


@pytest.mark.parametrize(
    ("lines", "rate"),
    [
        ("m=audio 4000 RTP/AVP 0 8\r\n", 8000),
        ("m=audio 4000 RTP/AVP 111 0\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:111 opus/48000/2\r\n", 48_000),
        ("m=audio 4000 RTP/AVPF 9\r\na=rtpmap:9 G722/8000\r\n", 8000),
        ("m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 x/0\r\n", 0),
        ("m=audio 4000 RTP/AVP 96\r\na=rtpmap:96\r\n", 0),
        ("m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 x\r\n", 0),
        ("m=video 4000 RTP/AVP 31\r\n", 90_000),
        ("m=audio 4000 RTP/SAVP 0\r\n", 0),
    ],
)
def test_the_clock_rate_of_a_section(lines: str, rate: int) -> None:
    assert clock_rate_of(description(lines)) == rate


def test_a_session_records_what_each_side_reported_when_it_ends() -> None:
    harness = TableHarness()
    facing_callee = harness.facing(CORE, harness.ok(offer("s", "a", sdp("192.0.2.7"))))
    facing_caller = harness.facing(PUBLIC, harness.ok(answer("s", "a", "b", sdp("10.0.0.5", 5000))))
    assert facing_callee.on_reports is not None
    assert facing_caller.on_reports is not None
    facing_caller.on_reports(sender_report(1, 5 << 16, 1, []), 100.0)
    lost = ReceptionReport(1, 0.25, 10, 80, 5, 2.0)
    facing_callee.on_reports(receiver_report(2, [lost]), 102.5)
    quality = harness.table.quality
    assert sum(quality.loss["core",].counts) == 0
    harness.delete("s", "a")
    assert (quality.loss["core",].total, quality.jitter["core",].total) == (0.25, 0.01)
    assert quality.round_trip["core",].total == 0.5
    assert sum(quality.score["core",].counts) == 1
    assert sum(quality.loss["public",].counts) == 0, "the caller has reported on nothing"
    assert facing_callee.on_reports is None


def test_reports_of_srtp_are_not_read() -> None:
    harness = TableHarness()
    offered, answered = (sdp(host).replace("RTP/AVP", "RTP/SAVP") for host in ("192.0.2.7", "10.0.0.5"))
    facing_callee = harness.facing(CORE, harness.ok(offer("s", "a", offered)))
    harness.ok(answer("s", "a", "b", answered))
    assert facing_callee.on_reports is not None
    facing_callee.on_reports(receiver_report(2, [ReceptionReport(1, 0.25, 10, 80, 5, 2.0)]), 1.0)
    harness.delete("s", "a")
    assert sum(harness.table.quality.loss["core",].counts) == 0
