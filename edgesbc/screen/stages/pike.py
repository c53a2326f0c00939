"""Stage ``pike``: refuses sources that send more than they may, before anything is parsed."""

from __future__ import annotations

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.base.prefixes import prefix_keys, source_key
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import between, positive
from edgesbc.screen.buckets import SECOND, TokenBucket
from edgesbc.screen.stage import PASS, Drop, Phase, Subject, Verdict
from edgesbc.screen.standing import Standing, Standings
from edgesbc.screen.tracker import NEVER, TrackedSource, Tracker

__all__ = ["Pike", "PikeSettings"]


@attrs.frozen
class PikeSettings:
    """``[screen.pike]``: the three settings of Kamailio's and OpenSIPS's pike, with their meanings, and four more.

    Every datagram and every framed message counts. An unproven source is watched by its address, a
    reachable or registered one by its flow, so that phones behind one address do not add up. An address, or
    a /64, may open as many connections in a window, or each new one would be a new flow with nothing
    against it.
    """

    sampling_time_unit: float = attrs.field(default=2.0, validator=positive)
    """The window, in seconds. It slides: no two windows can share a burst."""
    reqs_density_per_unit: int = attrs.field(default=30, validator=between(1, limits.TRACKER_DENSITY))
    """What a source may send in a window; one more trips."""
    remove_latency: float = attrs.field(default=120.0, validator=positive)
    """How long a source that tripped is banned, in seconds; at most 60 where its address may be forged."""
    flood_factor: int = attrs.field(default=32, validator=between(1, 10_000))
    """An address that may be forged and that several flows use, as an office behind NAT does, is held to its density
    and banned only when so many times the density was refused in a window. A lone flow is banned when it trips. A
    registered UDP flow of which as much was refused goes the strangers' way for a minute."""
    prefix_factor: int = attrs.field(default=16, validator=between(1, 1_000))
    """Strangers of a /24 or a /64 may together send so many times the density, those of a /48 four times that; what is
    over it is refused message by message, and nobody is banned for it."""
    strangers_per_second: int = attrs.field(default=2_000, validator=between(1, 1_000_000))
    """Datagrams of strangers that are looked at in a second, all together, with as many at once. A flood from ever new
    addresses, which no threshold of an address sees, ends here before it is parsed. Proven flows are not among them."""
    tracker_entries: int = attrs.field(default=limits.TRACKER_ENTRIES, validator=between(16, 1 << 20))
    """Sources watched at once, for strangers and for proven flows each; a quarter as many /24 and /64, and of /48 a
    sixteenth."""


class _Prefixes:
    """What the strangers of a prefix may send together in a window."""

    __slots__ = ("density", "tracker")

    def __init__(self, density: int, window: float, entries: int) -> None:
        self.tracker = Tracker(density, window, entries, inherit=True)
        self.density = density


class Pike:
    name = "pike"
    phases = frozenset({Phase.ACCEPT, Phase.PACKET})

    def __init__(self, settings: PikeSettings, standings: Standings) -> None:
        density, window, entries = (
            settings.reqs_density_per_unit,
            settings.sampling_time_unit,
            settings.tracker_entries,
        )
        self._strangers = Tracker(density, window, entries, inherit=True)
        self._proven = Tracker(density, window, entries, inherit=False)
        self._arrivals = Tracker(density, window, entries, inherit=False)
        wide = density * settings.prefix_factor
        # Stamps of a whole window are kept: the wider the prefix, the more of them, and the fewer entries.
        self._prefixes = (
            _Prefixes(wide, window, max(16, entries // 4)),
            _Prefixes(4 * wide, window, max(16, entries // 16)),
        )
        self._crowd = TokenBucket("strangers", settings.strangers_per_second, settings.strangers_per_second, 1)
        self._crowd_told = NEVER
        self._window = window
        self._quiet = Drop(Reason.PIKE, limit=density, value=density + 1, quiet=True)
        self._density = density
        self._flood = density * settings.flood_factor
        self._ban = settings.remove_latency

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        standing = subject.standing
        if standing is Standing.TRUNK:
            return PASS
        if phase is Phase.PACKET and standing is Standing.UNPROVEN:
            return self._judge_stranger(subject.flow.peer[0], subject.flow.peer[1], now)
        if phase is Phase.ACCEPT:
            tracker, ban = self._arrivals, 0.0  # who else is behind the address is not known
            entry = tracker.admit(source_key(subject.flow.peer[0]), now)
        else:
            tracker, ban = self._proven, self._ban
            entry = tracker.admit(subject.flow.key, now)
        if entry is None:
            return PASS
        if tracker.first_trip(entry, now):
            return Drop(Reason.PIKE, limit=self._density, value=self._density + 1, ban=ban)
        if entry.refused == self._flood and phase is Phase.PACKET:
            return Drop(Reason.PIKE, limit=self._flood, value=self._flood, ban=ban, wide=True)
        return self._quiet

    def _judge_stranger(self, host: str, port: int, now: float) -> Verdict:
        tracker = self._strangers
        entry = tracker.admit(host, now, port)
        if entry is None:
            verdict = self._judge_prefixes(host, now)
            return self._judge_crowd(now) if verdict is PASS else verdict
        first = tracker.first_trip(entry, now)
        if first and tracker.alone(entry, now):
            ban = self._ban if tracker.surely(entry) else 0.0
            return Drop(Reason.PIKE, limit=self._density, value=self._density + 1, ban=ban)
        if entry.refused == self._flood and tracker.surely(entry):
            return Drop(Reason.PIKE, limit=self._flood, value=self._flood, ban=self._ban, wide=True)
        return Drop(Reason.PIKE, limit=self._density, value=self._density + 1) if first else self._quiet

    def _judge_prefixes(self, host: str, now: float) -> Verdict:
        wide, widest = self._prefixes
        if ":" not in host:
            entry = wide.tracker.admit(host[: host.rfind(".")], now)
            return PASS if entry is None else self._refuse_prefix(wide, entry, "/24", now)
        narrow, site = prefix_keys(host)
        entry = wide.tracker.admit(narrow, now)
        if entry is not None:
            return self._refuse_prefix(wide, entry, "/64", now)
        entry = widest.tracker.admit(site, now)
        return PASS if entry is None else self._refuse_prefix(widest, entry, "/48", now)

    def _judge_crowd(self, now: float) -> Verdict:
        at, crowd = int(now * SECOND), self._crowd
        if not crowd.wait(0, at):
            crowd.take(0, at)
            return PASS
        if self._crowd_told > now - self._window:
            return self._quiet
        self._crowd_told = now
        return Drop(Reason.PIKE, limit=crowd.rate, detail="all strangers together, in a second")

    def _refuse_prefix(self, prefixes: _Prefixes, entry: TrackedSource, length: str, now: float) -> Verdict:
        if not prefixes.tracker.first_trip(entry, now):
            return self._quiet
        return Drop(Reason.PIKE, limit=prefixes.density, value=prefixes.density + 1, detail=f"its {length}")

    def busiest(self, now: float, count: int) -> list[tuple[str, int, bool]]:
        """Strangers' addresses and proven flows with the most requests of the last window, those that tripped first:
        (who, requests, whether it tripped)."""
        rows = [(str(key), seen, hot) for key, seen, hot in self._strangers.busiest(now, count)]
        for key, seen, hot in self._proven.busiest(now, count):
            assert isinstance(key, tuple)  # noqa: S101 - a flow's
            rows.append((str(Source(key[1], key[2])), seen, hot))
        rows.sort(key=lambda row: (row[2], row[1]), reverse=True)
        return rows[:count]
