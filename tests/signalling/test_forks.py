"""More than one answer to one INVITE: the core forked it (RFC 3261 section 13.2.2.4)."""

from __future__ import annotations

from support.signalling import ANSWER, BROWSERS, CALLER, CORE, MEMBERS, OFFER, PUBLIC, Brain, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.signalling.lease_audit import audit_leases
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])


def answered(brain: Brain, forwarded: Request | Response, tag: str, where: str) -> str:
    """The URI that the caller is shown for the fork with this tag, which is at ``where``."""
    by = f"Contact: <sip:{tag}@{where}>\r\nRecord-Route: <sip:{where};lr>"
    data = respond(forwarded, 200, tag=tag, contact=False, extra=by).replace(
        b"Record-Route: <sip:10.0.0.11;lr>\r\n", b"", 1
    )
    ((_, ok),) = brain.receive(PBX, data)
    return (ok.get("Contact") or "").strip("<>")


def acknowledged(brain: Brain, contact: str, tag: str) -> Request:
    ((_, ack),) = brain.receive(CALLER, invite("ACK", contact, branch=f"z9hG4bK{tag}", to_tag=tag))
    assert isinstance(ack, Request)
    return ack


def test_the_route_set_is_that_of_the_fork_that_answers(brain: Brain) -> None:
    forwarded = brain.receive(CALLER, invite())[-1][1]
    brain.receive(PBX, respond(forwarded, 180, tag="early"))
    ack = acknowledged(brain, answered(brain, forwarded, "late", "10.0.0.21"), "late")
    assert ack.get_all("Route") == ["<sip:10.0.0.21;lr>"]
    assert str(ack.uri) == "sip:late@10.0.0.21"


def test_the_caller_may_keep_the_fork_that_answered_second(brain: Brain) -> None:
    forwarded = brain.receive(CALLER, invite())[-1][1]
    first = answered(brain, forwarded, "one", "10.0.0.21")
    second = answered(brain, forwarded, "two", "10.0.0.22")
    ((to, bye),) = brain.receive(CALLER, invite("BYE", first, 2, "z9hG4bKbye1", to_tag="one"))
    brain.receive(to, respond(bye, 200))
    assert brain.edge.calls == brain.dispatcher.leases == 1
    assert str(acknowledged(brain, second, "two").uri) == "sip:two@10.0.0.22"
    sent = [message for _, message in brain.wait(4 * 3600)]
    byes = [str(message.uri) for message in sent if isinstance(message, Request) and message.method == "BYE"]
    assert byes.count("sip:two@10.0.0.22") > 0
    assert "sip:one@10.0.0.21" not in byes
    assert brain.edge.calls == brain.dispatcher.leases == 0


def test_a_fork_that_hangs_up_when_the_caller_is_gone_ends_no_other(open_brain: Brain) -> None:
    browser = open_brain.edge.new_flow(BROWSERS, Source("203.0.113.5", 40000))
    open_brain.edge.flow_opened(browser)
    forwarded = open_brain.receive(browser, invite())[-1][1]
    shown = (forwarded.get("Contact") or "").strip("<>")
    for tag in ("one", "two"):
        open_brain.receive(PBX, respond(forwarded, 200, tag=tag))
    open_brain.edge.flow_closed(browser, open_brain.now)
    for tag, left in (("two", 1), ("one", 0)):
        bye = invite("BYE", shown, 1, f"z9hG4bK{tag}", to_tag="alice", from_tag=tag)
        ((_, answer),) = open_brain.receive(PBX, bye)
        assert isinstance(answer, Response)
        assert answer.status == 480
        assert open_brain.edge.calls == left


def test_forks_without_end_are_not_all_remembered(brain: Brain) -> None:
    forwarded = brain.receive(CALLER, invite())[-1][1]
    for number in range(12):
        answered(brain, forwarded, f"t{number}", "10.0.0.21")
    (call,) = brain.edge.board.calls
    assert len(call.forks) == 8


def test_two_forks_answer_and_one_is_hung_up(brain: Brain) -> None:
    forwarded = brain.receive(CALLER, invite())[-1][1]
    first = answered(brain, forwarded, "one", "10.0.0.21")
    second = answered(brain, forwarded, "two", "10.0.0.22")
    assert str(acknowledged(brain, first, "one").uri) == "sip:one@10.0.0.21"
    assert str(acknowledged(brain, second, "two").uri) == "sip:two@10.0.0.22"
    ((to, bye),) = brain.receive(CALLER, invite("BYE", second, 2, "z9hG4bKbye2", to_tag="two"))
    brain.receive(to, respond(bye, 200))
    assert brain.edge.calls == 1
    ((to, bye),) = brain.receive(CALLER, invite("BYE", first, 3, "z9hG4bKbye1", to_tag="one"))
    brain.receive(to, respond(bye, 200))
    assert brain.edge.calls == brain.dispatcher.leases == 0


def test_a_fork_that_a_stranger_is_not_told_of_is_hung_up(open_brain: Brain) -> None:
    """A caller that may be forged is told of two answers: what comes then is nobody's call."""
    forwarded = open_brain.receive(Flow(PUBLIC, Source("203.0.113.9", 5060)), invite())[-1][1]
    for tag in ("one", "two"):
        (told,) = open_brain.receive(PBX, respond(forwarded, 200, tag=tag))
        assert isinstance(told[1], Response)
    sent = open_brain.receive(PBX, respond(forwarded, 200, tag="three"))
    assert [(to, m.method, m.to_tag) for to, m in sent if isinstance(m, Request)] == [
        (PBX, "ACK", "three"),
        (PBX, "BYE", "three"),
    ]
    for tag in ("one", "two"):
        assert open_brain.receive(PBX, respond(forwarded, 200, tag=tag)) == []
    assert open_brain.edge.calls == open_brain.dispatcher.leases == 1


def test_a_second_fork_whose_sdp_is_refused_costs_the_first_neither_its_place_nor_its_call() -> None:
    brain = Brain(anchor=True)
    brain.receive(CALLER, invite(body=OFFER))
    ((_, forwarded),) = brain.reply(OFFER)
    first = respond(forwarded, 200, tag="one", body=ANSWER)
    brain.receive(PBX, first)
    assert [message.status for _, message in brain.reply(ANSWER) if isinstance(message, Response)] == [200]
    brain.receive(PBX, respond(forwarded, 200, tag="two", body=ANSWER.replace(b"4000", b"4002")))
    sent = [message for _, message in brain.reply(None) if isinstance(message, Request)]
    assert [(each.method, each.to_tag) for each in sent] == [("ACK", "two"), ("BYE", "two")]
    assert audit_leases(brain.edge.board) == (1, 1, 0, [])
    repeated = [message for _, message in brain.receive(PBX, first) if isinstance(message, Request)]
    assert repeated == []  # in particular no BYE
