"""Who may use a token, in which dialog, and for how long."""

from __future__ import annotations

import binascii

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from support.devices import Device, from_pbx, methods, statuses
from support.signalling import CALLER, CARRIERS, CORE, MEMBERS, OFFER, PUBLIC, EdgeHarness, Entropy, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source, Zone
from edgesbc.screen.stages.method import CALLS
from edgesbc.signalling.tokens import Sealer
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
OTHER_SERVER = Flow(CORE, MEMBERS[1])
OTHER_PEER = Flow(PUBLIC, Source("203.0.113.66", 5060))
EVENTS = (*CALLS, "SUBSCRIBE")
TARGET_NAMES = ("call", "dialog", "epoch", "holders", "kind", "listener", "peer", "routes", "serial", "until", "uri")
IN_DIALOG = ["BYE", "INVITE", "INFO", "UPDATE", "REFER", "NOTIFY", "OPTIONS", "PRACK"]


def uri_of(message: Request | Response) -> str:
    return (message.get("Contact") or "").strip("<>")


def token_of(uri: str) -> str:
    return uri.removeprefix("sip:").partition("@")[0]


def call(harness: EdgeHarness, caller: Flow = CALLER, branch: str = "z9hG4bKa1") -> tuple[str, str]:
    """A call that is up. The Contact that the caller was given, and that of the PBX."""
    ((_, forwarded),) = harness.receive(caller, invite(branch=branch))
    ((_, ok),) = harness.receive(PBX, respond(forwarded, 200))
    harness.receive(caller, invite("ACK", uri_of(ok), branch=f"{branch}ack", to_tag="bob"))
    return uri_of(ok), uri_of(forwarded)


def by_caller(method: str, uri: str, number: int = 2, to_tag: str = "bob", call_id: str = "c1") -> bytes:
    data = invite(method, uri, number, f"z9hG4bKby{method}{number}{call_id}", to_tag=to_tag)
    return data.replace(b"Call-ID: c1\r\n", f"Call-ID: {call_id}\r\n".encode())


def by_pbx(method: str, uri: str, number: int = 2, call_id: str = "c1") -> bytes:
    return from_pbx(method, uri, call_id, number, to_tag="alice", from_tag="bob")


def test_what_the_edge_keeps_of_a_token_is_what_it_opens_to(open_harness: EdgeHarness) -> None:
    given_to_caller, given_to_pbx = call(open_harness)
    (live,), sealer = open_harness.edge.parts.calls, Sealer([b"k" * 16], Entropy())
    assert live.callee is not None
    for leg, uri, holder in ((live.callee, given_to_caller, CALLER), (live.caller, given_to_pbx, PBX)):
        given, opened = leg.given, sealer.open(token_of(uri), holder.listener.zone)
        assert given is not None
        assert given.target is not None
        assert opened is not None
        assert given.text == token_of(uri)
        assert given.contact == f"<{uri}>"
        for name in TARGET_NAMES:
            assert getattr(given.target, name) == getattr(opened, name), name


# --- the peer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", IN_DIALOG)
def test_another_peer_is_refused(open_harness: EdgeHarness, method: str) -> None:
    harness = open_harness
    target, _ = call(harness, Flow(PUBLIC, Source("203.0.113.9", 5060)))
    sent = harness.receive(OTHER_PEER, by_caller(method, target))
    assert statuses(sent, OTHER_PEER) == [403]
    assert len(sent) == 1
    assert harness.decisions[-1].reason.code == "token"
    assert harness.decisions[-1].detail == f"{method}: another peer"
    assert harness.edge.calls == 1
    ack = by_caller("ACK", target)
    assert harness.receive(OTHER_PEER, ack) == []
    assert harness.decisions[-1].detail == "ACK: another peer"


def test_a_peer_behind_a_nat_whose_port_changes(open_harness: EdgeHarness) -> None:
    target, _ = call(open_harness, Flow(PUBLIC, Source("203.0.113.9", 5060)))
    elsewhere = Flow(PUBLIC, Source("203.0.113.9", 61000))
    assert methods(open_harness.receive(elsewhere, by_caller("BYE", target)), PBX) == ["BYE"]


def test_a_host_that_changes_its_address_within_its_64() -> None:
    harness = EdgeHarness(open=("public", "carriers"))
    hosts = ("2001:db8:5::1", "2001:db8:5::2", "2001:db8:6::1")
    first, second, other = (harness.edge.new_flow(CARRIERS, Source(host, 40000)) for host in hosts)
    for flow in (first, second, other):
        harness.edge.flow_opened(flow)
    target, _ = call(harness, first)
    assert statuses(harness.receive(other, by_caller("BYE", target)), other) == [403]
    assert methods(harness.receive(second, by_caller("BYE", target, 3)), PBX) == ["BYE"]


def test_a_trunk_may_use_any_of_its_addresses() -> None:
    harness = EdgeHarness(trunks={"carrier": ("198.51.100.0/24", "203.0.113.66"), "other": ("192.0.2.200",)})
    target, _ = call(harness)
    other = Flow(PUBLIC, Source("192.0.2.200", 5060))
    assert statuses(harness.receive(other, by_caller("BYE", target)), other) == [403]
    assert methods(harness.receive(OTHER_PEER, by_caller("BYE", target, 3)), PBX) == ["BYE"]


@pytest.mark.parametrize("user", ["bob", "carol"])
def test_another_address_of_the_same_account_only(user: str) -> None:
    """Over UDP, where no connection shows that a device has moved."""
    harness = EdgeHarness(trunks={})
    bob = Device(harness, listener=PUBLIC)
    invited = bob.called()
    ok = bob.answer(invited, 200)[0][1]
    harness.receive(PBX, from_pbx("ACK", uri_of(ok), to_tag="dev", branch="z9hG4bKa"))
    if user == "bob":
        bob.connect("198.51.100.99", PUBLIC)
        bob.register()
        sender = bob.flow
    else:
        sender = Device(harness, user, call_id="reg-carol", host="198.51.100.99", listener=PUBLIC).flow
    sent = harness.receive(sender, bob.request("BYE", "in", "pbx", uri_of(invited), "z9hG4bKbye", 2))
    if user == "bob":
        assert methods(sent, PBX) == ["BYE"]
    else:
        assert [message.status for _, message in sent if isinstance(message, Response)] == [403]
        assert len(sent) == 1


def test_another_server_of_the_core_continues_the_dialog(harness: EdgeHarness) -> None:
    _, target = call(harness)
    assert methods(harness.receive(OTHER_SERVER, by_pbx("BYE", target)), CALLER) == ["BYE"]


def test_misuse_is_an_attempt_and_leads_to_a_ban(open_harness: EdgeHarness) -> None:
    harness = open_harness
    target, _ = call(harness, Flow(PUBLIC, Source("203.0.113.9", 5060)))
    for number in range(10):
        assert statuses(harness.receive(OTHER_PEER, by_caller("BYE", target, 10 + number)), OTHER_PEER) == [403]
        harness.wait(1)
    assert harness.receive(OTHER_PEER, by_caller("BYE", target, 30)) == []
    assert harness.reasons.count("guess") == 1
    assert "ban" in harness.reasons
    assert harness.edge.calls == 1


def test_a_trunk_that_is_wrong_is_refused_and_not_banned() -> None:
    harness = EdgeHarness(trunks={"carrier": ("198.51.100.7",), "other": ("203.0.113.66",)})
    target, _ = call(harness)
    for number in range(30):
        sent = harness.receive(OTHER_PEER, by_caller("BYE", target, 10 + number))
        assert statuses(sent, OTHER_PEER) == [403]
    assert set(harness.reasons) <= {"token", "routed"}


# --- the dialog ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", IN_DIALOG)
@pytest.mark.parametrize(("to_tag", "call_id"), [("bob", "c2"), ("eve", "c1"), ("alice", "c1")])
def test_another_dialog_is_refused(harness: EdgeHarness, method: str, to_tag: str, call_id: str) -> None:
    target, _ = call(harness)
    sent = harness.receive(CALLER, by_caller(method, target, 2, to_tag, call_id))
    assert statuses(sent, CALLER) == [481]
    assert len(sent) == 1
    assert harness.decisions[-1].detail == f"{method}: another dialog"


@pytest.mark.parametrize("method", IN_DIALOG)
def test_another_dialog_from_the_private_side_is_refused(harness: EdgeHarness, method: str) -> None:
    _, target = call(harness)
    sent = harness.receive(PBX, by_pbx(method, target, call_id="c2"))
    assert (statuses(sent, PBX), len(sent)) == ([481], 1)


@pytest.mark.parametrize("method", ["BYE", "NOTIFY", "INFO"])
def test_a_path_is_no_way_into_a_dialog(method: str) -> None:
    harness = EdgeHarness(trunks={})
    device = Device(harness)
    sent = harness.receive(PBX, from_pbx(method, device.path, "any", 2, to_tag="dev"))
    assert (statuses(sent, PBX), len(sent)) == ([481], 1)


def test_each_early_dialog_of_a_fork_has_its_own_token(harness: EdgeHarness) -> None:
    """Tags are known from responses only; PRACK goes to the fork that its To names."""
    ((_, forwarded),) = harness.receive(CALLER, invite())
    targets = {}
    for tag in ("one", "two"):
        ringing = respond(forwarded, 183, tag=tag).replace(b"bob@10.0.0.11:5070", f"{tag}@10.0.0.11".encode())
        ((_, progress),) = harness.receive(PBX, ringing)
        targets[tag] = uri_of(progress)
    for number, tag in enumerate(("one", "two")):
        ((to, prack),) = harness.receive(CALLER, by_caller("PRACK", targets[tag], 2 + number, tag))
        assert isinstance(prack, Request)
        assert (to, str(prack.uri)) == (PBX, f"sip:{tag}@10.0.0.11")
        harness.receive(PBX, respond(prack, 200))
    assert statuses(harness.receive(CALLER, by_caller("PRACK", targets["one"], 5, "two")), CALLER) == [481]


def test_a_refresh_within_another_fork_changes_no_target_of_the_first(harness: EdgeHarness) -> None:
    ((_, forwarded),) = harness.receive(CALLER, invite())
    contacts = {}
    for tag in ("one", "two"):
        data = respond(forwarded, 200, tag=tag).replace(b"bob@10.0.0.11:5070", f"{tag}@10.0.0.11".encode())
        ((_, ok),) = harness.receive(PBX, data)
        contacts[tag] = uri_of(ok)
    ((_, update),) = harness.receive(CALLER, by_caller("UPDATE", contacts["two"], 3, "two"))
    refreshed = respond(update, 200).replace(b"bob@10.0.0.11:5070", b"moved@10.0.0.11")
    ((_, ok),) = harness.receive(PBX, refreshed)
    ((_, bye),) = harness.receive(CALLER, by_caller("BYE", uri_of(ok), 4, "two"))
    assert isinstance(bye, Request)
    assert str(bye.uri) == "sip:moved@10.0.0.11"
    harness.receive(PBX, respond(bye, 200, contact=False))
    ((_, bye),) = harness.receive(CALLER, by_caller("BYE", contacts["one"], 5, "one"))
    assert isinstance(bye, Request)
    assert str(bye.uri) == "sip:one@10.0.0.11"


# --- the life of the dialog ----------------------------------------------------------------------------------


def hang_up(harness: EdgeHarness, target: str) -> None:
    ((_, bye),) = harness.receive(CALLER, by_caller("BYE", target))
    harness.receive(PBX, respond(bye, 200, contact=False))
    assert harness.edge.calls == 0


@pytest.mark.parametrize("method", ["BYE", "INFO", "UPDATE", "NOTIFY", "OPTIONS"])
def test_after_the_end_of_a_call_its_tokens_die(harness: EdgeHarness, method: str) -> None:
    inward, outward = call(harness)
    hang_up(harness, inward)
    harness.wait(limits.ENDED_CALL_SECONDS - 1)
    assert methods(harness.receive(PBX, by_pbx(method, outward, 3)), CALLER) == [method]  # it has crossed the BYE
    harness.wait(2)
    sent = harness.receive(PBX, by_pbx(method, outward, 4))
    assert (statuses(sent, PBX), len(sent)) == ([481], 1)
    sent = harness.receive(CALLER, by_caller(method, inward, 5))
    assert (statuses(sent, CALLER), len(sent)) == ([481], 1)
    assert harness.decisions[-1].reason.code == "no-dialog"


def test_the_notify_of_a_transfer_comes_after_the_bye(harness: EdgeHarness) -> None:
    inward, outward = call(harness)
    ((_, refer),) = harness.receive(CALLER, by_caller("REFER", inward, 2))
    harness.receive(PBX, respond(refer, 202))
    ((_, bye),) = harness.receive(CALLER, by_caller("BYE", inward, 3))
    harness.receive(PBX, respond(bye, 200, contact=False))
    harness.wait(200)
    assert methods(harness.receive(PBX, by_pbx("NOTIFY", outward, 5)), CALLER) == ["NOTIFY"]
    assert statuses(harness.receive(PBX, by_pbx("INFO", outward, 6)), PBX) == [481]
    harness.wait(limits.ENDED_SUBSCRIPTION_SECONDS)
    assert statuses(harness.receive(PBX, by_pbx("NOTIFY", outward, 7)), PBX) == [481]


def test_a_subscription_has_no_call_and_goes_on() -> None:
    harness = EdgeHarness(methods=EVENTS)
    ((_, forwarded),) = harness.receive(CALLER, invite("SUBSCRIBE"))
    ((_, ok),) = harness.receive(PBX, respond(forwarded, 200))
    harness.wait(3000)
    notify = by_pbx("NOTIFY", uri_of(forwarded))
    assert methods(harness.receive(PBX, notify), CALLER) == ["NOTIFY"]
    assert methods(harness.receive(CALLER, by_caller("SUBSCRIBE", uri_of(ok))), PBX) == ["SUBSCRIBE"]
    sent = harness.receive(OTHER_PEER, by_caller("SUBSCRIBE", uri_of(ok), 3))
    assert statuses(sent, OTHER_PEER) == [403]


@pytest.mark.parametrize("anchor", [True, False])
def test_after_a_restart(anchor: bool) -> None:
    """BYE, refreshes and reports of a transfer pass; no other peer's do."""
    before = EdgeHarness()
    inward, outward = call(before)
    after = EdgeHarness(anchor=anchor, trunks={"carrier": ("198.51.100.7",), "other": ("203.0.113.66",)})
    after.edge.parts.flows.epoch = "another run"
    for number, method in enumerate(("BYE", "NOTIFY", "OPTIONS", "UPDATE")):
        assert methods(after.receive(PBX, by_pbx(method, outward, 10 + number)), CALLER) == [method]
        assert methods(after.receive(CALLER, by_caller(method, inward, 10 + number)), PBX) == [method]
    for number, method in enumerate(("INVITE", "INFO", "REFER", "PRACK")):
        assert statuses(after.receive(CALLER, by_caller(method, inward, 20 + number)), CALLER) == [481]
    offer = invite("UPDATE", inward, 30, "z9hG4bKoffer", to_tag="bob", body=OFFER)
    assert statuses(after.receive(CALLER, offer), CALLER) == [481]
    assert statuses(after.receive(OTHER_PEER, by_caller("BYE", inward, 31)), OTHER_PEER) == [403]


def first_form(inner: str, holder: Zone) -> str:
    """A token as they were made before they had a kind."""
    nonce = b"n" * 12
    sealed = nonce + AESGCM(b"k" * 16).encrypt(nonce, inner.encode(), holder.encode())
    return binascii.b2a_base64(sealed, newline=False).rstrip(b"=").translate(bytes.maketrans(b"+/", b"-_")).decode()


def test_tokens_of_the_first_form_end_calls(harness: EdgeHarness) -> None:
    host, port = MEMBERS[0]
    inward = first_form("\x1f".join(("core", host, str(port), "0", "old", "sip:bob@10.0.0.11")), Zone.PUBLIC)
    host, port = CALLER.peer
    outward = first_form("\x1f".join(("public", host, str(port), "0", "old", "sip:alice@192.168.1.5")), Zone.CORE)
    inward_uri, outward_uri = f"sip:{inward}@192.0.2.1", f"sip:{outward}@10.0.0.1"
    assert methods(harness.receive(CALLER, by_caller("BYE", inward_uri)), PBX) == ["BYE"]
    assert methods(harness.receive(CALLER, by_caller("ACK", inward_uri)), PBX) == ["ACK"]
    assert methods(harness.receive(PBX, by_pbx("BYE", outward_uri)), CALLER) == ["BYE"]
    assert methods(harness.receive(PBX, by_pbx("NOTIFY", outward_uri)), CALLER) == ["NOTIFY"]
    for number, method in enumerate(("INFO", "REFER", "UPDATE", "NOTIFY")):
        assert statuses(harness.receive(CALLER, by_caller(method, inward_uri, 5 + number)), CALLER) == [481]


def test_a_path_of_the_first_form_leads_to_its_phone(harness: EdgeHarness) -> None:
    """Registrations live for an hour: calls must find the phones that registered before the edge was replaced."""
    host, port = CALLER.peer
    path = first_form("\x1f".join(("public", host, str(port), "0", "old", "")), Zone.CORE)
    sent = harness.receive(PBX, from_pbx("INVITE", f"sip:{path}@10.0.0.1", "out1"))
    assert methods(sent, CALLER) == ["INVITE"]


# --- what a tag in To is worth -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["REGISTER", "PUBLISH"])
def test_a_method_without_a_place_in_a_dialog_is_never_inside_one(method: str) -> None:
    harness = EdgeHarness(methods=(*CALLS, "PUBLISH"))
    target, _ = call(harness)
    request = by_caller(method, target).replace(b"sip:100@192.0.2.1>;tag", b"sip:alice@192.0.2.1>;tag")
    sent = harness.receive(CALLER, request)
    assert methods(sent, PBX) == [method]
    assert "bob@10.0.0.11:5070" not in str(next(message for _, message in sent if isinstance(message, Request)).uri)
    assert harness.decisions[-1].reason.code == "routed"


def test_the_token_is_not_much_longer() -> None:
    """A Contact is in the Request-URI of each request, and UDP has 1300 bytes for all fields."""
    harness = EdgeHarness()
    inward, outward = call(harness)
    assert len(token_of(inward)) <= 175
    assert len(token_of(outward)) <= 175
