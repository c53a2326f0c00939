"""A short ``bench anchored``: the edge in several processes beside Kamailio with rtpengine."""

from __future__ import annotations

from typing import Any

import pytest
from support.peers import needs

from bench import __main__ as bench_main
from bench.anchored import AnchoredSettings, bench_anchored
from bench.process import BenchError
from bench.report import render

pytestmark = [needs("sipp"), needs("kamailio"), needs("rtpengine")]


def test_every_engine_relays_the_media_of_each_call() -> None:
    settings = AnchoredSettings(rate=20, seconds=2, warm_up=1, rounds=1, settle=False, held_rates=(20,), hold_ms=300)
    anchored = bench_anchored(settings, ["processes", "peers"])
    for figures in anchored["medians"].values():
        assert figures["calls"] == 40
        assert figures["failed"] == 0
        assert figures["sockets"] >= 4
        assert figures["sockets_left"] == 0
    assert [held["rate"] for held in anchored["held"].values()] == [20, 20]
    report = render({"machine": {"cores": "2"}, "left_out": [], "anchored": anchored})
    assert "CPU, processes to peers: " in report
    assert "Calls of 0.3 s for 2 s with the ports 30000 to 39999" in report


def test_options_reach_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: list[AnchoredSettings] = []

    def measure(given: AnchoredSettings, engines: list[str]) -> dict[str, Any]:
        settings.append(given)
        raise BenchError(f"not measured here: {engines}")

    monkeypatch.setattr(bench_main, "bench_anchored", measure)
    monkeypatch.setattr("sys.argv", ["bench", "anchored", "--rate", "50", "--seconds", "5", "--held", "90", "60"])
    assert bench_main.main() == 1
    assert settings == [AnchoredSettings(rate=50, seconds=5, held_rates=(90, 60))]
