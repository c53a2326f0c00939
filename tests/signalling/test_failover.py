"""The answer to a caller when one destination after the other refuses (RFC 3261 section 16.7)."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base.address import Flow
from edgesbc.dispatch.health import AdminState, MemberState
from edgesbc.sip.message import Request, Response

FIRST, SECOND = (Flow(CORE, member) for member in MEMBERS)


@pytest.mark.parametrize(
    ("first", "second", "passed_on"),
    [(480, 480, 480), (480, 503, 480), (503, 480, 480), (500, 480, 480), (480, 500, 480), (503, 503, 503)],
)
def test_the_best_refusal_is_passed_on(harness: EdgeHarness, first: int, second: int, passed_on: int) -> None:
    """Not a 503 of the edge's own: a trunk would stop sending calls for what one user's phone said."""
    sent = harness.receive(CALLER, invite())
    sent = harness.receive(FIRST, respond(sent[-1][1], first))
    sent = harness.receive(SECOND, respond(sent[-1][1], second, tag="two"))
    to, answer = sent[-1]
    assert to == CALLER
    assert isinstance(answer, Response)
    assert answer.status == passed_on
    assert harness.edge.calls == harness.dispatcher.leases == 0
    harness.wait(64)
    assert harness.edge.idle


def test_a_refusal_counts_where_the_next_is_silent(harness: EdgeHarness) -> None:
    sent = harness.receive(CALLER, invite())
    harness.receive(FIRST, respond(sent[-1][1], 480))
    finals = {m.status for to, m in harness.wait(40) if to == CALLER and isinstance(m, Response) and m.status >= 200}
    assert finals == {480}


def test_a_member_that_says_when_to_come_back_is_left_alone_until_then(harness: EdgeHarness) -> None:
    """RFC 3261 section 21.5.4, for no longer than ``rest``: what a member says may be a caller's doing."""

    def asked(number: int) -> Flow:
        call = invite(branch=f"z9hG4bKra{number}", from_tag=f"ra{number}")
        sent = harness.receive(CALLER, call)
        harness.receive(CALLER, call.replace(b"INVITE", b"CANCEL"))
        return sent[-1][0]

    sent = harness.receive(CALLER, invite())
    ((to, _),) = harness.receive(FIRST, respond(sent[-1][1], 503, extra="Retry-After: 3600;duration=1"))[1:]
    assert to == SECOND
    first, _ = harness.dispatcher.members()
    assert first.state is MemberState.ACTIVE  # it is alive: it says so
    assert asked(1) == SECOND
    harness.wait(29)
    assert asked(2) == SECOND
    harness.wait(2)
    assert asked(3) == FIRST


@pytest.mark.parametrize("retry_after", ["", "0", "soon", "-5", "Mon"])
def test_a_503_that_says_no_time_counts_against_its_sender(harness: EdgeHarness, retry_after: str) -> None:
    sent = harness.receive(CALLER, invite())
    harness.receive(FIRST, respond(sent[-1][1], 503, extra=f"Retry-After: {retry_after}"))
    first, _ = harness.dispatcher.members()
    assert (first.state, first.resting_until) == (MemberState.TRYING, 0.0)


def test_no_member_is_tried_after_the_total_timeout() -> None:
    harness = EdgeHarness(try_timeout=2.0, total_timeout=1.5)
    harness.receive(CALLER, invite())
    sent = harness.wait(2.5)
    assert [message.status for to, message in sent if to == CALLER and isinstance(message, Response)][-1] == 503
    assert not [to for to, _ in sent if to == SECOND]
    harness.wait(64)
    assert harness.edge.idle


def test_how_long_a_member_takes_to_answer_is_known(harness: EdgeHarness) -> None:
    sent = harness.receive(CALLER, invite())
    harness.now += 0.25
    harness.receive(FIRST, respond(sent[-1][1], 180))
    harness.now += 5
    harness.receive(FIRST, respond(sent[-1][1], 200))
    first, second = harness.dispatcher.members()
    assert (first.latency, second.latency) == (0.25, None)


def test_every_step_says_whose_call_it_was(harness: EdgeHarness) -> None:
    """So that the ledger can be asked by the caller's address as well as by the Call-ID."""
    sent = harness.receive(CALLER, invite())
    harness.receive(FIRST, respond(sent[-1][1], 503))
    steps = [decision for decision in harness.decisions if decision.reason.code in ("routed", "failover")]
    assert [decision.reason.code for decision in steps] == ["routed", "failover", "routed"]
    assert {(decision.source, decision.listener) for decision in steps} == {(str(CALLER.peer), CALLER.listener.name)}


@pytest.mark.parametrize("trunk", [True, False])
def test_callers_that_a_member_is_silent_to_take_it_out_together_and_not_alone(trunk: bool) -> None:
    """A trunk's calls are those of many people."""
    harness = EdgeHarness(open=("public",), trunks={"carrier": ("198.51.100.7",)} if trunk else {})
    first, _ = harness.dispatcher.members()
    for number in range(2):
        harness.receive(CALLER, invite(branch=f"z9hG4bKv{number}", from_tag=f"v{number}"))
        sent = harness.wait(2.5)
        asked = next(message for to, message in sent if to == SECOND and isinstance(message, Request))
        harness.receive(SECOND, respond(asked, 486))
    assert first.state is (MemberState.INACTIVE if trunk else MemberState.TRYING)


def take_out(harness: EdgeHarness) -> None:
    """The first member is found to be dead, by probes or by other calls."""
    first, _ = harness.dispatcher.members()
    while first.state is not MemberState.INACTIVE:
        harness.dispatcher.health_monitor.failed(first, harness.now, "silence")


def test_a_member_that_said_100_and_died_is_left_for_the_next(harness: EdgeHarness) -> None:
    """Every server says 100 at once; a branch waiting for the next response would wait until the caller cancels."""
    sent = harness.receive(CALLER, invite())
    harness.receive(FIRST, respond(sent[-1][1], 100))
    assert SECOND not in [to for to, _ in harness.wait(5)], "it is alive, and takes its time"
    take_out(harness)
    sent = harness.wait(2.5)
    assert {message.method for to, message in sent if to == FIRST and isinstance(message, Request)} == {"CANCEL"}
    (call,) = [message for to, message in sent if to == SECOND and isinstance(message, Request)][:1]
    harness.receive(SECOND, respond(call, 200, tag="two"))
    assert harness.dispatcher.leases == 1
    first, second = harness.dispatcher.members()
    assert (first.load, second.load) == (0, 1)


@pytest.mark.parametrize("status", [180, 183])
def test_a_member_that_rang_and_died_keeps_the_call(harness: EdgeHarness, status: int) -> None:
    sent = harness.receive(CALLER, invite())
    invited = sent[-1][1]
    harness.receive(FIRST, respond(invited, 100))
    harness.receive(FIRST, respond(invited, status))
    harness.receive(FIRST, respond(invited, 100))
    take_out(harness)
    assert SECOND not in [to for to, _ in harness.wait(10)]


def test_a_member_that_said_100_keeps_the_call_when_all_are_out_or_it_is_drained(harness: EdgeHarness) -> None:
    """When all are out the fault may be ours, and a drained member ends what it has begun."""
    first, second = harness.dispatcher.members()
    sent = harness.receive(CALLER, invite())
    harness.receive(FIRST, respond(sent[-1][1], 100))
    harness.dispatcher.set_admin_state(first, AdminState.DRAINING, harness.now)
    assert SECOND not in [to for to, _ in harness.wait(5)]
    harness.dispatcher.set_admin_state(first, AdminState.ENABLED, harness.now)
    take_out(harness)
    while second.state is not MemberState.INACTIVE:
        harness.dispatcher.health_monitor.failed(second, harness.now, "silence")
    assert SECOND not in [to for to, _ in harness.wait(3)]
