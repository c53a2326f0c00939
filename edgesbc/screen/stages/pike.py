"""Stage ``pike``: refuses sources that send more than they may, before anything is parsed."""

from __future__ import annotations

import attrs

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.screen.expect import between, positive
from edgesbc.screen.stage import PASS, Drop, Phase, Subject, Verdict
from edgesbc.screen.standing import Standing, Standings
from edgesbc.screen.tracker import Tracker

__all__ = ["Pike", "PikeSettings"]


@attrs.frozen
class PikeSettings:
    """``[screen.pike]``: the three settings of Kamailio's and OpenSIPS's pike, with their meanings.

    Every datagram and every framed message counts. An unproven source is watched by its address, a
    reachable or registered one by its flow, so that phones behind one address do not add up. An address
    may open as many connections in a window, or each new one would be a new flow with nothing against it.
    """

    sampling_time_unit: float = attrs.field(default=2.0, validator=positive)
    """The window, in seconds. It slides: no two windows can share a burst."""
    reqs_density_per_unit: int = attrs.field(default=30, validator=between(1, limits.TRACKER_DENSITY))
    """What a source may send in a window; one more trips."""
    remove_latency: float = attrs.field(default=120.0, validator=positive)
    """How long a source that tripped is banned, in seconds; at most 60 where its address may be forged."""
    tracker_entries: int = attrs.field(default=limits.TRACKER_ENTRIES, validator=between(16, 1 << 20))
    """Sources watched at once, for strangers and for proven flows each."""


class Pike:
    name = "pike"
    phases = frozenset({Phase.ACCEPT, Phase.PACKET})

    def __init__(self, settings: PikeSettings, standings: Standings) -> None:
        density, window = settings.reqs_density_per_unit, settings.sampling_time_unit
        self._strangers = Tracker(density, window, settings.tracker_entries, inherit=True)
        self._proven = Tracker(density, window, settings.tracker_entries, inherit=False)
        self._arrivals = Tracker(density, window, settings.tracker_entries, inherit=False)
        self._quiet = Drop(Reason.PIKE, limit=density, value=density + 1, quiet=True)
        self._density = density
        self._ban = settings.remove_latency

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        standing = subject.standing
        if phase is Phase.ACCEPT and standing is not Standing.TRUNK:
            tracker = self._arrivals
            entry = tracker.admit(subject.flow.peer[0], now)
        elif standing is Standing.UNPROVEN:
            tracker = self._strangers
            entry = tracker.admit(subject.flow.peer[0], now)
        elif standing is Standing.TRUNK:
            return PASS
        else:
            tracker = self._proven
            entry = tracker.admit(subject.flow.key, now)
        if entry is None:
            return PASS
        if not tracker.first_trip(entry, now):
            return self._quiet
        ban = self._ban if phase is Phase.PACKET and tracker.surely(entry) else 0.0
        return Drop(Reason.PIKE, limit=self._density, value=self._density + 1, ban=ban)
