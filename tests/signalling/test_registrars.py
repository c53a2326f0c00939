"""Registrars as they are: how they write the Contacts of a phone, and what they send to it by Path."""

from __future__ import annotations

import pytest
from support.signalling import BROWSERS, CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.standing import Standing
from edgesbc.signalling.edge_contacts import RegisteredContact
from edgesbc.signalling.registration_rules import RegistrationRules
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
PHONE = Flow(PUBLIC, Source("203.0.113.9", 40000))
BROWSER = Flow(BROWSERS, Source("203.0.113.9", 40001), 1)
DIGEST = 'Authorization: Digest username="alice", realm="inside", nonce="n", uri="sip:x", response="1"\r\n'
OTHER = "Contact: <sip:other@10.0.0.9>;expires=600"


def registered(contact: str, written: str, phone: Flow = PHONE) -> tuple[EdgeHarness, Request, Response]:
    """An edge where a phone has registered ``contact``, which its registrar writes as ``written``."""
    harness = EdgeHarness(trunks={})
    if phone.serial:
        harness.edge.flow_opened(phone)
    data = invite("REGISTER", branch="z9hG4bKreg", extra=DIGEST)
    data = data.replace(b"<sip:alice@192.168.1.5:5062>", contact.encode())
    ((_, request),) = harness.receive(phone, data)
    assert isinstance(request, Request)
    answer = respond(request, 200, extra=f"{OTHER}\r\nContact: {written}", contact=False)
    ((_, response),) = harness.receive(PBX, answer)
    assert isinstance(response, Response)
    return harness, request, response


@pytest.mark.parametrize(
    ("contact", "written"),
    [
        ("<sip:alice@192.168.1.5:5062>", "<sip:alice@192.168.1.5:5062>;expires=600"),
        ("<sip:%61lice@192.168.1.5:5062>", '"Alice" <sip:alice@192.168.1.5:5062>;q=0.5;expires=600'),
        (
            '<sip:alice@Phone.Example;transport=TCP;ob>;+sip.instance="<urn:uuid:1>"',
            "<sip:alice@phone.example;ob;transport=tcp>;expires=600",
        ),
        ("<sip:alice@192.168.1.5:5062>", "<sip:alice@192.168.1.5:5062;x-ast-orig-host=10.0.0.1:5060>;expires=600"),
        ("<sip:alice@h;line=7>;expires=900", "<sip:alice@h;LINE=7;rinstance=a>;expires=600"),
    ],
)
def test_a_contact_counts_however_the_registrar_writes_it(contact: str, written: str) -> None:
    harness, _, response = registered(contact, written)
    assert response.get_all("Contact") == [written]
    assert harness.standings.of(PHONE, harness.now) is Standing.REGISTERED


@pytest.mark.parametrize(
    "written",
    [
        "<sip:alice@192.168.1.5>;expires=600",
        "<sip:alice@192.168.1.5:5062;transport=tcp>;expires=600",
        "<sip:bob@192.168.1.5:5062>;expires=600",
        "<sips:alice@192.168.1.5:5062>;expires=600",
    ],
)
def test_the_contact_of_another_phone_does_not_count(written: str) -> None:
    harness, _, response = registered("<sip:alice@192.168.1.5:5062>", written)
    assert response.get_all("Contact") == []
    assert harness.standings.of(PHONE, harness.now) is not Standing.REGISTERED


def by_path(method: str, request: Request, uri: str, as_route: bool) -> bytes:
    """A request of the registrar's server to the phone of ``request``, by its Path."""
    path = request.get("Path") or ""
    token = path.strip("<>").removesuffix(";lr")  # "" where there is none
    route = f"Route: {path}\r\n" if as_route else ""
    return (
        f"{method} {uri if as_route else token} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.11;branch=z9hG4bKq{method}\r\n"
        f"From: <sip:pbx@10.0.0.11>;tag=q\r\nTo: <{uri}>\r\nCall-ID: q1\r\nCSeq: 1 {method}\r\n{route}"
        "Contact: <sip:pbx@10.0.0.11>\r\nEvent: check-sync\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("as_route", [True, False], ids=["route", "request-uri"])
@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE", "NOTIFY", "INVITE", "REFER"])
@pytest.mark.parametrize("uri", ["sip:alice@192.168.1.5:5062", "sip:alice@10.0.0.1:5060", "sip:10.0.0.1"])
@pytest.mark.parametrize("phone", [PHONE, BROWSER], ids=["udp", "browser"])
def test_what_the_server_sends_by_path_goes_to_the_phone(phone: Flow, uri: str, method: str, as_route: bool) -> None:
    """Whatever the Request-URI says, also where it is the edge itself: a qualifying OPTIONS asks the phone."""
    harness, request, _ = registered("<sip:alice@192.168.1.5:5062>", "<sip:alice@192.168.1.5:5062>;expires=600", phone)
    sent = harness.receive(PBX, by_path(method, request, uri, as_route))
    assert [(flow, message.cseq_method) for flow, message in sent if isinstance(message, Request)] == [(phone, method)]


@pytest.mark.parametrize("as_route", [True, False], ids=["route", "request-uri"])
@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE", "NOTIFY", "INVITE"])
def test_a_flow_that_is_gone_is_answered(method: str, as_route: bool) -> None:
    contact = "<sip:alice@192.168.1.5:5062>"
    harness, request, _ = registered(contact, f"{contact};expires=600", BROWSER)
    harness.closed(BROWSER)
    ((flow, response),) = harness.receive(PBX, by_path(method, request, "sip:alice@192.168.1.5:5062", as_route))
    assert isinstance(response, Response)
    assert (flow, response.status) == (PBX, 480)


def test_the_policy_may_say_that_the_flow_failed() -> None:
    """RFC 5626 section 5.3.1: 430 tells a registrar to try another binding."""
    contact = "<sip:alice@192.168.1.5:5062>"
    harness, request, _ = registered(contact, f"{contact};expires=600", BROWSER)
    edge = harness.edge
    edge.adopt(RoutingTable((), ["pbx"]), edge.pipeline, registrations=RegistrationRules(gone_status=430))
    harness.closed(BROWSER)
    ((_, response),) = harness.receive(PBX, by_path("INVITE", request, "sip:alice@192.168.1.5:5062", as_route=True))
    assert isinstance(response, Response)
    assert (response.status, response.phrase) == (430, "Flow Failed")


# --- Contacts of the edge --------------------------------------------------------------------------------


class WithoutPath:
    """An edge whose registrar ignores Path, and binds the edge's Contacts."""

    def __init__(self) -> None:
        self.harness = EdgeHarness(trunks={})
        edge = self.harness.edge
        edge.adopt(RoutingTable((), ["pbx"]), edge.pipeline, RegistrationRules(contact=RegisteredContact.EDGE))
        self.count = 0

    def ask(self, phone: Flow, contact: str, extra: str = "") -> Request:
        self.count += 1
        if phone.serial:
            self.harness.edge.flow_opened(phone)
        data = invite(
            "REGISTER", branch=f"z9hG4bKreg{self.count}", extra=DIGEST.replace('"1"', f'"{self.count}"') + extra
        )
        data = data.replace(b"<sip:alice@192.168.1.5:5062>", contact.encode())
        data = data.replace(b"Call-ID: c1", f"Call-ID: r{self.count}".encode())
        ((_, request),) = self.harness.receive(phone, data)
        assert isinstance(request, Request)
        return request

    def answer(self, request: Request, *written: str) -> Response:
        lines = "\r\n".join([OTHER, *(f"Contact: {value}" for value in written)])
        ((_, response),) = self.harness.receive(PBX, respond(request, 200, extra=lines, contact=False))
        assert isinstance(response, Response)
        return response


PARAMS = ';q=0.7;expires=900;+sip.instance="<urn:uuid:1>"'


@pytest.mark.parametrize("phone", [PHONE, BROWSER], ids=["udp", "browser"])
def test_the_registrar_binds_a_contact_of_the_edge_and_the_phone_sees_its_own(phone: Flow) -> None:
    edge = WithoutPath()
    request = edge.ask(phone, f'"Alice" <sip:alice@192.168.1.5:5062;ob>{PARAMS}')
    (contact,) = request.get_all("Contact")
    assert contact.startswith('"Alice" <sip:')
    assert contact.endswith(f"@10.0.0.1:5060>{PARAMS}")
    assert len(contact) < 255, "as much as databases of registrars hold"
    assert (request.get("Path"), request.get("Supported")) == (None, None)
    assert "192.168.1.5" not in contact
    uri = contact.partition("<")[2].partition(">")[0]
    response = edge.answer(request, f"<{uri};x-own=1>;expires=600")
    assert response.get_all("Contact") == ["<sip:alice@192.168.1.5:5062;ob>;expires=600"]
    assert edge.harness.standings.of(phone, edge.harness.now) is Standing.REGISTERED
    for method in ("INVITE", "OPTIONS", "MESSAGE", "NOTIFY"):
        data = by_path(method, request, "", as_route=False).replace(b" SIP/2.0", f"{uri};x-own=1 SIP/2.0".encode(), 1)
        data = data.replace(b"To: <>", b"To: <sip:alice@example.org>")
        sent = edge.harness.receive(PBX, data)
        ((flow, message),) = [(flow, message) for flow, message in sent if isinstance(message, Request)]
        assert (flow, message.method, str(message.uri)) == (phone, method, "sip:alice@192.168.1.5:5062;ob")


def test_a_phone_that_registers_again_renews_its_binding() -> None:
    edge = WithoutPath()
    contact = "<sip:alice@192.168.1.5:5062>"
    first, second = edge.ask(PHONE, contact), edge.ask(PHONE, contact)
    assert first.get("Contact") == second.get("Contact")
    again = WithoutPath().ask(PHONE, contact)
    assert again.get("Contact") == first.get("Contact"), "in the next run of the edge too"
    others = [
        edge.ask(PHONE, "<sip:alice@192.168.1.6:5062>"),
        edge.ask(Flow(PUBLIC, Source("203.0.113.9", 40009)), contact),
        edge.ask(BROWSER, contact),
    ]
    assert len({first.get("Contact"), *(other.get("Contact") for other in others)}) == 4


def test_a_phone_removes_its_bindings() -> None:
    edge = WithoutPath()
    assert edge.ask(PHONE, "*", "Expires: 0\r\n").get_all("Contact") == ["*"]
    request = edge.ask(PHONE, "<sip:alice@192.168.1.5:5062>;expires=0")
    assert (request.get("Contact") or "").endswith(">;expires=0")
    assert edge.answer(request).get_all("Contact") == []


def test_the_binding_of_a_connection_that_is_closed_leads_nowhere() -> None:
    edge = WithoutPath()
    request = edge.ask(BROWSER, "<sip:alice@x.invalid;transport=ws>")
    uri = (request.get("Contact") or "").partition("<")[2].partition(">")[0]
    edge.answer(request, f"<{uri}>;expires=600")
    edge.harness.closed(BROWSER)
    again = Flow(BROWSERS, Source("203.0.113.9", 40001), 2)
    edge.answer(edge.ask(again, "<sip:alice@x.invalid;transport=ws>"), f"<{uri}>;expires=600")
    data = by_path("INVITE", request, "", as_route=False).replace(b" SIP/2.0", f"{uri} SIP/2.0".encode(), 1)
    ((_, response),) = edge.harness.receive(PBX, data.replace(b"To: <>", b"To: <sip:alice@example.org>"))
    assert isinstance(response, Response)
    assert response.status == 480


@pytest.mark.parametrize("flow", [PHONE, Flow(PUBLIC, Source("198.51.100.7", 5060))], ids=["phone", "trunk"])
def test_a_binding_is_of_no_use_on_the_public_side(flow: Flow) -> None:
    edge = WithoutPath()
    request = edge.ask(BROWSER, "<sip:alice@192.168.1.5:5062>")
    token = (request.get("Contact") or "").partition(":")[2].partition("@")[0]
    edge.harness.standings.prove(flow, Standing.REGISTERED, edge.harness.now, 600.0, 5)
    sent = edge.harness.receive(flow, invite(uri=f"sip:{token}@192.0.2.1"))
    assert not any(to == BROWSER for to, _ in sent)


def test_an_options_of_the_server_to_the_edge_itself_is_answered() -> None:
    harness, _, _ = registered("<sip:alice@192.168.1.5:5062>", "<sip:alice@192.168.1.5:5062>;expires=600")
    data = (
        b"OPTIONS sip:10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.11;branch=z9hG4bKo\r\n"
        b"From: <sip:p@10.0.0.11>;tag=q\r\n"
        b"To: <sip:10.0.0.1>\r\nCall-ID: q1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    ((flow, response),) = harness.receive(PBX, data)
    assert isinstance(response, Response)
    assert (flow, response.status) == (PBX, 200)
