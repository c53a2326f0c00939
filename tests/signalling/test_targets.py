"""Where a route sends a request: sets in order, fallbacks, numbers, resources, and the refusal when none is able."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.routing.numbers import Rewrite
from edgesbc.routing.table import Route, RoutingTable
from edgesbc.sip.message import Request, Response

UNPROBED = HealthSettings(interval=0)


def a_set(name: str, *hosts: int, **fields: object) -> SetSettings:
    members = tuple(MemberSettings(f"sip:10.0.0.{host}") for host in hosts)
    return SetSettings(name, **{"members": members, "health": UNPROBED, **fields})  # type: ignore[arg-type]


def routed(*sets: SetSettings, **route: object) -> EdgeHarness:
    harness = EdgeHarness()
    harness.dispatcher.reload(sets, harness.now)
    table = RoutingTable([Route("r", **route)], [settings.set for settings in sets])  # type: ignore[arg-type]
    harness.edge.adopt(table, harness.edge.pipeline)
    return harness


def answer_of(sent: list[tuple[Flow, Request | Response]]) -> Response:
    (answer,) = [message for to, message in sent if to == CALLER and isinstance(message, Response)]
    return answer


def tried(harness: EdgeHarness, status: int = 503) -> list[str]:
    """The members that get the INVITE one after the other, if all refuse."""
    hosts = []
    sent = harness.receive(CALLER, invite())
    while isinstance(forwarded := sent[-1][1], Request) and forwarded.method == "INVITE":
        hosts.append(sent[-1][0].peer.host.rpartition(".")[2])
        sent = harness.receive(sent[-1][0], respond(forwarded, status))
    assert harness.dispatcher.leases == harness.edge.calls == 0
    return hosts


@pytest.mark.parametrize(("domain", "member"), [("a.example", "1"), ("B.example", "2"), ("c.example", "3")])
@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_the_domain_of_a_phone_chooses_the_set(method: str, domain: str, member: str) -> None:
    """Registration and calls of a tenant's phone go to the tenant's server, without a pattern over From."""
    harness = EdgeHarness(open=("public",), methods=("INVITE", "REGISTER"))
    sets = [a_set("a", 1), a_set("b", 2), a_set("rest", 3)]
    harness.dispatcher.reload(sets, harness.now)
    routes = [
        Route("a", "a", from_host=("a.example",)),
        Route("b", "b", request_host=("b.example",), to_host=("b.example",)),
        Route("rest", "rest"),
    ]
    harness.edge.adopt(RoutingTable(routes, ["a", "b", "rest"]), harness.edge.pipeline)
    message = invite(method, uri=f"sip:{domain}" if method == "REGISTER" else f"sip:100@{domain}")
    message = message.replace(b"<sip:alice@example.org>", f"<sip:alice@{domain}>".encode())
    message = message.replace(b"To: <sip:100@192.0.2.1>", f"To: <sip:alice@{domain}>".encode())
    (to, _) = harness.receive(CALLER, message)[-1]
    assert to.peer.host == f"10.0.0.{member}"


def test_several_sets_in_order() -> None:
    assert tried(routed(a_set("a", 1, 2), a_set("b", 3), to=("b", "a"))) == ["3", "1", "2"]


def test_a_set_falls_back_before_the_next_is_tried() -> None:
    sets = (a_set("a", 1, fallback="c"), a_set("b", 2), a_set("c", 3))
    assert tried(routed(*sets, to=("a", "b"))) == ["1", "3", "2"]


def test_a_set_whose_members_are_all_down_is_tried_last() -> None:
    """Each of its members would delay the call by ``try_timeout``, and several would use up ``total_timeout``."""
    sets = (a_set("a", 1, 2, fallback="c"), a_set("b", 3), a_set("c", 4))
    harness = routed(*sets, to=("a", "b"))
    for member in list(harness.dispatcher.members())[:2]:
        for _ in range(HealthSettings().fall):
            harness.dispatcher.health_monitor.failed(member, 0.0, "silence")
    assert tried(harness) == ["4", "3", "1", "2"]


def test_a_circle_of_fallbacks_ends() -> None:
    """A policy with a circle is refused; an edge that gets one nevertheless does not loop."""
    assert tried(routed(a_set("a", 1, fallback="b"), a_set("b", 2, fallback="a"), to="a")) == ["1", "2"]


def test_a_set_without_members_is_skipped() -> None:
    assert tried(routed(a_set("a"), a_set("b", 2), to=("a", "b"))) == ["2"]


@pytest.mark.parametrize(
    ("route", "status", "retry_after"),
    [
        ({}, 503, "5"),
        ({"answer": 486}, 486, None),
        ({"answer": 480, "retry_after": 60}, 480, "60"),
        ({"retry_after": 0}, 503, None),
        ({"retry_after": 120}, 503, "120"),
    ],
)
def test_the_refusal_when_no_member_is_able(route: dict[str, int], status: int, retry_after: str | None) -> None:
    harness = routed(a_set("a"), to="a", **route)
    answer = answer_of(harness.receive(CALLER, invite()))
    assert (answer.status, answer.get("Retry-After")) == (status, retry_after)
    assert [(decision.reason.code, decision.answer) for decision in harness.decisions] == [("no-destination", status)]


def test_the_sets_without_an_able_member_are_named() -> None:
    harness = routed(a_set("a", fallback="c"), a_set("b"), a_set("c"), to=("a", "b"))
    harness.receive(CALLER, invite())
    assert [decision.detail for decision in harness.decisions] == ["a, c, b: 0 tried"]


def test_a_route_that_goes_nowhere_refuses_without_state() -> None:
    harness = routed(a_set("a", 1), to=(), answer=603, request_user="^0900")
    answer = answer_of(harness.receive(CALLER, invite(uri="sip:0900123@192.0.2.1")))
    assert (answer.status, answer.get("Retry-After")) == (603, None)
    assert harness.edge.idle
    assert [(decision.reason.code, decision.answer) for decision in harness.decisions][-1:] == [("blocked", 603)]


def asked_for(harness: EdgeHarness, uri: str) -> str:
    sent = harness.receive(CALLER, invite(uri=uri))
    forwarded = sent[-1][1]
    assert isinstance(forwarded, Request), forwarded
    return str(forwarded.uri)


@pytest.mark.parametrize(
    ("uri", "becomes"),
    [
        ("sip:+4930123@192.0.2.1", "sip:9030123@10.0.0.1"),
        ("sip:+4930123:secret@192.0.2.1", "sip:9030123:secret@10.0.0.1"),
        ("sip:+4930123@example.com;user=phone", "sip:9030123@example.com;user=phone"),
        ("tel:+4930123;phone-context=x", "tel:9030123;phone-context=x"),
        ("sip:%2B4930123@example.com", "sip:9030123@example.com"),
        ("tel:+49-30-123;ext=7", "tel:9030123;ext=7"),
        ("sip:+49.30.123;npdi;rn=+4989:secret@192.0.2.1", "sip:9030123;npdi;rn=+4989:secret@10.0.0.1"),
        ("sip:30%40evil@example.com", "sip:930%40evil@example.com"),
        ("sip:example.com", "sip:example.com"),
    ],
)
def test_the_route_and_then_the_member_change_the_number(uri: str, becomes: str) -> None:
    member = MemberSettings("sip:10.0.0.1", prepend="9")
    harness = routed(a_set("a", members=(member,)), to="a", rewrite=Rewrite(r"^\+49", "0"))
    assert asked_for(harness, uri) == becomes


@pytest.mark.parametrize("uri", ["tel:+49-30-123;ext=7", "sip:+49(30)123;npdi@example.com"])
def test_without_rules_a_number_goes_on_as_it_was_written(uri: str) -> None:
    assert asked_for(routed(a_set("a", 1), to="a", request_prefix=("+4930",)), uri) == uri


def test_each_member_changes_the_original_number_and_not_that_of_the_previous_member() -> None:
    members = (MemberSettings("sip:10.0.0.1", strip=1), MemberSettings("sip:10.0.0.2", priority=1, prepend="x"))
    harness = routed(a_set("a", members=members), to="a")
    sent = harness.receive(CALLER, invite())
    first = sent[-1][1]
    assert isinstance(first, Request)
    assert first.uri.user == "00"
    sent = harness.receive(sent[-1][0], respond(first, 503))
    second = sent[-1][1]
    assert isinstance(second, Request)
    assert second.uri.user == "x100"


def test_a_call_uses_one_unit_of_each_resource_of_its_route() -> None:
    members = (
        MemberSettings("sip:10.0.0.1", resources={"pstn": 1}),
        MemberSettings("sip:10.0.0.2", resources={"pstn": 1, "transcoder": 1}),
    )
    sets = a_set("gateways", members=members, algorithm="least-loaded")
    harness = routed(sets, to="gateways", resources=("pstn", "transcoder"))
    sent = harness.receive(CALLER, invite())
    assert sent[-1][0] == Flow(CORE, Source("10.0.0.2", 5060))
    _, second = harness.dispatcher.members()
    assert second.used == {"pstn": 1, "transcoder": 1}
    refused = harness.receive(CALLER, invite(branch="z9hG4bKtwo", from_tag="two"))
    assert answer_of(refused).status == 503
    harness.receive(sent[-1][0], respond(sent[-1][1], 486))
    assert second.used == {"pstn": 0, "transcoder": 0}


@pytest.mark.parametrize(
    ("uri", "becomes"),
    [
        ("sip:100@example.com", "sip:example.com"),
        ("sip:100:secret@example.com", "sip:example.com"),
        ("tel:100", "tel:100"),
    ],
)
def test_a_number_that_becomes_empty(uri: str, becomes: str) -> None:
    assert asked_for(routed(a_set("a", 1), to="a", strip=4), uri) == becomes


def test_the_request_uri_of_a_registration_gets_no_number() -> None:
    """RFC 3261 section 10.2: the Request-URI of a REGISTER has no user and no @."""
    harness = routed(a_set("a", members=(MemberSettings("sip:10.0.0.1", prepend="9"),)), to="a")
    _, forwarded = harness.receive(CALLER, invite("REGISTER", uri="sip:example.com"))[-1]
    assert isinstance(forwarded, Request)
    assert str(forwarded.uri) == "sip:example.com"


@pytest.mark.parametrize("silent", [False, True])
def test_a_call_with_a_malformed_from_fails_over_to_a_set_that_hashes_from(silent: bool) -> None:
    """A former mistake: an exception in a timer or a response, after which the caller got no answer for minutes."""
    harness = routed(a_set("a", 1, fallback="b"), a_set("b", 2, algorithm="hash", hash_on="from-uri"), to="a")
    nobody = invite().replace(b"<sip:alice@example.org>", b"<sip:@@>")
    flow, forwarded = harness.receive(CALLER, nobody)[-1]
    sent = harness.wait(3) if silent else harness.receive(flow, respond(forwarded, 503))
    assert ("10.0.0.2", "INVITE") in [(to.peer.host, m.method) for to, m in sent if isinstance(m, Request)]


def test_a_resting_member_gets_no_call_while_another_set_is_able() -> None:
    harness = routed(a_set("a", 1, fallback="b"), a_set("b", 2), to="a")
    flow, forwarded = harness.receive(CALLER, invite())[-1]
    harness.receive(flow, respond(forwarded, 503, extra="Retry-After: 20"))
    flow, _ = harness.receive(CALLER, invite(branch="z9hG4bKtwo", from_tag="two"))[-1]
    assert flow.peer.host == "10.0.0.2"


def test_when_all_sets_rest_they_are_tried_in_order() -> None:
    harness = routed(a_set("a", 1, fallback="b"), a_set("b", 2), to="a")
    sent = harness.receive(CALLER, invite())
    while isinstance(forwarded := sent[-1][1], Request) and forwarded.method == "INVITE":
        sent = harness.receive(sent[-1][0], respond(forwarded, 503, extra="Retry-After: 20"))
    flow, _ = harness.receive(CALLER, invite(branch="z9hG4bKtwo", from_tag="two"))[-1]
    assert flow.peer.host == "10.0.0.1"


def test_quick_refusals_do_not_count_as_response_times() -> None:
    harness = routed(a_set("a", 1, 2, algorithm="latency"), to="a")
    flow, forwarded = harness.receive(CALLER, invite())[-1]
    harness.receive(flow, respond(forwarded, 503))
    member = harness.dispatcher.member_at(flow.peer, flow.listener.transport)
    assert member is not None
    assert member.latency is None


def test_a_503_that_is_passed_on_is_no_sign_of_life() -> None:
    harness = routed(a_set("a", 1, failover_on=(408,)), to="a")
    (member,) = harness.dispatcher.members()
    harness.dispatcher.health_monitor.failed(member, harness.now, "silence")
    flow, forwarded = harness.receive(CALLER, invite())[-1]
    harness.receive(flow, respond(forwarded, 503))
    assert member.health.calls_failed == 1


def test_a_call_is_one_sign_of_life_however_often_it_rings() -> None:
    """Otherwise one call to a hostile phone would bring back a member that is down."""
    harness = routed(a_set("a", 1), to="a")
    (member,) = harness.dispatcher.members()
    for _ in range(2):
        harness.dispatcher.health_monitor.failed(member, harness.now, "silence")
    flow, forwarded = harness.receive(CALLER, invite())[-1]
    for status in (180, 183, 180, 200):
        harness.receive(flow, respond(forwarded, status))
    assert not member.health.up
    assert member.health.successes == 1


def test_a_number_too_long_for_patterns_is_refused() -> None:
    """Otherwise it would bypass a route that refuses by a pattern."""
    harness = routed(a_set("a", 1), to="a")
    longest = "1" * limits.ROUTE_TEXT
    assert asked_for(harness, f"sip:{longest}@192.0.2.1") == f"sip:{longest}@10.0.0.1"
    for uri in (f"sip:1{longest}@192.0.2.1", f"tel:1{longest}"):
        assert answer_of(routed(a_set("a", 1), to="a").receive(CALLER, invite(uri=uri))).status == 414
