"""The answer to a caller when one destination after the other refuses (RFC 3261 section 16.7)."""

from __future__ import annotations

from typing import Any

import pytest
from support.signalling import CALLER, CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.dispatch.health import AdminState, Evidence, MemberState
from edgesbc.dispatch.settings import HealthSettings
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
def test_a_503_without_retry_after_gives_no_rest(harness: EdgeHarness, retry_after: str) -> None:
    sent = harness.receive(CALLER, invite())
    harness.receive(FIRST, respond(sent[-1][1], 503, extra=f"Retry-After: {retry_after}"))
    first, _ = harness.dispatcher.members()
    assert (first.state, first.resting_until, first.failures[Evidence.REFUSAL]) == (MemberState.ACTIVE, 0.0, 1)


@pytest.mark.parametrize(
    ("rest_on", "status", "rests"), [((503,), 480, False), ((480, 503), 480, True), ((), 503, False)]
)
def test_the_policy_says_which_answers_with_retry_after_give_a_rest(
    rest_on: tuple[int, ...], status: int, rests: bool
) -> None:
    harness = EdgeHarness(rest_on=rest_on)
    sent = harness.receive(CALLER, invite())
    harness.receive(FIRST, respond(sent[-1][1], status, extra="Retry-After: 20"))
    first, _ = harness.dispatcher.members()
    assert first.rests(harness.now) is rests


def refuse(harness: EdgeHarness, count: int, status: int = 503, users: int = 20, numbers: int = 20) -> None:
    """Calls by a trunk: the first member refuses them, and the second is busy."""
    for number in range(count):
        call = invite(uri=f"sip:{number % numbers}@192.0.2.1", branch=f"z9hG4bKrf{number}", from_tag=f"rf{number}")
        call = call.replace(b"sip:alice@example.org", f"sip:{number % users}@example.org".encode())
        to, forwarded = harness.receive(CALLER, call)[-1]
        if to == FIRST:
            to, forwarded = harness.receive(FIRST, respond(forwarded, status))[-1]
        harness.receive(SECOND, respond(forwarded, 486))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize(("users", "numbers"), [(20, 2), (2, 20), (1, 1)])
def test_refused_calls_of_few_users_or_to_few_numbers_take_no_member_out(
    harness: EdgeHarness, status: int, users: int, numbers: int
) -> None:
    """An extension without a phone is the trouble of its calls, and not of the PBX."""
    refuse(harness, 30, status, users, numbers)
    first, _ = harness.dispatcher.members()
    assert (first.state, first.failures[Evidence.REFUSAL]) == (MemberState.ACTIVE, 30)


SPELLINGS = ("+4930{0}", "+49-30-{0}", "%2B4930{0}", "+4930{0}:{1}", "+4930{0};npdi;cic={1}")


def spelled(number: int, way: int, parameters: str = "") -> str:
    """A URI of a number, written each ``way`` differently, at the same host."""
    user = SPELLINGS[way % len(SPELLINGS)].format(number, way)
    return f"sip:{user}@192.0.2.1;x={way}{parameters}"


@pytest.mark.parametrize(("users", "numbers"), [(20, 2), (2, 20)])
def test_a_number_is_one_number_however_it_is_spelled(harness: EdgeHarness, users: int, numbers: int) -> None:
    """Nobody makes one number that is out of order look as if it were many, or one caller as if many called."""
    first, _ = harness.dispatcher.members()
    for n in range(40):
        uri, caller = spelled(100 + n % numbers, n // numbers), spelled(200 + n % users, n // users)
        call = invite(uri=uri, branch=f"z9hG4bKsp{n}", from_tag=f"sp{n}")
        call = call.replace(b"sip:alice@example.org", caller.encode())
        to, forwarded = harness.receive(CALLER, call)[-1]
        if to == FIRST:
            to, forwarded = harness.receive(FIRST, respond(forwarded, 503))[-1]
        harness.receive(SECOND, respond(forwarded, 486))
    assert (first.state, first.failures[Evidence.REFUSAL]) == (MemberState.ACTIVE, 40)


def test_a_member_that_refuses_nearly_all_calls_of_many_users_to_many_numbers_goes_out(harness: EdgeHarness) -> None:
    first, _ = harness.dispatcher.members()
    refuse(harness, 9)
    assert first.state is MemberState.ACTIVE
    refuse(harness, 30)
    assert (first.state, first.failures[Evidence.REFUSAL]) == (MemberState.INACTIVE, 10)
    assert first.health.why == "refused 10 of the last 10 calls, of 10 callers to 10 numbers, the last with 503"
    harness.wait(31)
    assert first.state is MemberState.TRYING, "no probes: it is tried again after 30 s"
    refuse(harness, 2)
    assert first.state is MemberState.TRYING, "what was before its return is forgotten"


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ({"counts": ("probes", "silence", "transport")}, MemberState.ACTIVE),
        ({"refused_on": (500,)}, MemberState.ACTIVE),
        ({"refused_calls": 20}, MemberState.ACTIVE),
        ({"refused_spread": 12}, MemberState.ACTIVE),
        ({"refused_spread": 1, "refused_calls": 2}, MemberState.INACTIVE),
    ],
)
def test_the_policy_says_when_refusals_count(settings: dict[str, Any], state: MemberState) -> None:
    harness = EdgeHarness(health=HealthSettings(interval=0, **settings))
    refuse(harness, 11)
    first, _ = harness.dispatcher.members()
    assert first.state is state


def test_calls_that_rang_before_their_refusal_were_not_refused_by_the_member(harness: EdgeHarness) -> None:
    first, _ = harness.dispatcher.members()
    for number in range(20):
        call = invite(uri=f"sip:{number}@192.0.2.1", branch=f"z9hG4bKrr{number}", from_tag=f"rr{number}")
        call = call.replace(b"sip:alice@example.org", f"sip:{number}@example.org".encode())
        forwarded = harness.receive(CALLER, call)[-1][1]
        harness.receive(FIRST, respond(forwarded, 180))
        harness.receive(FIRST, respond(forwarded, 503))
    assert (first.state, first.failures[Evidence.REFUSAL]) == (MemberState.ACTIVE, 0)


@pytest.mark.parametrize(
    ("counts", "interval", "numbers", "state"),
    [
        (("silence",), 0.0, 1, MemberState.INACTIVE),
        (("silence",), 3600.0, 1, MemberState.TRYING),
        (("silence",), 3600.0, 2, MemberState.INACTIVE),
        (("probes", "transport", "refusals"), 0.0, 2, MemberState.ACTIVE),
    ],
)
def test_silence_to_calls_of_a_trunk(
    counts: tuple[str, ...], interval: float, numbers: int, state: MemberState
) -> None:
    """With probes, silence to calls to one number counts once: a proxy may wait for one phone. Without, each counts."""
    harness = EdgeHarness(health=HealthSettings(interval=interval, counts=counts))
    first, _ = harness.dispatcher.members()
    for number in range(4):
        uri = f"sip:{number % numbers}@192.0.2.1"
        harness.receive(CALLER, invite(uri=uri, branch=f"z9hG4bKsi{number}", from_tag=f"si{number}"))
        forwarded = [
            m for to, m in harness.wait(2.5) if to == SECOND and isinstance(m, Request) and m.method == "INVITE"
        ]
        for message in forwarded[:1]:
            harness.receive(SECOND, respond(message, 486))
    assert first.state is state


def test_silence_to_one_number_counts_once_however_it_is_spelled() -> None:
    harness = EdgeHarness(health=HealthSettings(interval=3600.0, counts=("silence",)))
    first, _ = harness.dispatcher.members()
    for way in range(len(SPELLINGS)):
        harness.receive(CALLER, invite(uri=spelled(100, way), branch=f"z9hG4bKsw{way}", from_tag=f"sw{way}"))
        for to, message in harness.wait(2.5):
            if to == SECOND and isinstance(message, Request) and message.method == "INVITE":
                harness.receive(SECOND, respond(message, 486))
                break
    assert first.state is MemberState.TRYING


@pytest.mark.parametrize(
    ("counts", "state"), [(("transport",), MemberState.INACTIVE), (("silence",), MemberState.ACTIVE)]
)
def test_transport_errors_count_where_the_policy_says_so(counts: tuple[str, ...], state: MemberState) -> None:
    harness = EdgeHarness(health=HealthSettings(interval=0, counts=counts))
    first, _ = harness.dispatcher.members()
    for number in range(2):
        harness.receive(CALLER, invite(branch=f"z9hG4bKte{number}", from_tag=f"te{number}"))
        harness.sort(harness.edge.unreachable(FIRST.peer, harness.raw[-1], harness.now))
    assert (first.state, first.failures[Evidence.TRAFFIC]) == (state, 2)


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
