"""Work of connections that completes no message: what the core closes for it. The meter is in tests/screen."""

from __future__ import annotations

from support.signalling import BROWSERS, EdgeHarness

from edgesbc.base.address import Flow, Source
from edgesbc.base.reasons import Reason
from edgesbc.screen.work import WorkSettings
from edgesbc.signalling.effects import Close

METERED = {"work": WorkSettings(per_second=1.0, burst=10)}


def connect(harness: EdgeHarness, host: str, port: int) -> Flow:
    flow = harness.edge.new_flow(BROWSERS, Source(host, port))
    harness.edge.flow_opened(flow)
    return flow


def test_the_connection_is_closed_and_at_the_third_offence_all_of_its_address() -> None:
    harness = EdgeHarness(screen=METERED)
    flows = [connect(harness, "203.0.113.5", port) for port in range(1, 7)]
    other = connect(harness, "203.0.113.6", 1)
    assert harness.edge.stream_worked(flows[0], 10, "pings", harness.now) == []
    for flow in flows[:2]:
        effects = harness.edge.stream_worked(flow, 11, "pings", harness.now)
        assert set(effects) == {Close(flow)}
        harness.edge.flow_closed(flow, harness.now)
    effects = harness.edge.stream_worked(flows[2], 11, "pings", harness.now)
    assert {effect.flow for effect in effects if isinstance(effect, Close)} == set(flows[2:])
    assert not harness.edge.accept(BROWSERS, Source("203.0.113.5", 99), harness.now)
    assert harness.edge.stream_worked(other, 10, "pings", harness.now) == []


def test_a_failed_handshake_closes_nothing_that_is_open() -> None:
    harness = EdgeHarness(screen=METERED)
    failed = Flow(BROWSERS, Source("203.0.113.5", 2), serial=-1)
    effects = harness.edge.stream_worked(failed, 20, "handshakes", harness.now)
    assert {effect.flow for effect in effects if isinstance(effect, Close)} <= {failed}
    assert [decision.reason for decision in harness.decisions] == [Reason.WORK, Reason.BAN]
