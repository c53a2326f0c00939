"""A 2xx whose description cannot be used ends its branch, and the next destination is tried.

A caller never gets 400 for what the callee got wrong, and never a 2xx without media while the callee takes the call as
answered.
"""

from __future__ import annotations

import pytest
from support.media_calls import MediaCall, sdp_of
from support.signalling import respond

from edgesbc.base.address import Flow
from edgesbc.sip.message import Request, Response

UNREADABLE = b"v=0\r\nnonsense\r\n"
BY_DTLS = sdp_of("10.0.0.11", media="m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n")
TOO_MANY = sdp_of("10.0.0.11", media="m=audio 4000 RTP/AVP 0\r\n" * 2)

UNUSABLE = pytest.mark.parametrize(
    ("body", "status"), [(UNREADABLE, 502), (BY_DTLS, 488), (TOO_MANY, 488)], ids=["unreadable", "DTLS", "sections"]
)


def answer(call: MediaCall, sent: Request, status: int, body: bytes, tag: str = "bob") -> list[tuple[Flow, str]]:
    """A member answers; where the core sends what because of that."""
    return [
        (flow, str(message.status) if isinstance(message, Response) else message.method)
        for flow, message in call.harness.receive(flow_of(call), respond(sent, status, tag, body=body))
    ]


def flow_of(call: MediaCall) -> Flow:
    return call.flows["b"]


@UNUSABLE
def test_the_next_destination_is_tried(body: bytes, status: int) -> None:
    call = MediaCall(answered=False)
    sent = call.harness.receive(flow_of(call), respond(call.invited, 200, body=body))
    methods = [message.method for _, message in sent if isinstance(message, Request)]
    assert methods == ["ACK", "BYE", "INVITE"]
    ((second, again),) = [(flow, message) for flow, message in sent if getattr(message, "method", "") == "INVITE"]
    assert second.peer.host == "10.0.0.12"
    call.flows["b"] = second
    assert isinstance(again, Request)
    assert answer(call, again, 200, call.sdp("b"), "bob2") == [(call.flows["a"], "200")]
    assert call.harness.reasons.count("failover") == 1
    assert call.harness.dispatcher.leases == 1
    assert all(member.health.up for member in call.harness.dispatcher.members())


@UNUSABLE
def test_the_caller_learns_why_when_no_destination_is_left(body: bytes, status: int) -> None:
    call = MediaCall(answered=False)
    sent = call.harness.receive(flow_of(call), respond(call.invited, 200, body=body))
    ((call.flows["b"], again),) = [pair for pair in sent if getattr(pair[1], "method", "") == "INVITE"]
    assert isinstance(again, Request)
    answered = answer(call, again, 200, body, "bob2")
    assert [what for _, what in answered] == ["ACK", "BYE", str(status)]
    assert call.harness.reasons[-1] == "no-media"
    assert call.harness.edge.calls == call.harness.dispatcher.leases == 0
    assert not call.harness.plane.targets()


@UNUSABLE
def test_a_phone_has_no_other_destination(body: bytes, status: int) -> None:
    call = MediaCall(outward=True, answered=False)
    answered = answer(call, call.invited, 200, body.replace(b"10.0.0.11", b"203.0.113.5"))
    assert answered == [
        (call.flows["b"], "ACK"), (call.flows["b"], "BYE"), (call.flows["a"], str(status)),
    ]  # fmt: skip
    assert call.harness.edge.calls == 0


@UNUSABLE
def test_an_early_answer_that_cannot_be_used_goes_on_without_it(body: bytes, status: int) -> None:
    """The 2xx may have another one; only a reliable response has to have it (RFC 3261 section 13.2.1)."""
    call = MediaCall(answered=False)
    early = call.respond(call.invited, 183, body)
    assert (early.status, early.body) == (183, b"")
    ok = call.respond(call.invited, 200, call.sdp("b"))
    assert (ok.status, ok.body[:3]) == (200, b"v=0")


@UNUSABLE
def test_one_in_a_reliable_response_is_cancelled(body: bytes, status: int) -> None:
    call = MediaCall(answered=False)
    data = respond(call.invited, 183, body=body, extra="Require: 100rel\r\nRSeq: 1")
    sent = call.harness.receive(flow_of(call), data)
    assert [message.method for _, message in sent if isinstance(message, Request)] == ["CANCEL", "INVITE"]


def test_after_early_media_no_other_destination_is_tried() -> None:
    call = MediaCall(answered=False)
    answer(call, call.invited, 183, call.sdp("b"))
    assert [what for _, what in answer(call, call.invited, 200, UNREADABLE)] == ["ACK", "BYE", "502"]


def test_a_late_offer_that_cannot_be_read_is_the_callees_fault() -> None:
    call = MediaCall(late=True, answered=False)
    sent = call.harness.receive(flow_of(call), respond(call.invited, 200, body=UNREADABLE))
    assert [message.method for _, message in sent if isinstance(message, Request)] == ["ACK", "BYE", "INVITE"]


def test_an_answer_that_rejects_every_section_is_the_callees_own() -> None:
    call = MediaCall(answered=False)
    ok = call.respond(call.invited, 200, call.sdp("b", 0))
    assert ok.status == 200
    assert b"m=audio 0 " in ok.body


@pytest.mark.parametrize("outward", [False, True])
@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_inside_a_call_both_sides_keep_what_they_had(outward: bool, side: str, method: str) -> None:
    call = MediaCall(outward)
    agreed = call.agreed
    other = call.other(side)
    sent = call.request(side, method, call.sdp(side, 7000))
    messages = call.respond_all(other, sent, 200, UNREADABLE)
    statuses = [message.status for message in messages if isinstance(message, Response)]
    methods = [message.method for message in messages if isinstance(message, Request)]
    assert (statuses, methods) == ([502], ["ACK"] if method == "INVITE" else [])
    assert call.agreed == agreed
    assert call.harness.edge.calls == 1


def test_two_phones_at_once() -> None:
    """One of them may still answer."""
    call = MediaCall(answered=False, algorithm="broadcast", one_priority=True)
    assert [what for _, what in answer(call, call.invited, 200, UNREADABLE)] == ["ACK", "BYE"]
    assert call.harness.edge.calls == 1
