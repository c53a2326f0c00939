"""The audit of leases: no differences in normal operation, and one for each fault that a test plants."""

from __future__ import annotations

from support.signalling import CALLER, CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base.address import Flow
from edgesbc.screen.stages.method import CALLS

FIRST, SECOND = (Flow(CORE, member) for member in MEMBERS)
FIRST_NAMED = "pbx/sip:10.0.0.11:5060"


def answered(harness: EdgeHarness) -> None:
    sent = harness.receive(CALLER, invite())
    harness.receive(FIRST, respond(sent[-1][1], 200))


def differences(harness: EdgeHarness) -> list[str]:
    return harness.edge.audit_leases().differences


def test_an_edge_without_calls_has_no_differences(harness: EdgeHarness) -> None:
    assert harness.edge.audit_leases() == (0, 0, 0, [])


def test_a_call_holds_its_lease_from_its_invite_to_its_end(harness: EdgeHarness) -> None:
    sent = harness.receive(CALLER, invite())
    assert harness.edge.audit_leases() == (1, 1, 0, [])
    sent = harness.receive(FIRST, respond(sent[-1][1], 503))
    assert harness.edge.audit_leases() == (1, 1, 0, [])
    harness.receive(SECOND, respond(sent[-1][1], 200))
    assert harness.edge.audit_leases() == (1, 1, 0, [])
    harness.edge.end_calls(harness.now)
    assert harness.edge.audit_leases() == (0, 0, 0, [])


def test_a_request_without_a_call_holds_its_lease_until_it_is_answered() -> None:
    harness = EdgeHarness(methods=(*CALLS, "MESSAGE"))
    sent = harness.receive(CALLER, invite("MESSAGE"))
    assert harness.edge.audit_leases() == (1, 0, 1, [])
    harness.receive(FIRST, respond(sent[-1][1], 200))
    assert harness.edge.audit_leases() == (0, 0, 0, [])


def test_a_broadcast_holds_one_lease_once_it_is_answered() -> None:
    harness = EdgeHarness(algorithm="broadcast", one_priority=True)
    forwarded = [message for to, message in harness.receive(CALLER, invite()) if to in (FIRST, SECOND)]
    assert harness.edge.audit_leases() == (2, 2, 0, [])
    harness.receive(FIRST, respond(forwarded[0], 200))
    assert harness.edge.audit_leases() == (1, 1, 0, [])


def test_a_lease_without_a_holder_is_named(harness: EdgeHarness) -> None:
    harness.dispatcher.acquire("pbx", harness.now)
    assert differences(harness) == [f"a place at {FIRST_NAMED} is taken, and nothing that lives holds it"]


def test_a_lease_that_is_held_although_it_was_released_is_named(harness: EdgeHarness) -> None:
    answered(harness)
    (call,) = harness.edge.parts.calls
    call.leases[0].release()
    assert differences(harness) == ["call c1 is answered, and holds 0 places"]


def test_a_call_with_two_leases_and_a_lease_with_two_calls_are_named(harness: EdgeHarness) -> None:
    answered(harness)
    (call,) = harness.edge.parts.calls
    more = harness.dispatcher.acquire("pbx", harness.now)
    assert more is not None
    call.leases.append(more)
    assert differences(harness) == ["call c1 is answered, and holds 2 places"]
    call.leases[1] = call.leases[0]
    assert f"a place at {FIRST_NAMED} is held twice: by call c1 and by call c1" in differences(harness)


def test_a_wrong_load_and_a_wrong_total_are_named(harness: EdgeHarness) -> None:
    answered(harness)
    (call,) = harness.edge.parts.calls
    member = call.leases[0].member
    member.load += 2
    assert differences(harness) == [f"{FIRST_NAMED} is said to carry 3, and 1 of its places are taken"]
    member.load -= 2
    harness.edge.parts.calls.by_trunk["carrier"] += 1
    assert differences(harness) == ["trunk carrier is said to have 2 calls, and has 1"]


def test_a_lease_of_a_removed_member_is_counted_as_well(harness: EdgeHarness) -> None:
    answered(harness)
    harness.dispatcher.reload([], harness.now)
    assert harness.edge.audit_leases() == (1, 1, 0, [])
    (call,) = harness.edge.parts.calls
    call.leases[0].member.load = 0
    assert differences(harness) == [f"{FIRST_NAMED} is said to carry 0, and 1 of its places are taken"]


def test_a_wrong_count_of_a_resource_is_named(harness: EdgeHarness) -> None:
    answered(harness)
    (call,) = harness.edge.parts.calls
    member = call.leases[0].member
    member.used["pstn"] = 1
    assert differences(harness) == [f"{FIRST_NAMED} is said to have 1 pstn in use, and has 0"]
