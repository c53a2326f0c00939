"""Dialogs with peers of RFC 2543, which put no tag into From or To: with media and without, from either side."""

from __future__ import annotations

import re

import pytest
from support.signalling import CALLER, CORE, MEMBERS, OFFER, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source, Zone
from edgesbc.media.commands import Answer, Delete, Offer
from edgesbc.screen.standing import Standing
from edgesbc.signalling.effects import Send
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
SIDES = pytest.mark.parametrize(
    ("caller_has_tag", "callee_has_tag"), [(False, True), (True, False), (False, False)], ids=["from", "to", "both"]
)
MEDIA = pytest.mark.parametrize("media", [True, False], ids=["media", "without-media"])
CONTACT = pytest.mark.parametrize("contact", [True, False], ids=["contact", "without-contact"])


class OldCall:
    """A call whose sides leave out what RFC 2543 does not have: tags, Contact, the beginning of new branches."""

    def __init__(self, caller_has_tag: bool, callee_has_tag: bool, media: bool = True, contact: bool = True) -> None:
        self.edge = EdgeHarness(anchor=media, methods=("INVITE", "ACK", "BYE", "CANCEL", "INFO", "UPDATE"))
        self.caller_has_tag, self.callee_has_tag = caller_has_tag, callee_has_tag
        self.media, self.contact = media, contact
        self.invited = self.from_caller("INVITE", "sip:100@192.0.2.1", 1, inside=False, body=OFFER)
        self.target = "sip:100@192.0.2.1"

    def old(self, data: bytes) -> bytes:
        if not self.caller_has_tag:
            data = data.replace(b";tag=alice", b"")
        if not self.callee_has_tag:
            data = data.replace(b";tag=bob", b"")
        if not self.contact:
            data = re.sub(rb"Contact: [^\r]*\r\n", b"", data)
        return data

    def receive(self, flow: Flow, data: bytes) -> Request | Response:
        """What the other side gets of a message, by way of the media plane where it has a description."""
        sent = list(self.edge.receive(flow, self.old(data)))
        while self.edge.media and not isinstance(self.edge.media_command, Offer | Answer):
            self.edge.media.pop(0)
        if self.edge.media:
            sent = self.edge.reply(OFFER)
        (message,) = [message for to, message in sent if to.listener.zone is not flow.listener.zone]
        return message

    def from_caller(self, method: str, uri: str = "", cseq: int = 2, inside: bool = True, body: bytes = b"") -> Request:
        branch = f"{'z9hG4bK' if self.contact else ''}c{cseq}{method}"
        data = invite(method, uri or self.target, cseq, branch, "bob" if inside else "", body if self.media else b"")
        message = self.receive(CALLER, data)
        assert isinstance(message, Request)
        return message

    def from_server(self, method: str, cseq: int, body: bytes = b"") -> Request:
        body = body if self.media else b""
        uri = (self.invited.get("Contact") or "").strip("<>")
        kind = "Content-Type: application/sdp\r\n" if body else ""
        data = (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.11;branch=z9hG4bKs{cseq}{method}\r\n"
            f"From: <sip:100@192.0.2.1>;tag=bob\r\nTo: <sip:alice@example.org>;tag=alice\r\nCall-ID: c1\r\n"
            f"CSeq: {cseq} {method}\r\nContact: <sip:bob@10.0.0.11:5070>\r\nMax-Forwards: 70\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        message = self.receive(PBX, data)
        assert isinstance(message, Request)
        return message

    def answer(self, flow: Flow, request: Request, status: int = 200, body: bytes = b"") -> Response:
        message = self.receive(flow, respond(request, status, body=body if self.media else b""))
        assert isinstance(message, Response)
        assert message.status == status
        return message

    def establish(self) -> None:
        self.answer(PBX, self.invited, 180)
        answered = self.answer(PBX, self.invited, 200, OFFER)
        if self.contact:
            self.target = (answered.get("Contact") or "").strip("<>")
        assert self.from_caller("ACK", cseq=1).method == "ACK"


@SIDES
@MEDIA
@CONTACT
def test_the_tags_stay_missing_on_the_wire(
    caller_has_tag: bool, callee_has_tag: bool, media: bool, contact: bool
) -> None:
    call = OldCall(caller_has_tag, callee_has_tag, media, contact)
    assert (";tag=" in (call.invited.get("From") or "")) is caller_has_tag
    answered = call.answer(PBX, call.invited, 200, OFFER)
    assert (";tag=" in (answered.get("To") or "")) is callee_has_tag
    assert b"?" not in bytes(call.invited) + bytes(answered)


@SIDES
@MEDIA
@CONTACT
@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "BYE"])
def test_requests_of_the_caller_in_the_dialog(
    caller_has_tag: bool, callee_has_tag: bool, media: bool, contact: bool, method: str
) -> None:
    call = OldCall(caller_has_tag, callee_has_tag, media, contact)
    call.establish()
    request = call.from_caller(method, cseq=2, body=OFFER if method == "INVITE" else b"")
    assert request.method == method
    call.answer(PBX, request, 200, OFFER if method == "INVITE" else b"")
    assert call.edge.edge.calls == (method != "BYE")


@SIDES
@MEDIA
@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "BYE"])
def test_requests_of_the_callee_in_the_dialog(
    caller_has_tag: bool, callee_has_tag: bool, media: bool, method: str
) -> None:
    call = OldCall(caller_has_tag, callee_has_tag, media)
    call.establish()
    request = call.from_server(method, 1, OFFER if method == "INVITE" else b"")
    assert request.method == method
    call.answer(CALLER, request, 200, OFFER if method == "INVITE" else b"")
    assert call.edge.edge.calls == (method != "BYE")


@SIDES
@MEDIA
def test_a_call_that_is_cancelled_or_refused_leaves_nothing(
    caller_has_tag: bool, callee_has_tag: bool, media: bool
) -> None:
    call = OldCall(caller_has_tag, callee_has_tag, media)
    call.answer(PBX, call.invited, 180)
    cancel = invite("CANCEL", branch="z9hG4bKc1INVITE")
    sent = call.edge.receive(CALLER, call.old(cancel))
    assert [message.method for _, message in sent if isinstance(message, Request)] == ["CANCEL"]
    call.answer(PBX, call.invited, 487)
    call.edge.receive(CALLER, call.old(invite("ACK", branch="z9hG4bKc1INVITE", to_tag="bob")))
    call.edge.wait(64.0)
    assert call.edge.edge.idle


@SIDES
def test_the_media_session_has_two_sides_and_ends(caller_has_tag: bool, callee_has_tag: bool) -> None:
    call = OldCall.__new__(OldCall)
    call.edge = EdgeHarness(anchor=True)
    call.caller_has_tag, call.callee_has_tag, call.contact, call.media = caller_has_tag, callee_has_tag, True, True
    call.edge.receive(CALLER, call.old(invite(body=OFFER)))
    offer = call.edge.media_command
    assert isinstance(offer, Offer)
    ((_, invited),) = call.edge.reply(OFFER)
    assert isinstance(invited, Request)
    call.edge.receive(PBX, call.old(respond(invited, 200, body=OFFER)))
    answer = call.edge.media_command
    assert isinstance(answer, Answer)
    assert answer.offerer == offer.offerer
    assert len({offer.offerer, answer.answerer, ""}) == 3
    call.edge.reply(OFFER)
    call.edge.media.clear()
    call.edge.sort(call.edge.edge.end_calls(call.edge.now))
    assert isinstance(call.edge.media_command, Delete)


def test_a_second_invite_with_the_same_cseq_is_another_call() -> None:
    """A proxy that forks sends an INVITE for each phone, with one Call-ID, From tag and CSeq."""
    call = OldCall(caller_has_tag=True, callee_has_tag=False, media=False)
    call.establish()
    data = invite(uri="sip:200@192.0.2.1", branch="z9hG4bKother")
    forwarded = call.edge.receive(CALLER, data)[-1][1]
    assert isinstance(forwarded, Request)
    assert forwarded.uri.user == "200"
    assert call.edge.edge.calls == 2


def test_a_request_without_a_tag_and_without_a_call_is_outside_a_dialog() -> None:
    edge = EdgeHarness()
    for method, status in (("BYE", 481), ("UPDATE", 481)):
        data = invite(method, branch=f"z9hG4bK{method}").replace(b";tag=alice", b"")
        assert [message.status for _, message in edge.receive(CALLER, data) if isinstance(message, Response)] == [
            status
        ]


@pytest.mark.parametrize("side", ["?public", "?core"])
def test_the_name_of_a_null_tag_cannot_be_sent(side: str) -> None:
    call = OldCall(caller_has_tag=False, callee_has_tag=False, media=False)
    call.establish()
    data = invite("BYE", call.target, 2, "z9hG4bKforged", to_tag=side).replace(b";tag=alice", b"")
    effects = call.edge.edge.receive(CALLER, data, call.edge.now)
    assert [effect.data[:11] for effect in effects if isinstance(effect, Send)] == [b"SIP/2.0 400"]
    assert call.edge.edge.calls == 1


def test_what_answers_with_a_tag_of_its_own_is_not_the_peer_without_one() -> None:
    """A callee that has lost its calls takes a re-INVITE without tags for a new call, and may send it elsewhere."""
    call = OldCall(True, False, contact=False)
    call.establish()
    request = call.from_caller("INVITE")
    ringing = respond(request, 180, "other").replace(b"<sip:bob@10.0.0.11:5070>", b"<sip:other@10.0.0.12>")
    call.edge.receive(PBX, ringing)
    call.edge.receive(PBX, respond(request, 488, "other"))
    assert call.from_caller("BYE", cseq=3).uri == request.uri


def test_a_null_tag_proves_no_address() -> None:
    """Everybody knows it, so that a forged datagram with it gives its source no standing."""
    edge = EdgeHarness(open=("public",), anchor=False)
    stranger = Flow(PUBLIC, Source("203.0.113.5", 5060))
    ((_, invited),) = edge.receive(stranger, invite())
    answer = respond(invited, 200).replace(b";tag=bob", b"")
    ((_, answered),) = edge.receive(PBX, answer)
    target = (answered.get("Contact") or "").strip("<>")
    edge.receive(stranger, invite("ACK", target, branch="z9hG4bKack"))
    assert edge.standings.of(stranger, edge.now) is Standing.UNPROVEN


def test_the_name_of_a_null_tag_is_in_no_brief_response() -> None:
    """A source that may be forged gets less of a long provisional response: not the tag that its callee left out."""
    edge = EdgeHarness(open=("public",), anchor=False)
    ((_, invited),) = edge.receive(Flow(PUBLIC, Source("203.0.113.5", 5060)), invite())
    assert isinstance(invited, Request)
    ringing = respond(invited, 180, extra=f"Subject: {'x' * 2000}\r\n").replace(b";tag=bob", b"")
    ((_, brief),) = edge.receive(PBX, ringing)
    assert (brief.get("To"), brief.get("Subject")) == ("<sip:100@192.0.2.1>", None)


@pytest.mark.parametrize(
    "call_id",
    ["8f3a$b@host", "abc=def==", "1-2@3@4", "a#b|c^d", "a;b,c&d", "{x}[y]<z>", '"quoted"', "é".encode().hex()],
)
def test_call_ids_with_odd_characters(call_id: str) -> None:
    edge = EdgeHarness(anchor=False)
    data = invite().replace(b"Call-ID: c1", f"Call-ID: {call_id}".encode())
    ((_, invited),) = edge.receive(CALLER, data)
    ((_, answered),) = edge.receive(PBX, respond(invited, 200))
    assert invited.call_id == answered.call_id == call_id
    target = (answered.get("Contact") or "").strip("<>")
    bye = invite("BYE", target, 2, "z9hG4bKbye", "bob").replace(b"Call-ID: c1", f"Call-ID: {call_id}".encode())
    ((_, forwarded),) = edge.receive(CALLER, bye)
    edge.receive(PBX, respond(forwarded, 200))
    assert edge.edge.calls == 0


def test_a_second_2xx_to_a_re_invite_of_an_unproven_caller_is_acknowledged() -> None:
    """Of a null-tagged dialog, an INVITE with a higher CSeq is a re-INVITE, and a proxy behind may fork it."""
    edge = EdgeHarness(open=("public",), anchor=False)
    stranger = Flow(PUBLIC, Source("203.0.113.5", 5060))
    ((_, invited),) = edge.receive(stranger, invite())
    edge.receive(PBX, respond(invited, 200).replace(b";tag=bob", b""))
    ((_, again),) = edge.receive(stranger, invite(branch="z9hG4bKagain", cseq=2))
    sent = [edge.receive(PBX, respond(again, 200, tag=tag)) for tag in ("one", "one", "two", "three")]
    kinds = [[(to.listener.zone, message.cseq_method) for to, message in messages] for messages in sent]
    for messages in kinds[2:]:
        assert messages == [(Zone.CORE, "ACK")]
    assert kinds[0] == [(Zone.PUBLIC, "INVITE")]


def test_a_second_2xx_to_a_re_invite_that_cannot_be_used_is_acknowledged() -> None:
    edge = EdgeHarness(anchor=True)
    edge.receive(CALLER, invite(body=OFFER))
    ((_, invited),) = edge.reply(OFFER)
    edge.receive(PBX, respond(invited, 200).replace(b";tag=bob", b""))
    edge.media.clear()
    edge.receive(CALLER, invite(branch="z9hG4bKagain", cseq=2, body=OFFER))
    ((_, again),) = edge.reply(OFFER)
    edge.receive(PBX, respond(again, 200, tag="one", body=OFFER))
    ((to, answer),) = edge.reply(OFFER)
    assert to == CALLER
    assert answer.to_tag == "one"
    edge.receive(PBX, respond(again, 200, tag="two", body=OFFER.replace(b"4000", b"-1")))
    ((to, acknowledged),) = edge.reply(None)
    assert to == PBX
    assert (acknowledged.cseq_method, acknowledged.to_tag) == ("ACK", "two")
