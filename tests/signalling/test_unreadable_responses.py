"""A response that cannot be parsed ends its branch: what it has set up is ended, and its sender is not left waiting."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.media_calls import MediaCall
from support.signalling import CALLER, CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.sip.message import Request, Response

FIRST, SECOND = (Flow(CORE, member) for member in MEMBERS)

Damage = Callable[[bytes], bytes]

DAMAGES: dict[str, Damage] = {
    "a Contact that is none": lambda data: data.replace(b"Contact: <sip:bob@10.0.0.11:5070>", b"Contact: <sip:>"),
    "a line without a name": lambda data: data.replace(b"Server:", b": x\r\nServer:"),
    "a control character": lambda data: data.replace(b"Inside/1.0", b"Inside\x00"),
    "Content-Length too large": lambda data: data.replace(b"Content-Length: 0", b"Content-Length: 99"),
    "Call-ID twice": lambda data: data.replace(b"Server:", b"Call-ID: other\r\nServer:"),
    "no end of the header": lambda data: data[:-2],
    "too many fields": lambda data: data.replace(b"Server:", b"X: y\r\n" * (limits.HEADER_FIELDS + 1) + b"Server:"),
    "a folded status line": lambda data: data.replace(b" Whatever\r\n", b" Whatever\r\n y\r\n", 1),
}
DAMAGED = pytest.mark.parametrize("damage", DAMAGES)


def names(sent: list[tuple[Flow, Request | Response]]) -> list[tuple[Flow, str]]:
    return [(flow, m.method if isinstance(m, Request) else str(m.status)) for flow, m in sent]


@DAMAGED
def test_a_2xx_is_acknowledged_and_ended_and_the_next_destination_is_tried(harness: EdgeHarness, damage: str) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    sent = harness.receive(FIRST, DAMAGES[damage](respond(forwarded, 200)))
    assert [name for _, name in names(sent)] == ["ACK", "BYE", "INVITE"]
    ack = sent[0][1]
    assert (ack.call_id, ack.to_tag, ack.cseq) == ("c1", "bob", 1)
    assert sent[-1][0] == SECOND
    (malformed,) = [decision for decision in harness.decisions if decision.reason.code == "malformed"]
    assert malformed.call_id == "c1"
    assert all(member.health.up for member in harness.dispatcher.members())
    assert harness.dispatcher.leases == 1
    assert names(harness.receive(SECOND, respond(sent[-1][1], 200)))[-1] == (CALLER, "200")


@DAMAGED
@pytest.mark.parametrize(("status", "expected"), [(486, "486"), (603, "603")])
def test_a_refusal_is_acknowledged_and_goes_on_to_the_caller(
    harness: EdgeHarness, damage: str, status: int, expected: str
) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    sent = harness.receive(FIRST, DAMAGES[damage](respond(forwarded, status)))
    assert names(sent) == [(FIRST, "ACK"), (CALLER, expected)]
    assert b"Inside" not in harness.raw[-1]
    assert harness.edge.calls == harness.dispatcher.leases == 0


@DAMAGED
@pytest.mark.parametrize("status", [302, 401, 407, 420, 422])
def test_a_refusal_that_says_by_its_fields_what_to_do_is_a_502(damage: str, status: int) -> None:
    harness = EdgeHarness(failover_on=(503,))
    forwarded = harness.receive(CALLER, invite())[-1][1]
    sent = harness.receive(FIRST, DAMAGES[damage](respond(forwarded, status)))
    assert names(sent) == [(FIRST, "ACK"), (CALLER, "502")]


def test_a_provisional_response_means_nothing(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    assert harness.receive(FIRST, respond(forwarded, 180, contact=False, extra="Contact: <sip:>")) == []
    assert names(harness.receive(FIRST, respond(forwarded, 200))) == [(CALLER, "200")]


@DAMAGED
def test_a_damaged_repetition_does_not_end_the_call(harness: EdgeHarness, damage: str) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    harness.receive(FIRST, respond(forwarded, 200))
    assert harness.receive(FIRST, DAMAGES[damage](respond(forwarded, 200))) == []
    assert harness.edge.calls == 1
    fork = harness.receive(FIRST, DAMAGES[damage](respond(forwarded, 200, tag="fork")))
    assert [name for _, name in names(fork)] == ["ACK", "BYE"]
    assert harness.edge.calls == 1


@pytest.mark.parametrize("outward", [False, True])
@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "BYE"])
def test_inside_a_call(outward: bool, side: str, method: str) -> None:
    call = MediaCall(outward)
    agreed = call.agreed
    other = call.other(side)
    sent = call.request(side, method, call.sdp(side, 7000) if method in ("INVITE", "UPDATE") else b"")
    data = respond(sent, 200, call.tags[other], contact=False, extra="Contact: <sip:>")
    answered = names(call.receive(other, data))
    assert answered == [(call.flows[other], "ACK")] * (method == "INVITE") + [(call.flows[side], "502")]
    assert call.harness.edge.calls == (method != "BYE")
    assert call.agreed == (agreed if method != "BYE" else [])


@pytest.mark.parametrize("lost", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_one_whose_transaction_or_dialog_cannot_be_read_is_left_to_the_timers(harness: EdgeHarness, lost: str) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    data = respond(forwarded, 200).replace(f"{lost}: ".encode(), f"X-{lost}: ".encode(), 1)
    assert harness.receive(FIRST, data) == []
    assert harness.reasons[-1] == "malformed"


def test_a_request_that_sets_up_no_call_goes_to_the_next_destination() -> None:
    harness = EdgeHarness()
    other = Flow(CORE, MEMBERS[1])
    forwarded = harness.receive(CALLER, invite("OPTIONS", uri="sip:100@example.org"))[-1][1]
    sent = harness.receive(FIRST, respond(forwarded, 200, contact=False, extra="Contact: <sip:>"))
    assert names(sent) == [(other, "OPTIONS")]


def test_one_without_a_tag_belongs_to_a_dialog_of_rfc_2543(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    data = respond(forwarded, 200, contact=False, extra="Contact: <sip:>").replace(b";tag=bob", b"")
    sent = harness.receive(FIRST, data)
    assert [name for _, name in names(sent)] == ["ACK", "BYE", "INVITE"]
    assert all(b"?" not in data for data in harness.raw)


def test_one_of_another_peer_ends_nothing(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    data = respond(forwarded, 200, contact=False, extra="Contact: <sip:>")
    assert harness.receive(SECOND, data) == []
    assert names(harness.receive(FIRST, respond(forwarded, 200))) == [(CALLER, "200")]
