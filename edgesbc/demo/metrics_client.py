"""A client of the edge's metrics over HTTP."""

from __future__ import annotations

from collections import Counter
from http.client import HTTPConnection

import trio
from prometheus_client.parser import text_string_to_metric_families

from edgesbc.base.address import Source

__all__ = ["MetricsSnapshot", "fetch_metrics", "parse_metrics"]

HTTP_SECONDS = 5.0


class MetricsSnapshot:
    """One scrape: samples by name, each a value with its labels."""

    __slots__ = ("_samples",)

    def __init__(self, samples: dict[str, list[tuple[dict[str, str], float]]]) -> None:
        self._samples = samples

    def total(self, name: str, **labels: str) -> int:
        """The sum of ``edgesbc_NAME`` over the series with ``labels``; 0 if there is none."""
        return round(
            sum(
                value
                for sample_labels, value in self._samples.get(f"edgesbc_{name}", [])
                if all(sample_labels.get(label) == wanted for label, wanted in labels.items())
            )
        )

    def by(self, name: str, label: str) -> Counter[str]:
        """``edgesbc_NAME`` summed up by the values of one label."""
        sums: Counter[str] = Counter()
        for labels, value in self._samples.get(f"edgesbc_{name}", []):
            sums[labels.get(label, "")] += round(value)
        return sums


def parse_metrics(text: str) -> MetricsSnapshot:
    """Parse the Prometheus text format. Raises ``ValueError``."""
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return MetricsSnapshot(samples)


def _get(address: Source) -> str:
    connection = HTTPConnection(address.host, address.port, timeout=HTTP_SECONDS)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


async def fetch_metrics(address: Source) -> MetricsSnapshot:
    """Scrape ``/metrics`` at ``address``. Raises ``OSError``."""
    return parse_metrics(await trio.to_thread.run_sync(_get, address))
