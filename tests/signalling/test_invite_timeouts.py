"""INVITEs without a final answer: Timer C, BYE in an early dialog, CANCEL among many provisional answers."""

from __future__ import annotations

import pytest
from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, EdgeHarness, invite, respond

from edgesbc.base.address import Flow
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])


def methods(sent: list[tuple[Flow, Request | Response]], to: Flow = PBX) -> list[str]:
    return [m.method for flow, m in sent if isinstance(m, Request) and flow == to]


def established(harness: EdgeHarness) -> str:
    """A call that is up; the URI of the edge's Contact."""
    sent = harness.receive(CALLER, invite())
    ((_, ok),) = harness.receive(PBX, respond(sent[-1][1], 200))
    contact = (ok.get("Contact") or "").strip("<>")
    harness.receive(CALLER, invite("ACK", contact, branch="z9hG4bKack", to_tag="bob"))
    return contact


def test_a_re_invite_without_a_final_answer_ends_by_timer_c(harness: EdgeHarness) -> None:
    contact = established(harness)
    sent = harness.receive(CALLER, invite("INVITE", contact, 2, "z9hG4bKre", to_tag="bob"))
    harness.receive(PBX, respond(sent[-1][1], 180))
    assert harness.edge.calls == 1
    sent = harness.wait(300)
    assert "CANCEL" in methods(sent)
    assert 408 in [m.status for to, m in sent if to == CALLER and isinstance(m, Response)]
    assert harness.edge.calls == 1, "the call continues unchanged"
    assert len(harness.edge.parts.transactions) == 0


def test_a_call_with_a_bye_before_the_answer_ends_with_the_final_response(harness: EdgeHarness) -> None:
    sent = harness.receive(CALLER, invite())
    forwarded = sent[-1][1]
    ((_, ringing),) = harness.receive(PBX, respond(forwarded, 180))
    contact = (ringing.get("Contact") or "").strip("<>")
    (bye,) = harness.receive(CALLER, invite("BYE", contact, 2, "z9hG4bKbye", to_tag="bob"))
    harness.receive(PBX, respond(bye[1], 200))
    (_, refused) = harness.receive(PBX, respond(forwarded, 487))
    assert isinstance(refused[1], Response)
    assert refused[1].status == 487
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_a_call_with_a_bye_and_no_final_response_leaves_nothing(harness: EdgeHarness) -> None:
    sent = harness.receive(CALLER, invite())
    ((_, ringing),) = harness.receive(PBX, respond(sent[-1][1], 180))
    contact = (ringing.get("Contact") or "").strip("<>")
    (bye,) = harness.receive(CALLER, invite("BYE", contact, 2, "z9hG4bKbye", to_tag="bob"))
    harness.receive(PBX, respond(bye[1], 200))
    harness.wait(300)
    assert harness.edge.idle
    assert harness.dispatcher.leases == 0


def test_one_cancel_however_often_it_rings_again(harness: EdgeHarness) -> None:
    sent = harness.receive(CALLER, invite())
    forwarded = sent[-1][1]
    harness.receive(CALLER, invite("CANCEL"))
    cancels = []
    for _ in range(5):
        harness.now += 10
        cancels += methods(harness.receive(PBX, respond(forwarded, 180)))
    assert cancels == ["CANCEL"]


def test_an_answer_whose_media_comes_after_the_refusal_is_hung_up() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    sent = harness.reply(b"v=0\r\n")
    harness.receive(PBX, respond(sent[-1][1], 200, body=ANSWER))
    harness.sort(harness.edge.end_calls(harness.now))
    sent = harness.reply(b"v=0\r\n")
    assert methods(sent) == ["ACK", "BYE"]
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_a_non_invite_request_gets_no_provisional_response_but_100(harness: EdgeHarness) -> None:
    sent = harness.receive(CALLER, invite("REFER"))
    assert harness.receive(PBX, respond(sent[-1][1], 183)) == []
    assert harness.receive(PBX, respond(sent[-1][1], 202))


@pytest.mark.parametrize("method", ["REGISTER", "BYE"])
def test_a_non_invite_request_without_an_answer_gets_100(harness: EdgeHarness, method: str) -> None:
    """RFC 4320 section 4.1: otherwise its sender would retransmit it."""
    to_tag, uri = "", "sip:100@192.0.2.1"
    if method == "BYE":
        forwarded = harness.receive(CALLER, invite())[-1][1]
        ((_, ok),) = harness.receive(PBX, respond(forwarded, 200))
        to_tag, uri = "bob", (ok.get("Contact") or "").strip("<>")
    request = invite(method, uri, 2, "z9hG4bKslow", to_tag=to_tag)
    ((_, forwarded),) = harness.receive(CALLER, request)
    assert [flow for flow, _ in harness.wait(3.4)].count(CALLER) == 0
    back = [message for flow, message in harness.wait(0.2) if flow == CALLER]
    assert [message.status for message in back if isinstance(message, Response)] == [100]
    ((_, repeated),) = harness.receive(CALLER, request)
    assert isinstance(repeated, Response)
    assert repeated.status == 100
    ((_, answered),) = harness.receive(PBX, respond(forwarded, 200, contact=False))
    assert isinstance(answered, Response)
    assert answered.status == 200
    harness.wait(64)
    assert harness.edge.idle


def test_a_408_to_a_non_invite_request_is_not_forwarded(harness: EdgeHarness) -> None:
    """RFC 4320 section 4.2."""
    ((to, forwarded),) = harness.receive(CALLER, invite("REGISTER"))
    assert harness.receive(to, respond(forwarded, 408)) == []
    assert harness.dispatcher.leases == 0
    harness.wait(60)
    assert harness.edge.idle
