"""A shadow policy that equals the live one gives no differences, and a shadow policy changes no run."""

from __future__ import annotations

from typing import Any

import pytest

from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.stages.method import MethodSettings
from edgesbc.screen.standing import Standings
from edgesbc.screen.trunk import Trunk
from edgesbc.signalling.edge import Edge
from simulation.scenario import simulate
from simulation.world import CARRIER, SCREEN


class Watched:
    """Makes edges with a shadow policy, and stores them."""

    def __init__(self, settings: ScreenSettings) -> None:
        self.settings = settings
        self.edges: list[Edge] = []

    def __call__(self, *arguments: Any) -> Edge:
        edge = Edge(*arguments)
        pipeline = Pipeline(self.settings, Standings([Trunk("carrier", (CARRIER,))]), lambda _: None, lambda *_: None)
        edge.start_shadow(pipeline, arguments[2])
        self.edges.append(edge)
        return edge


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_the_same_policy_beside_itself_never_differs(first: int) -> None:
    judged = 0
    for seed in range(first, first + 20):
        same = Watched(SCREEN)
        outcome = simulate(seed, make_edge=same)
        assert outcome.finding == ""
        for edge in same.edges:
            shadow = edge.shadow_policy
            assert shadow is not None
            assert (shadow.differences, shadow.routes) == ({}, {}), seed
            judged += shadow.judged
    assert judged > 1000


def test_a_run_is_the_same_with_any_shadow_policy() -> None:
    differences = 0
    for seed in range(10):
        strict = Watched(ScreenSettings(method=MethodSettings(public=())))
        assert simulate(seed, make_edge=strict).digest == simulate(seed).digest
        differences += sum(edge.counters.shadow_differences.get(("pass", "method"), 0) for edge in strict.edges)
    assert differences > 100
