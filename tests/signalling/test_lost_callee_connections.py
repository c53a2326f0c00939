"""The connection of a callee closes: its caller gets an answer at once, and nothing is left."""

from __future__ import annotations

from support.signalling import BROWSERS, CALLER, CORE, MEMBERS, OFFER, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
SDP = b"v=0\r\n"


def registered(harness: EdgeHarness) -> tuple[Flow, str]:
    """A browser's flow, and the Path that leads to it."""
    browser = harness.edge.new_flow(BROWSERS, Source("203.0.113.5", 40000))
    harness.edge.flow_opened(browser)
    ((_, inward),) = harness.receive(
        browser,
        b"REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/WSS a.invalid;branch=z9hG4bKw1\r\n"
        b"From: <sip:bob@example.org>;tag=r1\r\nTo: <sip:bob@example.org>\r\nCall-ID: reg1\r\nCSeq: 1 REGISTER\r\n"
        b"Contact: <sip:bob@a.invalid;transport=ws>\r\nContent-Length: 0\r\n\r\n",
    )
    harness.receive(PBX, respond(inward, 200, contact=False))
    return browser, inward.get("Path") or ""


def from_inside(uri: str, route: str, cseq: int, to_tag: str = "") -> bytes:
    to = f";tag={to_tag}" if to_tag else ""
    return (
        f"INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKi{cseq}\r\n{route}"
        f"From: <sip:alice@example.org>;tag=a9\r\nTo: <sip:bob@example.org>{to}\r\nCall-ID: out1\r\n"
        f"CSeq: {cseq} INVITE\r\nContact: <sip:alice@10.0.0.11:5060>\r\nContent-Type: application/sdp\r\n"
        f"Content-Length: {len(OFFER)}\r\n\r\n"
    ).encode() + OFFER


def test_of_a_new_call() -> None:
    harness = EdgeHarness(anchor=True)
    browser, path = registered(harness)
    assert harness.receive(PBX, from_inside("sip:bob@a.invalid", f"Route: {path}\r\n", 1)) == []
    harness.sort(harness.edge.flow_closed(browser, harness.now))
    ((to, answer),) = harness.reply(SDP)
    assert to == PBX
    assert isinstance(answer, Response)
    assert answer.status == 480
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_of_a_call_that_is_up() -> None:
    harness = EdgeHarness(anchor=True)
    browser, path = registered(harness)
    harness.receive(PBX, from_inside("sip:bob@a.invalid", f"Route: {path}\r\n", 1))
    ((_, forwarded),) = harness.reply(SDP)
    assert isinstance(forwarded, Request)
    ((_, ok),) = harness.receive(browser, respond(forwarded, 200))
    contact = (ok.get("Contact") or "").strip("<>")
    harness.receive(PBX, from_inside(contact, "", 2, to_tag="bob"))
    harness.sort(harness.edge.flow_closed(browser, harness.now))
    ((to, answer),) = harness.reply(SDP)
    assert to == PBX
    assert isinstance(answer, Response)
    assert answer.status == 480
    assert harness.edge.calls == 1


def test_a_bye_with_the_path_of_a_lost_connection_does_not_end_a_call_that_rings() -> None:
    harness = EdgeHarness()
    browser, path = registered(harness)
    harness.edge.flow_closed(browser, harness.now)
    ((_, forwarded),) = harness.receive(CALLER, invite())
    harness.receive(PBX, respond(forwarded, 180))
    where = path.strip("<>").removesuffix(";lr")
    bye = (
        f"BYE {where} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKb1\r\n"
        "From: <sip:100@192.0.2.1>;tag=bob\r\nTo: <sip:alice@example.org>;tag=alice\r\nCall-ID: c1\r\n"
        "CSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    ((_, refusal),) = harness.receive(PBX, bye)
    assert isinstance(refusal, Response)
    assert refusal.status == 481
    statuses = [message.status for to, message in harness.wait(300) if to == CALLER and isinstance(message, Response)]
    assert 408 in statuses
    assert harness.edge.idle
    assert harness.dispatcher.leases == 0
