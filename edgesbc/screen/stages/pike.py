"""Stage ``pike``: refuses sources that send too many messages in a window, before parsing."""

from __future__ import annotations

import attrs

from edgesbc.base import limits
from edgesbc.base.address import FlowKey, Source
from edgesbc.base.prefixes import prefix_keys, source_key
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import between, positive
from edgesbc.screen.buckets import SECOND, TokenBucket
from edgesbc.screen.stage import PASS, Drop, Phase, Subject, Verdict, key_with_secret
from edgesbc.screen.standing import NO_SECRET, Standing, Standings
from edgesbc.screen.tracker import NEVER, TrackedSource, Tracker

__all__ = ["Pike", "PikeSettings"]


@attrs.frozen
class PikeSettings:
    """``[screen.pike]``: the three settings of Kamailio's and OpenSIPS's pike, with their meanings, and four more.

    Every datagram and every framed message counts. An unproven source is counted by its address, a
    reachable or registered one by its flow, so that phones behind one address are not added up. New connections of
    an address, or of a /64, are held to the same threshold, because each would otherwise begin with an empty window.

    Datagrams of a registered flow beyond the threshold may be forged. Those that carry a secret of the flow, as the
    nonce of a challenge, are not: they have the same threshold once more, and so has each of its calls for requests
    with its tags, which the other party of the call knows as well.
    """

    sampling_time_unit: float = attrs.field(default=2.0, validator=positive)
    """The window, in seconds. It slides, so that a burst cannot be split over two windows."""
    reqs_density_per_unit: int = attrs.field(default=30, validator=between(1, limits.TRACKER_DENSITY))
    """Messages that a source may send in a window; one more trips."""
    remove_latency: float = attrs.field(default=120.0, validator=positive)
    """Seconds of the ban on a source that tripped; at most 60 where its address may be forged."""
    flood_factor: int = attrs.field(default=32, validator=between(1, 10_000))
    """An address that may be forged and that several flows use, like an office behind NAT, is held to the density. It
    is banned only when this many times the density was refused in a window. An address of a single flow is banned when
    it trips. When as many datagrams of a registered UDP flow were refused, its datagrams go to the receive queue of
    untrusted sources for a minute."""
    prefix_factor: int = attrs.field(default=16, validator=between(1, 1_000))
    """Unproven sources of a /24 or a /64 may together send this many times the density, those of a /48 four times that;
    more is refused message by message, without a ban."""
    strangers_per_second: int = attrs.field(default=2_000, validator=between(1, 1_000_000))
    """Datagrams of all unproven sources together that are parsed in a second, with a burst of as many. It bounds a
    flood from ever new addresses, none of which reaches a threshold. Proven flows are not counted."""
    tracker_entries: int = attrs.field(default=limits.TRACKER_ENTRIES, validator=between(16, 1 << 20))
    """Sources tracked at once, unproven addresses and proven flows each; for /24 and /64 a quarter as many, for /48 a
    sixteenth."""


class _Prefixes:
    """The tracker of prefixes of one length, with their density for all unproven sources of a prefix together."""

    __slots__ = ("density", "tracker")

    def __init__(self, density: int, window: float, entries: int) -> None:
        self.tracker: Tracker[str] = Tracker(density, window, entries, inherit=True)
        self.density = density


class Pike:
    name = "pike"
    judges_trunks = False
    phases = frozenset({Phase.ACCEPT, Phase.PACKET})

    def __init__(self, settings: PikeSettings, standings: Standings) -> None:
        density, window, entries = (
            settings.reqs_density_per_unit,
            settings.sampling_time_unit,
            settings.tracker_entries,
        )
        self._unproven: Tracker[str] = Tracker(density, window, entries, inherit=True)
        self._proven: Tracker[FlowKey] = Tracker(density, window, entries, inherit=False)
        self._connections: Tracker[str] = Tracker(density, window, entries, inherit=False)
        wide = density * settings.prefix_factor
        # An entry keeps the stamps of a whole window: a wider prefix has more of them, so there are fewer entries.
        self._prefixes = (
            _Prefixes(wide, window, max(16, entries // 4)),
            _Prefixes(4 * wide, window, max(16, entries // 16)),
        )
        self._all_unproven = TokenBucket("strangers", settings.strangers_per_second, settings.strangers_per_second, 1)
        self._all_unproven_recorded = NEVER
        self._standings = standings
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
            return self._judge_unproven(subject.flow.peer[0], subject.flow.peer[1], now)
        if phase is Phase.ACCEPT:
            return self._judge_connection(source_key(subject.flow.peer[0]), now)
        tracker = self._proven
        entry = tracker.admit(subject.flow.key, now)
        if entry is None:
            return PASS
        if standing is Standing.REGISTERED and not subject.flow.serial and self._is_not_forged(subject, now):
            return PASS
        if tracker.first_trip(entry, now):
            return Drop(Reason.PIKE, limit=self._density, value=self._density + 1, ban=self._ban)
        if entry.refused == self._flood:
            return Drop(Reason.PIKE, limit=self._flood, value=self._flood, ban=self._ban, wide=True)
        return self._quiet

    def _is_not_forged(self, subject: Subject, now: float) -> bool:
        """Whether a datagram beyond the density carries a secret of its flow, and those that do are within it."""
        flow = subject.flow
        secret = self._standings.secret_in(flow, subject.data)
        return secret != NO_SECRET and self._proven.admit(key_with_secret(flow, secret), now) is None

    def _judge_connection(self, key: str, now: float) -> Verdict:
        """Without a ban, because other clients may share the address."""
        entry = self._connections.admit(key, now)
        if entry is None:
            return PASS
        if self._connections.first_trip(entry, now):
            return Drop(Reason.PIKE, limit=self._density, value=self._density + 1)
        return self._quiet

    def _judge_unproven(self, host: str, port: int, now: float) -> Verdict:
        tracker = self._unproven
        entry = tracker.admit(host, now, port)
        if entry is None:
            verdict = self._judge_prefixes(host, now)
            return self._judge_all_unproven(now) if verdict is PASS else verdict
        first = tracker.first_trip(entry, now)
        if first and tracker.one_member(entry, now):
            ban = self._ban if tracker.certain(entry) else 0.0
            return Drop(Reason.PIKE, limit=self._density, value=self._density + 1, ban=ban)
        if entry.refused == self._flood and tracker.certain(entry):
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

    def _judge_all_unproven(self, now: float) -> Verdict:
        at, bucket = int(now * SECOND), self._all_unproven
        if not bucket.wait(0, at):
            bucket.take(0, at)
            return PASS
        if self._all_unproven_recorded > now - self._window:
            return self._quiet
        self._all_unproven_recorded = now
        return Drop(Reason.PIKE, limit=bucket.rate, detail="all strangers together, in a second")

    def _refuse_prefix(self, prefixes: _Prefixes, entry: TrackedSource, length: str, now: float) -> Verdict:
        if not prefixes.tracker.first_trip(entry, now):
            return self._quiet
        return Drop(Reason.PIKE, limit=prefixes.density, value=prefixes.density + 1, detail=f"its {length}")

    def busiest(self, now: float, count: int) -> list[tuple[str, int, bool]]:
        """The ``count`` unproven addresses and proven flows with the most messages in the last window, those that
        tripped first: (source, messages, tripped)."""
        rows = self._unproven.busiest(now, count)
        for key, messages, tripped in self._proven.busiest(now, count):
            rows.append((str(Source(key[1], key[2])), messages, tripped))
        rows.sort(key=lambda row: (row[2], row[1]), reverse=True)
        return rows[:count]
