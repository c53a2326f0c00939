"""Requests inside a dialog: late offers, closed connections, registrations and late answers."""

from __future__ import annotations

import pytest
from support.signalling import (
    ANSWER,
    BROWSERS,
    CALLER,
    CORE,
    MEMBERS,
    OFFER,
    PUBLIC,
    EdgeHarness,
    Entropy,
    invite,
    respond,
)

from edgesbc.base.address import Flow, Source, Zone
from edgesbc.media.commands import Answer, Offer
from edgesbc.screen.stages.ratelimit import BucketSettings
from edgesbc.screen.standing import Standing
from edgesbc.signalling.tokens import RemoteTarget, Sealer
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])


def uri_of(message: Request | Response) -> str:
    contact = message.get("Contact")
    assert contact is not None
    return contact.strip("<>")


def request(sent: list[tuple[Flow, Request | Response]]) -> Request:
    (message,) = [message for _, message in sent if isinstance(message, Request)]
    return message


def response(sent: list[tuple[Flow, Request | Response]]) -> Response:
    (message,) = [message for _, message in sent if isinstance(message, Response)]
    return message


def test_a_late_offer_is_anchored_in_the_200_and_answered_in_the_ack() -> None:
    harness = EdgeHarness(anchor=True)
    forwarded = request(harness.receive(CALLER, invite()))
    assert harness.receive(PBX, respond(forwarded, 200, body=OFFER)) == []
    # with the caller's tag, since before the answer the media plane has no other key of the session
    assert harness.media_command == Offer(
        harness.media_id(), "bob", "alice", OFFER, Zone.CORE, Zone.PUBLIC, "10.0.0.11", answerer_family="IP4"
    )
    ok = response(harness.reply(b"v=0\r\nrelayed offer\r\n"))
    assert ok.body == b"v=0\r\nrelayed offer\r\n"
    assert harness.receive(CALLER, invite("ACK", uri_of(ok), branch="z9hG4bKl1", to_tag="bob", body=ANSWER)) == []
    assert harness.media_command == Answer(harness.media_id(), "bob", "alice", ANSWER, "198.51.100.7")
    ack = request(harness.reply(b"v=0\r\nrelayed answer\r\n"))
    assert (ack.method, ack.body) == ("ACK", b"v=0\r\nrelayed answer\r\n")


def test_a_re_invite_from_the_inside_is_anchored_towards_the_caller() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    forwarded = request(harness.reply(b"v=0\r\na\r\n"))
    harness.receive(PBX, respond(forwarded, 200, body=ANSWER))
    harness.reply(b"v=0\r\nb\r\n")
    re_invite = (
        f"INVITE {uri_of(forwarded)} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKr1\r\n"
        "From: <sip:100@192.0.2.1>;tag=bob\r\nTo: <sip:alice@example.org>;tag=alice\r\nCall-ID: c1\r\n"
        "CSeq: 3 INVITE\r\nContact: <sip:bob@10.0.0.11:5071>\r\nMax-Forwards: 70\r\n"
        f"Content-Type: application/sdp\r\nContent-Length: {len(ANSWER)}\r\n\r\n"
    ).encode() + ANSWER
    harness.receive(PBX, re_invite)
    assert harness.media_command == Offer(
        harness.media_id(), "bob", "alice", ANSWER, Zone.CORE, Zone.PUBLIC, "10.0.0.11", answerer_family="IP4"
    )
    offered = request(harness.reply(b"v=0\r\nc\r\n"))
    assert offered.body == b"v=0\r\nc\r\n"
    assert harness.receive(CALLER, respond(offered, 200, body=OFFER)) == []
    assert harness.media_command == Answer(harness.media_id(), "bob", "alice", OFFER, "198.51.100.7")
    assert response(harness.reply(b"v=0\r\nd\r\n")).body == b"v=0\r\nd\r\n"
    # the target was refreshed: the caller's next request goes to the new Contact
    bye = request(harness.receive(CALLER, invite("BYE", cseq=9, branch="z9hG4bKr2", to_tag="bob")))
    assert str(bye.uri) == "sip:bob@10.0.0.11:5071"


def test_sdp_hidden_in_a_multipart_body_does_not_pass_the_relay_by() -> None:
    harness = EdgeHarness(anchor=True)
    hidden = invite(body=OFFER).replace(b"application/sdp", b"multipart/mixed;boundary=x")
    assert response(harness.receive(CALLER, hidden)).status == 400
    assert harness.edge.calls == 0


@pytest.mark.parametrize("answered", [False, True], ids=["BYE without an answer", "BYE with an answer"])
@pytest.mark.parametrize("by_caller", [False, True], ids=["BYE of the callee", "BYE of the caller"])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_offer_that_waits_for_the_media_plane_does_not_follow_a_bye(
    method: str, by_caller: bool, answered: bool
) -> None:
    """The BYE has overtaken it: its receiver knows no dialog any more (RFC 3261 section 15.1.2)."""
    harness = EdgeHarness(anchor=True)
    inward = harness.receive(CALLER, invite())[-1][1]
    ((_, ok),) = harness.receive(PBX, respond(inward, 200))
    contacts = [(message.get("Contact") or "").strip("<>") for message in (ok, inward)]
    harness.receive(CALLER, invite("ACK", contacts[0], branch="z9hG4bKack", to_tag="bob"))
    assert harness.receive(CALLER, invite(method, contacts[0], 2, "z9hG4bKoffer", "bob", OFFER)) == []
    if by_caller:
        ((to, bye),) = harness.receive(CALLER, invite("BYE", contacts[0], 3, "z9hG4bKbye", "bob"))
    else:
        data = invite("BYE", contacts[1], 3, "z9hG4bKbye", "alice", from_tag="bob")
        ((to, bye),) = harness.receive(PBX, data.replace(b"198.51.100.7", b"10.0.0.11"))
    if answered:
        harness.receive(to, respond(bye, 200, contact=False))
    sent = harness.reply(b"v=0\r\n")
    assert [(to, m.status, m.cseq) for to, m in sent if isinstance(m, Response)] == [(CALLER, 487, 2)]
    assert [m.method for _, m in sent if isinstance(m, Request)] == []
    if not answered:
        harness.receive(to, respond(bye, 200, contact=False))
    harness.wait(40)
    assert harness.edge.idle


def test_after_a_challenge_to_its_bye_a_call_goes_on_until_that_is_repeated() -> None:
    harness = EdgeHarness(anchor=True)
    inward = harness.receive(CALLER, invite())[-1][1]
    ((_, ok),) = harness.receive(PBX, respond(inward, 200))
    contact = (ok.get("Contact") or "").strip("<>")
    harness.receive(CALLER, invite("ACK", contact, branch="z9hG4bKack", to_tag="bob"))
    ((_, bye),) = harness.receive(CALLER, invite("BYE", contact, 2, "z9hG4bKbye", "bob"))
    harness.receive(PBX, respond(bye, 407, contact=False))
    assert harness.receive(CALLER, invite("UPDATE", contact, 3, "z9hG4bKoffer", "bob", OFFER)) == []
    ((to, _),) = harness.reply(b"v=0\r\n")
    assert to == PBX


def test_without_a_reply_of_the_media_plane_the_call_is_refused_and_a_late_reply_ignored() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    finals = [m.status for _, m in harness.wait(3) if isinstance(m, Response) and m.status >= 200]
    assert set(finals) == {500}
    assert harness.reply(b"v=0\r\n") == []
    assert harness.edge.calls == 0


def test_cancel_while_the_media_plane_is_asked() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    answers = [m.status for _, m in harness.receive(CALLER, invite("CANCEL")) if isinstance(m, Response)]
    assert answers == [200, 487]
    assert harness.reply(b"v=0\r\n") == []
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_an_answer_after_the_caller_was_refused_is_acknowledged_and_ended(harness: EdgeHarness) -> None:
    forwarded = request(harness.receive(CALLER, invite()))
    harness.receive(PBX, respond(forwarded, 180))
    harness.wait(190)  # it rings for longer than a call may
    sent = harness.receive(PBX, respond(forwarded, 200))
    assert [m.method for to, m in sent if isinstance(m, Request) and to == PBX] == ["ACK", "BYE"]
    assert not [m for to, m in sent if to == CALLER and isinstance(m, Response) and m.status < 300]
    assert harness.edge.calls == harness.dispatcher.leases == 0


REGISTER = (
    b"REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKw1\r\n"
    b"From: <sip:bob@example.org>;tag=r1\r\nTo: <sip:bob@example.org>\r\nCall-ID: reg1\r\nCSeq: 1 REGISTER\r\n"
    b"Contact: <sip:bob@df7jal23ls0d.invalid;transport=ws>;reg-id=1\r\nMax-Forwards: 70\r\n"
    b'Authorization: Digest username="bob", realm="r", nonce="n", uri="u", response="r"\r\nContent-Length: 0\r\n\r\n'
)


def registered(harness: EdgeHarness) -> tuple[Flow, str]:
    """A browser's registration: its flow, and the Path that the registrar was given."""
    browser = harness.edge.new_flow(BROWSERS, Source("203.0.113.5", 40000))
    harness.edge.flow_opened(browser)
    inward = request(harness.receive(browser, REGISTER))
    path = inward.get("Path")
    assert path is not None
    assert "path" in (inward.get("Supported") or "")
    own_contact = "Contact: <sip:bob@df7jal23ls0d.invalid;transport=ws>;reg-id=1;expires=600"
    other_contact = "Contact: <sip:bob@10.0.0.50:5060>;expires=600"
    ok = response(harness.receive(PBX, respond(inward, 200, extra=f"{own_contact}\r\n{other_contact}", contact=False)))
    assert ok.get_all("Contact") == [
        own_contact.removeprefix("Contact: ")
    ]  # the Contact of the phone inside does not cross
    assert not ok.get("Path")
    assert harness.dispatcher.leases == 0
    return browser, path


def call_inside_out(path: str) -> bytes:
    return (
        "INVITE sip:bob@df7jal23ls0d.invalid;transport=ws SIP/2.0\r\n"
        "Via: SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKout1\r\n"
        f"Route: {path}\r\nFrom: <sip:alice@example.org>;tag=a9\r\nTo: <sip:bob@example.org>\r\nCall-ID: out1\r\n"
        "CSeq: 1 INVITE\r\nContact: <sip:alice@10.0.0.11:5060>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def test_a_call_to_a_registered_browser_finds_its_connection(harness: EdgeHarness) -> None:
    browser, path = registered(harness)
    sent = harness.receive(PBX, call_inside_out(path))
    assert sent[-1][0] == browser
    invited = request(sent)
    assert str(invited.uri) == "sip:bob@df7jal23ls0d.invalid;transport=ws"
    assert "10.0.0." not in "".join(value for _, value in invited.fields)
    assert harness.standings.of(browser, harness.now).name.lower() == "registered"


def test_a_call_to_a_browser_that_has_left_is_480(harness: EdgeHarness) -> None:
    browser, path = registered(harness)
    harness.edge.flow_closed(browser, harness.now)
    assert response(harness.receive(PBX, call_inside_out(path))).status == 480
    # another source cannot use the Path either, even if it knows it
    stolen = call_inside_out(path).replace(b"10.0.0.11:5060;branch", b"198.51.100.7:5060;branch")
    sent = harness.receive(CALLER, stolen)
    assert all(to != browser for to, _ in sent)


def test_a_request_in_an_unknown_dialog_creates_no_state(harness: EdgeHarness) -> None:
    for number, method in enumerate(("INVITE", "BYE", "INFO", "REFER")):
        unproven = Flow(PUBLIC, Source("203.0.113.9", 5060 + number))
        sent = harness.receive(unproven, invite(method, branch=f"z9hG4bKn{number}", to_tag="nobody"))
        assert response(sent).status == 481
    assert len(harness.edge.parts.transactions) == 0


@pytest.mark.parametrize("stranger", ["unknown tag", "unknown call", "tags of a call of another address"])
def test_a_tag_alone_exempts_no_request_from_a_bucket(stranger: str) -> None:
    """Requests of a live call, from where its peer is, are not charged; others with a tag in To are."""
    bucket = BucketSettings("tight", rate=0.001, burst=3)
    harness = EdgeHarness(open=("public",), screen={"ratelimit": (bucket,)})
    phone = harness.edge.new_flow(BROWSERS, Source("203.0.113.5", 40000))
    harness.edge.flow_opened(phone)
    forwarded = request(harness.receive(phone, invite()))  # takes a token of three
    ok = response(harness.receive(PBX, respond(forwarded, 200)))
    harness.receive(phone, invite("ACK", uri_of(ok), branch="z9hG4bKa", to_tag="bob"))
    for number in range(10):
        info = invite("INFO", uri_of(ok), cseq=2 + number, branch=f"z9hG4bKi{number}", to_tag="bob")
        assert request(harness.receive(phone, info)).method == "INFO"
    flow, to_tag, left = phone, "bob", 2
    if stranger == "unknown tag":
        to_tag = "guessed"
    elif stranger.startswith("tags"):
        flow = harness.edge.new_flow(BROWSERS, Source("203.0.113.6", 40000))
        harness.edge.flow_opened(flow)
        left = 3
    statuses = []
    for number in range(6):
        data = invite("INFO", cseq=20 + number, branch=f"z9hG4bKs{number}", to_tag=to_tag)
        if stranger == "unknown call":
            data = data.replace(b"Call-ID: c1", b"Call-ID: other")
        statuses.append(response(harness.receive(flow, data)).status)
    assert statuses == [481] * left + [503] * (6 - left)
    assert harness.reasons[-1] == "ratelimit"


def test_an_invalid_token_is_refused_and_adds_no_points_to_its_sender(open_harness: EdgeHarness) -> None:
    """After a loss of the edge's key, phones send BYE with tokens of the old key. They get 481 and no ban."""
    harness = open_harness
    unproven = Flow(PUBLIC, Source("203.0.113.9", 5060))
    token = Sealer([b"o" * 16], Entropy()).seal(RemoteTarget("core", MEMBERS[0], 0, "", ""), Zone.PUBLIC)
    for number in range(60):
        bye = invite("BYE", f"sip:{token}@192.0.2.1", branch=f"z9hG4bKo{number}", to_tag="bob")
        ((flow, refusal),) = harness.receive(unproven, bye)
        assert isinstance(refusal, Response)
        assert (flow, refusal.status) == (unproven, 481)
        harness.wait(1.0)
    assert set(harness.reasons) == {"no-dialog"}
    assert len(harness.edge.pipeline.penalties) == 0


def test_a_token_proves_only_the_address_to_which_it_was_sent(open_harness: EdgeHarness) -> None:
    caller, forged = (Flow(PUBLIC, Source(host, 5060)) for host in ("203.0.113.9", "203.0.113.66"))
    ok = response(open_harness.receive(PBX, respond(request(open_harness.receive(caller, invite())), 200)))
    for number, tag in enumerate(("alice", "guessed")):
        ack = invite("ACK", uri_of(ok), branch=f"z9hG4bKf{number}", to_tag="bob", from_tag=tag)
        assert open_harness.receive(forged, ack) == []
        info = invite("INFO", uri_of(ok), 2, f"z9hG4bKg{number}", to_tag="wrong", from_tag=tag)
        open_harness.receive(forged, info)
        assert open_harness.standings.of(forged, open_harness.now) is Standing.UNPROVEN
    (call,) = open_harness.edge.parts.calls
    assert call.caller.flow == caller
    open_harness.receive(caller, invite("ACK", uri_of(ok), branch="z9hG4bKf3", to_tag="bob"))
    assert open_harness.standings.of(caller, open_harness.now) is Standing.REACHABLE


def test_sdp_outside_of_a_negotiation_stays_on_its_side() -> None:
    """A response to OPTIONS may describe the media of the inside, with its addresses."""
    harness = EdgeHarness(anchor=True)
    options = request(harness.receive(CALLER, invite("OPTIONS", "sip:100@elsewhere.example", body=OFFER)))
    assert options.body == b""
    answer = response(harness.receive(PBX, respond(options, 200, body=ANSWER)))
    assert answer.body == b""
    assert harness.media == []
    # the same inside a call, where OPTIONS has no offer either
    harness.receive(CALLER, invite(body=OFFER, branch="z9hG4bKo1"))
    forwarded = request(harness.reply(b"v=0\r\na\r\n"))
    harness.receive(PBX, respond(forwarded, 200, body=ANSWER))
    ok = response(harness.reply(b"v=0\r\nb\r\n"))
    options = request(harness.receive(CALLER, invite("OPTIONS", uri_of(ok), 5, "z9hG4bKo2", to_tag="bob")))
    assert response(harness.receive(PBX, respond(options, 200, body=ANSWER))).body == b""
    assert harness.media == []


def test_a_refusal_with_sdp_shows_nothing_of_the_inside() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    forwarded = request(harness.reply(b"v=0\r\na\r\n"))
    sent = harness.receive(PBX, respond(forwarded, 488, body=ANSWER))
    assert response(sent).body == b""


def test_space_in_the_content_type_hides_no_offer_and_a_body_of_no_kind_is_refused() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER).replace(b"application/sdp", b"Application / SDP ;x=y"))
    assert isinstance(harness.media_command, Offer)
    harness = EdgeHarness(anchor=True)
    nameless = invite(body=OFFER).replace(b"Content-Type: application/sdp\r\n", b"")
    assert response(harness.receive(CALLER, nameless)).status == 488


def test_sdp_hidden_in_an_answer_or_an_ack_does_not_cross() -> None:
    harness = EdgeHarness(anchor=True)
    forwarded = request(harness.receive(CALLER, invite()))
    hidden = respond(forwarded, 200, body=OFFER).replace(b"application/sdp", b"multipart/mixed;boundary=x")
    ok = response(harness.receive(PBX, hidden))
    assert ok.body == b""
    ack = invite("ACK", uri_of(ok), branch="z9hG4bKh1", to_tag="bob", body=ANSWER)
    ack = ack.replace(b"application/sdp", b"multipart/mixed;boundary=x")
    assert request(harness.receive(CALLER, ack)).body == b""


def test_a_bye_with_a_multipart_body_is_passed_on() -> None:
    harness = EdgeHarness(anchor=True)
    forwarded = request(harness.receive(CALLER, invite()))
    ok = response(harness.receive(PBX, respond(forwarded, 200)))
    bye = invite("BYE", uri_of(ok), 2, "z9hG4bKh2", to_tag="bob", body=b"isup")
    bye = bye.replace(b"application/sdp", b"multipart/mixed;boundary=x")
    assert request(harness.receive(CALLER, bye)).method == "BYE"
