"""Responses of members that the call has left: ringing is cancelled, a 2xx is acknowledged and ended by BYE."""

from __future__ import annotations

from support.signalling import CALLER, CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow
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
    sent = summary(harness.wait(181))
    assert (FIRST, "CANCEL") in sent
    assert (CALLER, "408") in sent


def test_nothing_is_left_at_the_end(harness: EdgeHarness) -> None:
    first, _ = left(harness)
    harness.receive(FIRST, respond(first, 200))
    harness.wait(120)
    assert harness.edge.idle
    assert not harness.edge.parts.deadlines
    assert summary(harness.receive(FIRST, respond(first, 200))) == []
