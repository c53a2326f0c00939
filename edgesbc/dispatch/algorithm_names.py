"""The names that selection algorithms have in a policy; ``dispatch.algorithms`` has the class of each."""

from __future__ import annotations

__all__ = ["ALGORITHM_NAMES"]

ALGORITHM_NAMES = (
    "broadcast", "fewest-calls", "hash", "latency", "least-loaded", "most-free", "priority", "random", "round-robin",
    "weighted",
)  # fmt: skip
