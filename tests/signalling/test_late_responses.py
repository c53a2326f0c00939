"""Responses of members that the call has left: ringing is cancelled, a 2xx is acknowledged and ended by BYE."""

from __future__ import annotations

import pytest
from support.media_calls import MediaCall
from support.signalling import CALLER, CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.signalling.branch import Branch
from edgesbc.sip.message import Request, Response

FIRST, SECOND = (Flow(CORE, member) for member in MEMBERS)


def summary(sent: list[tuple[Flow, Request | Response]]) -> list[tuple[Flow, str]]:
    return [(flow, m.method if isinstance(m, Request) else str(m.status)) for flow, m in sent]


def left(harness: EdgeHarness) -> tuple[Request | Response, Request | Response]:
    """The request to the first member, which is silent for too long, and the request to the second after it."""
    ((_, first),) = harness.receive(CALLER, invite())
    sent = harness.wait(2.5)
    assert sent[-1][0] == SECOND
    return first, sent[-1][1]


def test_the_invite_to_a_member_that_was_left_is_still_retransmitted_since_its_180_may_be_lost(
    harness: EdgeHarness,
) -> None:
    left(harness)
    assert (FIRST, "INVITE") in summary(harness.wait(2))


def test_a_phone_that_rings_late_is_cancelled(harness: EdgeHarness) -> None:
    first, second = left(harness)
    assert summary(harness.receive(FIRST, respond(first, 180))) == [(FIRST, "CANCEL")]
    assert summary(harness.receive(FIRST, respond(first, 180))) == []
    assert summary(harness.receive(FIRST, respond(first, 487))) == [(FIRST, "ACK")]
    assert summary(harness.receive(SECOND, respond(second, 200))) == [(CALLER, "200")]


def test_a_late_answer_is_acknowledged_and_ended_and_the_caller_hears_nothing(harness: EdgeHarness) -> None:
    first, _ = left(harness)
    sent = harness.receive(FIRST, respond(first, 200))
    assert summary(sent) == [(FIRST, "ACK"), (FIRST, "BYE")]
    (_, ack), (_, bye) = sent
    assert isinstance(ack, Request)
    assert isinstance(bye, Request)
    assert str(ack.uri) == str(bye.uri) == "sip:bob@10.0.0.11:5070"
    assert ack.get_all("Route") == bye.get_all("Route") == ["<sip:10.0.0.11;lr>"]
    assert (ack.cseq, bye.cseq) == (1, 2)
    assert (bye.from_tag, bye.to_tag) == ("alice", "bob")


@pytest.mark.parametrize(
    ("routes", "where"),
    [
        (["<sip:10.0.0.20;lr>"], Source("10.0.0.20", 5060)),
        (["<sip:10.0.0.21;lr>", "<sip:10.0.0.20:5070;lr>"], Source("10.0.0.20", 5070)),
        ([], Source("10.0.0.11", 5070)),
    ],
    ids=["one proxy", "two proxies", "none"],
)
def test_its_ack_and_bye_take_its_own_route_set(harness: EdgeHarness, routes: list[str], where: Source) -> None:
    """Not the address of the member, which may be a proxy that does not stay in the dialog (RFC 3261 section
    12.2.1.1)."""
    first, _ = left(harness)
    recorded = "".join(f"Record-Route: {route}\r\n" for route in routes).encode()
    data = respond(first, 200).replace(b"Record-Route: <sip:10.0.0.11;lr>\r\n", recorded)
    sent = harness.receive(FIRST, data)
    assert summary(sent) == [(Flow(CORE, where), "ACK"), (Flow(CORE, where), "BYE")]
    for _, message in sent:
        assert isinstance(message, Request)
        assert message.get_all("Route") == routes[::-1]
        assert str(message.uri) == "sip:bob@10.0.0.11:5070"


def test_the_ack_of_an_unwanted_2xx_inside_a_dialog_takes_the_route_set_of_the_dialog() -> None:
    """A 2xx to a re-INVITE changes the remote target alone (RFC 3261 section 12.2.1.2)."""
    call = MediaCall()
    sent = call.request("a", "INVITE", call.sdp("a", 7000))
    data = respond(sent, 200, body=b"v=0\r\nnonsense").replace(b"<sip:10.0.0.11;lr>", b"<sip:10.0.0.66;lr>")
    answered = call.harness.receive(FIRST, data.replace(b"10.0.0.11:5070", b"10.0.0.11:5099"))
    assert summary(answered) == [(FIRST, "ACK"), (CALLER, "502")]
    ack = answered[0][1]
    assert isinstance(ack, Request)
    assert ack.get_all("Route") == ["<sip:10.0.0.11;lr>"]
    assert str(ack.uri) == "sip:bob@10.0.0.11:5099"


def test_towards_a_phone_both_go_by_its_own_flow() -> None:
    """No Contact of a public peer leads the edge to another address."""
    call = MediaCall(outward=True, answered=False)
    phone = call.flows["b"]
    sent = call.harness.receive(phone, respond(call.invited, 200, body=b"v=0\r\nnonsense"))
    assert summary(sent) == [(phone, "ACK"), (phone, "BYE"), (FIRST, "502")]


def test_a_late_answer_that_is_repeated_is_acknowledged_again_and_ended_once(harness: EdgeHarness) -> None:
    first, _ = left(harness)
    harness.receive(FIRST, respond(first, 200))
    assert summary(harness.receive(FIRST, respond(first, 200))) == [(FIRST, "ACK")]
    assert summary(harness.receive(FIRST, respond(first, 200, tag="fork"))) == [(FIRST, "ACK"), (FIRST, "BYE")]


def test_the_number_of_late_forks_that_are_hung_up_is_bounded(harness: EdgeHarness) -> None:
    first, _ = left(harness)
    for number in range(8):
        assert len(harness.receive(FIRST, respond(first, 200, tag=f"t{number}"))) == 2
    for number in range(8, 100):
        assert summary(harness.receive(FIRST, respond(first, 200, tag=f"t{number}"))) == [(FIRST, "ACK")]
    client = harness.edge.parts.transactions.find_client(first.via.branch, "INVITE")
    assert client is not None
    assert isinstance(client.user, Branch)
    assert client.user._acknowledged is not None
    assert len(client.user._acknowledged) == limits.FORK_BRANCHES


def test_a_late_refusal_is_acknowledged_and_changes_nothing(harness: EdgeHarness) -> None:
    first, second = left(harness)
    assert summary(harness.receive(FIRST, respond(first, 486))) == [(FIRST, "ACK")]
    assert summary(harness.receive(SECOND, respond(second, 200))) == [(CALLER, "200")]
    assert [member.load for member in harness.dispatcher.members()] == [0, 1]


def test_a_late_answer_after_all_members_were_silent(harness: EdgeHarness) -> None:
    first, second = left(harness)
    assert (CALLER, "503") in summary(harness.wait(2.5))
    assert summary(harness.receive(SECOND, respond(second, 180))) == [(SECOND, "CANCEL")]
    assert summary(harness.receive(FIRST, respond(first, 200))) == [(FIRST, "ACK"), (FIRST, "BYE")]


def test_a_caller_that_cancelled_a_silent_member_is_answered_and_the_member_stopped(harness: EdgeHarness) -> None:
    ((_, first),) = harness.receive(CALLER, invite())
    assert summary(harness.receive(CALLER, invite("CANCEL"))) == [(CALLER, "200")]
    assert summary(harness.wait(2.5))[-1] == (CALLER, "487")
    assert summary(harness.receive(FIRST, respond(first, 180))) == [(FIRST, "CANCEL")]


def test_a_phone_that_still_rings_when_the_limit_of_set_up_passes_is_cancelled(harness: EdgeHarness) -> None:
    ((_, first),) = harness.receive(CALLER, invite())
    harness.receive(FIRST, respond(first, 180))
    sent = summary(harness.wait(limits.SET_UP_SECONDS + 1))
    assert (FIRST, "CANCEL") in sent
    assert (CALLER, "408") in sent


def test_nothing_is_left_at_the_end(harness: EdgeHarness) -> None:
    first, _ = left(harness)
    harness.receive(FIRST, respond(first, 200))
    harness.wait(120)
    assert harness.edge.idle
    assert not harness.edge.parts.deadlines
    assert summary(harness.receive(FIRST, respond(first, 200))) == []
