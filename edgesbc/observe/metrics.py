"""Metrics: reads the counts that rooms keep when somebody scrapes. Counts nothing itself, serves nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from edgesbc.base import limits
from edgesbc.base.counts import Counts, Histogram

__all__ = ["CONTENT_TYPE", "Labelled", "Metrics", "Read"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "edgesbc_"
OTHER: Final = "other"

Read = Callable[[], float]
"""Reads the present value of a gauge."""
Labelled = Mapping[tuple[str, ...], Read]

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_UNITS = ("_seconds", "_bytes", "_ratio", "_mos")
"""What a histogram's name ends in: base units of Prometheus, and the mean opinion score."""


class Metrics:
    """The metrics of one process, registered once at composition; scraping changes nothing.

    Each source is a live object of its room and is read at scrape time. A metric never has more than
    ``limits.METRIC_SERIES`` series: a label that grew with traffic by mistake ends in one series whose
    labels are all ``other``.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry(auto_describe=False)
        self._sources = _Sources()
        self.registry.register(self._sources)
        ProcessCollector(registry=self.registry)

    def counter(self, name: str, help: str, labels: Sequence[str], counts: Counts) -> None:
        """``edgesbc_NAME_total``: a number of events by ``labels``. Raises ``ValueError`` for a bad name."""
        name = self._claim(name.removesuffix("_total"), labels)
        self._sources.add(name, lambda: _counter(name, help, labels, counts))

    def gauge(self, name: str, help: str, read: Read | Labelled, labels: Sequence[str] = ()) -> None:
        """``edgesbc_NAME``: a present value, read by a callable, or by one callable a set of labels."""
        name = self._claim(name, labels)
        if callable(read) == bool(labels):
            raise ValueError(f"{name}: labels go with a mapping from label values to callables")
        self._sources.add(name, lambda: _gauge(name, help, labels, {(): read} if callable(read) else read))

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
        held: Mapping[tuple[str, ...], Histogram]
        held = {(): histogram} if isinstance(histogram, Histogram) else histogram
        self._sources.add(name, lambda: _histogram(name, help, labels, held))

    def render(self) -> bytes:
        """All metrics in the Prometheus text format, of media type :data:`CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _claim(self, name: str, labels: Sequence[str]) -> str:
        for part in (name, *labels):
            if not _NAME.fullmatch(part):
                raise ValueError(f"{part!r}: expected lower-case words joined by underscores")
        if name.startswith(PREFIX):
            raise ValueError(f"{name}: the prefix {PREFIX} is added here")
        return PREFIX + name


class _Sources(Collector):
    """What :mod:`prometheus_client` asks at each scrape."""

    def __init__(self) -> None:
        self._read: dict[str, Callable[[], Metric]] = {}

    def add(self, name: str, read: Callable[[], Metric]) -> None:
        if name in self._read:
            raise ValueError(f"{name} is registered already")
        self._read[name] = read

    def collect(self) -> Iterable[Metric]:
        return [read() for read in self._read.values()]


def _room_for(held: int) -> int:
    """How many series go out by their own labels; one place is kept for the others."""
    return held if held <= limits.METRIC_SERIES else limits.METRIC_SERIES - 1


def _counter(name: str, help: str, labels: Sequence[str], counts: Counts) -> Metric:
    family = CounterMetricFamily(name, help, labels=labels)
    room, rest = _room_for(len(counts)), 0
    for number, (values, count) in enumerate(counts.items()):
        if number < room:
            family.add_metric(values, count)
        else:
            rest += count
    if rest:
        family.add_metric([OTHER] * len(labels), rest)
    elif not labels and not counts:
        family.add_metric([], 0)  # a counter that has not counted yet is zero, not absent
    return family


def _gauge(name: str, help: str, labels: Sequence[str], reads: Labelled) -> Metric:
    family = GaugeMetricFamily(name, help, labels=labels)
    room, rest = _room_for(len(reads)), 0.0
    for number, (values, read) in enumerate(reads.items()):
        if number < room:
            family.add_metric(values, read())
        else:
            rest += read()
    if len(reads) > room:
        family.add_metric([OTHER] * len(labels), rest)
    return family


def _histogram(name: str, help: str, labels: Sequence[str], held: Mapping[tuple[str, ...], Histogram]) -> Metric:
    family = HistogramMetricFamily(name, help, labels=labels)
    room = _room_for(len(held))
    for values, histogram in list(held.items())[:room]:
        family.add_metric(values, list(_buckets(histogram)), histogram.total)
    return family


def _buckets(histogram: Histogram) -> Iterator[tuple[str, float]]:
    """Cumulative counts by upper bound, as Prometheus has them."""
    running = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        running += count
        yield ("+Inf" if bound == float("inf") else repr(float(bound)), running)
