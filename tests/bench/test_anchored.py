"""A short ``bench anchored``: the edge in several processes beside Kamailio with rtpengine."""

from __future__ import annotations

from support.peers import needs

from bench.anchored import AnchoredSettings, bench_anchored
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
