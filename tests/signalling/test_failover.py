"""The answer to a caller when one destination after the other refuses (RFC 3261 section 16.7)."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.dispatch.health import AdminState, MemberState
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Request, Response

FIRST, SECOND = (Flow(CORE, member) for member in MEMBERS)


@pytest.mark.parametrize(
    ("first", "second", "passed_on"),
    [(480, 480, 480), (480, 503, 480), (503, 480, 480), (500, 480, 480), (480, 500, 480), (503, 503, 503)],
)
def test_the_best_refusal_is_passed_on(harness: EdgeHarness, first: int, second: int, passed_on: int) -> None:
    """The edge does not make it a 503: a trunk would stop sending calls because of one user's phone."""
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


def test_a_member_with_retry_after_gets_no_calls_until_then(harness: EdgeHarness) -> None:
    """RFC 3261 section 21.5.4, for no longer than ``rest``, since a caller may provoke such a response."""

    def asked(number: int) -> Flow:
        call = invite(branch=f"z9hG4bKra{number}", from_tag=f"ra{number}")
        sent = harness.receive(CALLER, call)
        harness.receive(CALLER, call.replace(b"INVITE", b"CANCEL"))
        return sent[-1][0]

    sent = harness.receive(CALLER, invite())
    ((to, _),) = harness.receive(FIRST, respond(sent[-1][1], 503, extra="Retry-After: 3600;duration=1"))[1:]
    assert to == SECOND
    first, _ = harness.dispatcher.members()
    assert first.state is MemberState.ACTIVE  # the response shows that it is alive
    assert asked(1) == SECOND
    harness.wait(29)
    assert asked(2) == SECOND
    harness.wait(2)
    assert asked(3) == FIRST


@pytest.mark.parametrize("retry_after", ["", "0", "soon", "-5", "Mon"])
def test_a_503_without_retry_after_counts_against_its_sender(harness: EdgeHarness, retry_after: str) -> None:
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


def test_the_response_time_of_a_member_is_measured(harness: EdgeHarness) -> None:
    sent = harness.receive(CALLER, invite())
    harness.now += 0.25
    harness.receive(FIRST, respond(sent[-1][1], 180))
    harness.now += 5
    harness.receive(FIRST, respond(sent[-1][1], 200))
    first, second = harness.dispatcher.members()
    assert (first.latency, second.latency) == (0.25, None)


def test_every_step_is_recorded_with_the_source_of_the_call(harness: EdgeHarness) -> None:
    """So the ledger has it under the caller's address as well as under the Call-ID."""
    sent = harness.receive(CALLER, invite())
    harness.receive(FIRST, respond(sent[-1][1], 503))
    steps = [decision for decision in harness.decisions if decision.reason.code in ("routed", "failover")]
    assert [decision.reason.code for decision in steps] == ["routed", "failover", "routed"]
    assert {(decision.source, decision.listener) for decision in steps} == {(str(CALLER.peer), CALLER.listener.name)}


@pytest.mark.parametrize(
    ("standing", "state"),
    [
        (Standing.TRUNK, MemberState.INACTIVE),
        (Standing.REGISTERED, MemberState.TRYING),
        (Standing.REACHABLE, MemberState.TRYING),
        (Standing.UNPROVEN, MemberState.ACTIVE),
    ],
)
def test_silence_to_one_caller_takes_no_member_out_and_silence_to_a_trunk_does(
    standing: Standing, state: MemberState
) -> None:
    """A trunk's calls come from many people, so each counts; those of one user count once, by whichever port they come,
    and those of a source that may be forged not at all."""
    harness = EdgeHarness(open=("public",), trunks={"carrier": ("198.51.100.7",)} if standing is Standing.TRUNK else {})
    callers = [Flow(CALLER.listener, Source("198.51.100.7", port)) for port in (5060, 5062)]
    if Standing.UNPROVEN < standing < Standing.TRUNK:
        for caller in callers:
            harness.standings.prove(caller, standing, harness.now)
    first, _ = harness.dispatcher.members()
    for number, caller in enumerate(callers):
        harness.receive(caller, invite(branch=f"z9hG4bKv{number}", from_tag=f"v{number}"))
        sent = harness.wait(2.5)
        forwarded = next(message for to, message in sent if to == SECOND and isinstance(message, Request))
        harness.receive(SECOND, respond(forwarded, 486))
    assert first.state is state


def take_out(harness: EdgeHarness) -> None:
    """Take the first member out, as after failed probes or other calls."""
    first, _ = harness.dispatcher.members()
    while first.state is not MemberState.INACTIVE:
        harness.dispatcher.health_monitor.failed(first, harness.now, "silence")


def test_a_call_leaves_a_member_that_sent_100_and_is_out_since_then(harness: EdgeHarness) -> None:
    """Every server sends 100 at once; a branch that waits for more would wait until the caller cancels."""
    sent = harness.receive(CALLER, invite())
    harness.receive(FIRST, respond(sent[-1][1], 100))
    assert SECOND not in [to for to, _ in harness.wait(5)], "the member is up, so the call waits"
    take_out(harness)
    sent = harness.wait(2.5)
    assert {message.method for to, message in sent if to == FIRST and isinstance(message, Request)} == {"CANCEL"}
    (call,) = [message for to, message in sent if to == SECOND and isinstance(message, Request)][:1]
    harness.receive(SECOND, respond(call, 200, tag="two"))
    assert harness.dispatcher.leases == 1
    first, second = harness.dispatcher.members()
    assert (first.load, second.load) == (0, 1)


@pytest.mark.parametrize("status", [180, 183])
def test_a_call_stays_at_a_member_that_rang_and_is_out_since_then(harness: EdgeHarness, status: int) -> None:
    sent = harness.receive(CALLER, invite())
    invited = sent[-1][1]
    harness.receive(FIRST, respond(invited, 100))
    harness.receive(FIRST, respond(invited, status))
    harness.receive(FIRST, respond(invited, 100))
    take_out(harness)
    assert SECOND not in [to for to, _ in harness.wait(10)]


def test_a_call_stays_at_a_member_that_sent_100_if_all_are_out_or_it_is_drained(harness: EdgeHarness) -> None:
    """If all are out, the cause may be the edge's own network. A drained member finishes its calls."""
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
