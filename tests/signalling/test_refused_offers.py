"""An offer without an answer changes nothing, however its request ends (RFC 3261 section 14.1, RFC 3311 section 5.3,
RFC 6337 section 3.4)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.media_calls import MediaCall
from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.media.commands import Answer, Delete, Offer, Rollback
from edgesbc.signalling.registration_rules import RegistrationRules
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
OUTWARD = pytest.mark.parametrize("outward", [False, True], ids=["inward", "outward"])
SIDES = pytest.mark.parametrize("side", ["a", "b"])

End = Callable[[MediaCall, str, Request], None]
"""How the request of a side ends, as it was sent to the other side."""


def refused(status: int) -> End:
    def end(call: MediaCall, side: str, sent: Request) -> None:
        responses = _responses(call.respond_all(call.other(side), sent, status))
        assert len(responses) == (status != 408 or sent.method == "INVITE")  # RFC 4320 section 4.2

    return end


def ringing_and_refused(call: MediaCall, side: str, sent: Request) -> None:
    call.respond(sent, 180)
    call.respond(sent, 486)


def early_answer_and_refused(call: MediaCall, side: str, sent: Request) -> None:
    """The answer in an unreliable response is no answer if the request is refused."""
    before = call.agreed
    other = call.other(side)
    audio, video = "m=audio 7000 RTP/AVP 0\r\n", "m=video 7002 RTP/AVP 99\r\n"
    call.respond(sent, 183, call.sdp(other, media=audio + (video if b"m=video" in sent.body else "")))
    assert call.agreed != before
    call.respond(sent, 488)


def cancelled(call: MediaCall, side: str, sent: Request) -> None:
    call.respond(sent, 100 + 80)
    number = call.cseq[side]
    data = call.message(side, "CANCEL", cseq=number, branch=f"z9hG4bK{side}{number}INVITE")
    (cancel,) = [message for _, message in call.receive(side, data) if isinstance(message, Request)]
    call.respond_all(call.other(side), cancel, 200)
    call.respond(sent, 487)


def no_answer(call: MediaCall, side: str, sent: Request) -> None:
    call.harness.wait(limits.SET_UP_SECONDS + 40)


def ringing_for_ever(call: MediaCall, side: str, sent: Request) -> None:
    call.respond(sent, 180)
    call.harness.wait(limits.SET_UP_SECONDS + 40)


def answered_without_sdp(call: MediaCall, side: str, sent: Request) -> None:
    call.respond(sent, 200)


def unreadable_answer(call: MediaCall, side: str, sent: Request) -> None:
    (final,) = _responses(call.respond_all(call.other(side), sent, 200, b"nonsense"))
    assert final.status == 502


def answer_that_cannot_be_relayed(call: MediaCall, side: str, sent: Request) -> None:
    body = call.sdp(call.other(side), media="m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n")
    (final,) = _responses(call.respond_all(call.other(side), sent, 200, body))
    assert final.status == 488


def answer_in_a_malformed_body(call: MediaCall, side: str, sent: Request) -> None:
    other = call.other(side)
    data = respond(sent, 200, call.tags[other], body=call.sdp(other))
    sdp, multipart = b"application/sdp", b"multipart/mixed;boundary=x"
    (final,) = _responses([message for _, message in call.receive(other, data.replace(sdp, multipart))])
    assert final.status == 502


def edge_stops_it(call: MediaCall, side: str, sent: Request) -> None:
    """A fault in the edge, or a shutdown."""
    for server in list(call.harness.edge.parts.transactions.server_users()):
        server.on_internal_error(call.harness.now)
    call.harness.sort(call.harness.edge.take_effects())


INVITE_ENDS: dict[str, End] = {
    **{str(status): refused(status) for status in (302, 401, 407, 408, 481, 488, 491, 500, 503, 603)},
    "ringing, then 486": ringing_and_refused,
    "183 with SDP, then 488": early_answer_and_refused,
    "CANCEL": cancelled,
    "no answer": no_answer,
    "ringing for ever": ringing_for_ever,
    "200 without SDP": answered_without_sdp,
    "200 that cannot be read": unreadable_answer,
    "200 that cannot be relayed": answer_that_cannot_be_relayed,
    "200 with a malformed multipart body": answer_in_a_malformed_body,
    "a fault of the edge": edge_stops_it,
}
OTHER_ENDS = {name: end for name, end in INVITE_ENDS.items() if name not in (
    "CANCEL", "ringing, then 486", "183 with SDP, then 488", "ringing for ever",
)}  # fmt: skip


def beside_isup(call: MediaCall, side: str, sent: Request, size: int) -> Response:
    """A 2xx of about ``size`` bytes: its description is a part of its body, and most of it is another."""
    data = respond(sent, 200, call.tags[side], body=call.sdp(side, 7000))
    head, _, sdp = data.partition(b"\r\n\r\n")
    body = b"--x\r\nContent-Type: application/sdp\r\n\r\n" + sdp + b"\r\n--x\r\nContent-Type: application/isup\r\n\r\n"
    body += b"i" * (size - len(head) - len(body) - 40) + b"\r\n--x--\r\n"
    head = head[: head.index(b"Content-Type")] + b"Content-Type: multipart/mixed;boundary=x\r\n"
    data = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    (response,) = _responses([message for _, message in call.receive(side, data)])
    return response


def _responses(messages: list[Request | Response]) -> list[Response]:
    return [message for message in messages if isinstance(message, Response)]


OFFERS = {
    "hold": "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n",
    "another port, and video": "m=audio 6000 RTP/AVP 0\r\nm=video 6002 RTP/AVP 99\r\n",
}


def check(call: MediaCall, side: str, method: str, end: End, offered: str) -> None:
    agreed = call.agreed
    sent = call.request(side, method, call.sdp(side, media=OFFERS[offered]))
    end(call, side, sent)
    assert call.agreed == agreed
    *_, last = call.harness.commands
    assert last == Rollback(call.harness.media_id(), call.tags[side])
    assert sum(isinstance(command, Rollback) for command in call.harness.commands) == 1
    # The other side may offer next, and both get the media that the answer agrees on.
    other = call.other(side)
    again = call.request(other, "UPDATE", call.sdp(other, 8000))
    assert call.respond(again, 200, call.sdp(side, 8002)).status == 200
    assert call.agreed != agreed
    assert call.harness.edge.calls == 1


@OUTWARD
@SIDES
@pytest.mark.parametrize("offered", OFFERS)
@pytest.mark.parametrize("end", INVITE_ENDS)
def test_a_re_invite(outward: bool, side: str, offered: str, end: str) -> None:
    check(MediaCall(outward), side, "INVITE", INVITE_ENDS[end], offered)


@OUTWARD
@SIDES
@pytest.mark.parametrize("method", ["UPDATE", "PRACK"])
@pytest.mark.parametrize("end", OTHER_ENDS)
def test_an_update_and_a_prack(outward: bool, side: str, method: str, end: str) -> None:
    check(MediaCall(outward), side, method, OTHER_ENDS[end], "hold")


@OUTWARD
@pytest.mark.parametrize("end", [488, 500, 0])
def test_an_update_before_the_call_is_answered(outward: bool, end: int) -> None:
    call = MediaCall(outward, answered=False)
    call.tags["b"] = "bob"
    call.respond(call.invited, 183, call.sdp("b"), "Require: 100rel\r\nRSeq: 1")
    agreed = call.agreed
    sent = call.request("b", "UPDATE", call.sdp("b", 7000))
    if end:
        call.respond(sent, end)
    else:
        call.harness.wait(40)
    assert call.agreed == agreed
    assert isinstance(call.harness.commands[-1], Rollback)


@OUTWARD
def test_the_connection_of_its_sender_closes(outward: bool) -> None:
    call = MediaCall(outward=True)
    agreed = call.agreed
    call.request("b", "INVITE", call.sdp("b", media=OFFERS["hold"]))
    call.harness.edge.adopt(
        call.harness.edge.parts.router.table,
        call.harness.edge.pipeline,
        registrations=RegistrationRules(reconnect_wait=0),
    )
    call.harness.closed(call.flows["b"])
    assert call.agreed == agreed
    assert call.harness.commands[-1] == Rollback(call.harness.media_id(), "bob")


def test_the_connection_of_its_receiver_closes() -> None:
    call = MediaCall(outward=True)
    agreed = call.agreed
    call.harness.edge.adopt(
        call.harness.edge.parts.router.table,
        call.harness.edge.pipeline,
        registrations=RegistrationRules(reconnect_wait=0),
    )
    call.request("a", "INVITE", call.sdp("a", media=OFFERS["hold"]))
    call.harness.closed(call.flows["b"])
    assert call.agreed == agreed
    assert call.harness.commands[-1] == Rollback(call.harness.media_id(), "alice")


def test_the_first_offer_of_a_call_that_ends_needs_no_rollback() -> None:
    call = MediaCall(answered=False)
    call.respond(call.invited, 486)
    assert [type(command) for command in call.harness.commands] == [Offer, Delete]


@SIDES
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_2xx_that_is_too_large_for_a_datagram(side: str, method: str) -> None:
    """With a Contact of the edge it is larger than it came."""
    call = MediaCall()
    agreed = call.agreed
    sent = call.request(side, method, call.sdp(side, 7002))
    assert beside_isup(call, call.other(side), sent, limits.DATAGRAM_BYTES).status == 500
    assert call.agreed == agreed
    assert call.harness.commands[-1] == Rollback(call.harness.media_id(), call.tags[side])


@SIDES
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_long_2xx_that_a_datagram_has_room_for(side: str, method: str) -> None:
    call = MediaCall()
    other = call.other(side)
    sent = call.request(side, method, call.sdp(side, 7002))
    assert beside_isup(call, other, sent, 40_000).status == 200
    assert [getattr(command, "final", None) for command in call.harness.commands] == [None, False, True]
    commands = len(call.harness.commands)
    call.harness.wait(40)
    assert len(call.harness.commands) == commands
    assert call.respond(call.request(other, "UPDATE", call.sdp(other)), 200, call.sdp(side)).status == 200


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_2xx_that_is_too_long_for_an_address_that_may_be_forged(method: str) -> None:
    """The caller has acknowledged nothing, so its answers are bounded by the bytes of its requests."""
    call = MediaCall(answered=False, trunks={}, open=("public",))
    call.tags["b"] = "bob"
    call.respond(call.invited, 200, call.sdp("b"))
    call.harness.commands.clear()
    agreed = call.agreed
    call.targets["a"] = "sip:100@192.0.2.1"  # a token would show that it has received the 2xx
    sent = call.request("a", method, call.sdp("a", 7002))
    (final,) = _responses(call.respond_all("b", sent, 200, call.sdp("b", 7000) + b"a=x:%s\r\n" % (b"x" * 4000)))
    assert final.status == 513
    assert call.agreed == agreed
    assert call.harness.commands[-1] == Rollback(call.harness.media_id(), "alice")


# --- late offers: in the 2xx, answered by the ACK ---------------------------------------------------------------


@OUTWARD
@SIDES
@pytest.mark.parametrize("body", [b"", b"nonsense"], ids=["no SDP", "SDP that cannot be read"])
def test_an_ack_that_does_not_answer(outward: bool, side: str, body: bytes) -> None:
    call = MediaCall(outward)
    agreed = call.agreed
    other = call.other(side)
    ok = call.respond(call.request(side, "INVITE"), 200, call.sdp(other, media=OFFERS["hold"]))
    assert call.agreed == agreed
    (ack,) = call.ack(ok, body)
    assert ack.body == b""
    call.harness.wait(33)
    assert call.agreed == agreed
    assert call.harness.commands[-1] == Rollback(call.harness.media_id(), call.tags[other])


@OUTWARD
@SIDES
def test_no_ack(outward: bool, side: str) -> None:
    call = MediaCall(outward)
    agreed = call.agreed
    other = call.other(side)
    call.respond(call.request(side, "INVITE"), 200, call.sdp(other, media=OFFERS["hold"]))
    call.harness.wait(33)
    assert call.agreed == agreed
    assert call.harness.commands[-1] == Rollback(call.harness.media_id(), call.tags[other])
    assert call.harness.edge.deadline() is not None  # that of the call itself


def test_a_call_that_ends_before_the_ack_leaves_no_deadline() -> None:
    call = MediaCall(late=True, answered=False)
    call.tags["b"] = "bob"
    call.respond(call.invited, 200, call.sdp("b"))
    bye = call.request("b", "BYE")
    call.respond(bye, 200)
    call.harness.wait(33)
    assert call.harness.edge.idle
    assert call.harness.edge.deadline() is None
    assert not call.harness.plane.targets()


@OUTWARD
@SIDES
@pytest.mark.parametrize("status", [180, 183])
def test_a_late_offer_of_a_request_that_is_refused(outward: bool, side: str, status: int) -> None:
    call = MediaCall(outward)
    agreed = call.agreed
    sent = call.request(side, "INVITE")
    call.respond(sent, status, call.sdp(call.other(side), media=OFFERS["hold"]), "Require: 100rel\r\nRSeq: 1")
    call.respond(sent, 488)
    assert call.agreed == agreed
    assert call.harness.commands[-1] == Rollback(call.harness.media_id(), call.tags[call.other(side)])


@SIDES
def test_a_prack_answers_the_offer_in_a_reliable_response(side: str) -> None:
    """Also that of a re-INVITE; and the final response then has nothing to take back (RFC 3262 section 5)."""
    call = MediaCall()
    sent = call.request(side, "INVITE")
    call.respond(sent, 183, call.sdp(call.other(side), 7000), "Require: 100rel\r\nRSeq: 1")
    prack = call.request(side, "PRACK", call.sdp(side, 7002))
    call.respond(prack, 200)
    call.respond(sent, 200)
    assert [type(command) for command in call.harness.commands] == [Offer, Answer]


# --- one offer at a time ----------------------------------------------------------------------------------------


@OUTWARD
@SIDES
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_glare(outward: bool, side: str, method: str) -> None:
    """The second of two offers that cross gets 491, and the first is answered (RFC 3261 section 14.2)."""
    call = MediaCall(outward)
    sent = call.request(side, "INVITE", call.sdp(side, 7000))
    other = call.other(side)
    (refusal,) = _responses([m for _, m in call.receive(other, call.message(other, method, call.sdp(other, 7002)))])
    assert refusal.status == 491
    assert call.harness.decisions[-1].reason.code == "open-offer"
    assert [type(command) for command in call.harness.commands] == [Offer]
    assert call.respond(sent, 200, call.sdp(other, 7004)).status == 200


@SIDES
def test_a_second_offer_of_one_side_is_to_be_repeated_later(side: str) -> None:
    call = MediaCall()
    sent = call.request(side, "INVITE", call.sdp(side, 7000))
    (refusal,) = _responses([m for _, m in call.receive(side, call.message(side, "UPDATE", call.sdp(side, 7002)))])
    assert (refusal.status, refusal.get("Retry-After")) == (500, "5")
    call.respond(sent, 488)
    assert call.respond(call.request(side, "UPDATE", call.sdp(side)), 200, call.sdp(call.other(side))).status == 200


@SIDES
def test_requests_without_an_offer_pass_meanwhile(side: str) -> None:
    call = MediaCall()
    call.request(side, "INVITE", call.sdp(side, 7000))
    for method in ("UPDATE", "INFO", "OPTIONS"):
        assert call.respond(call.request(call.other(side), method), 200).status == 200


def test_an_ack_with_an_answer_that_comes_after_the_next_re_invite() -> None:
    """Over UDP the re-INVITE may overtake the ACK: it is to be repeated, and the ACK keeps its answer (RFC 5407 section
    3.1.5)."""
    call = MediaCall()
    ok = call.respond(call.request("a", "INVITE"), 200, call.sdp("b", 7000))
    late = call.message("a", "ACK", call.sdp("a", 7002), cseq=ok.cseq)
    (refusal,) = _responses([m for _, m in call.receive("a", call.message("a", "INVITE", call.sdp("a", 7004)))])
    assert refusal.status == 491
    (ack,) = [message for _, message in call.receive("a", late)]
    assert ack.body.startswith(b"v=0")
    assert [type(command) for command in call.harness.commands] == [Offer, Answer]


def test_a_repeated_ack_has_its_answer_whatever_was_offered_since() -> None:
    call = MediaCall()
    ok = call.respond(call.request("a", "INVITE"), 200, call.sdp("b", 7000))
    (first,) = call.ack(ok, call.sdp("a", 7002))
    call.request("a", "INVITE", call.sdp("a", 7004))
    (second,) = call.ack(ok, call.sdp("a", 7002))
    assert second.body == first.body != b""
    assert [type(command) for command in call.harness.commands] == [Offer, Answer, Offer]
    (other,) = call.ack(ok, call.sdp("a", 7006))
    assert other.body == b""
    call.harness.wait(33)
    (too_late,) = call.ack(ok, call.sdp("a", 7002))
    assert too_late.body == b""


def test_an_ack_that_is_repeated_before_the_media_plane_replies_goes_on_once() -> None:
    harness = EdgeHarness(anchor=True)
    ((_, invited),) = harness.receive(CALLER, invite())
    assert isinstance(invited, Request)
    harness.receive(PBX, respond(invited, 200, body=OFFER))
    ((_, ok),) = harness.reply(OFFER)
    ack = invite("ACK", (ok.get("Contact") or "").strip("<>"), branch="z9hG4bKack", to_tag="bob", body=ANSWER)
    asked = len(harness.media)
    assert harness.receive(CALLER, ack) == harness.receive(CALLER, ack) == []
    assert len(harness.media) == asked + 1
    ((to, first),) = harness.reply(ANSWER)
    ((_, second),) = harness.receive(CALLER, ack)
    assert to == PBX
    assert first.body == second.body == ANSWER


def test_an_ack_with_sdp_that_answers_nothing_loses_it() -> None:
    call = MediaCall()
    ok = call.respond(call.request("a", "INVITE", call.sdp("a", 7000)), 200, call.sdp("b", 7002))
    agreed = call.agreed
    (ack,) = call.ack(ok, call.sdp("a", 7004))
    assert ack.body == b""
    assert call.agreed == agreed


@pytest.mark.parametrize("method", ["UPDATE", "PRACK"])
def test_a_response_to_another_request_than_an_invite_offers_nothing(method: str) -> None:
    call = MediaCall()
    agreed = call.agreed
    assert call.respond(call.request("a", method), 200, call.sdp("b", 7000)).body == b""
    assert call.agreed == agreed


def test_two_forks_may_have_an_offer_each() -> None:
    """They are two dialogs: the offer in one does not wait for the answer in the other."""
    call = MediaCall(answered=False)
    contacts = {}
    for tag in ("b1", "b2"):
        call.tags["b"] = tag
        call.respond(call.invited, 183, call.sdp("b"), "Require: 100rel\r\nRSeq: 1", tag)
        contacts[tag] = call.targets["a"]
    sent = []
    for tag in ("b1", "b2"):
        call.tags["b"], call.targets["a"] = tag, contacts[tag]
        data = call.message("a", "UPDATE", call.sdp("a", 7000))
        sent.append([message for _, message in call.receive("a", data)])
    assert [isinstance(message, Request) for messages in sent for message in messages] == [True, True]
