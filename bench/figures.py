"""Medians and ratios of the figures of several rounds."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence

__all__ = ["ratios", "summary"]

Rounds = Mapping[str, Sequence[Mapping[str, float]]]
"""By engine: the figures of each round."""


def summary(rounds: Rounds, faults: Collection[str]) -> dict[str, dict[str, float]]:
    """The median of each figure; of ``faults`` the sum, since a median would hide the failures of one round."""
    return {name: {key: _combine(key, figures, faults) for key in figures[0]} for name, figures in rounds.items()}


def _combine(key: str, rounds: Sequence[Mapping[str, float]], faults: Collection[str]) -> float:
    values = [figures[key] for figures in rounds]
    return sum(values) if key in faults else statistics.median(values)


def ratios(rounds: Rounds, ours: str, peer: str, key: str = "cpu_us", zero_known: bool = True) -> dict[str, float]:
    """The ratio of ``ours`` to ``peer``, computed round by round, so that other load on the machine affects both alike.

    ``key`` is the figure that is compared. A round in which the peer's figure is 0 is left out, and with
    ``zero_known`` False also one in which ours is 0, which then means unknown.
    """
    pairs = [(own[key], other[key]) for own, other in zip(rounds[ours], rounds[peer], strict=True)]
    quotients = sorted(own / other for own, other in pairs if other and (own or zero_known))
    if not quotients:
        return {}
    return {"median": statistics.median(quotients), "lowest": quotients[0], "highest": quotients[-1]}
