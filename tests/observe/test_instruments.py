"""The metrics of destinations: one series for each known value of a present member."""

from __future__ import annotations

import pytest
from support.signalling import MEMBERS, EdgeHarness

from edgesbc.base import limits
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.observe.instruments import instrument_edge
from edgesbc.observe.metrics import Metrics

FIRST, SECOND = (f"sip:{host}:{port}" for host, port in MEMBERS)


@pytest.fixture
def harness() -> EdgeHarness:
    return EdgeHarness()


def seen(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """The series of a metric, by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def instrumented(harness: EdgeHarness) -> Metrics:
    metrics = Metrics()
    instrument_edge(metrics, harness.edge)
    return metrics


def test_a_member_has_one_series_for_its_state(harness: EdgeHarness) -> None:
    metrics = instrumented(harness)
    first, _ = harness.dispatcher.members()
    assert seen(metrics, "edgesbc_destination_state") == {("pbx", FIRST, "active"): 1, ("pbx", SECOND, "active"): 1}
    harness.dispatcher.set_admin_state(first, AdminState.DRAINING, harness.now)
    assert seen(metrics, "edgesbc_destination_state") == {("pbx", FIRST, "draining"): 1, ("pbx", SECOND, "active"): 1}
    assert seen(metrics, "edgesbc_destination_up") == {("pbx", FIRST): 0, ("pbx", SECOND): 1}


def test_an_unknown_value_has_no_series(harness: EdgeHarness) -> None:
    metrics = instrumented(harness)
    first, _ = harness.dispatcher.members()
    for name in ("max_calls", "answer_seconds", "failures_total"):
        assert seen(metrics, f"edgesbc_destination_{name}") == {}
    first.answered_after(0.5)
    harness.dispatcher.health_monitor.failed(first, harness.now, "silence")
    harness.dispatcher.health_monitor.failed(first, harness.now, "silence")
    assert seen(metrics, "edgesbc_destination_answer_seconds") == {("pbx", FIRST): 0.5}
    assert seen(metrics, "edgesbc_destination_failures_total") == {("pbx", FIRST, "traffic"): 2}


def test_series_come_and_go_with_the_policy_and_are_bounded(harness: EdgeHarness) -> None:
    metrics = instrumented(harness)
    many = tuple(MemberSettings(f"sip:10.1.{n // 250}.{n % 250 + 1}", max_calls=2) for n in range(1_500))
    harness.dispatcher.reload([SetSettings("gw", many, health=HealthSettings(interval=0))], harness.now)
    lease = harness.dispatcher.acquire("gw", harness.now)
    assert lease is not None
    for name in ("state", "calls", "max_calls"):
        assert len(seen(metrics, f"edgesbc_destination_{name}")) == limits.METRIC_SERIES
    assert sum(seen(metrics, "edgesbc_destination_max_calls").values()) == 3_000
    assert sum(seen(metrics, "edgesbc_destination_calls").values()) == 1
    harness.dispatcher.reload([], harness.now)
    assert seen(metrics, "edgesbc_destination_state") == {}
