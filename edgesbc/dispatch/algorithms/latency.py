"""Latency: of two drawn at random, the one that answers sooner."""

from __future__ import annotations

from edgesbc.dispatch.algorithms.algorithm import Able
from edgesbc.dispatch.algorithms.random import Random
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest

__all__ = ["Latency"]


class Latency(Random):
    """By the smoothed time that members take to answer probes and calls; weights are ignored.

    The quickest of all would get every call until it is no longer the quickest, and then lose all of them;
    the quicker of two random ones cannot (Mitzenmacher, the power of two choices). One that was not heard
    of yet is drawn like the others and not preferred: it counts as the one beside it.
    """

    __slots__ = ()

    def _choose(self, able: Able, demand: SelectionRequest) -> Member | None:
        first = super()._choose(able, demand)
        if first is None or first.latency is None:
            return first
        second = super()._choose(able, demand)
        if second is None or second.latency is None or second.latency >= first.latency:
            return first
        return second
