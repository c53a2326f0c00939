from __future__ import annotations

import json

from edgesbc.base.counts import Counts, Histogram
from edgesbc.observe.metric_rows import merged, rendered
from edgesbc.observe.metrics import Metrics


def metrics(faults: int, gauge: float) -> Metrics:
    made, counts, times = Metrics(process=False), Counts(), Histogram((0.1, 1.0))
    counts.add("timer", by=faults)
    times.observe(0.5)
    made.counter("faults", "Faults.", ("kind",), counts)
    made.gauge("lag_seconds", "Lag.", lambda: gauge)
    made.histogram("set_up_seconds", "Set-up.", times)
    return made


def test_rows_are_rendered_as_the_metrics_themselves() -> None:
    made = metrics(3, 0.25)
    rows = json.loads(json.dumps(made.rows(), allow_nan=False))
    assert rendered(rows) == made.render()


def test_numbers_that_json_lacks_are_rendered() -> None:
    for value in (float("inf"), float("-inf"), float("nan"), 1e308):
        made = metrics(1, value)
        assert rendered(json.loads(json.dumps(made.rows(), allow_nan=False))) == made.render()


def test_counters_and_histograms_of_processes_are_added_up() -> None:
    text = rendered(merged([metrics(3, 0.25).rows(), [], metrics(4, 7.0).rows()])).decode()
    assert 'edgesbc_faults_total{kind="timer"} 7.0' in text
    assert "edgesbc_lag_seconds 0.25" in text
    assert 'edgesbc_set_up_seconds_bucket{le="1.0"} 2.0' in text
    assert "edgesbc_set_up_seconds_count 2.0" in text
    assert text.count("# HELP edgesbc_faults_total") == 1


def test_a_process_without_its_own_metrics() -> None:
    assert b"process_cpu_seconds_total" not in metrics(1, 0.0).render()
    assert b"process_cpu_seconds_total" in Metrics().render()
