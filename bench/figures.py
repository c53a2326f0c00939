"""Many rounds into few figures."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence

__all__ = ["ratios", "summary"]

Rounds = Mapping[str, Sequence[Mapping[str, float]]]
"""By engine: the figures of each round."""


def summary(rounds: Rounds, faults: Collection[str]) -> dict[str, dict[str, float]]:
    """The median of each figure; of ``faults`` the sum, since one round's failures are not outvoted by others."""
    return {name: {key: _one(key, found, faults) for key in found[0]} for name, found in rounds.items()}


def _one(key: str, found: Sequence[Mapping[str, float]], faults: Collection[str]) -> float:
    values = [each[key] for each in found]
    return sum(values) if key in faults else statistics.median(values)


def ratios(rounds: Rounds, ours: str, peer: str, key: str = "cpu_us", nothing: bool = True) -> dict[str, float]:
    """CPU of ``ours`` to that of ``peer``, taken round by round: what else the machine does then harms both alike.

    ``key`` is the figure that is compared. A round in which the peer's is 0 is left out; ``nothing`` says whether ours
    may be, which is then a figure, or is not known then either.
    """
    pairs = [(one[key], other[key]) for one, other in zip(rounds[ours], rounds[peer], strict=True)]
    found = sorted(one / other for one, other in pairs if other and (one or nothing))
    if not found:
        return {}
    return {"median": statistics.median(found), "lowest": found[0], "highest": found[-1]}
