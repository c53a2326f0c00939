"""A proxy forks: several INVITEs with one Call-ID and one From tag, each of which is a call (RFC 3261 section 16.6)."""

from __future__ import annotations

import pytest
from support.devices import Device, from_pbx, methods, statuses
from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.media.commands import Answer, Delete
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'


def phones(harness: EdgeHarness, count: int = 2) -> list[Device]:
    """Phones of one user, over UDP, each with a binding of its own at the registrar."""
    return [
        Device(
            harness,
            contact_params=f';+sip.instance="<urn:uuid:{number}>"',
            call_id=f"reg-{number}",
            host=f"203.0.113.{10 + number}",
            listener=PUBLIC,
        )
        for number in range(count)
    ]


def branch_to(phone: Device, method: str = "INVITE", body: bytes = b"", number: int = 0) -> bytes:
    """The request that the proxy sends by the binding of a phone."""
    data = from_pbx(method, phone.path, branch=f"z9hG4bK{phone.call_id}{number}")
    return data.replace(b"Content-Length: 0\r\n\r\n", b"") + (
        b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        if body
        else b"Content-Length: 0\r\n\r\n"
    )


def fork(harness: EdgeHarness, devices: list[Device]) -> list[Request]:
    """The proxy calls all phones. The INVITEs that they get."""
    requests = []
    for device in devices:
        ((to, request),) = harness.receive(PBX, branch_to(device))
        assert to == device.flow
        assert isinstance(request, Request)
        requests.append(request)
    return requests


def answer(harness: EdgeHarness, phone: Device, request: Request, status: int, tag: str = "") -> Response:
    """A phone answers. The response that the proxy gets."""
    data = respond(request, status, tag=tag or phone.call_id).replace(b"bob@10.0.0.11:5070", b"bob@192.168.1.5")
    sent = harness.receive(phone.flow, data.replace(b"Record-Route: <sip:10.0.0.11;lr>\r\n", b""))
    (response,) = [message for to, message in sent if to == PBX and isinstance(message, Response)]
    return response


def uri_of(message: Request | Response) -> str:
    return (message.get("Contact") or "").strip("<>")


def by_proxy(method: str, response: Response, number: int = 2) -> bytes:
    """A request inside the dialog of ``response``, from the private side."""
    return from_pbx(
        method,
        uri_of(response),
        to_tag=response.to_tag,
        cseq=number,
        branch=f"z9hG4bK{response.to_tag}{method}{number}",
    )


def by_phone(method: str, phone: Device, request: Request, number: int = 1) -> bytes:
    """A request inside the dialog that the INVITE ``request`` began, from a phone."""
    return from_pbx(
        method,
        uri_of(request),
        cseq=number,
        to_tag="pbx",
        from_tag=phone.call_id,
        branch=f"z9hG4bKby{phone.call_id}{number}",
    )


@pytest.fixture
def users() -> EdgeHarness:
    return EdgeHarness(trunks={})


def test_both_phones_ring_and_the_one_that_does_not_answer_is_cancelled_with_the_reason(users: EdgeHarness) -> None:
    one, two = phones(users)
    first, second = fork(users, [one, two])
    assert [answer(users, one, first, 180).status, answer(users, two, second, 180).status] == [180, 180]
    ok = answer(users, one, first, 200)
    assert methods(users.receive(PBX, by_proxy("ACK", ok, 1)), one.flow) == ["ACK"]
    cancel = branch_to(two, "CANCEL").replace(b"Content-Length", f"Reason: {ELSEWHERE}\r\nContent-Length".encode())
    sent = users.receive(PBX, cancel)
    assert statuses(sent, PBX) == [200]
    (to_phone,) = [message for to, message in sent if to == two.flow]
    assert isinstance(to_phone, Request)
    assert (to_phone.method, to_phone.get_all("Reason")) == ("CANCEL", [ELSEWHERE])
    assert answer(users, two, second, 487).status == 487
    assert users.edge.calls == 1
    ((to, bye),) = users.receive(one.flow, by_phone("BYE", one, first))
    assert to == PBX
    users.receive(PBX, respond(bye, 200, contact=False))
    assert users.edge.calls == 0


def test_both_answer_and_the_proxy_ends_one(users: EdgeHarness) -> None:
    one, two = phones(users)
    first, second = fork(users, [one, two])
    answers = [answer(users, one, first, 200), answer(users, two, second, 200)]
    assert users.edge.calls == 2
    for phone, ok in zip((one, two), answers, strict=True):
        assert methods(users.receive(PBX, by_proxy("ACK", ok, 1)), phone.flow) == ["ACK"]
    ((to, bye),) = users.receive(PBX, by_proxy("BYE", answers[0]))
    assert to == one.flow
    users.receive(one.flow, respond(bye, 200, contact=False))
    assert [call.callee.tag for call in users.edge.parts.calls if call.callee] == ["reg-1"]
    # The token of the call that has ended opens for what has crossed the BYE, and leads to no other phone.
    assert methods(users.receive(PBX, by_proxy("OPTIONS", answers[0], 3)), one.flow) == ["OPTIONS"]
    users.wait(limits.ENDED_CALL_SECONDS + 1)
    assert statuses(users.receive(PBX, by_proxy("OPTIONS", answers[0], 4)), PBX) == [481]
    assert methods(users.receive(PBX, by_proxy("OPTIONS", answers[1], 5)), two.flow) == ["OPTIONS"]
    ((to, bye),) = users.receive(two.flow, by_phone("BYE", two, second))
    assert to == PBX
    users.receive(PBX, respond(bye, 200, contact=False))
    assert users.edge.calls == 0


def test_each_branch_has_a_media_session_of_its_own() -> None:
    harness = EdgeHarness(anchor=True, trunks={})
    answers = []
    one, two = phones(harness)
    for number, phone in enumerate((one, two), 1):
        assert harness.receive(PBX, branch_to(phone, body=ANSWER)) == []
        ((_, request),) = harness.reply(OFFER)
        assert harness.receive(phone.flow, respond(request, 200, tag=phone.call_id, body=OFFER)) == []
        command = harness.media_command
        assert isinstance(command, Answer)
        assert command.session_id == harness.media_id(number)
        ((_, ok),) = harness.reply(ANSWER)
        assert isinstance(ok, Response)
        answers.append(ok)
    ((_, bye),) = harness.receive(PBX, by_proxy("BYE", answers[0]))
    harness.receive(one.flow, respond(bye, 200, contact=False))
    assert [effect.command for effect in harness.media] == [Delete(harness.media_id(1), "pbx")]
    assert harness.edge.calls == 1


def test_a_stale_binding_beside_a_live_one(users: EdgeHarness) -> None:
    live = phones(users, 1)[0]
    stale = Device(users, contact_params=';+sip.instance="<urn:uuid:9>"', call_id="reg-9", host="203.0.113.19")
    users.edge.flow_closed(stale.flow, users.now)
    users.wait(30)
    sent = users.receive(PBX, branch_to(stale))
    assert statuses(sent, PBX) == [480]
    (request,) = fork(users, [live])
    assert answer(users, live, request, 200).status == 200


def test_a_hunt_whose_next_invite_leaves_before_the_487_of_the_first(users: EdgeHarness) -> None:
    one, two = phones(users)
    (first,) = fork(users, [one])
    answer(users, one, first, 180)
    users.receive(PBX, branch_to(one, "CANCEL"))
    (second,) = fork(users, [two])
    assert answer(users, two, second, 180).status == 180
    assert answer(users, one, first, 487).status == 487
    assert answer(users, two, second, 200).status == 200
    assert users.edge.calls == 1


def test_a_cancel_ends_the_branch_that_it_names(users: EdgeHarness) -> None:
    one, two = phones(users)
    first, second = fork(users, [one, two])
    answer(users, one, first, 180)
    answer(users, two, second, 180)
    assert methods(users.receive(PBX, branch_to(two, "CANCEL")), two.flow) == ["CANCEL"]
    assert answer(users, one, first, 200).status == 200


def test_requests_without_the_contact_find_their_call_by_both_tags(users: EdgeHarness) -> None:
    """Simple phones send to the URI that they were called by, or that they know the caller by."""
    one, two = phones(users)
    requests = fork(users, [one, two])
    answers = [answer(users, phone, request, 200) for phone, request in zip((one, two), requests, strict=True)]
    for phone, ok in zip((two, one), reversed(answers), strict=True):
        without = from_pbx("INFO", "sip:bob@10.0.0.1", to_tag=ok.to_tag, cseq=5, branch=f"z9hG4bKi{ok.to_tag}")
        assert methods(users.receive(PBX, without), phone.flow) == ["INFO"]
        named = from_pbx(
            "INFO", "sip:100@192.0.2.1", to_tag="pbx", from_tag=phone.call_id, branch=f"z9hG4bKp{ok.to_tag}"
        )
        assert methods(users.receive(phone.flow, named), PBX) == ["INFO"]
    unknown = from_pbx("INFO", "sip:bob@10.0.0.1", to_tag="other", cseq=6)
    assert statuses(users.receive(PBX, unknown), PBX) == [481]


def test_one_phone_that_two_branches_reach(users: EdgeHarness) -> None:
    """The phone accepts one of them; for the other it is a merged request (RFC 3261 section 8.2.2.2)."""
    phone = phones(users, 1)[0]
    ((_, first),) = users.receive(PBX, branch_to(phone, number=1))
    ((_, second),) = users.receive(PBX, branch_to(phone, number=2))
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert answer(users, phone, second, 482).status == 482
    ok = answer(users, phone, first, 200)
    assert methods(users.receive(PBX, by_proxy("BYE", ok)), phone.flow) == ["BYE"]
    assert users.edge.calls == 1


def test_one_phone_that_accepts_both_branches_with_one_tag(users: EdgeHarness) -> None:
    """Call-ID and tags are the same; only the token tells the two calls apart."""
    phone = phones(users, 1)[0]
    sent = [users.receive(PBX, branch_to(phone, number=number))[0][1] for number in (1, 2)]
    answers = [answer(users, phone, request, 200) for request in sent if isinstance(request, Request)]
    assert uri_of(answers[0]) != uri_of(answers[1])
    for left, ok in zip((1, 0), answers, strict=True):
        ((_, bye),) = users.receive(PBX, by_proxy("BYE", ok, 2 + left))
        users.receive(phone.flow, respond(bye, 200, contact=False))
        assert users.edge.calls == left


# --- a proxy outside -----------------------------------------------------------------------------------------


def test_a_carrier_that_forks_to_two_numbers() -> None:
    harness = EdgeHarness(anchor=False)
    forwarded = []
    for number in ("100", "200"):
        sent = harness.receive(CALLER, invite(uri=f"sip:{number}@192.0.2.1", branch=f"z9hG4bKfork{number}"))
        forwarded.append(sent[-1][1])
    parts = harness.edge.parts
    assert harness.edge.calls == harness.dispatcher.leases == parts.calls.by_trunk["carrier"] == 2
    ok = [
        harness.receive(PBX, respond(request, 200, tag=f"t{number}"))[0][1] for number, request in enumerate(forwarded)
    ]
    for number, response in enumerate(ok):
        ((to, bye),) = harness.receive(
            CALLER, invite("BYE", uri_of(response), 2, f"z9hG4bKbye{number}", to_tag=f"t{number}")
        )
        assert to == PBX
        harness.receive(PBX, respond(bye, 200))
        assert harness.edge.calls == harness.dispatcher.leases == 1 - number
        assert harness.edge.audit_leases().differences == []
    assert parts.calls.by_trunk == {}


def test_the_same_request_by_two_ways_is_sent_on_twice(harness: EdgeHarness) -> None:
    """The server that gets both judges them (RFC 3261 section 8.2.2.2); no proxy does."""
    for number in range(2):
        sent = harness.receive(CALLER, invite(branch=f"z9hG4bKway{number}"))
        assert methods(sent, PBX) == ["INVITE"]
    assert harness.edge.calls == 2


def test_calls_with_one_call_id_are_bounded(harness: EdgeHarness) -> None:
    for number in range(limits.CALLS_PER_CALL_ID):
        assert methods(harness.receive(CALLER, invite(branch=f"z9hG4bKn{number}")), PBX) == ["INVITE"]
    assert statuses(harness.receive(CALLER, invite(branch="z9hG4bKmore")), CALLER) == [482]
    assert harness.reasons[-1] == "loop"
    assert methods(harness.receive(CALLER, invite(branch="z9hG4bKother", from_tag="other")), PBX) == ["INVITE"]


def test_a_call_without_a_token_whose_callee_has_no_tag_yet(harness: EdgeHarness) -> None:
    """By the tag of its caller, while there is only one such call."""
    harness.receive(CALLER, invite())
    info = invite("INFO", "sip:100@192.0.2.1", 2, "z9hG4bKinfo", to_tag="unseen")
    assert statuses(harness.receive(CALLER, info), CALLER) == [481]
    (call,) = harness.edge.parts.calls
    assert harness.edge.parts.calls.of_media(call.media_id) is call


def test_somebody_else_with_the_same_call_id_and_tag_gets_a_call_of_their_own() -> None:
    harness = EdgeHarness(open=("public",), trunks={})
    ((_, forwarded),) = harness.receive(CALLER, invite())
    ((_, ok),) = harness.receive(PBX, respond(forwarded, 200))
    other = Flow(PUBLIC, Source("203.0.113.66", 5060))
    ((_, second),) = harness.receive(other, invite(branch="z9hG4bKother"))
    harness.receive(PBX, respond(second, 200, tag="bob2"))
    bye = invite("BYE", "sip:100@192.0.2.1", 2, "z9hG4bKbye", to_tag="bob")
    assert statuses(harness.receive(other, bye), other) == [481]
    assert methods(harness.receive(CALLER, invite("BYE", uri_of(ok), 2, "z9hG4bKbye2", to_tag="bob")), PBX) == ["BYE"]
