"""Transports in Via, Contact and URIs of the edge."""

from __future__ import annotations

import pytest
from support.signalling import BROWSERS, CALLER, CARRIERS, CORE, MEMBERS, OFFER, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Listener, Source
from edgesbc.sip.message import Request

PBX = Flow(CORE, MEMBERS[0])


@pytest.mark.parametrize(
    ("listener", "name", "parameter"), [(BROWSERS, "WSS", "transport=ws"), (CARRIERS, "TCP", "transport=tcp")]
)
def test_the_transport_parameter_of_a_connection(
    harness: EdgeHarness, listener: Listener, name: str, parameter: str
) -> None:
    """RFC 3261 section 18.1.1, RFC 7118 section 5.2: ``ws`` stands in URIs for both kinds of WebSocket."""
    phone = harness.edge.new_flow(listener, Source("203.0.113.5", 40000))
    harness.edge.flow_opened(phone)
    registered = invite("REGISTER", "sip:example.org").replace(b"192.168.1.5:5062", b"phone.invalid")
    path = harness.receive(phone, registered)[-1][1].get("Path")
    called = invite(uri="sip:alice@phone.invalid", branch="z9hG4bKin", extra=f"Route: {path}\r\n").replace(b"c1", b"c2")
    ((to, message),) = harness.receive(PBX, called)
    assert to == phone
    assert message.get("Route") is None
    assert message.via.transport == name
    assert (message.get("Contact") or "").endswith(f";{parameter}>")


def test_sips_is_accepted_on_any_transport_and_forwarded_by_the_policy(harness: EdgeHarness) -> None:
    """RFC 3261 section 26.2.2, RFC 5630; see the deviations."""
    ((to, forwarded),) = harness.receive(CALLER, invite(uri="sips:100@192.0.2.1"))
    assert to == PBX
    assert isinstance(forwarded, Request)
    assert str(forwarded.uri) == "sip:100@10.0.0.11:5060"
    ((_, ok),) = harness.receive(PBX, respond(forwarded, 200))
    assert (ok.get("Contact") or "").startswith("<sip:")


def test_a_long_request_stays_on_the_transport_of_its_member(harness: EdgeHarness) -> None:
    """RFC 3261 section 18.1.1 would change to TCP over 1300 bytes; see the deviations."""
    ((to, forwarded),) = harness.receive(CALLER, invite(body=OFFER + b"a=x:" + b"y" * 3000 + b"\r\n"))
    assert to == PBX
    assert forwarded.via.transport == "UDP"
    assert len(harness.raw[-1]) > 3000


def test_a_keep_alive_in_a_datagram_is_swallowed(harness: EdgeHarness) -> None:
    for data in (b"\r\n", b"\r\n\r\n", b"\0\0\0\0"):
        assert harness.receive(CALLER, data) == []
    assert harness.edge.counters.malformed == {}
