"""How long a call may ring and last: Timer C (RFC 3261 sections 16.6 to 16.8), and the limits of routes and sets."""

from __future__ import annotations

import attrs
import pytest
from support.devices import Device, from_pbx
from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.routing.table import Route, RoutingTable
from edgesbc.signalling.registration_rules import RegistrationRules
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])


def harness_with(ring: tuple[float | None, float | None], call: tuple[float | None, float | None]) -> EdgeHarness:
    """A set and a route with limits, each given as (of the set, of the route)."""
    harness = EdgeHarness()
    of_set = attrs.evolve(harness.dispatcher.settings("pbx"), ring_limit=ring[0], call_limit=call[0])
    harness.dispatcher.reload([of_set], harness.now)
    routes = [Route("in", "pbx", ring_limit=ring[1], call_limit=call[1])]
    harness.edge.adopt(RoutingTable(routes, ["pbx"]), harness.edge.pipeline)
    return harness


def refused(sent: list[tuple[Flow, Request | Response]]) -> set[int]:
    """The statuses that the caller gets, of which repetitions do not count."""
    return {message.status for to, message in sent if to == CALLER and isinstance(message, Response)}


def rings_for(harness: EdgeHarness, forwarded: Request | Response, every: float = 60.0) -> float:
    """Seconds until a call is refused whose callee sends 180 after each ``every`` seconds."""
    began = harness.now
    while harness.edge.calls:
        harness.receive(PBX, respond(forwarded, 180))
        until = harness.now + every
        while harness.edge.calls and (due := harness.edge.deadline()) is not None and due <= until:
            harness.now = due
            harness.sort(harness.edge.expire(due))
        if harness.edge.calls:
            harness.now = until
    return harness.now - began


def test_each_provisional_answer_begins_timer_c_anew(harness: EdgeHarness) -> None:
    """A queue that sends 183 every minute keeps its callers, as RFC 3261 section 13.3.1.1 asks it to."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    for status in (180, 183, 180, 183, 180, 199):
        harness.receive(PBX, respond(forwarded, status))
        assert refused(harness.wait(limits.SET_UP_SECONDS - 1)) == set()
    assert harness.edge.calls == 1
    harness.receive(PBX, respond(forwarded, 200))
    harness.wait(limits.SET_UP_SECONDS + 60)
    assert harness.edge.calls == 1


def test_a_100_does_not(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    harness.receive(PBX, respond(forwarded, 180))
    harness.wait(limits.SET_UP_SECONDS - 10)
    harness.receive(PBX, respond(forwarded, 100))
    assert refused(harness.wait(20)) == {408}


def test_a_callee_that_rings_for_ever_is_cancelled(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    assert rings_for(harness, forwarded) == limits.RING_SECONDS
    assert harness.dispatcher.leases == 0


def test_provisional_answers_after_a_cancel_do_not_keep_the_call(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    harness.receive(PBX, respond(forwarded, 180))
    harness.receive(CALLER, invite("CANCEL"))
    assert rings_for(harness, forwarded, 10.0) <= limits.SET_UP_SECONDS


def test_a_re_invite_that_rings_has_the_same_timer(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    ((_, ok),) = harness.receive(PBX, respond(forwarded, 200))
    contact = (ok.get("Contact") or "").strip("<>")
    harness.receive(CALLER, invite("ACK", contact, branch="z9hG4bKack", to_tag="bob"))
    forwarded = harness.receive(CALLER, invite("INVITE", contact, 2, "z9hG4bKre", to_tag="bob"))[-1][1]
    harness.receive(PBX, respond(forwarded, 183))
    waited = 0.0
    while 408 not in (statuses := refused(harness.wait(60))) and waited < 2 * limits.RING_SECONDS:
        assert statuses == set()
        waited += 60
        harness.receive(PBX, respond(forwarded, 183))
    assert limits.RING_SECONDS - 60 <= waited <= limits.RING_SECONDS
    assert harness.edge.calls == 1


@pytest.mark.parametrize(("ring", "seconds"), [((30, None), 30), ((None, 45), 45), ((30, 45), 30), ((90, 45), 45)])
def test_the_shorter_limit_of_route_and_set_ends_the_ringing(
    ring: tuple[float | None, float | None], seconds: float
) -> None:
    harness = harness_with(ring, (None, None))
    forwarded = harness.receive(CALLER, invite())[-1][1]
    assert rings_for(harness, forwarded, 7.0) == seconds
    assert harness.decisions[-1].reason.code in ("set-up-timeout", "routed")


def test_the_limit_counts_from_the_member_that_rings() -> None:
    harness = harness_with((30, None), (None, None))
    harness.receive(CALLER, invite())
    ((_, second),) = [(to, message) for to, message in harness.wait(2.5) if to.peer == MEMBERS[1]][:1]
    began = harness.now
    harness.receive(Flow(CORE, MEMBERS[1]), respond(second, 180))
    assert refused(harness.wait(27)) == set()
    assert refused(harness.wait(10)) == {408}
    assert harness.now - began < 40


@pytest.mark.parametrize(
    ("call", "seconds"),
    [((600, None), 600), ((None, 700), 700), ((600, 700), 600), ((800, 700), 700), ((None, None), limits.CALL_SECONDS)],
)
def test_the_shorter_limit_of_route_and_set_ends_the_call(
    call: tuple[float | None, float | None], seconds: float
) -> None:
    harness = harness_with((None, None), call)
    forwarded = harness.receive(CALLER, invite())[-1][1]
    harness.receive(PBX, respond(forwarded, 200))
    harness.receive(CALLER, invite("ACK", branch="z9hG4bKack", to_tag="bob"))
    harness.wait(40)
    harness.wait(seconds - 40 - 1)
    assert harness.edge.calls == 1
    assert {to for to, message in harness.wait(2) if isinstance(message, Request) and message.method == "BYE"} == {
        CALLER, PBX,
    }  # fmt: skip
    assert harness.edge.calls == 0
    assert harness.decisions[-1].reason.code == "duration"


def test_calls_to_a_registered_phone_have_limits_of_their_own() -> None:
    harness = EdgeHarness(trunks={})
    rules = RegistrationRules(ring_limit=20, call_limit=100)
    harness.edge.adopt(RoutingTable((), ["pbx"]), harness.edge.pipeline, registrations=rules)
    phone = Device(harness, listener=PUBLIC, host="203.0.113.10")
    ((to, forwarded),) = harness.receive(PBX, from_pbx("INVITE", phone.path))
    assert to == phone.flow
    harness.receive(phone.flow, respond(forwarded, 180))
    assert {m.status for to, m in harness.wait(19) if isinstance(m, Response)} <= {180}
    assert {m.status for to, m in harness.wait(2) if to == PBX and isinstance(m, Response)} == {408}
    harness.wait(40)

    ((_, forwarded),) = harness.receive(PBX, from_pbx("INVITE", phone.path, branch="z9hG4bKtwo"))
    harness.receive(phone.flow, respond(forwarded, 200))
    harness.wait(99)
    assert harness.edge.calls == 1
    assert "BYE" in {m.method for _, m in harness.wait(2) if isinstance(m, Request)}
    assert harness.edge.calls == 0


def test_a_call_to_a_server_that_a_token_names_has_the_limits_of_its_set() -> None:
    harness = harness_with((30, None), (None, None))
    routes = [Route("out", "carrier", "core"), Route("in", "pbx")]
    harness.edge.adopt(RoutingTable(routes, ["pbx", "carrier"]), harness.edge.pipeline)
    carrier = (MemberSettings("sip:198.51.100.7:5060"),)
    sets = [
        harness.dispatcher.settings("pbx"),
        SetSettings("carrier", members=carrier, health=HealthSettings(interval=0)),
    ]
    harness.dispatcher.reload(sets, harness.now)
    by_pbx = invite().replace(b"alice@192.168.1.5:5062", b"pbx@10.0.0.11").replace(b"198.51.100.7", b"10.0.0.11")
    ((to, outward),) = harness.receive(PBX, by_pbx)
    assert to == CALLER
    named = (outward.get("Contact") or "").strip("<>")
    ((to, forwarded),) = harness.receive(CALLER, invite(uri=named, branch="z9hG4bKn", from_tag="n"))
    assert to == PBX
    assert rings_for(harness, forwarded, 7.0) == 30


def test_a_call_with_early_media_keeps_its_media_session_while_it_rings() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    forwarded = harness.reply(OFFER)[-1][1]
    harness.receive(PBX, respond(forwarded, 183, body=ANSWER))
    harness.reply(ANSWER)
    for _ in range(5):
        harness.wait(170)
        harness.receive(PBX, respond(forwarded, 180))
    assert (harness.edge.calls, harness.media) == (1, [])
