"""The selection algorithms, one file each, by their names in the policy."""

from __future__ import annotations

from collections.abc import Mapping

from edgesbc.dispatch.algorithms.algorithm import Algorithm
from edgesbc.dispatch.algorithms.broadcast import Broadcast
from edgesbc.dispatch.algorithms.hash import Hash
from edgesbc.dispatch.algorithms.latency import Latency
from edgesbc.dispatch.algorithms.least_loaded import FewestCalls, LeastLoaded, MostFree
from edgesbc.dispatch.algorithms.priority import Priority
from edgesbc.dispatch.algorithms.random import Random
from edgesbc.dispatch.algorithms.round_robin import RoundRobin
from edgesbc.dispatch.algorithms.weighted import Weighted

__all__ = ["ALGORITHMS", "Algorithm"]

ALGORITHMS: Mapping[str, type[Algorithm]] = {
    "broadcast": Broadcast,
    "fewest-calls": FewestCalls,
    "hash": Hash,
    "latency": Latency,
    "least-loaded": LeastLoaded,
    "most-free": MostFree,
    "priority": Priority,
    "random": Random,
    "round-robin": RoundRobin,
    "weighted": Weighted,
}
