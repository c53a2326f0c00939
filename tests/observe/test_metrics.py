"""Metrics: read at scrape time, named and bounded."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgesbc.base import limits
from edgesbc.base.counts import Counts, Histogram
from edgesbc.observe.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_a_counter_is_read_when_it_is_scraped() -> None:
    metrics, counts = Metrics(), Counts()
    metrics.counter("requests", "Requests received.", ("listener", "method"), counts)
    key = ("edgesbc_requests_total", (("listener", "carriers"), ("method", "INVITE")))
    assert key not in samples(metrics)
    counts.add("carriers", "INVITE", by=3)
    assert samples(metrics)[key] == 3
    counts.add("carriers", "INVITE")
    assert samples(metrics)[key] == 4


def test_a_counter_without_labels_starts_at_zero() -> None:
    metrics, counts = Metrics(), Counts()
    metrics.counter("internal_errors_total", "Defects met.", (), counts)
    assert samples(metrics)["edgesbc_internal_errors_total", ()] == 0
    counts.add()
    assert samples(metrics)["edgesbc_internal_errors_total", ()] == 1


def test_gauges() -> None:
    metrics = Metrics()
    calls: list[int] = []
    load = {("a",): lambda: 1.0, ("b",): lambda: float(len(calls))}
    metrics.gauge("calls", "Calls alive.", lambda: len(calls))
    metrics.gauge("destination_load_ratio", "Share of the calls it may have.", load, ("destination",))
    calls.append(1)
    values = samples(metrics)
    assert values["edgesbc_calls", ()] == 1
    assert values["edgesbc_destination_load_ratio", (("destination", "b"),)] == 1


def test_histograms_are_cumulative() -> None:
    metrics, histogram, labelled = Metrics(), Histogram((0.1, 1)), {("udp",): Histogram((5.0,))}
    metrics.histogram("set_up_seconds", "From INVITE to 200.", histogram)
    metrics.histogram("wait_seconds", "Waits.", labelled, ("transport",))
    for value in (0.05, 0.1, 0.5, 7):
        histogram.observe(value)
    labelled["udp",].observe(1)
    values = samples(metrics)
    buckets = [values["edgesbc_set_up_seconds_bucket", (("le", le),)] for le in ("0.1", "1.0", "+Inf")]
    assert buckets == [2, 3, 4]
    assert values["edgesbc_set_up_seconds_count", ()] == 4
    assert values["edgesbc_set_up_seconds_sum", ()] == pytest.approx(7.65)
    assert values["edgesbc_wait_seconds_count", (("transport", "udp"),)] == 1


def test_metrics_of_the_process() -> None:
    assert samples(Metrics())["process_resident_memory_bytes", ()] > 0


def test_two_sets_of_metrics_are_independent() -> None:
    one, two = Metrics(), Metrics()
    one.counter("x", "X.", (), Counts())
    two.counter("x", "X.", (), Counts())


@pytest.mark.parametrize("name", ["", "Calls", "calls-now", "edgesbc_calls", "1st", "calls\n", "_calls"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected lower-case|the prefix"):
        Metrics().counter(name, "X.", (), Counts())


def test_a_bad_label_a_missing_unit_and_a_duplicate_name_are_refused() -> None:
    metrics = Metrics()
    with pytest.raises(ValueError, match="lower-case"):
        metrics.counter("x", "X.", ("User-Agent",), Counts())
    with pytest.raises(ValueError, match="ends in one of"):
        metrics.histogram("set_up", "X.", Histogram((1.0,)))
    with pytest.raises(ValueError, match="labels"):
        metrics.gauge("x", "X.", lambda: 1, ("a",))
    with pytest.raises(ValueError, match="labels"):
        metrics.histogram("x_seconds", "X.", {}, ())
    metrics.counter("x", "X.", (), Counts())
    with pytest.raises(ValueError, match="already"):
        metrics.gauge("x", "X.", lambda: 1)


def test_series_are_bounded_and_the_total_is_kept() -> None:
    """Should a label grow with traffic after all: 100,000 agents are one series more, not 100,000."""
    metrics, counts = Metrics(), Counts()
    metrics.counter("requests", "Requests.", ("agent",), counts)
    for number in range(100_000):
        counts.add(f"agent {number}")
    series = {key: value for key, value in samples(metrics).items() if key[0] == "edgesbc_requests_total"}
    assert len(series) == limits.METRIC_SERIES
    assert sum(series.values()) == 100_000
    assert series["edgesbc_requests_total", (("agent", "other"),)] == 100_000 - limits.METRIC_SERIES + 1


def test_gauges_and_histograms_are_bounded_too() -> None:
    metrics = Metrics()
    many = [(str(number),) for number in range(limits.METRIC_SERIES + 5)]
    metrics.gauge("x", "X.", {key: lambda: 1.0 for key in many}, ("a",))
    metrics.histogram("y_seconds", "Y.", {key: Histogram(()) for key in many}, ("a",))
    names = [name for name, _ in samples(metrics)]
    assert names.count("edgesbc_x") == limits.METRIC_SERIES
    assert names.count("edgesbc_y_seconds_count") <= limits.METRIC_SERIES


def test_a_label_value_cannot_break_out_of_its_line() -> None:
    metrics, counts = Metrics(), Counts()
    metrics.counter("x", "X.", ("a",), counts)
    counts.add('1"} 9\nforged_total 7\\')
    values = samples(metrics)
    assert ("forged_total", ()) not in values
    assert values["edgesbc_x_total", (("a", '1"} 9\nforged_total 7\\'),)] == 1
