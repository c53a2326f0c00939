"""Latency: of two members drawn at random, the one with the shorter response time."""

from __future__ import annotations

from edgesbc.dispatch.algorithms.algorithm import Able
from edgesbc.dispatch.algorithms.random import Random
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest

__all__ = ["Latency"]


class Latency(Random):
    """By the smoothed time that members take to respond to probes and calls; weights are ignored.

    If the fastest member were always used, it would get every call until it is slow, and then none; the
    faster of two random members does not (Mitzenmacher, the power of two choices). A member without a measured time is
    drawn like the others and counts as equal to the other one.
    """

    __slots__ = ()

    def _choose(self, able: Able, selection: SelectionRequest) -> Member | None:
        first = super()._choose(able, selection)
        if first is None or first.latency is None:
            return first
        second = super()._choose(able, selection)
        if second is None or second.latency is None or second.latency >= first.latency:
            return first
        return second
