"""Rows and sentences of bans and exemptions, and the sources that send most."""

from __future__ import annotations

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.reasons import Reason
from edgesbc.control.ban_rows import ban_rows, busiest_sources, sentence
from edgesbc.screen.operator_bans import OperatorBan
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.standing import Standing, Standings

UDP = Listener(0, "carriers", Zone.PUBLIC, Transport.UDP, "127.0.0.1", 5060)
TLS = Listener(1, "browsers", Zone.PUBLIC, Transport.TLS, "127.0.0.1", 5061)


def pipeline(**settings: object) -> Pipeline:
    return Pipeline(ScreenSettings(**settings), Standings(), lambda decision: None, lambda stage, error: None)  # type: ignore[arg-type]


def test_rows_and_sentences() -> None:
    screening = pipeline()
    unproven = Flow(UDP, Source("192.0.2.1", 5060))
    screening.penalties.ban(unproven, Standing.UNPROVEN, Reason.PIKE, 60.0, 10.0)
    screening.penalties.blocks(unproven, Standing.UNPROVEN, 11.0)
    screening.penalties.ban(Flow(TLS, Source("192.0.2.2", 4000), 1), Standing.REACHABLE, Reason.CONDUCT, 100.0, 12.0)
    screening.operator_bans.put(OperatorBan("198.51.100.0/24", False, 13.0, None, "uid 0", "abuse\nof us"))
    screening.operator_bans.put(OperatorBan("203.0.113.7", True, 14.0, 44.0, "uid 0", ""))
    rows = ban_rows(screening, 20.0)
    assert [sentence(row) for row in rows] == [
        "203.0.113.7 is exempt from penalties for 24 s more, by uid 0 (0 dropped)",
        "198.51.100.0/24 is banned until it is taken back, by uid 0: abuse\\nof us (0 dropped)",
        "192.0.2.2:4000: connections are dropped for 92 s more, since 8 s, for conduct (flow, reachable, 0 dropped)",
        "192.0.2.1:5060: datagrams are dropped for 50 s more, since 10 s, for pike (flow, unproven, 1 dropped)",
    ]
    assert [row["who"] for row in ban_rows(screening, 75.0)] == ["198.51.100.0/24", "192.0.2.2:4000"]


def test_busiest_sources() -> None:
    screening = pipeline()
    for host, count in (("192.0.2.1", 3), ("192.0.2.2", 40)):
        for _ in range(count):
            screening.packet(Flow(UDP, Source(host, 5060)), 400, 10.0)
    assert busiest_sources(screening, 10.0, 5) == [
        {"who": "192.0.2.2", "messages": 30, "hot": True},
        {"who": "192.0.2.1", "messages": 3, "hot": False},
    ]
    assert busiest_sources(pipeline(stages=("acl",)), 10.0, 5) == []
