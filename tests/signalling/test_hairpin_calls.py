"""A proxy inside sends a call out again by the same edge: same Call-ID, same tags, two calls."""

from __future__ import annotations

from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.routing.table import Route, RoutingTable
from edgesbc.sip.message import Request, Response

PROXY = Flow(CORE, MEMBERS[0])
CARRIER = Flow(PUBLIC, Source("198.51.100.99", 5060))


def with_a_carrier() -> EdgeHarness:
    harness = EdgeHarness(anchor=True, open=("public",))  # open for the carrier, which the shell would list as a trunk
    health = HealthSettings(interval=0)
    sets = [
        SetSettings("pbx", members=(MemberSettings("sip:10.0.0.11:5060"),), health=health),
        SetSettings("carrier", members=(MemberSettings("sip:198.51.100.99:5060"),), health=health),
    ]
    harness.dispatcher.reload(sets, harness.now)
    routes = (Route("in", "pbx", "public"), Route("out", "carrier", "core"))
    harness.edge.adopt(RoutingTable(routes, ["pbx", "carrier"]), harness.edge.pipeline)
    return harness


def proxied(request: Request, uri: str, branch: str) -> bytes:
    """What a proxy makes of a request: a Via and a Record-Route of its own on top, and all the rest kept."""
    lines = [f"{request.method} {uri} SIP/2.0", f"Via: SIP/2.0/UDP 10.0.0.11:5060;branch={branch}"]
    if request.method == "INVITE":
        lines.append("Record-Route: <sip:10.0.0.11;lr>")
    lines += [f"{name}: {value}" for name, value in request.fields if name != "Route"]
    return ("\r\n".join(lines) + f"\r\nContent-Length: {len(request.body)}\r\n\r\n").encode() + request.body


def ask(sent: list[tuple[Flow, Request | Response]]) -> Request:
    (message,) = [message for _, message in sent if isinstance(message, Request)]
    return message


def test_it_is_two_calls_with_media_of_their_own_and_both_end() -> None:
    harness = with_a_carrier()
    harness.receive(CALLER, invite(body=OFFER))
    inward_id = harness.media_command.session_id
    inward = ask(harness.reply(b"v=0\r\nin\r\n"))
    assert harness.receive(PROXY, proxied(inward, "sip:100@10.0.0.1", "z9hG4bKp1")) == []
    assert harness.media_command.session_id != inward_id
    outward = ask(harness.reply(b"v=0\r\nout\r\n"))
    assert harness.edge.calls == 2

    harness.receive(CARRIER, respond(outward, 200, body=ANSWER))
    ((to, to_proxy),) = harness.reply(b"v=0\r\nback\r\n")
    assert to == PROXY
    contact = to_proxy.get("Contact")
    assert contact is not None
    harness.receive(PROXY, respond(inward, 200, body=ANSWER).replace(b"<sip:bob@10.0.0.11:5070>", contact.encode()))
    ((to, ok),) = harness.reply(b"v=0\r\nanswered\r\n")
    assert to == CALLER

    uri = (ok.get("Contact") or "").strip("<>")
    bye_in = ask(harness.receive(CALLER, invite("BYE", uri, 2, "z9hG4bKbye", to_tag="bob")))
    bye_out = ask(harness.receive(PROXY, proxied(bye_in, str(bye_in.uri), "z9hG4bKp2")))
    assert str(bye_out.uri) == "sip:bob@10.0.0.11:5070"  # the Contact of the far side
    harness.receive(CARRIER, respond(bye_out, 200))
    harness.receive(PROXY, respond(bye_in, 200))
    assert harness.edge.calls == harness.dispatcher.leases == 0


ITSELF = Flow(CORE, Source(CORE.host, CORE.port))


def past_the_proxy(harness: EdgeHarness) -> tuple[str, str]:
    """A call that a proxy sends out again to the carrier without a Record-Route of its own: the Contacts of the edge
    that the caller and the carrier get."""
    inward = ask(harness.receive(CALLER, invite()))
    again = proxied(inward, "sip:100@10.0.0.1", "z9hG4bKp1").replace(b"Record-Route: <sip:10.0.0.11;lr>\r\n", b"")
    outward = ask(harness.receive(PROXY, again))
    data = respond(outward, 200).replace(b"Record-Route: <sip:10.0.0.11;lr>\r\n", b"")
    ((to, to_proxy),) = harness.receive(CARRIER, data)
    assert to == PROXY
    data = respond(inward, 200).replace(b"Record-Route: <sip:10.0.0.11;lr>\r\n", b"")
    data = data.replace(b"<sip:bob@10.0.0.11:5070>", (to_proxy.get("Contact") or "").encode())
    ((to, ok),) = harness.receive(PROXY, data)
    assert to == CALLER
    return (ok.get("Contact") or "").strip("<>"), (outward.get("Contact") or "").strip("<>")


def to_itself(
    harness: EdgeHarness, sent: list[tuple[Flow, Request | Response]]
) -> list[tuple[Flow, Request | Response]]:
    """What the edge sends when it gets what it has sent to itself."""
    ((to, message),) = sent
    assert to == ITSELF
    assert isinstance(message, Request)
    return harness.receive(ITSELF, bytes(message))


def test_requests_go_past_a_proxy_that_is_not_on_their_way() -> None:
    """Without a Record-Route the far end of each call is the edge itself, and so is the sender of what it gets."""
    harness = with_a_carrier()
    contact, _ = past_the_proxy(harness)
    sent = to_itself(harness, harness.receive(CALLER, invite("BYE", contact, 2, "z9hG4bKbye", "bob")))
    ((to, bye),) = sent
    assert to == CARRIER
    assert str(ask(sent).uri) == "sip:bob@10.0.0.11:5070"  # the Contact of the far side
    ((to, answer),) = harness.receive(CARRIER, respond(bye, 200, contact=False))
    assert to == ITSELF
    ((to, answer),) = harness.receive(ITSELF, bytes(answer))
    assert to == CALLER
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_a_transfer_past_the_proxy_names_whom_its_sender_named() -> None:
    """The carrier refers the caller to a server that it has another call with: the token that it got for that leads
    there, though nobody inside has sent the REFER."""
    harness = with_a_carrier()
    other = Flow(CORE, Source("10.0.0.11", 5060))
    data = invite(uri="sip:99@10.0.0.1", branch="z9hG4bKo", from_tag="o").replace(b"Call-ID: c1", b"Call-ID: c2")
    data = data.replace(b"alice@192.168.1.5:5062", b"pbx@10.0.0.11:5060")
    consulted = ask(harness.receive(other, data))
    named = (consulted.get("Contact") or "").strip("<>")
    harness.receive(CARRIER, respond(consulted, 200))

    _, contact = past_the_proxy(harness)
    refer = invite(
        "REFER", contact, 1, "z9hG4bKr", "alice", extra=f"Refer-To: <{named}?Replaces=c2>\r\n", from_tag="bob"
    )
    ((to, referred),) = to_itself(harness, harness.receive(CARRIER, refer))
    assert to == CALLER
    assert referred.get("Refer-To") == f"<{named}?Replaces=c2>"
    ((to, request),) = harness.receive(
        CALLER, invite(uri=named, branch="z9hG4bKn", extra="Replaces: c2\r\n", from_tag="n")
    )
    assert isinstance(request, Request)
    assert (to, str(request.uri)) == (other, "sip:pbx@10.0.0.11:5060")


def test_a_call_that_comes_in_again_is_a_loop() -> None:
    harness = with_a_carrier()
    harness.receive(CALLER, invite(body=OFFER))
    inward = ask(harness.reply(b"v=0\r\nin\r\n"))
    harness.receive(PROXY, proxied(inward, "sip:100@10.0.0.1", "z9hG4bKp1"))
    outward = ask(harness.reply(b"v=0\r\nout\r\n"))
    back = proxied(outward, "sip:100@192.0.2.1", "z9hG4bKc1").replace(b"10.0.0.11:5060;branch", b"198.51.100.99;branch")
    answers = [m.status for _, m in harness.receive(CARRIER, back) if isinstance(m, Response)]
    assert answers == [482]


def test_a_call_that_comes_in_again_with_another_number_is_a_spiral_and_ends_by_its_tokens() -> None:
    """The carrier sends the call in again for another number: three calls, two of them with all the same tags."""
    harness = with_a_carrier()
    harness.receive(CALLER, invite())
    inward = ask(harness.sent)
    outward = ask(harness.receive(PROXY, proxied(inward, "sip:100@10.0.0.1", "z9hG4bKp1")))
    back = proxied(outward, "sip:200@192.0.2.1", "z9hG4bKc1").replace(b"10.0.0.11:5060;branch", b"198.51.100.99;branch")
    again = ask(harness.receive(CARRIER, back))
    assert again.uri.user == "200"
    assert harness.edge.calls == 3
    ((to, ok),) = harness.receive(PROXY, respond(again, 200))
    assert to == CARRIER
    for request, receiver in ((outward, CARRIER), (inward, PROXY)):
        contact = (ok.get("Contact") or "").encode()
        data = respond(request, 200).replace(b"<sip:bob@10.0.0.11:5070>", contact)
        ((_, ok),) = harness.receive(receiver, data)
    # BYE goes the way of the calls: each token leads to the next one.
    bye = ask(harness.receive(CALLER, invite("BYE", (ok.get("Contact") or "").strip("<>"), 2, "z9hG4bKbye", "bob")))
    bye_out = ask(harness.receive(PROXY, proxied(bye, str(bye.uri), "z9hG4bKp2")))
    by_carrier = proxied(bye_out, str(bye_out.uri), "z9hG4bKc2").replace(
        b"10.0.0.11:5060;branch", b"198.51.100.99;branch"
    )
    bye_in = ask(harness.receive(CARRIER, by_carrier))
    assert str(bye_in.uri) == "sip:bob@10.0.0.11:5070"
    for request, receiver in ((bye_in, PROXY), (bye_out, CARRIER), (bye, PROXY)):
        harness.receive(receiver, respond(request, 200, contact=False))
    assert harness.edge.calls == harness.dispatcher.leases == 0
