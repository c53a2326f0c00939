"""A request sent to several members at once (RFC 3261 section 16.7, RFC 5393)."""

from __future__ import annotations

import pytest
from support.signalling import ANSWER, CALLER, CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base.address import Flow
from edgesbc.sip.message import Request, Response

ONE, TWO = (Flow(CORE, member) for member in MEMBERS)
Sent = list[tuple[Flow, Request | Response]]


@pytest.fixture
def harness() -> EdgeHarness:
    return EdgeHarness(algorithm="broadcast", one_priority=True)


def forked(harness: EdgeHarness, **fields: str) -> tuple[Request, Request]:
    """The two requests that one INVITE becomes."""
    sent = harness.receive(CALLER, invite(**fields))  # type: ignore[arg-type]
    assert [flow for flow, _ in sent] == [ONE, TWO]
    (_, one), (_, two) = sent
    assert isinstance(one, Request)
    assert isinstance(two, Request)
    return one, two


def summary(sent: Sent) -> list[tuple[Flow, str]]:
    """The flow, and the method or status, of each message."""
    return [(flow, m.method if isinstance(m, Request) else str(m.status)) for flow, m in sent]


def test_every_member_gets_a_branch_and_a_lease_of_its_own(harness: EdgeHarness) -> None:
    one, two = forked(harness)
    assert one.via.branch != two.via.branch
    assert harness.dispatcher.leases == 2


def test_the_first_2xx_gets_the_call_and_the_other_branches_are_cancelled(harness: EdgeHarness) -> None:
    one, two = forked(harness)
    assert summary(harness.receive(ONE, respond(one, 180, tag="one"))) == [(CALLER, "180")]
    assert summary(harness.receive(TWO, respond(two, 180, tag="two"))) == [(CALLER, "180")]
    assert summary(harness.receive(TWO, respond(two, 200, tag="two"))) == [(CALLER, "200"), (ONE, "CANCEL")]
    assert harness.dispatcher.leases == 1
    assert [member.load for member in harness.dispatcher.members()] == [0, 1]
    assert summary(harness.receive(ONE, respond(one, 487, tag="one"))) == [(ONE, "ACK")]
    assert harness.edge.calls == 1


def test_a_cancel_says_that_the_call_was_completed_elsewhere(harness: EdgeHarness) -> None:
    """RFC 3326 section 3.1: a call that was answered elsewhere was not missed."""
    one, two = forked(harness)
    harness.receive(ONE, respond(one, 180, tag="one"))
    (_, (_, cancel)) = harness.receive(TWO, respond(two, 200, tag="two"))
    assert cancel.get_all("Reason") == ['SIP;cause=200;text="Call completed elsewhere"']


def test_a_cancel_after_a_6xx_has_it_as_its_reason(harness: EdgeHarness) -> None:
    one, two = forked(harness)
    harness.receive(ONE, respond(one, 180, tag="one"))
    sent = harness.receive(TWO, respond(two, 603, tag="two"))
    assert [m.get_all("Reason") for _, m in sent if isinstance(m, Request) and m.method == "CANCEL"] == [
        ["SIP;cause=603"]
    ]


@pytest.mark.parametrize("early", [True, False])
def test_the_reason_of_a_cancel_goes_with_it(harness: EdgeHarness, early: bool) -> None:
    """RFC 3326 section 2; also if the CANCEL must wait for a provisional response."""
    one, _ = forked(harness)
    reasons = ["SIP;cause=480", 'Q.850;cause=16;text="Normal"']
    cancel_with_reasons = invite("CANCEL", extra="".join(f"Reason: {reason}\r\n" for reason in reasons))
    if early:
        harness.receive(CALLER, cancel_with_reasons)
        sent = harness.receive(ONE, respond(one, 180, tag="one"))
    else:
        harness.receive(ONE, respond(one, 180, tag="one"))
        sent = harness.receive(CALLER, cancel_with_reasons)
    (cancel,) = [m for _, m in sent if isinstance(m, Request)]
    assert cancel.method == "CANCEL"
    assert cancel.get_all("Reason") == reasons


def test_requests_inside_the_dialog_go_to_the_member_that_answered(harness: EdgeHarness) -> None:
    one, two = forked(harness)
    harness.receive(ONE, respond(one, 180, tag="one"))
    answer = respond(two, 200, tag="two").replace(b"10.0.0.11", b"10.0.0.12")
    ((_, ok), *_) = harness.receive(TWO, answer)
    contact = (ok.get("Contact") or "").strip("<>")
    sent = harness.receive(CALLER, invite("ACK", contact, branch="z9hG4bKack", to_tag="two"))
    assert summary(sent) == [(TWO, "ACK")]
    ((_, bye),) = harness.receive(CALLER, invite("BYE", contact, 2, "z9hG4bKbye", to_tag="two"))
    harness.receive(TWO, respond(bye, 200))
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_two_answers_are_both_passed_on_and_the_call_is_the_first_ones(harness: EdgeHarness) -> None:
    one, two = forked(harness)
    ((_, first),) = harness.receive(ONE, respond(one, 200, tag="one"))
    ((_, second),) = harness.receive(TWO, respond(two, 200, tag="two"))
    assert (first.to_tag, second.to_tag) == ("one", "two")
    assert first.get("Contact") != second.get("Contact")
    assert [member.load for member in harness.dispatcher.members()] == [1, 0]
    contact = (second.get("Contact") or "").strip("<>")
    assert summary(harness.receive(CALLER, invite("BYE", contact, 2, "z9hG4bKbye", to_tag="two"))) != []
    assert harness.edge.calls == 1


def test_an_answer_after_the_end_of_the_call_is_ended_and_opens_no_media() -> None:
    harness = EdgeHarness(anchor=True, algorithm="broadcast", one_priority=True)
    one, two = forked(harness)
    harness.receive(ONE, respond(one, 180, tag="one"))
    harness.receive(TWO, respond(two, 200, tag="two", body=ANSWER))
    ((_, ok), *_) = harness.reply(ANSWER)
    contact = (ok.get("Contact") or "").strip("<>")
    ((to, bye),) = harness.receive(CALLER, invite("BYE", contact, 2, "z9hG4bKbye", to_tag="two"))
    harness.receive(to, respond(bye, 200))
    harness.media.clear()
    assert summary(harness.receive(ONE, respond(one, 200, tag="one", body=ANSWER))) == [(ONE, "ACK"), (ONE, "BYE")]
    assert harness.media == []


def test_a_refusal_waits_for_the_others(harness: EdgeHarness) -> None:
    one, two = forked(harness)
    assert summary(harness.receive(ONE, respond(one, 486, tag="one"))) == [(ONE, "ACK")]
    assert harness.dispatcher.leases == 1
    assert summary(harness.receive(TWO, respond(two, 404, tag="two"))) == [(TWO, "ACK"), (CALLER, "486")]
    assert harness.edge.calls == harness.dispatcher.leases == 0


@pytest.mark.parametrize(
    ("statuses", "passed_on"),
    [((486, 302), 302), ((404, 484), 484), ((500, 486), 486), ((603, 302), 603), ((486, 503), 486), ((503, 404), 404)],
)
def test_the_best_refusal_is_passed_on(harness: EdgeHarness, statuses: tuple[int, int], passed_on: int) -> None:
    one, two = forked(harness)
    harness.receive(ONE, respond(one, statuses[0], tag="one"))
    sent = harness.receive(TWO, respond(two, statuses[1], tag="two"))
    assert summary(sent)[-1] == (CALLER, str(passed_on))


def test_a_6xx_cancels_the_rest_and_is_the_answer(harness: EdgeHarness) -> None:
    one, two = forked(harness)
    harness.receive(TWO, respond(two, 180, tag="two"))
    assert summary(harness.receive(ONE, respond(one, 603, tag="one"))) == [(ONE, "ACK"), (TWO, "CANCEL")]
    assert summary(harness.receive(TWO, respond(two, 487, tag="two"))) == [(TWO, "ACK"), (CALLER, "603")]


def test_a_2xx_that_crosses_a_6xx_wins(harness: EdgeHarness) -> None:
    one, two = forked(harness)
    harness.receive(TWO, respond(two, 180, tag="two"))
    harness.receive(ONE, respond(one, 603, tag="one"))
    assert summary(harness.receive(TWO, respond(two, 200, tag="two"))) == [(CALLER, "200")]


def test_a_challenge_includes_the_challenges_of_the_other_branches(harness: EdgeHarness) -> None:
    one, two = forked(harness)
    harness.receive(ONE, respond(one, 407, extra='Proxy-Authenticate: Digest realm="one", nonce="1"'))
    sent = harness.receive(TWO, respond(two, 401, extra='WWW-Authenticate: Digest realm="two", nonce="2"'))
    _, answer = sent[-1]
    assert answer.get_all("Proxy-Authenticate") == ['Digest realm="one", nonce="1"']
    assert answer.get_all("WWW-Authenticate") == ['Digest realm="two", nonce="2"']


def test_cancel_goes_to_all_members_that_have_responded(harness: EdgeHarness) -> None:
    one, two = forked(harness)
    harness.receive(ONE, respond(one, 180, tag="one"))
    sent = harness.receive(CALLER, invite("CANCEL"))
    assert (ONE, "CANCEL") in summary(sent)
    assert (TWO, "CANCEL") not in summary(sent)
    assert summary(harness.receive(TWO, respond(two, 180, tag="two"))) == [(TWO, "CANCEL"), (CALLER, "180")]
    harness.receive(ONE, respond(one, 487, tag="one"))
    assert summary(harness.receive(TWO, respond(two, 487, tag="two")))[-1] == (CALLER, "487")
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_a_silent_member_does_not_hold_up_the_one_that_rings(harness: EdgeHarness) -> None:
    one, _ = forked(harness)
    harness.receive(ONE, respond(one, 180, tag="one"))
    harness.wait(3)
    assert [member.load for member in harness.dispatcher.members()] == [1, 0]
    assert summary(harness.receive(ONE, respond(one, 200, tag="one"))) == [(CALLER, "200")]


def test_all_silent_is_503(harness: EdgeHarness) -> None:
    forked(harness)
    assert (CALLER, "503") in summary(harness.wait(3))
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_max_breadth_is_shared_out(harness: EdgeHarness) -> None:
    assert [message.get("Max-Breadth") for message in forked(harness)] == ["30", "30"]
    second = forked(harness, branch="z9hG4bKb", from_tag="b", extra="Max-Breadth: 5\r\n")
    assert [message.get("Max-Breadth") for message in second] == ["2", "2"]


def test_with_a_breadth_of_one_members_are_tried_one_after_the_other(harness: EdgeHarness) -> None:
    ((flow, one),) = harness.receive(CALLER, invite(extra="Max-Breadth: 1\r\n"))
    assert flow == ONE
    assert one.get("Max-Breadth") == "1"
    assert summary(harness.receive(ONE, respond(one, 503))) == [(ONE, "ACK"), (TWO, "INVITE")]


def test_with_no_breadth_left_the_request_is_refused(harness: EdgeHarness) -> None:
    assert summary(harness.receive(CALLER, invite(extra="Max-Breadth: 0\r\n"))) == [(CALLER, "440")]
    assert harness.edge.calls == 0


def test_a_request_that_is_no_invite_is_answered_once(harness: EdgeHarness) -> None:
    sent = harness.receive(CALLER, invite("REGISTER"))
    assert summary(sent) == [(ONE, "REGISTER"), (TWO, "REGISTER")]
    (_, one), (_, two) = sent
    assert summary(harness.receive(TWO, respond(two, 200))) == [(CALLER, "200")]
    assert summary(harness.receive(ONE, respond(one, 200))) == []
    assert harness.dispatcher.leases == 0


def answer(request: Request, tag: str, flow: Flow, status: int = 200) -> bytes:
    """The answer of a callee; ``tag`` is empty for one of RFC 2543."""
    host = flow.peer.host
    data = respond(request, status, tag=tag, contact=False, extra=f"Contact: <sip:callee@{host}>")
    return data.replace(b"<sip:10.0.0.11;lr>", f"<sip:{host};lr>".encode()).replace(b";tag=\r\n", b"\r\n")


@pytest.mark.parametrize("tag", ["", "same"])
def test_of_two_callees_that_give_the_same_tag_the_second_is_hung_up(harness: EdgeHarness, tag: str) -> None:
    """The caller could not tell their dialogs apart: its ACK and its BYE would reach only one."""
    one, two = forked(harness)
    for flow, request in ((ONE, one), (TWO, two)):
        harness.receive(flow, answer(request, tag, flow, 180))
    (_, passed_on), *_ = harness.receive(TWO, answer(two, tag, TWO))
    sent = harness.receive(ONE, answer(one, tag, ONE))
    assert summary(sent) == [(ONE, "ACK"), (ONE, "BYE")]
    assert {message.to_tag for _, message in sent} == {tag}
    assert summary(harness.receive(ONE, answer(one, tag, ONE))) == [(ONE, "ACK")]
    assert summary(harness.receive(TWO, answer(two, tag, TWO))) == [(CALLER, "200")]
    uri = (passed_on.get("Contact") or "").strip("<>")
    for number, method in enumerate(("ACK", "BYE"), 1):
        sent = harness.receive(CALLER, invite(method, uri, number, f"z9hG4bK{method}", to_tag=tag))
        assert summary(sent) == [(TWO, method)]
