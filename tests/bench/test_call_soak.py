"""A short ``bench call_soak``: what it expects of the edge, and that it notices what the edge does not let go of."""

from __future__ import annotations

from typing import Any

import pytest

from bench import __main__ as bench_main
from bench.call_soak import CallSoakSettings, bench_call_soak, growth_a_call
from bench.process import BenchError
from bench.report import render


def test_the_edge_holds_nothing_of_calls_that_have_gone() -> None:
    life = {"least_life": 0.5, "most_life": 2.0}
    settings = CallSoakSettings(10, 6, 2.0, **life, drain=13.0, settle=False, planes="tasks")
    soak = bench_call_soak(settings)
    assert soak["failed"] == {}
    assert soak["left"] == {}
    assert soak["end"]["sockets"] == soak["end"]["calls"] == 0
    assert soak["callers"]["answered"] > 10
    assert soak["callers"]["heard"] > 10
    assert max(row["sockets"] for row in soak["rows"]) >= 4
    report = render({"machine": {"cores": "2"}, "left_out": [], "call_soak": soak})
    assert "left: nothing" in report


def test_the_growth_of_memory_leaves_out_the_first_third() -> None:
    samples = [(10.0, 100.0, 1.0), (30.0, 300.0, 60.0), (40.0, 400.0, 61.0), (50.0, 500.0, 62.0), (70.0, 501.0, 9.0)]
    assert growth_a_call(samples, 60) == pytest.approx(1024 / 100)
    assert growth_a_call(samples[:2], 60) == 0.0


def test_what_is_left_is_in_the_report() -> None:
    held = dict.fromkeys(("calls", "sessions", "ports", "sockets", "descriptors", "transactions", "pss_mib"), 1.0)
    soak = {
        "settings": {"calls": 1, "seconds": 1, "least_life": 1.0, "most_life": 2.0, "interval": 0.2},
        "rows": [],
        "begin": held,
        "end": held | {"ports": 5.0},
        "failed": {"no packet came back": 4},
        "left": {"ports": 4.0},
        "kib_a_call": 0.5,
        "mib_an_hour": 0.0,
    }
    lines = render({"machine": {"cores": "2"}, "left_out": [], "call_soak": soak}).splitlines()
    assert "left: 4 ports" in lines
    assert "failed: 4: no packet came back" in lines


def test_options_reach_the_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: list[CallSoakSettings] = []

    def soak(given: CallSoakSettings) -> dict[str, Any]:
        settings.append(given)
        raise BenchError("not measured here")

    monkeypatch.setattr(bench_main, "bench_call_soak", soak)
    monkeypatch.setattr("sys.argv", ["bench", "call_soak", "--seconds", "120", "--flows", "7"])
    assert bench_main.main() == 1
    assert settings == [CallSoakSettings(calls=7, seconds=120)]
