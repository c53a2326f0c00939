"""The metrics of an edge are read as numbers."""

from __future__ import annotations

from edgesbc.demo.metrics_client import parse_metrics

TEXT = """\
# HELP edgesbc_screened_total Refused by screening.
# TYPE edgesbc_screened_total counter
edgesbc_screened_total{stage="pike",reason="pike"} 2.0
edgesbc_screened_total{stage="pike",reason="banned"} 40.0
edgesbc_screened_total{stage="acl",reason="banned"} 1.0
# HELP edgesbc_calls Calls alive.
# TYPE edgesbc_calls gauge
edgesbc_calls 3.0
"""


def test_totals_and_sums_by_label() -> None:
    reading = parse_metrics(TEXT)
    assert reading.total("calls") == 3
    assert reading.total("screened_total") == 43
    assert reading.total("screened_total", reason="banned", stage="pike") == 40
    assert reading.by("screened_total", "reason") == {"pike": 2, "banned": 41}
    assert reading.total("nothing_of_that_name") == 0
