"""Destinations that answer a call without a Contact: where the BYE of the edge goes."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base.address import Flow
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
ELSEWHERE = "sip:100@198.51.100.200"


def nameless(request: Request | Response, extra: str = "", tag: str = "bob") -> bytes:
    """A 200 without Contact and Record-Route."""
    data = respond(request, 200, tag, contact=False, extra=extra)
    return data.replace(b"Record-Route: <sip:10.0.0.11;lr>\r\n", b"")


def hung_up(sent: list[tuple[Flow, Request | Response]]) -> list[tuple[Flow, str]]:
    return [(flow, str(m.uri)) for flow, m in sent if isinstance(m, Request) and m.method == "BYE"]


def end_calls(harness: EdgeHarness) -> list[tuple[Flow, str]]:
    harness.sent.clear()
    harness.sort(harness.edge.end_calls(harness.now))
    return hung_up(harness.sent)


@pytest.mark.parametrize("uri", ["sip:100@192.0.2.1", ELSEWHERE])
def test_the_edge_ends_it_where_it_was_answered(harness: EdgeHarness, uri: str) -> None:
    ((_, forwarded),) = harness.receive(CALLER, invite(uri=uri))
    assert isinstance(forwarded, Request)
    harness.receive(PBX, nameless(forwarded))
    assert end_calls(harness) == [(CALLER, "sip:alice@192.168.1.5:5062"), (PBX, str(forwarded.uri))]
    harness.wait(60)
    assert harness.edge.idle


def test_a_call_without_contact_does_not_keep_the_edge_from_ending_others(harness: EdgeHarness) -> None:
    for number in range(3):
        sent = harness.receive(CALLER, invite(branch=f"z9hG4bKn{number}", from_tag=f"a{number}"))
        answer = respond(sent[-1][1], 200) if number else nameless(sent[-1][1])
        harness.receive(PBX, answer)
    assert len(end_calls(harness)) == 6
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_a_late_answer_is_ended_where_it_came_from_whatever_uri_was_called(harness: EdgeHarness) -> None:
    """The caller chooses the Request-URI, so the edge must not send to the address in it."""
    ((_, forwarded),) = harness.receive(CALLER, invite(uri=ELSEWHERE))
    harness.wait(2.5)
    sent = harness.receive(PBX, nameless(forwarded))
    assert hung_up(sent) == [(PBX, ELSEWHERE)]
    assert {flow for flow, _ in sent} == {PBX}


def test_the_contact_of_the_first_fork_is_not_used_for_another_without_one(harness: EdgeHarness) -> None:
    ((_, forwarded),) = harness.receive(CALLER, invite())
    harness.receive(PBX, respond(forwarded, 180, "first").replace(b"10.0.0.11:5070", b"10.0.0.77:5070"))
    harness.receive(PBX, nameless(forwarded, tag="second"))
    assert end_calls(harness)[1] == (PBX, "sip:100@10.0.0.11:5060")
