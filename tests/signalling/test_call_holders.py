"""The accounts and addresses that calls are counted by, from the INVITE to the end."""

from __future__ import annotations

import pytest
from support.signalling import BROWSERS, CALLER, CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.screen.stages.admission import AdmissionSettings
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
ACCOUNT = 7


@pytest.fixture
def harness() -> EdgeHarness:
    return EdgeHarness(screen={"admission": AdmissionSettings(open=("public",), calls=2)})


def call(harness: EdgeHarness, flow: Flow, number: int) -> int:
    """Place a call that is answered; the status that its caller gets, 0 for none."""
    data = invite(branch=f"z9hG4bKn{number}", from_tag=f"n{number}").replace(b"Call-ID: c1", b"Call-ID: n%d" % number)
    sent = harness.receive(flow, data)
    for to, message in sent:
        if to == PBX and isinstance(message, Request):
            sent = harness.receive(PBX, respond(message, 200, tag=f"b{number}"))
    finals = [message.status for _, message in sent if isinstance(message, Response) and message.status >= 200]
    return finals[0] if finals else 0


def connected(harness: EdgeHarness, host: str, port: int) -> Flow:
    flow = harness.edge.new_flow(BROWSERS, Source(host, port))
    harness.edge.flow_opened(flow)
    return flow


def held(harness: EdgeHarness) -> dict[int | str, int]:
    return harness.edge.parts.calls.by_holder


def test_answered_calls_of_an_address_count_over_all_its_connections(harness: EdgeHarness) -> None:
    flows = [connected(harness, "203.0.113.5", 40000 + n) for n in range(3)]
    assert [call(harness, flow, n) for n, flow in enumerate(flows)] == [200, 200, 503]
    assert harness.reasons[-1] == "source-calls"
    assert held(harness) == {"203.0.113.5": 2}
    assert call(harness, connected(harness, "203.0.113.6", 40000), 9) == 200


def test_an_address_of_ipv6_counts_as_its_64(harness: EdgeHarness) -> None:
    flows = [connected(harness, f"2001:db8::{n}", 40000) for n in (1, 2, 3)]
    assert [call(harness, flow, n) for n, flow in enumerate(flows)] == [200, 200, 503]


def test_calls_of_an_account_count_over_all_its_flows_and_not_for_the_address(harness: EdgeHarness) -> None:
    for n in range(2):
        assert call(harness, connected(harness, "203.0.113.5", 41000 + n), 20 + n) == 200
    for n, status in enumerate([200, 200, 503]):
        flow = connected(harness, f"203.0.113.{5 + n}", 40000)
        harness.standings.prove(flow, Standing.REGISTERED, harness.now, 60, ACCOUNT)
        assert call(harness, flow, n) == status
    assert held(harness) == {ACCOUNT: 2, "203.0.113.5": 2}


def test_datagrams_that_may_be_forged_take_no_place_of_the_connections_of_their_account(harness: EdgeHarness) -> None:
    datagrams, connection = Flow(PUBLIC, Source("203.0.113.9", 5060)), connected(harness, "203.0.113.5", 40000)
    for flow in (datagrams, connection):
        harness.standings.prove(flow, Standing.REGISTERED, harness.now, 60, ACCOUNT)
    assert [call(harness, datagrams, n) for n in range(3)] == [200, 200, 503]
    assert [call(harness, connection, n) for n in range(3, 6)] == [200, 200, 503]


def test_trunks_and_the_private_side_are_not_counted(harness: EdgeHarness) -> None:
    assert [call(harness, CALLER, n) for n in range(4)] == [200] * 4
    assert held(harness) == {}


def test_a_call_that_ends_is_counted_no_longer_and_for_whom_it_began(harness: EdgeHarness) -> None:
    flow = Flow(PUBLIC, Source("203.0.113.9", 5060))
    harness.standings.prove(flow, Standing.REGISTERED, harness.now, 60, ACCOUNT)
    assert call(harness, flow, 1) == 200
    harness.standings.deregister(flow, ACCOUNT, harness.now)  # its calls still are those of the account
    assert held(harness) == {f"{ACCOUNT}": 1}
    harness.wait(5 * 3600)
    assert held(harness) == {}
    assert harness.edge.calls == 0
