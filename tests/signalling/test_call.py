"""A call through the signalling core: the messages on each side, and that nothing is left at its end."""

from __future__ import annotations

from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source, Zone
from edgesbc.media.commands import Answer, MediaTimeout, Offer
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])


def uri_of(message: Request | Response) -> str:
    contact = message.get("Contact")
    assert contact is not None
    return contact.strip("<>")


def set_up(harness: EdgeHarness, body: bytes = b"") -> tuple[Request, Response]:
    """A call answered by the first destination: the INVITE it got, and the 200 the caller got."""
    ((to, forwarded),) = harness.receive(CALLER, invite(body=body))
    assert to == PBX
    assert isinstance(forwarded, Request)
    ((_, ringing),) = harness.receive(PBX, respond(forwarded, 180))
    assert isinstance(ringing, Response)
    assert ringing.status == 180
    ((to, ok),) = harness.receive(PBX, respond(forwarded, 200))
    assert to == CALLER
    assert isinstance(ok, Response)
    assert ok.status == 200
    return forwarded, ok


def test_each_side_sees_only_addresses_of_the_edge(harness: EdgeHarness) -> None:
    forwarded, ok = set_up(harness)
    assert str(forwarded.uri) == "sip:100@10.0.0.11:5060"
    assert forwarded.get_all("Via") == [f"SIP/2.0/UDP 10.0.0.1:5060;branch={forwarded.via.branch};rport"]
    assert "@10.0.0.1:5060" in uri_of(forwarded)
    assert forwarded.max_forwards == 69
    assert forwarded.call_id == "c1"
    assert ok.get_all("Via") == ["SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKa1;received=198.51.100.7;rport=5060"] or (
        ok.via.param("rport") == "5060"
    )
    assert "@192.0.2.1:5060" in uri_of(ok)
    responses = b"".join(data for data in harness.raw if data.startswith(b"SIP/2.0"))
    for inside in (b"10.0.0.", b"Inside/1.0", b"X-Secret", b"Record-Route"):
        assert inside not in responses


def test_requests_in_the_dialog_are_routed_by_their_tokens_both_ways(harness: EdgeHarness) -> None:
    forwarded, ok = set_up(harness)
    ack = invite("ACK", uri_of(ok), branch="z9hG4bKa2", to_tag="bob")
    ((to, forwarded_request),) = harness.receive(CALLER, ack)
    # the route is the core's Record-Route, the remote target the Contact
    assert to == PBX
    assert isinstance(forwarded_request, Request)
    assert str(forwarded_request.uri) == "sip:bob@10.0.0.11:5070"
    assert forwarded_request.get_all("Route") == ["<sip:10.0.0.11;lr>"]
    # the inside hangs up
    bye = (
        f"BYE {uri_of(forwarded)} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKb1\r\n"
        "From: <sip:100@192.0.2.1>;tag=bob\r\nTo: <sip:alice@example.org>;tag=alice\r\nCall-ID: c1\r\n"
        "CSeq: 7 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    ((to, forwarded_request),) = harness.receive(PBX, bye)
    assert to == CALLER
    assert isinstance(forwarded_request, Request)
    assert str(forwarded_request.uri) == "sip:alice@192.168.1.5:5062"
    ((to, answered),) = harness.receive(CALLER, respond(forwarded_request, 200, contact=False))
    assert to == PBX
    assert isinstance(answered, Response)
    assert answered.cseq == 7
    assert harness.edge.calls == 0
    assert harness.dispatcher.leases == 0
    harness.wait(64)
    assert harness.edge.idle


def test_a_forged_or_changed_token_leads_nowhere(harness: EdgeHarness) -> None:
    _, ok = set_up(harness)
    token = uri_of(ok)
    at = 10
    changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
    ((to, refused),) = harness.receive(CALLER, invite("BYE", changed, 2, "z9hG4bKa3", to_tag="bob"))
    assert to == CALLER
    assert isinstance(refused, Response)
    assert refused.status == 481
    assert harness.receive(CALLER, invite("ACK", changed, 1, "z9hG4bKa4", to_tag="bob")) == []
    # a token of the other side is not valid on this side
    forwarded_contact = uri_of(set_up_again(harness))
    ((_, refused),) = harness.receive(CALLER, invite("BYE", forwarded_contact, 3, "z9hG4bKa5", to_tag="bob"))
    assert isinstance(refused, Response)
    assert refused.status == 481


def set_up_again(harness: EdgeHarness) -> Request:
    ((_, forwarded),) = harness.receive(CALLER, invite(branch="z9hG4bKx", from_tag="other"))
    assert isinstance(forwarded, Request)
    return forwarded


def test_a_retransmitted_invite_gets_the_last_answer_again(harness: EdgeHarness) -> None:
    harness.receive(CALLER, invite())
    assert harness.receive(CALLER, invite()) == []  # no answer was sent yet
    ((to, trying),) = harness.wait(0.3)
    assert to == CALLER
    assert isinstance(trying, Response)
    assert trying.status == 100
    ((to, repeated),) = harness.receive(CALLER, invite())
    assert to == CALLER
    assert isinstance(repeated, Response)
    assert repeated.status == 100


def test_a_quick_answer_needs_no_100(harness: EdgeHarness) -> None:
    set_up(harness)
    assert [m for _, m in harness.wait(0.4) if isinstance(m, Response) and m.status == 100] == []


def test_cancel_waits_for_a_provisional_answer_and_ends_with_487(harness: EdgeHarness) -> None:
    ((_, forwarded),) = harness.receive(CALLER, invite())
    ((_, ok),) = harness.receive(CALLER, invite("CANCEL"))
    assert isinstance(ok, Response)
    assert (ok.status, ok.cseq_method) == (200, "CANCEL")
    assert isinstance(forwarded, Request)
    sent = harness.receive(PBX, respond(forwarded, 180))
    cancels = [message for _, message in sent if isinstance(message, Request)]
    assert [message.method for message in cancels] == ["CANCEL"]
    assert cancels[0].via.branch == forwarded.via.branch
    harness.receive(PBX, respond(cancels[0], 200))
    sent = harness.receive(PBX, respond(forwarded, 487))
    methods = [m.method if isinstance(m, Request) else m.status for _, m in sent]
    assert methods == ["ACK", 487]
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_after_a_silent_destination_the_next_is_tried(harness: EdgeHarness) -> None:
    harness.receive(CALLER, invite())
    sent = harness.wait(2.5)
    assert {to for to, message in sent if isinstance(message, Request)} == {PBX, Flow(CORE, MEMBERS[1])}
    assert "failover" in harness.reasons
    assert harness.dispatcher.leases == 1


def test_a_503_moves_on_and_a_486_does_not(harness: EdgeHarness) -> None:
    ((_, first),) = harness.receive(CALLER, invite())
    ack, (to, second) = harness.receive(PBX, respond(first, 503))
    assert isinstance(ack[1], Request)
    assert ack[1].method == "ACK"
    assert to == Flow(CORE, MEMBERS[1])
    sent = harness.receive(to, respond(second, 486))
    assert [m.status for _, m in sent if isinstance(m, Response)] == [486]
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_with_every_destination_down_the_caller_gets_an_answer(harness: EdgeHarness) -> None:
    harness.receive(CALLER, invite())
    sent = harness.wait(10)
    finals = [m.status for to, m in sent if isinstance(m, Response) and m.status >= 200 and to == CALLER]
    assert set(finals) == {503}
    assert harness.edge.calls == harness.dispatcher.leases == 0
    harness.wait(64)
    assert harness.edge.idle


def test_media_is_anchored_both_ways() -> None:
    harness = EdgeHarness(anchor=True)
    assert harness.receive(CALLER, invite(body=OFFER)) == []
    assert harness.media_command == Offer(
        harness.media_id(), "alice", "", OFFER, Zone.PUBLIC, Zone.CORE, "198.51.100.7", answerer_family="IP4"
    )
    ((_, forwarded),) = harness.reply(b"v=0\r\nrelayed\r\n")
    assert forwarded.body == b"v=0\r\nrelayed\r\n"
    assert harness.receive(PBX, respond(forwarded, 183, body=ANSWER)) == []
    assert harness.receive(PBX, respond(forwarded, 200, body=ANSWER)) == []  # in order, after the 183
    assert harness.media_command == Answer(harness.media_id(), "alice", "bob", ANSWER, "10.0.0.11")
    sent = harness.reply(b"v=0\r\nanswered\r\n")
    assert [(m.status, m.body) for _, m in sent if isinstance(m, Response)] == [
        (183, b"v=0\r\nanswered\r\n"),
        (200, b"v=0\r\nanswered\r\n"),
    ]


def test_an_offer_that_media_refuses_is_488_and_leaves_nothing() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    ((to, refused),) = harness.reply(None)
    assert to == CALLER
    assert isinstance(refused, Response)
    assert refused.status == 488
    assert refused.get("Warning") == '399 192.0.2.1 "no"'
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_draining_refuses_new_calls_and_ends_old_ones_with_bye_to_both(harness: EdgeHarness) -> None:
    set_up(harness)
    harness.edge.drain()
    ((_, refused),) = harness.receive(CALLER, invite(branch="z9hG4bKnew", from_tag="new"))
    assert isinstance(refused, Response)
    assert (refused.status, refused.get("Retry-After")) == (503, "30")
    harness.sent.clear()
    harness.sort(harness.edge.end_calls(harness.now))
    byes = {to: message for to, message in harness.sent if isinstance(message, Request)}
    assert set(byes) == {CALLER, PBX}
    assert byes[CALLER].from_tag == "bob"
    assert byes[PBX].from_tag == "alice"
    assert byes[PBX].cseq == 2
    assert harness.edge.calls == 0


def test_options_to_the_edge_are_answered_and_a_malformed_datagram_gets_400(harness: EdgeHarness) -> None:
    ((_, ok),) = harness.receive(CALLER, invite("OPTIONS", "sip:192.0.2.1:5060"))
    assert isinstance(ok, Response)
    assert ok.status == 200
    ((_, bad),) = harness.receive(CALLER, invite().replace(b"Max-Forwards: 70", b"Max-Forwards: lots"))
    assert isinstance(bad, Response)
    assert bad.status == 400
    assert harness.receive(Flow(PUBLIC, CALLER.peer), b"garbage\r\n\r\n") == []


def test_a_client_that_ignores_contact_still_reaches_its_call(harness: EdgeHarness) -> None:
    set_up(harness)
    ((to, ack),) = harness.receive(CALLER, invite("ACK", branch="z9hG4bKs1", to_tag="bob"))
    assert to == PBX
    assert isinstance(ack, Request)
    assert str(ack.uri) == "sip:bob@10.0.0.11:5070"
    # from another source, or with a tag that is not the other side's, a request matches no call
    unproven = Flow(PUBLIC, Source("203.0.113.9", 5060))
    ((_, refused),) = harness.receive(unproven, invite("BYE", cseq=2, branch="z9hG4bKs2", to_tag="bob"))
    assert isinstance(refused, Response)
    assert refused.status == 481
    ((_, refused),) = harness.receive(CALLER, invite("BYE", cseq=2, branch="z9hG4bKs3", to_tag="eve"))
    assert isinstance(refused, Response)
    assert refused.status == 481
    ((to, bye),) = harness.receive(CALLER, invite("BYE", cseq=2, branch="z9hG4bKs4", to_tag="bob"))
    assert to == PBX
    assert isinstance(bye, Request)


def test_record_route_of_the_registrar_and_an_unproven_asserted_identity_do_not_cross(
    open_harness: EdgeHarness,
) -> None:
    unproven = Flow(PUBLIC, Source("203.0.113.9", 5060))
    claim = "Remote-Party-ID: <sip:boss@example.org>;screen=yes\r\nP-Asserted-Identity: <sip:boss@example.org>\r\n"
    forwarded = open_harness.receive(unproven, invite(extra=claim))[-1][1]
    assert forwarded.get("Remote-Party-ID") is forwarded.get("P-Asserted-Identity") is None
    ((_, forwarded),) = open_harness.receive(CALLER, invite("REGISTER", branch="z9hG4bKreg", extra=claim))
    assert forwarded.get("Remote-Party-ID"), "the carrier is a trunk"
    open_harness.receive(PBX, respond(forwarded, 200, extra="Service-Route: <sip:10.0.0.11;lr>", contact=False))
    assert b"10.0.0." not in open_harness.raw[-1]


def test_a_media_timeout_ends_the_call_that_it_names_and_no_other_of_that_call_id(harness: EdgeHarness) -> None:
    for number, tag in enumerate(("alice", "mallory")):
        sent = harness.receive(CALLER, invite(branch=f"z9hG4bKt{number}", from_tag=tag))
        harness.receive(PBX, respond(sent[-1][1], 200))
    assert harness.edge.calls == 2
    harness.sort(harness.edge.media_event(MediaTimeout(harness.media_id(2), ("mallory", "bob")), harness.now))
    assert [call.caller.tag for call in harness.edge.parts.calls] == ["alice"]


def test_calls_of_a_set_that_a_reload_removes_try_no_further_members(harness: EdgeHarness) -> None:
    sent = harness.receive(CALLER, invite())
    harness.dispatcher.reload([], harness.now)
    _, (to, refused) = harness.receive(PBX, respond(sent[-1][1], 503))
    assert to == CALLER
    assert isinstance(refused, Response)
    assert refused.status == 503
    assert harness.edge.calls == harness.dispatcher.leases == 0
