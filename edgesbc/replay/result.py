"""The result of a replay, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.base.counts import Counts

__all__ = ["ReplayResult", "SourceLine", "Sources"]


@attrs.frozen
class SourceLine:
    """The messages of one source address, or with ``address`` "" of all others together."""

    address: str
    messages: int
    verdicts: Mapping[str, int]
    """Messages by the reason code of their refusal, or ``pass``."""


class Sources:
    """Verdicts by source address, of at most ``limits.REPLAY_SOURCES``: beyond that, the half with the fewest messages
    is merged into one sum."""

    __slots__ = ("_by_host", "_others", "count")

    def __init__(self) -> None:
        self.count = 0
        """The number of addresses; an address that was merged and appears again counts again."""
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

    def top(self, limit: int) -> tuple[SourceLine, ...]:
        """The ``limit`` addresses with the most messages, in that order, and then one line for all others."""
        ranked = sorted(self._by_host.items(), key=lambda item: (-sum(item[1].values()), item[0]))
        rest = Counts(self._others)
        for _, counts in ranked[limit:]:
            for verdict, count in counts.items():
                rest.add(*verdict, by=count)
        lines = [_line(host, counts) for host, counts in ranked[:limit]]
        return tuple([*lines, _line("", rest)] if rest else lines)


def _line(address: str, counts: Counts) -> SourceLine:
    return SourceLine(address, sum(counts.values()), flat(counts))


def flat(counts: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    """Counts as a dict, the largest first; its keys are the labels joined by a space."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {" ".join(labels): count for labels, count in ranked}


@attrs.frozen
class ReplayResult:
    """The result of the replay of one capture. Dicts are in the order of their counts, the largest first."""

    capture: str
    policy: str
    against: str
    """File of the second policy, or ""."""
    inside: str
    packets: int
    """Packets in the capture, without a broken last one."""
    seconds: float
    """From the first packet to the last."""
    broken: str
    """Why the capture could not be read to its end, or ""."""
    went_in: int
    """Packets passed to the signalling core; the sum with ``left_out`` and earlier fragments is ``packets``."""
    messages: int
    """Messages and keep-alives of the public side that were passed to the signalling core."""
    connections: int
    left_out: Mapping[str, int]
    """Packets that were not used, by the reason."""
    notes: Mapping[str, int]
    """Further observations about the capture."""
    verdicts: Mapping[str, int]
    """Messages and connections by the reason code of their refusal, or ``pass``."""
    sources: tuple[SourceLine, ...]
    source_count: int
    bans: int
    requests: Mapping[str, int]
    """Parsed requests of the public side by method, without retransmissions."""
    answers: Mapping[str, int]
    """Responses sent to the public side, by class."""
    forwarded: Mapping[str, int]
    """Requests sent to the private side, by destination and method."""
    calls: Mapping[str, int]
    """Call attempts by their outcome."""
    calls_left: int
    """Calls alive at the end."""
    calls_most: int
    """The largest number of calls at once."""
    decisions: Mapping[str, int]
    """Recorded decisions by reason code."""
    otherwise: Mapping[str, Any] | None
    """The differences of the second policy (see ``ShadowPolicy.report``; times are seconds of the capture)."""

    def as_dict(self) -> dict[str, Any]:
        """The result as a dict for JSON."""
        return attrs.asdict(self)
