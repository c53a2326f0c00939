"""Counters and histograms of the hot path."""

from __future__ import annotations

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.base.counts import Counts, Histogram


def test_counts_add_by_labels() -> None:
    counts = Counts()
    counts.add()
    counts.add("udp", "pike")
    counts.add("udp", "pike", by=4)
    counts.add("pike", "udp")
    assert counts == {(): 1, ("udp", "pike"): 5, ("pike", "udp"): 1}


BOUNDS = (0.1, 1.0, 10.0)


@pytest.mark.parametrize(("value", "bucket"), [(0, 0), (0.1, 0), (0.11, 1), (1, 1), (10, 2), (10.1, 3), (math.inf, 3)])
def test_a_value_on_a_bound_is_within_it(value: float, bucket: int) -> None:
    histogram = Histogram(BOUNDS)
    histogram.observe(value)
    assert histogram.counts.index(1) == bucket


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_every_value(values: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    assert sum(histogram.counts) == len(values)
    assert histogram.total == pytest.approx(sum(values))
    assert histogram.counts[-1] == sum(1 for value in values if bisect_left(BOUNDS, value) == len(BOUNDS))
