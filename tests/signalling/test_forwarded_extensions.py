"""Extensions that the two ends use with each other: their methods and header fields cross the edge unchanged."""

from __future__ import annotations

import pytest
from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Zone
from edgesbc.media.commands import Answer, Offer
from edgesbc.screen.stages.method import CALLS
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])

FIELDS = {
    "RFC 3261 Authorization": 'Authorization: Digest username="alice", realm="inside", response="00"',
    "RFC 3261 Proxy-Authorization": 'Proxy-Authorization: Digest username="alice", response="00"',
    "RFC 3261 Date": "Date: Sat, 13 Nov 2010 23:29:00 GMT",
    "RFC 3262": "Require: 100rel",
    "RFC 3262 RAck": "RAck: 776656 1 INVITE",
    "RFC 3323": "Privacy: id;critical",
    "RFC 3326": 'Reason: Q.850;cause=16;text="Normal"',
    "RFC 3515": "Refer-To: <sip:carol@example.com?Replaces=c9%3Bto-tag%3Da%3Bfrom-tag%3Db>",
    "RFC 3840": "Accept-Contact: *;audio",
    "RFC 3891": "Replaces: c9;to-tag=7743;from-tag=6472;early-only",
    "RFC 3892": "Referred-By: <sip:bob@example.com>",
    "RFC 3911": "Join: c9;to-tag=7743;from-tag=6472",
    "RFC 4028 Session-Expires": "Session-Expires: 1800;refresher=uac",
    "RFC 4028 Min-SE": "Min-SE: 90",
    "RFC 6665": "Event: presence;id=1",
    "RFC 7329": "Session-ID: f81d4fae7dec11d0a76500a0c91e6bf6",
    "RFC 8224": "Identity: eyJhIjoxfQ.eyJi.c2ln;info=<https://cert.example.org/p.cer>;alg=ES256",
}
ANSWER_FIELDS = {
    "RFC 3261 challenge": 'WWW-Authenticate: Digest realm="inside", nonce="84f1"',
    "RFC 3261 proxy challenge": 'Proxy-Authenticate: Digest realm="inside", nonce="84f1"',
    "RFC 3261 Retry-After": "Retry-After: 18000;duration=3600",
    "RFC 3262": "RSeq: 776656",
    "RFC 4028": "Session-Expires: 1800;refresher=uas",
    "RFC 6665": "Expires: 600",
    "RFC 7329": "Session-ID: f81d4fae7dec11d0a76500a0c91e6bf6",
}


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_of_a_request(harness: EdgeHarness, field: str) -> None:
    ((to, forwarded),) = harness.receive(CALLER, invite(extra=f"{field}\r\n"))
    assert to == PBX
    name, _, value = field.partition(": ")
    assert forwarded.get_all(name) == [value]


@pytest.mark.parametrize("status", [183, 200, 401])
@pytest.mark.parametrize("field", ANSWER_FIELDS.values(), ids=ANSWER_FIELDS)
def test_of_an_answer(harness: EdgeHarness, field: str, status: int) -> None:
    ((_, forwarded),) = harness.receive(CALLER, invite())
    (passed_on,) = [m for to, m in harness.receive(PBX, respond(forwarded, status, extra=field)) if to == CALLER]
    name, _, value = field.partition(": ")
    assert passed_on.get_all(name) == [value]


@pytest.mark.parametrize("method", ["PRACK", "UPDATE", "INFO", "REFER", "NOTIFY", "MESSAGE", "OPTIONS", "SUBSCRIBE"])
@pytest.mark.parametrize("early", [True, False])
def test_inside_a_dialog_of_invite(method: str, early: bool) -> None:
    """In both directions, with body and CSeq unchanged (RFC 3261 section 12.2)."""
    harness = EdgeHarness(methods=(*CALLS, "MESSAGE", "SUBSCRIBE"))
    forwarded = harness.receive(CALLER, invite())[-1][1]
    ((_, passed_on),) = harness.receive(PBX, respond(forwarded, 183 if early else 200))
    contact, behind = ((m.get("Contact") or "").strip("<>") for m in (passed_on, forwarded))
    extra = "Content-Type: text/plain\r\nRAck: 1 1 INVITE\r\n"
    request = invite(method, contact, 2, f"z9hG4bK{method}", to_tag="bob", extra=extra)
    with_body = request.replace(b"Content-Length: 0\r\n\r\n", b"Content-Length: 2\r\n\r\nhi")
    ((to, received),) = harness.receive(CALLER, with_body)
    assert to == PBX
    assert isinstance(received, Request)
    assert (received.method, str(received.uri)) == (method, "sip:bob@10.0.0.11:5070")
    assert (received.cseq, received.body) == (2, b"hi")
    ((to, answer),) = harness.receive(PBX, respond(received, 200))
    assert to == CALLER
    assert isinstance(answer, Response)
    back = invite(method, behind, 9, f"z9hG4bKback{method}", to_tag="alice", from_tag="bob", extra=extra)
    ((to, received),) = harness.receive(PBX, back)
    assert to == CALLER
    assert isinstance(received, Request)
    assert (received.method, str(received.uri), received.cseq) == (method, "sip:alice@192.168.1.5:5062", 9)


def test_a_subscription_of_its_own_is_notified_by_its_tokens() -> None:
    """RFC 6665 section 4.1: SUBSCRIBE makes a dialog, without any call."""
    harness = EdgeHarness(methods=(*CALLS, "SUBSCRIBE"))
    ((to, forwarded),) = harness.receive(CALLER, invite("SUBSCRIBE", extra="Event: presence\r\nExpires: 600\r\n"))
    assert to == PBX
    notified = (forwarded.get("Contact") or "").strip("<>")
    assert "@10.0.0.1:5060" in notified
    ((_, ok),) = harness.receive(PBX, respond(forwarded, 200, extra="Expires: 600"))
    extra = "Event: presence\r\nSubscription-State: active;expires=600\r\n"
    ((to, notify),) = harness.receive(
        PBX, invite("NOTIFY", notified, 5, "z9hG4bKn", to_tag="alice", from_tag="bob", extra=extra)
    )
    assert to == CALLER
    assert isinstance(notify, Request)
    assert str(notify.uri) == "sip:alice@192.168.1.5:5062"
    assert notify.get("Subscription-State") == "active;expires=600"
    renewed = invite("SUBSCRIBE", (ok.get("Contact") or "").strip("<>"), 2, "z9hG4bKr", to_tag="bob")
    ((to, refreshed),) = harness.receive(CALLER, renewed)
    assert to == PBX
    assert isinstance(refreshed, Request)
    assert str(refreshed.uri) == "sip:bob@10.0.0.11:5070"
    assert harness.edge.calls == 0


@pytest.mark.parametrize("method", ["BYE", "PRACK", "UPDATE"])
def test_a_request_that_needs_a_dialog_is_refused_without_one(harness: EdgeHarness, method: str) -> None:
    ((to, answer),) = harness.receive(CALLER, invite(method))
    assert to == CALLER
    assert isinstance(answer, Response)
    assert answer.status == 481
    assert harness.edge.idle


def contact_of(message: Request | Response) -> str:
    return (message.get("Contact") or "").strip("<>")


def test_a_re_invite_that_is_refused_leaves_the_call_as_it_was(harness: EdgeHarness) -> None:
    """RFC 3261 section 14.1: after a 491 the sender of the offer waits and tries again."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    ((_, ok),) = harness.receive(PBX, respond(forwarded, 200))
    ((_, re_invite),) = harness.receive(CALLER, invite(uri=contact_of(ok), cseq=2, branch="z9hG4bKre", to_tag="bob"))
    sent = harness.receive(PBX, respond(re_invite, 491))
    assert [m.method if isinstance(m, Request) else m.status for _, m in sent] == ["ACK", 491]
    assert harness.edge.calls == 1


def test_parameters_of_contact_do_not_cross(harness: EdgeHarness) -> None:
    """RFC 3840; see the deviations."""
    data = invite().replace(b"<sip:alice@192.168.1.5:5062>", b"<sip:alice@192.168.1.5:5062>;audio;+sip.instance=x")
    ((_, forwarded),) = harness.receive(CALLER, data)
    assert (forwarded.get("Contact") or "").endswith("@10.0.0.1:5060>")


def test_an_update_is_offer_and_answer_of_the_call() -> None:
    """RFC 3311 section 5: its SDP goes through the relay, and the answer's too."""
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    ((_, forwarded),) = harness.reply(b"v=0\r\n1\r\n")
    harness.receive(PBX, respond(forwarded, 183, body=ANSWER))
    ((_, ringing),) = harness.reply(b"v=0\r\n2\r\n")
    update = invite("UPDATE", contact_of(ringing), 2, "z9hG4bKup", to_tag="bob", body=OFFER)
    assert harness.receive(CALLER, update) == []
    assert isinstance(harness.media_command, Offer)
    ((_, passed_on),) = harness.reply(b"v=0\r\n3\r\n")
    assert passed_on.body == b"v=0\r\n3\r\n"
    assert harness.receive(PBX, respond(passed_on, 200, body=ANSWER)) == []
    assert isinstance(harness.media_command, Answer)
    ((_, ok),) = harness.reply(b"v=0\r\n4\r\n")
    assert ok.body == b"v=0\r\n4\r\n"


def test_a_prack_answers_the_offer_of_a_reliable_183() -> None:
    """RFC 3262 section 5, where the INVITE had no offer."""
    harness = EdgeHarness(anchor=True)
    ((_, forwarded),) = harness.receive(CALLER, invite(extra="Supported: 100rel\r\n"))
    assert harness.receive(PBX, respond(forwarded, 183, body=OFFER, extra="Require: 100rel\r\nRSeq: 1")) == []
    assert harness.media_command == Offer(
        harness.media_id(), "bob", "alice", OFFER, Zone.CORE, Zone.PUBLIC, "10.0.0.11", answerer_family="IP4"
    )
    ((_, ringing),) = harness.reply(b"v=0\r\n1\r\n")
    prack = invite(
        "PRACK", contact_of(ringing), 2, "z9hG4bKpr", to_tag="bob", body=ANSWER, extra="RAck: 1 1 INVITE\r\n"
    )
    assert harness.receive(CALLER, prack) == []
    assert harness.media_command == Answer(harness.media_id(), "bob", "alice", ANSWER, "198.51.100.7")
    ((to, passed_on),) = harness.reply(b"v=0\r\n2\r\n")
    assert to == PBX
    assert (passed_on.get("RAck"), passed_on.body) == ("1 1 INVITE", b"v=0\r\n2\r\n")


def test_a_prack_may_have_an_offer_of_its_own() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    ((_, forwarded),) = harness.reply(b"v=0\r\n1\r\n")
    harness.receive(PBX, respond(forwarded, 183, body=ANSWER, extra="Require: 100rel\r\nRSeq: 1"))
    ((_, ringing),) = harness.reply(b"v=0\r\n2\r\n")
    prack = invite("PRACK", contact_of(ringing), 2, "z9hG4bKpr", to_tag="bob", body=OFFER, extra="RAck: 1 1 INVITE\r\n")
    harness.receive(CALLER, prack)
    assert isinstance(harness.media_command, Offer)
    ((_, passed_on),) = harness.reply(b"v=0\r\n3\r\n")
    harness.receive(PBX, respond(passed_on, 200, body=ANSWER))
    assert isinstance(harness.media_command, Answer)
