"""Destinations that answer a call and name no Contact: where the edge ends such a call."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, Brain, invite, respond

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


def end_calls(brain: Brain) -> list[tuple[Flow, str]]:
    brain.sent.clear()
    brain.sort(brain.edge.end_calls(brain.now))
    return hung_up(brain.sent)


@pytest.mark.parametrize("uri", ["sip:100@192.0.2.1", ELSEWHERE])
def test_the_edge_ends_it_where_it_was_answered(brain: Brain, uri: str) -> None:
    ((_, asked),) = brain.receive(CALLER, invite(uri=uri))
    assert isinstance(asked, Request)
    brain.receive(PBX, nameless(asked))
    assert end_calls(brain) == [(CALLER, "sip:alice@192.168.1.5:5062"), (PBX, str(asked.uri))]
    brain.wait(60)
    assert brain.edge.idle


def test_one_such_call_keeps_no_other_from_its_end(brain: Brain) -> None:
    for number in range(3):
        sent = brain.receive(CALLER, invite(branch=f"z9hG4bKn{number}", from_tag=f"a{number}"))
        answer = respond(sent[-1][1], 200) if number else nameless(sent[-1][1])
        brain.receive(PBX, answer)
    assert len(end_calls(brain)) == 6
    assert brain.edge.calls == brain.dispatcher.leases == 0


def test_a_late_answer_is_ended_where_it_came_from_whatever_uri_was_called(brain: Brain) -> None:
    """The Request-URI is a stranger's choice and no place to send to."""
    ((_, asked),) = brain.receive(CALLER, invite(uri=ELSEWHERE))
    brain.wait(2.5)
    sent = brain.receive(PBX, nameless(asked))
    assert hung_up(sent) == [(PBX, ELSEWHERE)]
    assert {flow for flow, _ in sent} == {PBX}


def test_another_fork_without_contact_is_not_looked_for_at_the_first_ones(brain: Brain) -> None:
    ((_, asked),) = brain.receive(CALLER, invite())
    brain.receive(PBX, respond(asked, 180, "first").replace(b"10.0.0.11:5070", b"10.0.0.77:5070"))
    brain.receive(PBX, nameless(asked, tag="second"))
    assert end_calls(brain)[1] == (PBX, "sip:100@10.0.0.11:5060")
