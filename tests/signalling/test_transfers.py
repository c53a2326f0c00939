"""Transfers between three phones (RFC 5589), and Contacts of the edge outside their dialogs (RFC 3261 8.1.1.8)."""

from __future__ import annotations

import pytest
from support.devices import from_pbx, methods, statuses
from support.inner_proxy import InnerProxy, Phone
from support.signalling import BROWSERS, CALLER, CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.screen.stages.method import CALLS
from edgesbc.signalling.effects import Open
from edgesbc.signalling.long_targets import LongTargets
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
STRANGER = Flow(PUBLIC, Source("203.0.113.66", 5060))
REPLACES = "Replaces=consult%3Bto-tag%3Dcarol%3Bfrom-tag%3Dalice"


def three() -> tuple[Phone, Phone, Phone]:
    proxy = InnerProxy(EdgeHarness(trunks={}, methods=(*CALLS, "SUBSCRIBE", "MESSAGE")))
    return Phone(proxy, "alice", 11), Phone(proxy, "bob", 12), Phone(proxy, "carol", 13)


def the_request(sent: list[tuple[Flow, Request | Response]], flow: Flow) -> Request:
    (request,) = [message for to, message in sent if to == flow and isinstance(message, Request)]
    return request


def referred(request: Request, field: str = "Refer-To") -> tuple[str, str]:
    """The URI of Refer-To without its header fields, and these."""
    uri, _, headers = parse_name_addr(request.get(field) or "").uri_text.partition("?")
    return uri, headers


def test_an_attended_transfer() -> None:
    """Alice calls Bob, then Carol, and refers Bob to Carol's Contact, with Replaces (RFC 5589 section 7)."""
    alice, bob, carol = three()
    harness = alice.proxy.harness
    to_bob, _ = alice.call(bob, "first")
    to_carol, _ = alice.call(carol, "consult")
    extra = f"Refer-To: <{to_carol}?{REPLACES}>\r\nReferred-By: <sip:alice@example.org>\r\n"
    refer = the_request(alice.send("REFER", to_bob, "first", "bob", extra), bob.flow)
    target, headers = referred(refer)
    assert headers == REPLACES
    assert refer.get("Referred-By") == "<sip:alice@example.org>"
    assert b"10.0.0." not in bytes(refer)
    inward = next(request for request in alice.proxy.seen if request.method == "REFER")
    assert referred(inward)[0].endswith("@10.0.0.1:5060")  # what the private side knows Carol by
    sent = bob.send("INVITE", target, "transferred", extra="Replaces: consult;to-tag=carol;from-tag=alice\r\n")
    invited = the_request(sent, carol.flow)
    assert str(invited.uri) == carol.contact
    assert invited.get("Replaces") == "consult;to-tag=carol;from-tag=alice"
    assert [message.status for to, message in carol.answer(invited) if isinstance(message, Response)] == [200]
    (_, ok) = harness.sent[-1]
    uri = (ok.get("Contact") or "").strip("<>")
    assert the_request(bob.send("ACK", uri, "transferred", "carol"), carol.flow).method == "ACK"
    assert harness.edge.audit_leases().differences == []


def test_a_blind_transfer_by_the_public_address_of_the_edge() -> None:
    alice, bob, carol = three()
    to_bob, _ = alice.call(bob, "first")
    extra = "Refer-To: <sip:carol@192.0.2.1>\r\n"
    refer = the_request(alice.send("REFER", to_bob, "first", "bob", extra), bob.flow)
    target, headers = referred(refer)
    assert (target, headers) == ("sip:carol@192.0.2.1", "")
    assert the_request(bob.send("INVITE", target, "transferred"), carol.flow)


def test_browsers_transfer_a_call_to_one_that_has_connected_again() -> None:
    proxy = InnerProxy(EdgeHarness(trunks={}))
    alice, bob, carol = (
        Phone(proxy, name, 11 + number, listener=BROWSERS) for number, name in enumerate(("alice", "bob", "carol"))
    )
    to_bob, _ = alice.call(bob, "first")
    to_carol, _ = alice.call(carol, "consult")
    former = carol.flow
    carol.device.connect("203.0.113.13")
    carol.device.register()
    proxy.harness.closed(former)
    refer = the_request(alice.send("REFER", to_bob, "first", "bob", f"Refer-To: <{to_carol}?{REPLACES}>\r\n"), bob.flow)
    target, headers = referred(refer)
    assert target.endswith("@192.0.2.1:443;transport=ws")
    assert headers == REPLACES
    invited = the_request(bob.send("INVITE", target, "transferred"), carol.flow)
    assert str(invited.uri) == carol.contact


def test_the_callee_transfers_too() -> None:
    alice, bob, carol = three()
    _, to_alice = alice.call(bob, "first")
    to_carol, _ = bob.call(carol, "consult")
    refer = the_request(bob.send("REFER", to_alice, "first", "alice", f"Refer-To: <{to_carol}>\r\n"), alice.flow)
    assert the_request(alice.send("INVITE", referred(refer)[0], "transferred"), carol.flow)


@pytest.mark.parametrize("method", ["INVITE", "REFER", "SUBSCRIBE", "OPTIONS", "MESSAGE"])
def test_a_contact_leads_to_its_phone_in_a_request_of_another_dialog(method: str) -> None:
    """A REFER outside the dialog, with Target-Dialog, is one (RFC 5589 section 6.1, RFC 4538)."""
    alice, bob, carol = three()
    to_carol, to_alice = alice.call(carol, "first")
    extra = "Target-Dialog: first;local-tag=alice;remote-tag=carol\r\nRefer-To: <sip:bob@example.org>\r\n"
    assert the_request(alice.send(method, to_carol, "own", extra=extra), carol.flow).get("Target-Dialog")
    assert the_request(bob.send(method, to_carol, "another"), carol.flow).method == method
    assert the_request(bob.send(method, to_alice, "third"), alice.flow).method == method


def test_a_request_by_a_contact_takes_a_place_at_the_server_that_it_goes_to() -> None:
    alice, bob, carol = three()
    harness = alice.proxy.harness
    to_carol, _ = alice.call(carol, "first")
    (member, *_) = harness.dispatcher.members()
    assert member.load == 1
    invited = the_request(bob.send("INVITE", to_carol, "second"), carol.flow)
    assert member.load == harness.dispatcher.leases == 2
    assert "past the routes" in harness.decisions[-1].detail
    carol.answer(invited, 486)
    harness.wait(40)
    assert member.load == 1
    assert harness.edge.audit_leases().differences == []


def test_requests_by_a_contact_wait_for_a_connection_within_its_bound() -> None:
    """The call came over TCP, and its server has closed the connection."""
    harness = EdgeHarness(trunks={"carrier": ("198.51.100.7",)}, connects=False)
    member = MemberSettings("sip:10.0.0.11:5060;transport=tcp")
    harness.dispatcher.reload([SetSettings("pbx", members=(member,), health=HealthSettings(interval=0))], harness.now)
    harness.receive(CALLER, invite())
    (opened,) = [effect for effect in harness.other if isinstance(effect, Open)]
    harness.sent.clear()
    harness.connected(opened.flow)
    ((server, forwarded),) = harness.sent
    ok = harness.receive(
        server, respond(forwarded, 200, contact=False, extra="Contact: <sip:bob@10.0.0.11;transport=tcp>")
    )
    target = (ok[-1][1].get("Contact") or "").strip("<>")
    harness.closed(opened.flow)
    for number in range(limits.CONNECTION_WAITING):
        data = invite(uri=target, branch=f"z9hG4bKn{number}").replace(b": c1", b": n%d" % number)
        assert harness.receive(CALLER, data) == []
    assert statuses(
        harness.receive(CALLER, invite(uri=target, branch="z9hG4bKmore").replace(b": c1", b": more")), CALLER
    ) == [480]


def test_strangers_reach_nobody_by_a_contact() -> None:
    """Where anybody may call, too: only those who have a call with the peer (the token's holder) may use it."""
    harness = EdgeHarness(trunks={}, open=("public",))
    ((_, forwarded),) = harness.receive(CALLER, invite())
    ((_, ok),) = harness.receive(PBX, respond(forwarded, 200))
    target = (ok.get("Contact") or "").strip("<>")
    by_stranger = invite(uri=target, branch="z9hG4bKs").replace(b"Call-ID: c1", b"Call-ID: c2")
    sent = harness.receive(STRANGER, by_stranger)
    assert (statuses(sent, STRANGER), len(sent)) == ([403], 1)
    assert harness.decisions[-1].reason.code == "token"
    sent = harness.receive(CALLER, by_stranger)
    assert methods(sent, PBX) == ["INVITE"]
    ((_, bye),) = harness.receive(CALLER, invite("BYE", target, 2, "z9hG4bKbye", to_tag="bob"))
    harness.receive(PBX, respond(bye, 200, contact=False))
    sent = harness.receive(CALLER, by_stranger.replace(b"z9hG4bKs", b"z9hG4bKt"))
    assert statuses(sent, CALLER) == [403]


def test_strangers_are_not_told_of_tokens_where_they_may_not_call() -> None:
    alice, _, carol = three()
    to_carol, _ = alice.call(carol, "first")
    assert alice.proxy.harness.receive(STRANGER, invite(uri=to_carol)) == []


def test_the_contact_of_another_trunk_s_call() -> None:
    harness = EdgeHarness(trunks={"carrier": ("198.51.100.7",), "other": ("203.0.113.66",)})
    ((_, forwarded),) = harness.receive(CALLER, invite())
    ((_, ok),) = harness.receive(PBX, respond(forwarded, 200))
    target = (ok.get("Contact") or "").strip("<>")
    ((to, invited),) = harness.receive(STRANGER, invite(uri=target, branch="z9hG4bKs").replace(b": c1", b": c2"))
    assert isinstance(invited, Request)
    assert (to, str(invited.uri), invited.get("Route")) == (PBX, "sip:bob@10.0.0.11:5070", None)


@pytest.mark.parametrize("method", ["REGISTER", "PUBLISH"])
def test_a_registration_names_nobody(method: str) -> None:
    harness = EdgeHarness(methods=(*CALLS, "PUBLISH"))
    ((_, forwarded),) = harness.receive(CALLER, invite())
    ((_, ok),) = harness.receive(PBX, respond(forwarded, 200))
    sent = harness.receive(CALLER, invite(method, (ok.get("Contact") or "").strip("<>"), branch="z9hG4bKr"))
    assert not [message for _, message in sent if isinstance(message, Request) and "bob" in str(message.uri)]


# --- how long it gets -----------------------------------------------------------------------------------------


def longest(user: str) -> str:
    """The longest Contact that is accepted, with its brackets."""
    start = f"sip:{user}@192.168.1.9;instance="
    return start + "x" * (limits.TARGET_BYTES - len(start) - 2)


@pytest.mark.parametrize("size", [40, 250, 300, 340, 700, limits.TARGET_BYTES])
def test_the_edge_writes_no_long_request_uri_whatever_the_contact_is(size: int) -> None:
    """Carol's Contact is in a token towards the proxy, whose Contact is in a token towards Alice, and that is
    referred to Bob in a third one."""
    proxy = InnerProxy(EdgeHarness(trunks={}))
    alice, bob = Phone(proxy, "alice", 11), Phone(proxy, "bob", 12)
    carol = Phone(proxy, "carol", 13, longest("carol")[: size - 2])
    to_bob, _ = alice.call(bob, "first")
    to_carol, behind = alice.call(carol, "consult")
    refer = the_request(alice.send("REFER", to_bob, "first", "bob", f"Refer-To: <{to_carol}>\r\n"), bob.flow)
    target, _ = referred(refer)
    invited = the_request(bob.send("INVITE", target, "transferred"), carol.flow)
    assert str(invited.uri) == carol.contact
    inside = next(request for request in reversed(proxy.seen) if request.call_id == "transferred")
    for uri in (to_carol, behind, target, str(inside.uri)):
        assert len(uri) <= 700, uri
    assert the_request(alice.send("BYE", to_carol, "consult", "carol"), carol.flow).method == "BYE"


def test_the_longest_request_inside_a_dialog_needs_no_fragments() -> None:
    """1,300 bytes, where RFC 3261 section 18.1.1 asks for TCP."""
    proxy = InnerProxy(EdgeHarness(trunks={}))
    alice, carol = Phone(proxy, "alice", 11), Phone(proxy, "carol", 13, longest("carol"))
    to_carol, _ = alice.call(carol, "first")
    alice.send("BYE", to_carol, "first", "carol")
    bye = next(request for request in reversed(proxy.seen) if request.method == "BYE")
    assert len(bytes(bye)) < 1300


def test_long_targets_of_strangers_displace_none_of_users() -> None:
    table = LongTargets()
    names = [
        table.keep(f"sip:{number}@{'x' * 400}", ("<sip:a;lr>",), False, f"192.0.2.{number % 50}")
        for number in range(limits.LONG_TARGETS + 1)
    ]
    own = table.keep("sip:user@" + "x" * 400, (), True, 1)
    assert len(table) == limits.LONG_TARGETS + 1
    assert table.find(names[0]) is None
    assert table.find(names[1]) == (f"sip:1@{'x' * 400}", "<sip:a;lr>")
    table.keep("sip:more@" + "x" * 400, (), False, "192.0.2.99")
    assert table.find(names[1]) is not None  # it was used since
    assert table.find(names[2]) is None
    assert table.find(own) is not None


def test_long_targets_of_one_account_displace_none_of_others() -> None:
    table = LongTargets()
    uri = "sip:user@" + "x" * 400
    names = [table.keep(uri, (), True, 1), table.keep(uri, (), True, None), table.keep(uri, (), False, "192.0.2.1")]
    table.keep(uri, (), True, 2)  # the same text, which is then of both
    many = [table.keep(f"sip:{number}@{'x' * 400}", (), True, 2) for number in range(2 * limits.LONG_TARGETS)]
    assert [table.find(name) for name in names] == [(uri,)] * 3
    assert len(table) == 3 + limits.LONG_TARGETS_OF_PEER
    assert [table.find(name) is not None for name in many[-limits.LONG_TARGETS_OF_PEER - 1 :]] == [
        False, *[True] * limits.LONG_TARGETS_OF_PEER,
    ]  # fmt: skip


# --- a server of the private side refers ---------------------------------------------------------------------


def refer_by_server(value: str, field: str = "Refer-To") -> tuple[EdgeHarness, Request]:
    """A call of a trunk, within which the server sends a REFER with ``value``. The REFER that the trunk gets."""
    harness = EdgeHarness(trunks={"carrier": ("198.51.100.7",), "other": ("203.0.113.66",)})
    ((_, forwarded),) = harness.receive(CALLER, invite())
    harness.receive(PBX, respond(forwarded, 200))
    target = (forwarded.get("Contact") or "").strip("<>")
    other = "" if field == "Refer-To" else "Refer-To: <sip:200@example.org>\r\n"
    data = from_pbx("REFER", target, "c1", 2, to_tag="alice", from_tag="bob")
    data = data.replace(b"Content-Length", f"{field}: {value}\r\n{other}Content-Length".encode())
    return harness, the_request(harness.receive(PBX, data), CALLER)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<sip:200@10.0.0.11>", "<sip:200@192.0.2.1:5060>"),
        ('"Desk" <sip:200@10.0.0.11:5080;transport=tcp;user=phone>', '"Desk" <sip:200@192.0.2.1:5060;user=phone>'),
        ("sip:200@10.0.0.1", "<sip:200@192.0.2.1:5060>"),
        ("<sip:200@172.16.9.9;method=SUBSCRIBE>", "<sip:200@192.0.2.1:5060;method=SUBSCRIBE>"),
        ("<sip:200@example.org?Replaces=a>", "<sip:200@example.org?Replaces=a>"),
        ("<sip:200@example.org;maddr=10.0.0.11;user=phone>", "<sip:200@example.org;user=phone>"),
        ("<sip:200@example.org;maddr=198.51.100.9>", "<sip:200@example.org;maddr=198.51.100.9>"),
        (
            "<sip:200@example.org?Replaces=a&Route=%3Csip%3A10.0.0.11%3E&Require=replaces&r=%3Csip:x%4010.0.0.11%3E>",
            "<sip:200@example.org?Replaces=a&Require=replaces>",
        ),
        ("<sip:200@example.org?X-Host=10.0.0.11&body=c%3D10.0.0.11&from=a>", "<sip:200@example.org>"),
        ("<sip:200@10.0.0.11?Via=10.0.0.12>", "<sip:200@192.0.2.1:5060>"),
        ("<sip:200@192.0.2.1>", "<sip:200@192.0.2.1>"),
        ("<tel:+15550123>", "<tel:+15550123>"),
    ],
)
@pytest.mark.parametrize("field", ["Refer-To", "Referred-By"])
def test_no_inside_address_goes_out(field: str, value: str, expected: str) -> None:
    _, refer = refer_by_server(value, field)
    assert refer.get(field) == expected
    assert b"10.0.0." not in bytes(refer)


@pytest.mark.parametrize(
    "value",
    [
        "<sip:pbx7@10.0.0.11:5080?Replaces=c9%3Bto-tag%3Da>",
        "<sip:10.0.0.11:5080>",
        "<sip:10.0.0.11:5080;method=REFER>",
    ],
)
def test_what_only_a_dialog_or_an_address_names_gets_a_token_of_its_receiver(value: str) -> None:
    harness, refer = refer_by_server(value)
    assert b"10.0.0." not in bytes(refer)
    uri, headers = referred(refer)
    assert headers == ("Replaces=c9%3Bto-tag%3Da" if "?" in value else "")
    uri, _, method = uri.partition(";")
    assert method == ("method=REFER" if "method" in value else "")
    new = invite(uri=uri, branch="z9hG4bKnew").replace(b"Call-ID: c1", b"Call-ID: c2")
    ((to, invited),) = harness.receive(CALLER, new)
    assert isinstance(invited, Request)
    assert (to, str(invited.uri)) == (PBX, value.strip("<>").partition("?")[0].partition(";")[0])
    sent = harness.receive(STRANGER, new)
    assert (statuses(sent, STRANGER), len(sent)) == ([403], 1)  # another trunk has not been referred
    harness.wait(limits.REFERRED_SECONDS)
    assert statuses(harness.receive(CALLER, new.replace(b"z9hG4bKnew", b"z9hG4bKlate")), CALLER) == [403]


def test_a_referral_opens_in_no_dialog() -> None:
    harness, refer = refer_by_server("<sip:10.0.0.11:5080>")
    bye = invite("BYE", referred(refer)[0], 3, "z9hG4bKbye", to_tag="bob")
    assert statuses(harness.receive(CALLER, bye), CALLER) == [481]


def test_a_value_that_cannot_be_read_does_not_go_out() -> None:
    _, refer = refer_by_server("<sip:200@10.0.0.11")
    assert refer.get("Refer-To") is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("Replaces=a%3Bto-tag%3Db&P-Asserted-Identity=%3Csip:boss%40example.org%3E", "Replaces=a%3Bto-tag%3Db"),
        ("p%2Dasserted%2Didentity=x&Diversion=x&X-Y=z&Subject=s&Call-ID=c&body=b", "Subject=s"),
        ("Alert-Info=%3Chttp://x%3E&User-to-User=1", "User-to-User=1"),
        ("Record-Route=%3Csip:x%3E", ""),
    ],
)
@pytest.mark.parametrize("trusted", [False, True], ids=["of a stranger", "of a trunk"])
def test_header_fields_of_a_uri_cross_as_those_of_a_message(headers: str, expected: str, trusted: bool) -> None:
    """What the server that is referred puts into its request would otherwise come past the rules for its sender (RFC
    3261 section 19.1.5)."""
    harness = EdgeHarness(open=("public",)) if trusted else EdgeHarness(trunks={}, open=("public",))
    ((_, forwarded),) = harness.receive(CALLER, invite())
    ((_, ok),) = harness.receive(PBX, respond(forwarded, 200))
    extra = f"Refer-To: <sip:200@192.0.2.1?{headers}>\r\n"
    refer = invite("REFER", (ok.get("Contact") or "").strip("<>"), 2, "z9hG4bKrefer", to_tag="bob", extra=extra)
    crossed = referred(the_request(harness.receive(CALLER, refer), PBX))[1]
    if trusted:  # whose assertions are believed
        assert ("P-Asserted-Identity" in crossed, "Diversion" in crossed) == (
            "P-Asserted" in headers, "Diversion" in headers,
        )  # fmt: skip
        assert not {"Call-ID", "Record-Route", "body", "X-Y"} & {pair.partition("=")[0] for pair in crossed.split("&")}
    else:
        assert crossed == expected


def test_a_refer_to_a_token_of_somebody_else_is_not_translated() -> None:
    """It shows nothing of the private side to the private side either."""
    alice, bob, carol = three()
    to_carol, _ = alice.call(carol, "consult")
    harness = EdgeHarness(trunks={}, open=("public",))
    ((_, forwarded),) = harness.receive(STRANGER, invite())
    ((_, ok),) = harness.receive(PBX, respond(forwarded, 200))
    extra = f"Refer-To: <{to_carol}>\r\n"
    refer = invite("REFER", (ok.get("Contact") or "").strip("<>"), 2, "z9hG4bKrefer", to_tag="bob", extra=extra)
    assert referred(the_request(harness.receive(STRANGER, refer), PBX))[0] == to_carol
    assert bob.user == "bob"


def test_a_register_names_no_peer_of_the_inside() -> None:
    """It has no use for Refer-To and Referred-By (RFC 3515 section 2.1), which cross translated all the same."""
    harness = EdgeHarness()
    forwarded = the_request(harness.receive(CALLER, invite()), PBX)
    target = (forwarded.get("Contact") or "").strip("<>")
    named = "Refer-To: <sip:200@10.0.0.11>\r\nReferred-By: <sip:10.0.0.12?Replaces=x>\r\n"
    register = invite("REGISTER", target, 5, "z9hG4bKr", extra=named, from_tag="bob")
    sent = the_request(harness.receive(PBX, register), CALLER)
    assert sent.get("Refer-To") == "<sip:200@192.0.2.1:5060>"
    assert b"10.0.0." not in bytes(sent)
