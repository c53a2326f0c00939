"""The quality of what each side of a session receives, as its receiver reports tell it. Without I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.base.counts import Histogram
from edgesbc.media.rtcp import ReceptionReport, RtcpReport, read_reports
from edgesbc.sdp.session import MediaDescription

__all__ = ["QualityHistograms", "ReceptionQuality", "SideQuality", "StreamQuality", "clock_rate_of", "opinion_score"]

_MOST_ROUND_TRIP: Final = 10.0  # seconds; a longer one is a clock's or an author's mistake
_PACKET_SECONDS: Final = 0.02  # of sound in a packet of most codecs, which is sent when all of it was spoken
_BASIC_RATING: Final = 93.2  # ITU-T G.107 with all its default values
_LOSS_ROBUSTNESS: Final = 25.1  # of G.711 with packet loss concealment at random loss (ITU-T G.113 appendix I)
_NOTICED_DELAY: Final = 0.1773  # seconds
_READABLE: Final = frozenset({"RTP/AVP", "RTP/AVPF"})
"""Profiles whose RTCP is not encrypted."""
_AUDIO_RATE: Final = 8000  # Hz, of G.711 and most others with a static payload type (RFC 3551 section 6)
_VIDEO_RATE: Final = 90_000
_LOSS_BOUNDS: Final[tuple[float, ...]] = (0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
_SECONDS_BOUNDS: Final[tuple[float, ...]] = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.02,
    0.03,
    0.05,
    0.1,
    0.15,
    0.2,
    0.3,
    0.5,
    1.0,
    2.0,
)
_SCORE_BOUNDS: Final[tuple[float, ...]] = (1.0, 2.0, 2.58, 3.1, 3.6, 4.03, 4.34)
"""The last five: ITU-T G.107 annex B, table B.1."""


@attrs.frozen
class SideQuality:
    """What one side received, over all of its reports. Times are in seconds."""

    reports: int
    """Reception reports that this rests on."""
    loss: float
    """Lost packets as a share of those expected, from 0 to 1."""
    jitter: float
    """The mean of the reported interarrival jitter."""
    round_trip: float | None
    """The mean time from the relay to that side and back; None where no report answered a sender report."""
    score: float
    """The mean opinion score that :func:`opinion_score` estimates, from 1 to 4.5."""


class ReceptionQuality:
    """Sums up the reports of one side about one media section.

    ``clock_rate`` is that of its RTP timestamps, in Hz. A side's reports are about what the relay sent to it, so that
    the loss is that of both ways: from the other side to the relay, and from there.
    """

    __slots__ = ("_fractions", "_jitters", "_passed", "_round_trips", "_timed", "clock_rate", "reports")

    def __init__(self, clock_rate: int) -> None:
        self.clock_rate = clock_rate
        self.reports = 0
        self._fractions = 0.0
        self._jitters = 0.0
        self._round_trips = 0.0
        self._timed = 0
        self._passed: dict[int, float] = {}  # when sender reports were relayed to this side, the oldest first

    def on_relayed(self, reports: Iterable[RtcpReport], now: float) -> None:
        """The relay has passed these reports on to this side, at ``now`` (seconds)."""
        for report in reports:
            if report.sent_at:
                self._passed.pop(report.sent_at, None)
                self._passed[report.sent_at] = now
        while len(self._passed) > limits.RTCP_SENDER_REPORTS:
            del self._passed[next(iter(self._passed))]

    def on_received(self, reports: Iterable[RtcpReport], now: float) -> None:
        """These reports came from this side, at ``now`` (seconds)."""
        for report in reports:
            for reception in report.receptions:
                self._add(reception, now)

    def _add(self, reception: ReceptionReport, now: float) -> None:
        self.reports += 1
        self._fractions += reception.fraction_lost
        self._jitters += reception.jitter / self.clock_rate
        passed = self._passed.get(reception.last_sender_report)
        if passed is not None and 0.0 <= now - passed - reception.delay <= _MOST_ROUND_TRIP:
            self._round_trips += now - passed - reception.delay
            self._timed += 1

    def summary(self) -> SideQuality | None:
        """What the reports so far say; None without any."""
        if not self.reports:
            return None
        loss, jitter = self._fractions / self.reports, self._jitters / self.reports
        round_trip = self._round_trips / self._timed if self._timed else None
        return SideQuality(self.reports, loss, jitter, round_trip, opinion_score(loss, jitter, round_trip or 0.0))


def opinion_score(loss: float, jitter: float, round_trip: float) -> float:
    """The mean opinion score that the E-model gives (ITU-T G.107, its default values, G.711 with concealment).

    ``loss`` is a share from 0 to 1, ``jitter`` and ``round_trip`` are in seconds. The delay is taken as half the round
    trip, a jitter buffer of twice the jitter and one packet. It is an estimate: another codec has other values, and the
    relay does not know what lies behind a side.
    """
    delay = round_trip / 2 + 2 * jitter + _PACKET_SECONDS
    impairment = 24 * delay
    if delay > _NOTICED_DELAY:
        impairment += 110 * (delay - _NOTICED_DELAY)
    percent = 100 * loss
    rating = _BASIC_RATING - impairment - 95 * percent / (percent + _LOSS_ROBUSTNESS)
    if rating <= 0:
        return 1.0
    return 1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating)


class StreamQuality:
    """What both sides of a media section say of it."""

    __slots__ = ("_sides", "clock_rate")

    def __init__(self) -> None:
        self.clock_rate = 0
        """Of the RTP timestamps, in Hz; 0: reports cannot be read, as those of SRTP."""
        self._sides: list[ReceptionQuality | None] = [None, None]

    def on_packet(self, side: int, data: bytes, received: float) -> None:
        """The relay has received an RTCP packet from a side, and passed it on to the other; ``received`` is in seconds
        on the relay's clock."""
        if self.clock_rate:
            reports = read_reports(data)
            self._side(side).on_received(reports, received)
            self._side(1 - side).on_relayed(reports, received)

    def _side(self, index: int) -> ReceptionQuality:
        quality = self._sides[index]
        if quality is None:
            quality = self._sides[index] = ReceptionQuality(self.clock_rate)
        quality.clock_rate = self.clock_rate
        return quality

    def summary(self, side: int) -> SideQuality | None:
        """What a side has reported so far; None for nothing."""
        quality = self._sides[side]
        return None if quality is None else quality.summary()


def clock_rate_of(media: MediaDescription) -> int:
    """The rate of the RTP timestamps of a section's first format, in Hz; 0 where RTCP cannot be read."""
    if media.protocol not in _READABLE or not media.formats:
        return 0
    first = media.formats[0]
    for attribute in media.attributes:
        form, _, encoding = (attribute.value or "").partition(" ")
        if attribute.name == "rtpmap" and form == first:
            rate = encoding.partition("/")[2].partition("/")[0]
            return int(rate) if rate.isascii() and rate.isdigit() and len(rate) <= 6 else 0
    return _VIDEO_RATE if media.kind == "video" else _AUDIO_RATE


class QualityHistograms:
    """The quality that each side reported of each media section, recorded when the section ends; by its zone."""

    __slots__ = ("jitter", "loss", "round_trip", "score")

    def __init__(self) -> None:
        self.loss = _by_zone(_LOSS_BOUNDS)
        self.jitter = _by_zone(_SECONDS_BOUNDS)
        self.round_trip = _by_zone(_SECONDS_BOUNDS)
        self.score = _by_zone(_SCORE_BOUNDS)

    def record(self, zone: Zone, quality: SideQuality) -> None:
        """Enter what a side in that zone has reported."""
        key = (zone.value,)
        self.loss[key].observe(quality.loss)
        self.jitter[key].observe(quality.jitter)
        self.score[key].observe(quality.score)
        if quality.round_trip is not None:
            self.round_trip[key].observe(quality.round_trip)


def _by_zone(bounds: tuple[float, ...]) -> dict[tuple[str, ...], Histogram]:
    return {(zone.value,): Histogram(bounds) for zone in Zone}
