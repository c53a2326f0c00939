"""Which hosts a Request-URI from the public side may name, and what of it goes inward."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, PUBLIC, EdgeHarness, invite

from edgesbc.base.address import Flow, Source
from edgesbc.routing.domains import DomainSettings
from edgesbc.routing.table import Route, RoutingTable
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.standing import Standing, Standings
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
STRANGER = Flow(PUBLIC, Source("203.0.113.5", 5060))
PHONE = Flow(PUBLIC, Source("203.0.113.6", 5060))
METHODS = ("INVITE", "REGISTER", "OPTIONS", "MESSAGE")


def harness(*names: str, answer: int = 404) -> EdgeHarness:
    made = EdgeHarness(open=("public",), methods=METHODS)
    routes = [Route("in", "pbx"), Route("out", "pbx", "core")]
    table = RoutingTable(routes, ["pbx"], DomainSettings(names, answer))
    made.edge.adopt(table, made.edge.pipeline)
    made.standings.prove(PHONE, Standing.REGISTERED, made.now, 3600)
    return made


def outcome(edge: EdgeHarness, flow: Flow, uri: str, method: str = "INVITE") -> str:
    """The Request-URI that goes on, or the status of the refusal."""
    message = edge.receive(flow, invite(method, uri=uri))[-1][1]
    assert isinstance(message, Request | Response)
    return str(message.uri) if isinstance(message, Request) else str(message.status)


@pytest.mark.parametrize("flow", [STRANGER, PHONE, CALLER])
@pytest.mark.parametrize("method", METHODS)
def test_a_foreign_host_is_refused(flow: Flow, method: str) -> None:
    edge = harness("example.com")
    assert outcome(edge, flow, "sip:100@evil.example", method) == "404"
    assert edge.reasons[-1] == "domain"
    assert outcome(harness("example.com", answer=403), flow, "sips:100@evil.example", method) == "403"
    assert outcome(harness("example.com"), flow, "sip:evil.example", method) == "404"


@pytest.mark.parametrize("flow", [STRANGER, PHONE, CALLER])
@pytest.mark.parametrize(
    ("uri", "becomes"),
    [
        ("sip:100@EXAMPLE.com", "sip:100@example.com"),
        ("sip:100@example.com.", "sip:100@example.com."),
        ("sip:100@example.com:5070", "sip:100@example.com:5070"),
        ("sip:100@[2001:db8:0:0::7]", "sip:100@2001:db8:0:0::7"),
        ("sip:100@192.0.2.1", "sip:100@10.0.0.11:5060"),
        ("tel:+15550123", "tel:+15550123"),
    ],
)
def test_the_domains_and_the_edge_itself_are_served(flow: Flow, uri: str, becomes: str) -> None:
    assert outcome(harness("Example.COM", "2001:db8::7"), flow, uri).replace("[", "").replace("]", "") == becomes


def test_another_port_of_the_edge_is_the_edge() -> None:
    assert outcome(harness("example.com"), CALLER, "sip:100@192.0.2.1:9999") == "sip:100@192.0.2.1:9999"
    assert outcome(harness("example.com"), STRANGER, "sip:100@192.0.2.1:9999") == "sip:100@10.0.0.11:5060"


def test_the_private_side_may_ask_for_any_host() -> None:
    assert outcome(harness("example.com"), PBX, "sip:100@carrier.example;maddr=192.0.2.9") == (
        "sip:100@carrier.example;maddr=192.0.2.9"
    )


def test_without_domains_peers_with_an_account_and_registrations_may_ask_for_any_host() -> None:
    for flow in (PHONE, CALLER):
        for method in METHODS:
            assert outcome(harness(), flow, "sip:100@example.org", method) == "sip:100@example.org"
    assert outcome(harness(), STRANGER, "sip:example.org", "REGISTER") == "sip:example.org"


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "MESSAGE"])
def test_a_foreign_host_of_a_peer_without_an_account_stays_outside(method: str) -> None:
    assert outcome(harness(), STRANGER, "sip:100@example.org:99;user=phone", method) == (
        "sip:100@10.0.0.11:5060;user=phone"
    )
    assert outcome(harness("example.com"), STRANGER, "sip:100@example.com", method) == "sip:100@example.com"


@pytest.mark.parametrize("flow", [STRANGER, PHONE, CALLER])
@pytest.mark.parametrize("host", ["192.0.2.1", "example.com"])
@pytest.mark.parametrize("end", [";maddr=203.0.113.99", ";transport=tls", ";TTL=1;Maddr=203.0.113.99", ";maddr"])
def test_nothing_in_a_request_uri_leads_a_private_server_elsewhere(flow: Flow, host: str, end: str) -> None:
    for method in METHODS:
        if method == "OPTIONS" and host == "192.0.2.1":
            continue  # it is answered by the edge
        sent = outcome(harness("example.com"), flow, f"sip:100@{host};user=phone{end}", method)
        expected = "10.0.0.11:5060" if host == "192.0.2.1" else host
        assert sent == f"sip:100@{expected};user=phone"


def test_a_shadow_policy_has_domains_of_its_own() -> None:
    edge = harness()
    other = RoutingTable((), ["pbx"], DomainSettings(("example.com",)))
    pipeline = Pipeline(ScreenSettings(), Standings(edge.standings.trunks.values()), lambda d: None, lambda s, e: None)
    shadow = edge.edge.start_shadow(pipeline, other)
    outcome(edge, CALLER, "sip:100@evil.example")
    assert shadow.report()["differences"][0]["other"] == "no-route"
