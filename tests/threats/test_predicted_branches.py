"""THREATS 59: a request with the branch, sent-by and method of somebody else's, sent before it.

By these alone (RFC 3261 section 17.2.3) the other request would be a retransmission, and never be forwarded. Sent-by is
an address of a private network, which many peers have, and branches of simple clients are counters."""

from __future__ import annotations

import pytest
from support.signalling import BROWSERS, CARRIERS, CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
VICTIM, THIEF = Source("198.51.100.7", 5060), Source("203.0.113.66", 5060)


@pytest.fixture
def harness() -> EdgeHarness:
    return EdgeHarness(trunks={"cluster": ("192.0.2.128/25",)}, open=("public",))


def peer(harness: EdgeHarness, listener: Listener, source: Source) -> Flow:
    """A flow of a proven peer."""
    if listener is PUBLIC:
        flow = Flow(listener, source)
        harness.standings.prove(flow, Standing.REACHABLE, harness.now)
        return flow
    flow = harness.edge.new_flow(listener, source)
    harness.edge.flow_opened(flow)
    return flow


def forwarded(harness: EdgeHarness, flow: Flow, data: bytes) -> bool:
    """Whether a request goes to the private side."""
    return any(isinstance(m, Request) and to.listener is CORE for to, m in harness.receive(flow, data))


def status(harness: EdgeHarness, flow: Flow, data: bytes) -> int:
    """The status that a request is answered with at once."""
    return next(m.status for to, m in harness.receive(flow, data) if to == flow and isinstance(m, Response))


def cancel() -> bytes:
    return invite("CANCEL").replace(b"Contact: <sip:alice@192.168.1.5:5062>\r\n", b"")


OTHERS = [
    (PUBLIC, THIEF),
    (PUBLIC, Source(VICTIM.host, 5061)),  # behind the same NAT
    (CARRIERS, THIEF),
    (BROWSERS, THIEF),
]


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "OPTIONS"])
@pytest.mark.parametrize(("listener", "source"), OTHERS)
@pytest.mark.parametrize("victims", [PUBLIC, CARRIERS])
def test_59_the_other_request_is_forwarded(
    harness: EdgeHarness, method: str, listener: Listener, source: Source, victims: Listener
) -> None:
    thief, victim = peer(harness, listener, source), peer(harness, victims, VICTIM)
    data = invite(method, uri="sip:100@pbx.example")
    assert forwarded(harness, thief, data.replace(b"tag=alice", b"tag=thief"))
    assert forwarded(harness, victim, data)
    assert not forwarded(harness, victim, data), "a retransmission is absorbed"
    assert not forwarded(harness, thief, data.replace(b"tag=alice", b"tag=thief"))


@pytest.mark.parametrize(("listener", "source"), OTHERS)
def test_59_nobody_else_can_cancel_or_acknowledge(harness: EdgeHarness, listener: Listener, source: Source) -> None:
    thief, victim = peer(harness, listener, source), peer(harness, PUBLIC, VICTIM)
    assert forwarded(harness, victim, invite())
    assert status(harness, thief, cancel()) == 481
    assert harness.edge.calls == 1
    assert status(harness, victim, cancel()) == 200


def test_59_a_cancel_by_a_new_connection_of_the_same_address_finds_its_invite(harness: EdgeHarness) -> None:
    first = peer(harness, CARRIERS, VICTIM)
    assert forwarded(harness, first, invite())
    assert status(harness, peer(harness, CARRIERS, Source(VICTIM.host, 40_001)), cancel()) == 200


def test_59_one_by_a_new_connection_of_the_same_account_does_too(harness: EdgeHarness) -> None:
    """A phone that has moved to another network."""
    flows = [peer(harness, CARRIERS, Source(f"203.0.113.{n}", 40_000)) for n in range(3)]
    for flow, account in zip(flows, (7, 8, 7), strict=True):
        harness.standings.prove(flow, Standing.REGISTERED, harness.now, account=account)
    assert forwarded(harness, flows[0], invite())
    assert status(harness, flows[1], cancel()) == 481, "of another account"
    assert status(harness, flows[2], cancel()) == 200


def test_59_and_one_of_the_same_trunk(harness: EdgeHarness) -> None:
    first, second = (peer(harness, CARRIERS, Source(f"192.0.2.{n}", 40_000)) for n in (130, 131))
    assert forwarded(harness, first, invite())
    assert status(harness, peer(harness, CARRIERS, THIEF), cancel()) == 481
    assert status(harness, second, cancel()) == 200


def test_59_a_lost_trunk_connection_leaves_its_call_to_be_cancelled(harness: EdgeHarness) -> None:
    """Responses go by a connection of the edge to the port in Via, and the CANCEL comes by a new one of the trunk."""
    first = peer(harness, CARRIERS, Source("192.0.2.130", 40_000))
    sent = harness.receive(first, invite().replace(b"UDP 198.51.100.7:5060", b"TCP 192.0.2.130:5060"))
    harness.receive(PBX, respond(next(m for to, m in sent if to == PBX), 180))
    harness.sort(harness.edge.flow_closed(first, harness.now))
    second = peer(harness, CARRIERS, Source("192.0.2.130", 40_001))
    harness.receive(second, cancel().replace(b"UDP 198.51.100.7:5060", b"TCP 192.0.2.130:5060"))
    assert [m.method for to, m in harness.sent if to == PBX and isinstance(m, Request)] == ["CANCEL"]


def test_59_the_requests_of_one_branch_that_are_compared_are_bounded(harness: EdgeHarness) -> None:
    for number in range(limits.SAME_BRANCH):
        flow = peer(harness, CARRIERS, Source(f"203.0.113.{number}", 40_000))
        assert forwarded(harness, flow, invite(from_tag=f"t{number}"))
    first, second = (peer(harness, CARRIERS, Source(f"192.0.2.{n}", 40_000)) for n in (130, 131))
    assert forwarded(harness, first, invite())
    assert status(harness, second, cancel()) == 481, "it costs a sender with another address its CANCEL"
    assert status(harness, first, cancel()) == 200
    assert len(harness.edge.parts.transactions._servers._of_streams) == 1
    harness.wait(400)
    assert harness.edge.idle
    assert not harness.edge.parts.transactions._servers._of_streams


def test_59_calls_with_the_predicted_call_id_of_another_keep_none_of_its_calls_out() -> None:
    """From two addresses, so that no other bound is reached."""
    harness = EdgeHarness(open=("public",), trunks={})
    for number in range(limits.CALLS_PER_CALL_ID + 2):
        forged = Flow(PUBLIC, Source(f"203.0.113.{number % 2}", 5060))
        harness.receive(forged, invite(branch=f"z9hG4bKf{number}"))
    assert harness.edge.calls == limits.CALLS_PER_CALL_ID + 2
    own = Flow(PUBLIC, Source("198.51.100.20", 5060))
    assert [message.method for _, message in harness.receive(own, invite()) if isinstance(message, Request)] == [
        "INVITE"
    ]
