"""What a replay comes to, as plain values; nothing here prints or judges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.base.counts import Counts

__all__ = ["ReplayResult", "SourceLine", "Sources"]


@attrs.frozen
class SourceLine:
    """What came from one address, or with ``address`` "" from all those that were not kept apart."""

    address: str
    messages: int
    verdicts: Mapping[str, int]
    """Messages by what they were refused for, or ``pass``."""


class Sources:
    """Verdicts by source address, of at most ``REPLAY_SOURCES``: when there are more, the quieter half is added up."""

    __slots__ = ("_by_host", "_others", "count")

    def __init__(self) -> None:
        self.count = 0
        """Addresses seen; one that was added up with others and came again counts again."""
        self._by_host: dict[str, Counts] = {}
        self._others = Counts()

    def __len__(self) -> int:
        return len(self._by_host)

    def add(self, host: str, verdict: str) -> None:
        counts = self._by_host.get(host)
        if counts is None:
            if len(self._by_host) >= limits.REPLAY_SOURCES:
                self._merge()
            counts = self._by_host[host] = Counts()
            self.count += 1
        counts.add(verdict)

    def _merge(self) -> None:
        ranked = sorted(self._by_host, key=lambda host: -sum(self._by_host[host].values()))
        for host in ranked[len(ranked) // 2 :]:
            for verdict, count in self._by_host.pop(host).items():
                self._others.add(*verdict, by=count)

    def top(self, most: int) -> tuple[SourceLine, ...]:
        """The busiest, the busiest first, and then one line of all that are left."""
        ranked = sorted(self._by_host.items(), key=lambda item: (-sum(item[1].values()), item[0]))
        rest = Counts(self._others)
        for _, counts in ranked[most:]:
            for verdict, count in counts.items():
                rest.add(*verdict, by=count)
        lines = [_line(host, counts) for host, counts in ranked[:most]]
        return tuple([*lines, _line("", rest)] if rest else lines)


def _line(address: str, counts: Counts) -> SourceLine:
    return SourceLine(address, sum(counts.values()), flat(counts))


def flat(counts: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    """Counts as a dict by their labels, joined by a space, the largest first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {" ".join(labels): count for labels, count in ranked}


@attrs.frozen
class ReplayResult:
    """A replay of one capture. Dicts are in the order of their counts, the largest first."""

    capture: str
    policy: str
    against: str
    """File of the second policy, or ""."""
    inside: str
    packets: int
    """Whole packets in the capture."""
    seconds: float
    """From the first of them to the last."""
    broken: str
    """Why the capture could not be read to its end, or ""."""
    went_in: int
    """Packets of what went into the signalling core: with those left out and fragments, all packets."""
    messages: int
    """Messages and keep-alives from outside that went into the signalling core."""
    connections: int
    left_out: Mapping[str, int]
    """Packets that did not go in, by why."""
    notes: Mapping[str, int]
    """What else there is to know of the reading."""
    verdicts: Mapping[str, int]
    """Messages and connections by what they were refused for, or ``pass``."""
    sources: tuple[SourceLine, ...]
    source_count: int
    bans: int
    requests: Mapping[str, int]
    """By method: those that were read, retransmissions not counted."""
    answers: Mapping[str, int]
    """Sent outward, by class."""
    forwarded: Mapping[str, int]
    """Requests sent inward, by destination and method."""
    calls: Mapping[str, int]
    """By what became of their set-up."""
    calls_left: int
    """Alive at the end."""
    calls_most: int
    """At once."""
    decisions: Mapping[str, int]
    """What the ledger would have, by reason."""
    otherwise: Mapping[str, Any] | None
    """What the second policy would have judged otherwise (see ``Beside.report``; times are seconds of the capture)."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return attrs.asdict(self)
