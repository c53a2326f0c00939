"""Metrics as rows that JSON can express, so that one process shows those of several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

__all__ = ["MetricRows", "merged", "rendered", "rows_of"]

MetricRows = list[list[Any]]
"""A row is ``[name, help, type, samples]``, a sample ``[name, labels, value]``; a value is a number, or a text where
JSON has no such number."""

_ADDED: Final = frozenset({"counter", "histogram"})
_LARGEST: Final = 1e300


def rows_of(collector: Collector) -> MetricRows:
    """The present values of a registry or collector."""
    return [
        [
            metric.name,
            metric.documentation,
            metric.type,
            [[sample.name, dict(sample.labels), _number(sample.value)] for sample in metric.samples],
        ]
        for metric in collector.collect()
    ]


def _number(value: float) -> float | str:
    return value if -_LARGEST < value < _LARGEST else repr(float(value))


def merged(parts: Iterable[MetricRows]) -> MetricRows:
    """The rows of several processes as one: counters and histograms of the same labels are added up, of a gauge the
    first counts."""
    rows: dict[str, list[Any]] = {}
    samples: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], list[Any]]] = {}
    for part in parts:
        for name, documentation, kind, of_part in part:
            rows.setdefault(name, [name, documentation, kind, []])
            present = samples.setdefault(name, {})
            for sample in of_part:
                key = (sample[0], tuple(sorted(sample[1].items())))
                same = present.get(key)
                if same is None:
                    present[key] = list(sample)
                elif kind in _ADDED:
                    same[2] = _number(float(same[2]) + float(sample[2]))
    for name, row in rows.items():
        row[3] = list(samples[name].values())
    return list(rows.values())


class _Rows(Collector):
    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        self._rows = rows

    def collect(self) -> Iterable[Metric]:
        for name, documentation, kind, samples in self._rows:
            metric = Metric(name, documentation, kind)
            for sample_name, labels, value in samples:
                metric.add_sample(sample_name, labels, float(value))
            yield metric


def rendered(rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows in the Prometheus text format."""
    return generate_latest(_Rows(rows))
