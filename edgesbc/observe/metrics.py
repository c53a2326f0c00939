"""Metrics: counters, gauges and histograms of other packages in the Prometheus text format, read at each scrape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from edgesbc.base import limits
from edgesbc.base.counts import Histogram
from edgesbc.observe.metric_rows import MetricRows, rows_of

__all__ = ["CONTENT_TYPE", "Labelled", "Metrics", "Read"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "edgesbc_"
OTHER: Final = "other"

Read = Callable[[], float]
"""Reads the present value of a gauge."""
Labelled = Mapping[tuple[str, ...], Read]

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_UNITS = ("_seconds", "_bytes", "_ratio", "_mos")
"""Possible ends of a histogram's name: base units of Prometheus, and the mean opinion score."""


class Metrics:
    """The metrics of one process, registered once at start.

    Counters, gauges and histograms are objects of other packages and are read at each scrape. A metric has at most
    ``max_series`` series; the others are added up in one series whose labels are all ``other``.
    """

    def __init__(
        self,
        max_series: int = limits.METRIC_SERIES,
        registry: CollectorRegistry | None = None,
        process: bool = True,
    ) -> None:
        """``process``: whether those of this process are among them, as ``process_cpu_seconds_total``."""
        self._most = max_series
        self.registry = registry if registry is not None else CollectorRegistry(auto_describe=False)
        self._collector = _MetricCollector()
        self.registry.register(self._collector)
        if process:
            ProcessCollector(registry=self.registry)

    def counter(self, name: str, help: str, labels: Sequence[str], counts: Mapping[tuple[str, ...], int]) -> None:
        """``edgesbc_NAME_total``: a number of events by ``labels``. Raises ``ValueError`` for a bad name."""
        name = self._claim(name.removesuffix("_total"), labels)
        self._collector.add(name, lambda: _counter(name, help, labels, counts, self._most))

    def gauge(self, name: str, help: str, read: Read | Labelled, labels: Sequence[str] = ()) -> None:
        """``edgesbc_NAME``: a present value, read by a callable, or by one callable for each set of labels."""
        name = self._claim(name, labels)
        if callable(read) == bool(labels):
            raise ValueError(f"{name}: labels go with a mapping from label values to callables")
        self._collector.add(
            name, lambda: _gauge(name, help, labels, {(): read} if callable(read) else read, self._most)
        )

    def histogram(
        self,
        name: str,
        help: str,
        histogram: Histogram | Mapping[tuple[str, ...], Histogram],
        labels: Sequence[str] = (),
    ) -> None:
        """``edgesbc_NAME_bucket``, ``_count`` and ``_sum``; the name ends in its base unit."""
        if not name.endswith(_UNITS):
            raise ValueError(f"{name}: a histogram's name ends in one of {', '.join(_UNITS)}")
        name = self._claim(name, labels)
        if isinstance(histogram, Histogram) == bool(labels):
            raise ValueError(f"{name}: labels go with a mapping from label values to histograms")
        histograms: Mapping[tuple[str, ...], Histogram]
        histograms = {(): histogram} if isinstance(histogram, Histogram) else histogram
        self._collector.add(name, lambda: _histogram(name, help, labels, histograms, self._most))

    def render(self) -> bytes:
        """All metrics in the Prometheus text format, of media type :data:`CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def rows(self) -> MetricRows:
        """All metrics as rows; see :mod:`edgesbc.observe.metric_rows`."""
        return rows_of(self.registry)

    def _claim(self, name: str, labels: Sequence[str]) -> str:
        for part in (name, *labels):
            if not _NAME.fullmatch(part):
                raise ValueError(f"{part!r}: expected lower-case words joined by underscores")
        if name.startswith(PREFIX):
            raise ValueError(f"{name}: the prefix {PREFIX} is added here")
        return PREFIX + name


class _MetricCollector(Collector):
    """Reads all metrics when :mod:`prometheus_client` collects them."""

    def __init__(self) -> None:
        self._read: dict[str, Callable[[], Metric]] = {}

    def add(self, name: str, read: Callable[[], Metric]) -> None:
        if name in self._read:
            raise ValueError(f"{name} is registered already")
        self._read[name] = read

    def collect(self) -> Iterable[Metric]:
        return [read() for read in self._read.values()]


def _labelled_series(number: int, most: int) -> int:
    """How many of ``number`` series keep their labels; if not all, one place is left for the series of the others."""
    return number if number <= most else most - 1


def _counter(name: str, help: str, labels: Sequence[str], counts: Mapping[tuple[str, ...], int], most: int) -> Metric:
    family = CounterMetricFamily(name, help, labels=labels)
    labelled, rest = _labelled_series(len(counts), most), 0
    for number, (values, count) in enumerate(counts.items()):
        if number < labelled:
            family.add_metric(values, count)
        else:
            rest += count
    if rest:
        family.add_metric([OTHER] * len(labels), rest)
    elif not labels and not counts:
        family.add_metric([], 0)  # a counter that has not counted yet is zero, not absent
    return family


def _gauge(name: str, help: str, labels: Sequence[str], reads: Labelled, most: int) -> Metric:
    family = GaugeMetricFamily(name, help, labels=labels)
    labelled, rest = _labelled_series(len(reads), most), 0.0
    for number, (values, read) in enumerate(reads.items()):
        if number < labelled:
            family.add_metric(values, read())
        else:
            rest += read()
    if len(reads) > labelled:
        family.add_metric([OTHER] * len(labels), rest)
    return family


def _histogram(
    name: str, help: str, labels: Sequence[str], histograms: Mapping[tuple[str, ...], Histogram], most: int
) -> Metric:
    family = HistogramMetricFamily(name, help, labels=labels)
    labelled = _labelled_series(len(histograms), most)
    for values, histogram in list(histograms.items())[:labelled]:
        family.add_metric(values, list(_buckets(histogram)), histogram.total)
    return family


def _buckets(histogram: Histogram) -> Iterator[tuple[str, float]]:
    """Cumulative counts by upper bound, as Prometheus expects them."""
    running = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        running += count
        yield ("+Inf" if bound == float("inf") else repr(float(bound)), running)
