"""INVITEs that never get a final answer: Timer C, BYE in an early dialog, CANCEL among many provisional answers."""

from __future__ import annotations

import pytest
from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, Brain, invite, respond

from edgesbc.base.address import Flow
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])


def methods(sent: list[tuple[Flow, Request | Response]], to: Flow = PBX) -> list[str]:
    return [m.method for flow, m in sent if isinstance(m, Request) and flow == to]


def established(brain: Brain) -> str:
    """A call that is up; the URI of the edge's Contact."""
    sent = brain.receive(CALLER, invite())
    ((_, ok),) = brain.receive(PBX, respond(sent[-1][1], 200))
    contact = (ok.get("Contact") or "").strip("<>")
    brain.receive(CALLER, invite("ACK", contact, branch="z9hG4bKack", to_tag="bob"))
    return contact


def test_a_re_invite_without_a_final_answer_ends_by_timer_c(brain: Brain) -> None:
    contact = established(brain)
    sent = brain.receive(CALLER, invite("INVITE", contact, 2, "z9hG4bKre", to_tag="bob"))
    brain.receive(PBX, respond(sent[-1][1], 180))
    assert brain.edge.calls == 1
    sent = brain.wait(300)
    assert "CANCEL" in methods(sent)
    assert 408 in [m.status for to, m in sent if to == CALLER and isinstance(m, Response)]
    assert brain.edge.calls == 1, "the call goes on as it was"
    assert len(brain.edge.board.transactions) == 0


def test_bye_before_the_answer_leaves_the_call_to_the_answer_of_its_invite(brain: Brain) -> None:
    sent = brain.receive(CALLER, invite())
    forwarded = sent[-1][1]
    ((_, ringing),) = brain.receive(PBX, respond(forwarded, 180))
    contact = (ringing.get("Contact") or "").strip("<>")
    (bye,) = brain.receive(CALLER, invite("BYE", contact, 2, "z9hG4bKbye", to_tag="bob"))
    brain.receive(PBX, respond(bye[1], 200))
    (_, refused) = brain.receive(PBX, respond(forwarded, 487))
    assert isinstance(refused[1], Response)
    assert refused[1].status == 487
    assert brain.edge.calls == brain.dispatcher.leases == 0


def test_bye_before_an_answer_that_never_comes_leaves_nothing(brain: Brain) -> None:
    sent = brain.receive(CALLER, invite())
    ((_, ringing),) = brain.receive(PBX, respond(sent[-1][1], 180))
    contact = (ringing.get("Contact") or "").strip("<>")
    (bye,) = brain.receive(CALLER, invite("BYE", contact, 2, "z9hG4bKbye", to_tag="bob"))
    brain.receive(PBX, respond(bye[1], 200))
    brain.wait(300)
    assert brain.edge.idle
    assert brain.dispatcher.leases == 0


def test_one_cancel_however_often_it_rings_again(brain: Brain) -> None:
    sent = brain.receive(CALLER, invite())
    forwarded = sent[-1][1]
    brain.receive(CALLER, invite("CANCEL"))
    cancels = []
    for _ in range(5):
        brain.now += 10
        cancels += methods(brain.receive(PBX, respond(forwarded, 180)))
    assert cancels == ["CANCEL"]


def test_an_answer_whose_media_comes_after_the_refusal_is_hung_up() -> None:
    brain = Brain(anchor=True)
    brain.receive(CALLER, invite(body=OFFER))
    sent = brain.reply(b"v=0\r\n")
    brain.receive(PBX, respond(sent[-1][1], 200, body=ANSWER))
    brain.sort(brain.edge.end_calls(brain.now))
    sent = brain.reply(b"v=0\r\n")
    assert methods(sent) == ["ACK", "BYE"]
    assert brain.edge.calls == brain.dispatcher.leases == 0


def test_no_provisional_answer_but_100_to_what_is_no_invite(brain: Brain) -> None:
    sent = brain.receive(CALLER, invite("REFER"))
    assert brain.receive(PBX, respond(sent[-1][1], 183)) == []
    assert brain.receive(PBX, respond(sent[-1][1], 202))


@pytest.mark.parametrize("method", ["REGISTER", "BYE"])
def test_what_is_no_invite_gets_100_when_nobody_answers_it(brain: Brain, method: str) -> None:
    """RFC 4320 section 4.1: its sender would ask again and again."""
    to_tag, uri = "", "sip:100@192.0.2.1"
    if method == "BYE":
        forwarded = brain.receive(CALLER, invite())[-1][1]
        ((_, ok),) = brain.receive(PBX, respond(forwarded, 200))
        to_tag, uri = "bob", (ok.get("Contact") or "").strip("<>")
    asked = invite(method, uri, 2, "z9hG4bKslow", to_tag=to_tag)
    ((_, forwarded),) = brain.receive(CALLER, asked)
    assert [flow for flow, _ in brain.wait(3.4)].count(CALLER) == 0
    back = [message for flow, message in brain.wait(0.2) if flow == CALLER]
    assert [message.status for message in back if isinstance(message, Response)] == [100]
    ((_, again),) = brain.receive(CALLER, asked)
    assert isinstance(again, Response)
    assert again.status == 100
    ((_, answered),) = brain.receive(PBX, respond(forwarded, 200, contact=False))
    assert isinstance(answered, Response)
    assert answered.status == 200
    brain.wait(64)
    assert brain.edge.idle


def test_a_408_of_the_far_side_to_what_is_no_invite_goes_no_further(brain: Brain) -> None:
    """RFC 4320 section 4.2."""
    ((to, forwarded),) = brain.receive(CALLER, invite("REGISTER"))
    assert brain.receive(to, respond(forwarded, 408)) == []
    assert brain.dispatcher.leases == 0
    brain.wait(60)
    assert brain.edge.idle
