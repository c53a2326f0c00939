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


def ratios(rounds: Rounds, ours: str, peer: str, key: str = "cpu_us") -> dict[str, float]:
    """CPU of ``ours`` to that of ``peer``, taken round by round: what else the machine does then harms both alike.

    ``key`` is the figure that is compared; rounds in which the peer's is 0, and thus not known, are left out.
    """
    found = sorted(one[key] / other[key] for one, other in zip(rounds[ours], rounds[peer], strict=True) if other[key])
    if not found:
        return {}
    return {"median": statistics.median(found), "lowest": found[0], "highest": found[-1]}
