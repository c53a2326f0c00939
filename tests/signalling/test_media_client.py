"""Replies of the media plane: refusals, late ones and repeated ones."""

from __future__ import annotations

import pytest
from support.signalling import ANSWER, BROWSERS, CALLER, CORE, MEMBERS, OFFER, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.media.commands import Acknowledge, Answer, Consent, Delete, MediaError, MediaReply, Offer, Refresh
from edgesbc.routing.table import Route, RoutingTable
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])


def reply(harness: EdgeHarness, cookie: int, answer: MediaReply | MediaError) -> list[Request | Response]:
    harness.sent.clear()
    harness.sort(harness.edge.media_replied(cookie, answer, harness.now))
    return [message for _, message in harness.sent]


@pytest.mark.parametrize("status", [400, 488, 503])
def test_a_refused_offer_gets_the_status_of_the_media_plane(status: int) -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    (refusal,) = reply(harness, harness.media[0].cookie, MediaError(status, "why it was refused"))
    assert isinstance(refusal, Response)
    assert refusal.status == status
    assert refusal.get("Retry-After") == ("5" if status == 503 else None)
    assert harness.decisions[-1].detail == "why it was refused"
    assert harness.edge.calls == harness.dispatcher.leases == 0
    assert harness.media[1].command == Delete(harness.media_id(), "alice")


@pytest.mark.parametrize("status", [500, 503])
def test_an_answer_that_the_media_plane_has_no_room_for_ends_the_call(status: int) -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    ((_, forwarded),) = harness.reply(b"v=0\r\n")
    harness.receive(PBX, respond(forwarded, 200, body=ANSWER))
    ack, bye, refusal = reply(harness, harness.media[0].cookie, MediaError(status, "no"))
    assert [m.method for m in (ack, bye) if isinstance(m, Request)] == ["ACK", "BYE"]
    assert isinstance(refusal, Response)
    assert refusal.status == status
    assert refusal.get("Retry-After") == ("5" if status == 503 else None)
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_without_a_reply_in_time_the_call_is_refused_and_a_late_reply_is_ignored() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    cookie = harness.media[0].cookie
    sent = [message for _, message in harness.wait(limits.MEDIA_REPLY_SECONDS + 0.1)]
    finals = [message.status for message in sent if isinstance(message, Response) and message.status >= 200]
    assert set(finals) == {500}
    assert harness.edge.calls == 0
    assert reply(harness, cookie, MediaReply(b"v=0\r\n")) == []


def test_a_reply_that_comes_twice_is_taken_once() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    cookie = harness.media[0].cookie
    (forwarded,) = reply(harness, cookie, MediaReply(b"v=0\r\n"))
    assert forwarded.body == b"v=0\r\n"
    assert reply(harness, cookie, MediaReply(b"v=0\r\ns=again\r\n")) == []


def test_responses_after_one_that_waits_for_media_keep_their_order_and_are_bounded() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    ((_, forwarded),) = harness.reply(b"v=0\r\n")
    harness.receive(PBX, respond(forwarded, 183, body=ANSWER))
    for _ in range(limits.PENDING_MEDIA + 3):
        assert harness.receive(PBX, respond(forwarded, 180)) == []
    sent = [message for _, message in harness.reply(b"v=0\r\ns=answer\r\n")]
    statuses = [message.status for message in sent if isinstance(message, Response)]
    assert statuses == [183] + [180] * limits.PENDING_MEDIA


# --- what the media plane may send on the word of a description -------------------------------------------------

UNPROVEN = Flow(PUBLIC, Source("203.0.113.9", 5060))
FORGED = Flow(PUBLIC, Source("203.0.113.10", 5060))
OTHER_PORT = Flow(PUBLIC, Source("203.0.113.9", 5061))


def answered(harness: EdgeHarness, flow: Flow, body: bytes = OFFER) -> Response:
    """A call of ``flow`` that a destination answers; the 2xx that the caller gets."""
    sent = harness.receive(flow, invite(body=body))
    if body:
        sent = harness.reply(OFFER)
    forwarded = next(message for _, message in sent if isinstance(message, Request))
    harness.receive(PBX, respond(forwarded, 200, body=ANSWER))
    (response,) = [message for _, message in harness.reply(ANSWER) if isinstance(message, Response)]
    assert response.status == 200
    harness.media.clear()
    return response


def ack(response: Response, to_tag: str = "bob", body: bytes = b"") -> bytes:
    contact = response.get("Contact") or ""
    uri = contact.partition("<")[2].partition(">")[0]
    return invite("ACK", uri=uri, branch="z9hG4bKack", to_tag=to_tag, body=body)


def stream(harness: EdgeHarness) -> Flow:
    flow = harness.edge.new_flow(BROWSERS, Source("203.0.113.5", 40000))
    harness.edge.flow_opened(flow)
    return flow


@pytest.mark.parametrize(
    ("peer", "consent"),
    [
        ("trunk", Consent.ANY),
        ("datagrams", Consent.NONE),
        ("connection", Consent.SOURCE),
        ("registered datagrams", Consent.SOURCE),
        ("registered connection", Consent.ANY),
    ],
)
def test_an_offer_says_what_its_sender_has_proven(peer: str, consent: Consent) -> None:
    harness = EdgeHarness(anchor=True, open=("public",))
    flow = CALLER if peer == "trunk" else UNPROVEN if peer.endswith("datagrams") else stream(harness)
    if peer.startswith("registered"):
        harness.standings.prove(flow, Standing.REGISTERED, harness.now, 60, 1)
    harness.receive(flow, invite(body=OFFER))
    assert isinstance(harness.media_command, Offer)
    assert harness.media_command.consent is consent


def test_an_ack_of_the_same_flow_lifts_the_limit_once() -> None:
    """Another port of the address may send it, since a token is given to an address; it lifts nothing there."""
    harness = EdgeHarness(anchor=True, open=("public",))
    response = answered(harness, UNPROVEN)
    for flow, tag, forwarded in ((FORGED, "bob", False), (UNPROVEN, "guessed", False), (OTHER_PORT, "bob", True)):
        assert bool(harness.receive(flow, ack(response, tag))) is forwarded
        assert harness.media == []
    for _ in range(2):
        harness.receive(UNPROVEN, ack(response))
    assert [effect.command for effect in harness.media] == [Acknowledge(harness.media_id(), "alice")]


def test_an_ack_of_a_trunk_has_no_limit_to_lift() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, ack(answered(harness, CALLER)))
    assert harness.media == []


def test_after_the_ack_a_new_offer_has_no_limit() -> None:
    harness = EdgeHarness(anchor=True, open=("public",))
    response = answered(harness, UNPROVEN)
    harness.receive(UNPROVEN, ack(response))
    harness.media.clear()
    uri = (response.get("Contact") or "").partition("<")[2].partition(">")[0]
    harness.receive(UNPROVEN, invite(uri=uri, branch="z9hG4bKre", cseq=2, to_tag="bob", body=OFFER))
    assert isinstance(harness.media_command, Offer)
    assert harness.media_command.consent is Consent.ANY


def test_an_answer_in_the_ack_is_acknowledged_by_it() -> None:
    harness = EdgeHarness(anchor=True, open=("public",))
    response = answered(harness, UNPROVEN, b"")
    harness.receive(UNPROVEN, ack(response, body=OFFER))
    (command,) = [effect.command for effect in harness.media]
    assert isinstance(command, Answer)
    assert command.consent is Consent.ANY


def test_what_destinations_answer_has_no_limit() -> None:
    harness = EdgeHarness(anchor=True, open=("public",))
    harness.receive(UNPROVEN, invite(body=OFFER))
    ((_, forwarded),) = [sent for sent in harness.reply(OFFER) if isinstance(sent[1], Request)]
    harness.receive(PBX, respond(forwarded, 183, body=ANSWER))
    assert isinstance(harness.media_command, Answer)
    assert harness.media_command.consent is Consent.ANY


@pytest.mark.parametrize(("flow", "reserved"), [(CALLER, True), (UNPROVEN, False), (PBX, True)])
def test_trunks_and_the_private_side_may_open_the_reserved_ports(flow: Flow, reserved: bool) -> None:
    harness = EdgeHarness(anchor=True, open=("public",))
    harness.edge.adopt(RoutingTable([Route("in", "pbx"), Route("out", "pbx", "core")], ["pbx"]), harness.edge.pipeline)
    harness.receive(flow, invite(body=OFFER))
    assert isinstance(harness.media_command, Offer)
    assert harness.media_command.reserved is reserved


def test_an_update_without_a_description_refreshes_the_session() -> None:
    harness = EdgeHarness(anchor=True)
    response = answered(harness, CALLER)
    harness.receive(CALLER, ack(response))
    uri = (response.get("Contact") or "").partition("<")[2].partition(">")[0]
    harness.receive(CALLER, invite("UPDATE", uri=uri, branch="z9hG4bKup", cseq=2, to_tag="bob"))
    assert [effect.command for effect in harness.media] == [Refresh(harness.media_id(), "alice")]


# --- the address family of the other side --------------------------------------------------------------------------


def test_an_offer_says_which_family_its_request_goes_to() -> None:
    """To the members of a set, or to the member that is chosen where they have both."""
    for members, family in (
        (["sip:10.0.0.11:5060", "sip:10.0.0.12:5060"], "IP4"),
        ([SIX], "IP6"),
        ([SIX, "sip:10.0.0.11:5060"], "IP6"),
        (["sip:10.0.0.11:5060", SIX], "IP4"),
    ):
        harness = of_both_families(*members)
        harness.receive(CALLER, invite(body=OFFER))
        offer = harness.media[0].command
        assert isinstance(offer, Offer)
        assert offer.answerer_family == family


SIX = "sip:[2001:db8:a::11]:5060;transport=tcp"


def of_both_families(*members: str, fallback: str = "") -> EdgeHarness:
    """An edge with a set of these members, the first of which is used first."""
    harness = EdgeHarness(anchor=True)
    health, settings = HealthSettings(interval=0), []
    for name, uris in (("pbx", members), ("backup", (fallback,) if fallback else ())):
        those = tuple(MemberSettings(uri, priority=number) for number, uri in enumerate(uris))
        to = "backup" if fallback and name == "pbx" else None
        settings += [SetSettings(name, members=those, health=health, fallback=to)] if those else []
    harness.dispatcher.reload(settings, harness.now)
    return harness


@pytest.mark.parametrize("fallback", [False, True], ids=["one set", "the set that is used next"])
@pytest.mark.parametrize("first", ["IP4", "IP6"])
def test_the_next_member_has_a_description_of_its_own_family(first: str, fallback: bool) -> None:
    members = ["sip:10.0.0.11:5060", SIX] if first == "IP4" else [SIX, "sip:10.0.0.11:5060"]
    harness = of_both_families(members[0], fallback=members[1]) if fallback else of_both_families(*members)
    harness.receive(CALLER, invite(body=OFFER))
    offers = [harness.media_command]
    ((member, inward),) = harness.reply(b"v=0\r\nfirst\r\n")
    assert inward.body == b"v=0\r\nfirst\r\n"
    harness.receive(member, respond(inward, 503))
    assert harness.edge.audit_leases().differences == []
    offers.append(harness.media_command)
    ((other, inward),) = harness.reply(b"v=0\r\nsecond\r\n")
    assert inward.body == b"v=0\r\nsecond\r\n"
    other_family = "IP6" if first == "IP4" else "IP4"
    assert [offer.answerer_family for offer in offers if isinstance(offer, Offer)] == [first, other_family]
    assert harness.receive(other, respond(inward, 200, body=ANSWER)) == []
    ((to, ok),) = harness.reply(b"v=0\r\nanswer\r\n")
    assert (to, ok.body) == (CALLER, b"v=0\r\nanswer\r\n")
    assert harness.edge.audit_leases() == (1, 1, 0, [])


@pytest.mark.parametrize("again", [False, True], ids=["for the first member", "for the next one"])
@pytest.mark.parametrize("end", ["cancelled", "refused", "no reply"])
def test_a_call_that_ends_before_its_member_has_a_description(end: str, again: bool) -> None:
    harness = of_both_families("sip:10.0.0.11:5060", SIX)
    harness.receive(CALLER, invite(body=OFFER))
    if again:
        ((member, inward),) = harness.reply(b"v=0\r\n")
        harness.receive(member, respond(inward, 503))
    assert harness.dispatcher.leases == 1
    if end == "cancelled":
        sent = harness.receive(CALLER, invite("CANCEL"))
    else:
        sent = harness.reply(None) if end == "refused" else harness.wait(limits.MEDIA_REPLY_SECONDS + 1)
    statuses = [message.status for to, message in sent if isinstance(message, Response) and message.status > 100]
    assert list(dict.fromkeys(statuses)) == {"cancelled": [200, 487], "refused": [488], "no reply": [500]}[end]
    assert harness.edge.calls == harness.dispatcher.leases == 0
    if end == "cancelled":
        assert harness.reply(b"v=0\r\n") == []
    assert harness.edge.audit_leases() == (0, 0, 0, [])


def test_an_offer_in_a_response_goes_to_the_family_of_the_caller() -> None:
    for host, family in (("198.51.100.7", "IP4"), ("2001:db8:1::7", "IP6")):
        harness = EdgeHarness(anchor=True, trunks={"carrier": (host,)})
        ((_, forwarded),) = harness.receive(Flow(PUBLIC, Source(host, 5060)), invite())
        harness.receive(PBX, respond(forwarded, 200, body=OFFER))
        offer = next(media.command for media in harness.media if isinstance(media.command, Offer))
        assert offer.answerer_family == family
