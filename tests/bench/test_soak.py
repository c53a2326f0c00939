"""A short ``bench soak``: what it expects of the edge, and that it notices what the edge does not let go of."""

from __future__ import annotations

import pytest

from bench.report import render
from bench.soak import SoakSettings, bench_soak, memory_slope


def test_the_edge_holds_nothing_of_connections_that_have_gone() -> None:
    settings = SoakSettings(connections=200, seconds=8, every=2, most_life=4, drain=3, deadlines=False)
    soak = bench_soak(settings)
    assert soak["left"] == {}
    assert soak["peers"]["failed"] == {}
    assert soak["end"]["faults"] == 0
    assert soak["peers"]["answered"] > 200
    assert soak["end"]["bans"] > 0
    ways = {way.partition(" ")[2] for way in soak["peers"]["ways"]}
    assert ways >= {"close", "close_notify", "Close frame", "reset", "half-close", "cut handshake", "cut message"}
    report = render({"machine": {"cores": "2"}, "left_out": [], "soak": soak})
    assert "left: nothing" in report


def test_the_slope_of_memory_leaves_out_the_first_third() -> None:
    samples = [(10.0, 1.0), (19.0, 50.0), (30.0, 60.0), (40.0, 61.0), (50.0, 62.0), (60.0, 63.0), (70.0, 9.0)]
    assert memory_slope(samples, 60) == pytest.approx(360)


def test_what_is_left_is_in_the_report() -> None:
    soak = {
        "settings": {"connections": 1, "seconds": 1, "least_life": 1.0, "most_life": 2.0},
        "rows": [],
        "begin": dict.fromkeys(("connections", "descriptors", "tasks", "objects", "rss_mib"), 1.0),
        "end": dict.fromkeys(("connections", "descriptors", "tasks", "objects", "rss_mib", "in_cycles"), 3.0),
        "peers": {"failed": {"trunk, tcp, close: no answer": 4}},
        "left": {"descriptors": 2.0},
        "mib_an_hour": 0.0,
    }
    lines = render({"machine": {"cores": "2"}, "left_out": [], "soak": soak}).splitlines()
    assert "left: 2 descriptors" in lines
    assert "failed: 4: trunk, tcp, close: no answer" in lines
