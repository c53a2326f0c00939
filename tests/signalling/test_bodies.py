"""Bodies: a session description in a multipart body is anchored as one that stands alone; others cross by type and
standing (RFC 5621, RFC 3204, RFC 3261 section 20.11)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.media_calls import MediaCall, sdp_of
from support.signalling import CALLER, CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.media.commands import Answer, Offer
from edgesbc.screen.standing import Standing
from edgesbc.signalling.bodies import REGISTERED_TYPES, TRUNK_TYPES, BodyRules
from edgesbc.signalling.header_rules import HeaderRules
from edgesbc.sip.message import Request, Response
from edgesbc.sip.multipart import Part, parse_multipart

POLICY_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "policy.md"
PBX = Flow(CORE, MEMBERS[0])
STRANGER = Flow(PUBLIC, Source("203.0.113.77", 5060))
MIXED = "multipart/mixed;boundary=x"
ISUP = b"Content-Type: application/ISUP;version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n"
LOCATION = b"Content-Type: application/pidf+xml\r\nContent-ID: <alice@example.org>\r\n"
SDP = b"Content-Type: application/sdp\r\n"


def parts(*content: tuple[bytes, bytes]) -> bytes:
    """A multipart body with these heads and contents."""
    return b"".join(b"--x\r\n%b\r\n%b\r\n" % pair for pair in content) + b"--x--\r\n"


def typed(data: bytes, content_type: str, extra: str = "") -> bytes:
    """The message with another Content-Type."""
    return data.replace(b"Content-Type: application/sdp\r\n", f"Content-Type: {content_type}\r\n{extra}".encode(), 1)


def contents(message: Request | Response) -> Mapping[str, bytes]:
    return {part.media_type: part.content for part in parts_of(message)}


def parts_of(message: Request | Response) -> list[Part]:
    return parse_multipart(message.get("Content-Type") or "", message.body).leaves()


def request(sent: list[tuple[Flow, Request | Response]]) -> Request:
    (message,) = [message for _, message in sent if isinstance(message, Request)]
    return message


def response(sent: list[tuple[Flow, Request | Response]]) -> Response:
    (message,) = [message for _, message in sent if isinstance(message, Response) and message.status > 100]
    return message


def anchored_through(**options: object) -> EdgeHarness:
    return EdgeHarness(anchor=True, **options)  # type: ignore[arg-type]


OFFER = sdp_of("198.51.100.7")
RELAYED = b"v=0\r\nrelayed\r\n"


@pytest.mark.parametrize("flow", [CALLER, STRANGER], ids=["trunk", "stranger"])
@pytest.mark.parametrize("subtype", ["mixed", "alternative", "related", "x-other"])
def test_an_offer_that_is_left_alone_crosses_alone(flow: Flow, subtype: str) -> None:
    harness = anchored_through(open=("public",))
    body = parts((SDP, OFFER), (b"Content-Type: text/html\r\n", b"<b>"))
    fields = "Content-Disposition: session\r\nContent-Language: de\r\nMIME-Version: 1.0\r\n"
    data = typed(invite(body=body), f"multipart/{subtype};boundary=x", fields)
    harness.receive(flow, data)
    offer = harness.media_command
    assert isinstance(offer, Offer)
    assert offer.sdp == OFFER
    sent = request(harness.reply(RELAYED))
    assert (sent.get("Content-Type"), sent.body) == ("application/sdp", RELAYED)
    assert not any(sent.get(name) for name in ("Content-Disposition", "Content-Language", "MIME-Version"))


def test_isup_and_a_location_cross_from_a_trunk_beside_the_new_description() -> None:
    harness = anchored_through()
    isup, location = b"\x01\x00\r\n\xff", b"<presence>198.51.100.7</presence>"
    head = b"Content-Type: application/sdp\r\nContent-Length: %d\r\n" % len(OFFER)
    body = b"preamble\r\n" + parts((ISUP, isup), (head, OFFER), (LOCATION, location)) + b"epilogue"
    harness.receive(CALLER, typed(invite(body=body), MIXED, "MIME-Version: 1.0\r\n"))
    sent = request(harness.reply(RELAYED))
    head = b"Content-Type: application/sdp\r\nContent-Length: %d\r\n" % len(RELAYED)
    assert sent.body == parts((ISUP, isup), (head, RELAYED), (LOCATION, location))
    assert (sent.get("Content-Type"), sent.get("MIME-Version")) == (MIXED, "1.0")


def test_of_a_stranger_nothing_crosses_but_the_description() -> None:
    harness = anchored_through(open=("public",))
    body = parts((ISUP, b"isup"), (SDP, OFFER), (LOCATION, b"<presence/>"))
    harness.receive(STRANGER, typed(invite(body=body), MIXED))
    sent = request(harness.reply(RELAYED))
    assert (sent.get("Content-Type"), sent.body) == ("application/sdp", RELAYED)


@pytest.mark.parametrize("content_type", ["text/plain", "application/isup"])
def test_a_trunks_body_without_a_description_crosses(content_type: str) -> None:
    sent = request(anchored_through().receive(CALLER, typed(invite(body=b"body"), content_type)))
    assert (sent.get("Content-Type"), sent.body) == (content_type, b"body")


@pytest.mark.parametrize("content_type", ["application/isup", "application/pidf+xml", "text/plain", MIXED])
def test_a_strangers_body_without_a_description_does_not_cross(content_type: str) -> None:
    harness = anchored_through(open=("public",))
    body = parts((ISUP, b"isup"), (b"", b"v=0")) if content_type == MIXED else b"body"
    sent = request(harness.receive(STRANGER, typed(invite(body=body), content_type)))
    assert (sent.get("Content-Type"), sent.body) == (None, b"")


def test_a_policy_adds_types() -> None:
    harness = anchored_through(open=("public",))
    harness.edge.parts.live.headers = HeaderRules(bodies=BodyRules(unregistered=["Application/PIDF+xml"]))
    body = parts((ISUP, b"isup"), (SDP, OFFER), (LOCATION, b"<presence/>"))
    harness.receive(STRANGER, typed(invite(body=body), MIXED))
    sent = request(harness.reply(RELAYED))
    assert sent.body == parts((SDP, RELAYED), (LOCATION, b"<presence/>"))


def test_a_description_in_a_nested_body() -> None:
    harness = anchored_through()
    inner = parts((b"Content-Type: text/plain\r\n", b"words"), (SDP, OFFER)).replace(b"--x", b"--y")
    head = b"Content-Type: multipart/alternative;boundary=y\r\nContent-Length: %d\r\n"
    harness.receive(CALLER, typed(invite(body=parts((head % len(inner), inner), (ISUP, b"isup"))), MIXED))
    sent = request(harness.reply(RELAYED))
    inner = parts((SDP, RELAYED)).replace(b"--x", b"--y")
    assert sent.body == parts((head % len(inner), inner), (ISUP, b"isup"))
    assert contents(sent) == {"application/sdp": RELAYED, "application/isup": b"isup"}


def test_a_signature_does_not_cross_with_a_description_that_it_does_not_sign() -> None:
    harness = anchored_through()
    harness.edge.parts.live.headers = HeaderRules(bodies=BodyRules(trunk=["application/pkcs7-signature"]))
    signed = parts((SDP, OFFER), (b"Content-Type: application/pkcs7-signature\r\n", b"\x30"))
    harness.receive(CALLER, typed(invite(body=signed), "multipart/signed;boundary=x;protocol=y"))
    sent = request(harness.reply(RELAYED))
    assert (sent.get("Content-Type"), sent.body) == ("application/sdp", RELAYED)


UNREADABLE = {
    "malformed": (MIXED, b"--x\r\n\r\nv=0", 400, "body"),
    "in an encoding": (MIXED + "\r\nContent-Encoding: gzip", parts((SDP, OFFER)), 415, "body"),
    "too many parts": (MIXED, b"--x\r\n\r\na\r\n" * 40 + b"--x--", 513, "body"),
    "two descriptions": (MIXED, parts((SDP, OFFER), (SDP, OFFER)), 488, "no-media"),
    "an encoded description": (
        MIXED, parts((SDP + b"Content-Transfer-Encoding: base64\r\n", b"djA=")), 488, "no-media",
    ),
    "a type with a comment": ("application/sdp (x)", OFFER, 488, "no-media"),
    "a required location": (
        MIXED, parts((SDP, OFFER), (LOCATION + b"Content-Disposition: render;handling=required\r\n", b"")), 415, "body",
    ),
    "a required body": ("text/plain\r\nContent-Disposition: render;handling=required", b"words", 415, "body"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_request_is_refused_and_told_why(case: str) -> None:
    content_type, body, status, reason = UNREADABLE[case]
    harness = anchored_through(open=("public",))
    harness.receive(STRANGER, typed(invite(body=body), content_type))
    if harness.media:
        harness.reply(RELAYED)
    refusal = next(message for _, message in harness.sent if isinstance(message, Response))
    assert refusal.status == status
    assert refusal.get("Warning") or refusal.get("Accept") == "application/sdp"
    assert harness.reasons[-1] == reason
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_what_a_trunk_requires_crosses_and_what_is_optional_may_be_removed() -> None:
    required = LOCATION + b"Content-Disposition: render;handling=required\r\n"
    optional = b"Content-Type: text/html\r\nContent-Disposition: render;handling=optional\r\n"
    harness = anchored_through()
    harness.receive(CALLER, typed(invite(body=parts((SDP, OFFER), (required, b"<p/>"), (optional, b"<b>"))), MIXED))
    assert request(harness.reply(RELAYED)).body == parts((SDP, RELAYED), (required, b"<p/>"))


@pytest.mark.parametrize("method", ["INFO", "MESSAGE", "OPTIONS"])
def test_other_requests_with_a_malformed_body_are_refused(method: str) -> None:
    harness = anchored_through(methods=("INVITE", method))
    data = typed(invite(method, "sip:100@elsewhere.example", body=b"isup"), MIXED)
    assert response(harness.receive(CALLER, data)).status == 400


@pytest.mark.parametrize(("flow", "passes"), [(CALLER, True), (STRANGER, False)], ids=["trunk", "stranger"])
def test_other_requests_keep_all_parts_but_isup_and_descriptions(flow: Flow, passes: bool) -> None:
    harness = anchored_through(methods=("INVITE", "MESSAGE"), open=("public",))
    words = b"Content-Type: text/html\r\n"
    body = parts((words, b"<b>"), (ISUP, b"isup"), (LOCATION, b"<presence/>"), (SDP, OFFER))
    sent = request(harness.receive(flow, typed(invite("MESSAGE", body=body), MIXED)))
    isup = [(ISUP, b"isup")] if passes else []
    assert sent.body == parts((words, b"<b>"), *isup, (LOCATION, b"<presence/>"))
    alone = typed(invite("MESSAGE", cseq=2, branch="z9hG4bKa2", body=b"isup"), "application/isup")
    assert request(harness.receive(flow, alone)).body == (b"isup" if passes else b"")


def test_without_media_plane_descriptions_stay_and_the_rules_hold() -> None:
    harness = EdgeHarness(open=("public",))
    body = parts((ISUP, b"isup"), (SDP, OFFER))
    sent = request(harness.receive(STRANGER, typed(invite(body=body), MIXED)))
    assert (sent.get("Content-Type"), sent.body) == ("application/sdp", OFFER)
    body = parts((ISUP, b"isup"), (SDP, OFFER), (SDP, OFFER))
    sent = request(harness.receive(CALLER, typed(invite(cseq=2, branch="z9hG4bK2", body=body, from_tag="a2"), MIXED)))
    assert sent.body == body


# --- answers, ACK, PRACK, UPDATE, in both directions ------------------------------------------------------


class MixedCall(MediaCall):
    """A call in which each description stands in a multipart body beside ISUP."""

    def receive(self, side: str, data: bytes) -> list[tuple[Flow, Request | Response]]:
        head, separator, body = data.partition(b"\r\n\r\n")
        if b"Content-Type: application/sdp" in head:
            body = parts((ISUP, b"isup of " + side.encode()), (SDP, body))
            lines = [line for line in head.split(b"\r\n") if not line.startswith((b"Content-Length", b"Content-Type"))]
            lines += [b"Content-Type: " + MIXED.encode(), b"Content-Length: %d" % len(body)]
            data = b"\r\n".join(lines) + separator + body
        return super().receive(side, data)

    def check(self, message: Request | Response, side: str) -> None:
        """The message of ``side`` has the relay's description where it arrives."""
        if self.outward:  # to and from a registered user: without ISUP
            assert message.get("Content-Type") == "application/sdp"
            sdp = message.body
        else:
            assert list(contents(message)) == ["application/isup", "application/sdp"]
            assert contents(message)["application/isup"] == b"isup of " + side.encode()
            sdp = contents(message)["application/sdp"]
        assert self.hosts[side].encode() not in sdp
        assert sdp.startswith(b"v=0")


@pytest.mark.parametrize("outward", [False, True], ids=["inward", "outward"])
def test_offer_and_answer_and_their_renewal(outward: bool) -> None:
    call = MixedCall(outward, answered=False)
    call.check(call.invited, "a")
    call.tags["b"] = "bob"
    early = call.respond(call.invited, 183, call.sdp("b"))
    call.check(early, "b")
    ok = call.respond(call.invited, 200, call.sdp("b"))
    call.check(ok, "b")
    assert sum(isinstance(command, Answer) for command in call.harness.commands) == 1  # it is the same description
    call.ack(ok)
    for side in ("a", "b"):
        for method in ("INVITE", "UPDATE"):
            sent = call.request(side, method, call.sdp(side, 6000))
            call.check(sent, side)
            answer = call.respond(sent, 200, call.sdp(call.other(side), 6002))
            call.check(answer, call.other(side))
            if method == "INVITE":
                call.ack(answer)


@pytest.mark.parametrize("outward", [False, True], ids=["inward", "outward"])
def test_a_late_offer_and_its_answer_in_the_ack(outward: bool) -> None:
    call = MixedCall(outward, late=True, answered=False)
    call.tags["b"] = "bob"
    ok = call.respond(call.invited, 200, call.sdp("b"))
    call.check(ok, "b")
    (ack,) = call.ack(ok, call.sdp("a"))
    call.check(ack, "a")
    (again,) = call.ack(ok, call.sdp("a"), branch="z9hG4bKagain")
    assert again.body == ack.body


@pytest.mark.parametrize("outward", [False, True], ids=["inward", "outward"])
def test_an_offer_in_a_reliable_response_is_answered_in_prack(outward: bool) -> None:
    call = MixedCall(outward, late=True, answered=False)
    call.tags["b"] = "bob"
    early = call.respond(call.invited, 183, call.sdp("b"), "Require: 100rel\r\nRSeq: 1")
    call.check(early, "b")
    prack = call.request("a", "PRACK", call.sdp("a"), "RAck: 1 1 INVITE\r\n")
    call.check(prack, "a")
    assert call.respond(prack, 200).status == 200


def test_an_ack_loses_a_body_that_cannot_be_read() -> None:
    harness = anchored_through()
    forwarded = request(harness.receive(CALLER, invite()))
    ok = response(harness.receive(PBX, respond(forwarded, 200)))
    uri = (ok.get("Contact") or "").strip("<>")
    for number, body in enumerate((b"--x", parts((SDP, OFFER), (SDP, OFFER)), parts((SDP, OFFER)))):
        data = typed(invite("ACK", uri, branch=f"z9hG4bKa{number}", to_tag="bob", body=body), MIXED)
        sent = request(harness.receive(CALLER, data))
        assert (sent.get("Content-Type"), sent.body) == (None, b"")


def test_a_bye_is_not_refused_for_its_body() -> None:
    harness = anchored_through()
    forwarded = request(harness.receive(CALLER, invite()))
    ok = response(harness.receive(PBX, respond(forwarded, 200)))
    uri = (ok.get("Contact") or "").strip("<>")
    bye = request(harness.receive(CALLER, typed(invite("BYE", uri, 2, "z9hG4bKb", "bob", b"isup"), MIXED)))
    assert (bye.get("Content-Type"), bye.body) == (None, b"")


def test_an_answer_that_can_be_read_in_two_ways_ends_its_branch() -> None:
    harness = anchored_through(failover_on=(503,))
    harness.receive(CALLER, invite(body=OFFER))
    forwarded = request(harness.reply(RELAYED))
    two = typed(respond(forwarded, 200, body=parts((SDP, OFFER), (SDP, OFFER))), MIXED)
    sent = harness.receive(PBX, two)
    assert [message.method for _, message in sent if isinstance(message, Request)] == ["ACK", "BYE", "INVITE"]


# --- towards the public side -----------------------------------------------------------------------------


def test_a_registered_user_gets_the_description_alone_and_no_isup() -> None:
    call = MixedCall(outward=True)
    body = parts((ISUP, b"isup"), (b"Content-Type: text/html\r\n", b"<b>"))
    extra = f"Content-Type: {MIXED}\r\n"
    info = call.request("a", "INFO", body, extra)
    assert info.body == parts((b"Content-Type: text/html\r\n", b"<b>"))
    assert call.respond(info, 200).status == 200


def test_a_request_whose_sender_requires_what_its_receiver_may_not_get_is_not_sent() -> None:
    call = MediaCall(outward=True)
    required = ISUP.replace(b"optional", b"required")
    data = call.message("a", "INFO", parts((required, b"isup")), f"Content-Type: {MIXED}\r\n")
    refusal = response(call.receive("a", data))
    assert (refusal.status, refusal.get("Accept")) == (415, "application/sdp")
    assert call.harness.reasons[-1] == "body"


def test_the_page_lists_the_types() -> None:
    section = POLICY_PAGE.read_text().partition("\n## `[bodies]`\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| in these(.*) \| no \| (no|yes) \| yes \|$", section, re.MULTILINE)
    listed: dict[str, set[str]] = {"no": set(), "yes": set()}
    for text, registered in rows:
        listed[registered].update(re.findall(r"`(application/[^`]*[^.`])`", text))
        listed[registered].update(f"application/emergencycalldata.{name}" for name in re.findall(r"`(\w+\+xml)`", text))
    assert listed == {"yes": set(REGISTERED_TYPES), "no": set(TRUNK_TYPES - REGISTERED_TYPES)}


@pytest.mark.parametrize("standing", Standing)
def test_the_rules_by_standing(standing: Standing) -> None:
    rule = BodyRules().of(standing)
    trunk = standing is Standing.TRUNK
    assert {name: rule.passes(name, True) for name in TRUNK_TYPES if "rs-metadata" not in name} == {
        name: trunk or (standing is Standing.REGISTERED and name == "application/resource-lists+xml")
        for name in TRUNK_TYPES
        if "rs-metadata" not in name
    }
    assert rule.passes("application/isup", False) is rule.passes("application/qsig", False) is trunk
    assert rule.passes("application/pidf+xml", False)  # presence (RFC 3863), in PUBLISH and NOTIFY
    assert not rule.passes("text/plain", True)
    assert rule.passes_alone("text/plain", True) is (standing >= Standing.REGISTERED)
    assert rule.passes_alone("application/pidf+xml", True) is rule.passes_alone("application/isup", True) is trunk
