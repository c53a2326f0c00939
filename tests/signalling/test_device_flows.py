"""The connection of a registered device closes: what is meant for the device waits for its next registration."""

from __future__ import annotations

import pytest
from support.devices import INSTANCE, PBX, Device, from_pbx, methods, statuses
from support.signalling import BROWSERS, CARRIERS, CORE, PUBLIC, EdgeHarness, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source
from edgesbc.screen.standing import Standing
from edgesbc.signalling.effects import Open
from edgesbc.signalling.registration_rules import RegistrationRules
from edgesbc.sip.message import Request, Response

OTHER_HOST = "198.51.100.99"
PATHS = [("203.0.113.7", BROWSERS), (OTHER_HOST, BROWSERS), (OTHER_HOST, CARRIERS), (OTHER_HOST, PUBLIC)]
"""From where, and at which listener, a device registers again."""


@pytest.fixture
def harness() -> EdgeHarness:
    return EdgeHarness(trunks={})


def contact_of(message: Request | Response) -> str:
    return (message.get("Contact") or "").strip("<>")


def nothing_is_left(harness: EdgeHarness) -> None:
    harness.wait(300)
    assert harness.edge.idle
    assert harness.edge.calls == harness.dispatcher.leases == 0
    assert harness.edge.deadline() is None


# --- the device calls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "listener"), PATHS)
@pytest.mark.parametrize("answered", ["before", "after"])
def test_a_caller_gets_its_answer_by_its_new_flow(
    harness: EdgeHarness, host: str, listener: Listener, answered: str
) -> None:
    device = Device(harness)
    forwarded = device.invite()
    harness.receive(PBX, respond(forwarded, 180))
    assert device.lose() == []
    if answered == "before":
        assert harness.receive(PBX, respond(forwarded, 200)) == []
    harness.wait(3)
    new = device.connect(host, listener)
    sent = device.register()
    assert statuses(sent, new) == ([200] if answered == "before" else [180])
    if answered == "after":
        sent = harness.receive(PBX, respond(forwarded, 200))
        assert statuses(sent, new) == [200]
    (ok,) = [message for _, message in sent]
    ack = harness.receive(new, device.request("ACK", to_tag="bob", uri=contact_of(ok), branch="z9hG4bKack"))
    assert methods(ack, PBX) == ["ACK"]
    assert "flow-moved" in harness.reasons
    bye = harness.receive(PBX, from_pbx("BYE", contact_of(forwarded), "out", to_tag="dev", from_tag="bob"))
    assert methods(bye, new) == ["BYE"]


def test_the_answer_comes_after_the_registration_is_confirmed(harness: EdgeHarness) -> None:
    """A device might refuse messages while it is not registered."""
    device = Device(harness)
    harness.receive(PBX, respond(device.invite(), 180))
    device.lose()
    new = device.connect()
    request = device.ask_to_register()
    binding = f"Contact: {request.get('Contact')};expires=600"
    sent = harness.receive(PBX, respond(request, 200, extra=binding, contact=False))
    assert statuses(sent, new) == [200, 180]


def test_cancel_by_the_new_flow_after_the_registration(harness: EdgeHarness) -> None:
    device = Device(harness)
    forwarded = device.invite()
    harness.receive(PBX, respond(forwarded, 180))
    device.lose()
    new = device.connect(OTHER_HOST)
    device.register()
    sent = harness.receive(new, device.request("CANCEL"))
    assert statuses(sent, new) == [200]
    assert methods(sent, PBX) == ["CANCEL"]
    sent = harness.receive(PBX, respond(forwarded, 487))
    assert statuses(sent, new) == [487]
    assert harness.receive(new, device.request("ACK", to_tag="bob")) == []
    nothing_is_left(harness)


@pytest.mark.parametrize(("host", "accepted"), [("203.0.113.7", True), (OTHER_HOST, False)])
def test_cancel_before_the_registration_only_from_the_same_address(
    harness: EdgeHarness, host: str, accepted: bool
) -> None:
    device = Device(harness)
    forwarded = device.invite()
    harness.receive(PBX, respond(forwarded, 180))
    device.lose()
    new = device.connect(host)
    sent = harness.receive(new, device.request("CANCEL"))
    assert statuses(sent, new) == ([200] if accepted else [481])
    assert methods(sent, PBX) == (["CANCEL"] if accepted else [])
    if accepted:
        assert statuses(harness.receive(PBX, respond(forwarded, 487)), new) == []
        assert statuses(device.register(), new) == [487]


def test_the_answer_to_a_bye_of_the_device_is_kept(harness: EdgeHarness) -> None:
    device = Device(harness)
    ok = harness.receive(PBX, respond(device.invite(), 200))[-1][1]
    harness.receive(device.flow, device.request("ACK", to_tag="bob", uri=contact_of(ok), branch="z9hG4bKack"))
    bye = device.request("BYE", to_tag="bob", uri=contact_of(ok), branch="z9hG4bKbye", cseq=2)
    ((_, forwarded),) = harness.receive(device.flow, bye)
    device.lose()
    assert harness.receive(PBX, respond(forwarded, 200)) == []
    new = device.connect()
    sent = device.register()
    assert [message.cseq_method for to, message in sent if to == new] == ["BYE"]
    assert statuses(sent, new) == [200]
    nothing_is_left(harness)


@pytest.mark.parametrize("away", [1, 20])
def test_a_2xx_that_was_lost_with_the_connection_is_repeated_by_the_new_one(harness: EdgeHarness, away: int) -> None:
    """Also after the wait: its sender repeats it. The edge does not, since the device may have sent its ACK."""
    device = Device(harness)
    forwarded = device.invite()
    harness.receive(PBX, respond(forwarded, 200))
    device.lose()
    harness.wait(away)
    new = device.connect(OTHER_HOST)
    assert statuses(device.register(), new) == []
    assert statuses(harness.receive(PBX, respond(forwarded, 200)), new) == [200]


def test_where_the_device_does_not_return_its_call_is_cancelled(harness: EdgeHarness) -> None:
    device = Device(harness)
    forwarded = device.invite()
    harness.receive(PBX, respond(forwarded, 180))
    assert device.lose() == []
    assert harness.wait(9.9) == []
    assert not harness.edge.idle
    sent = harness.wait(0.2)
    assert methods(sent, PBX) == ["CANCEL"]
    (decision,) = [decision for decision in harness.decisions if decision.reason.code == "flow-gone"]
    assert decision.call_id == "out"
    harness.receive(PBX, respond(forwarded, 487))
    nothing_is_left(harness)


def test_a_second_report_of_the_end_changes_nothing(harness: EdgeHarness) -> None:
    device = Device(harness)
    harness.receive(PBX, respond(device.invite(), 180))
    device.lose()
    assert device.lose() == []
    harness.wait(20)
    assert device.lose() == []


# --- the device is called ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "listener"), PATHS)
def test_a_callee_that_has_not_answered_gets_the_invite_again(
    harness: EdgeHarness, host: str, listener: Listener
) -> None:
    device = Device(harness)
    invite = device.called()
    assert device.lose() == []
    new = device.connect(host, listener)
    ((to, again),) = device.register()
    assert to == new
    assert isinstance(again, Request)
    assert bytes(again) == bytes(invite)
    device.answer(again, 180)
    sent = device.answer(again, 200)
    assert statuses(sent, PBX) == [200]
    ack = harness.receive(PBX, from_pbx("ACK", contact_of(sent[0][1]), to_tag="dev", branch="z9hG4bKa"))
    assert methods(ack, new) == ["ACK"]
    ((to, bye),) = harness.receive(new, device.request("BYE", "in", "pbx", contact_of(invite), "z9hG4bKbye"))
    assert to == PBX
    harness.receive(PBX, respond(bye, 200))
    nothing_is_left(harness)


def test_a_request_that_moves_to_udp_is_repeated_there(harness: EdgeHarness) -> None:
    device = Device(harness)
    device.called()
    device.lose()
    new = device.connect(OTHER_HOST, PUBLIC)
    assert methods(device.register(), new) == ["INVITE"]
    assert methods(harness.wait(4), new) == ["INVITE"] * 3


@pytest.mark.parametrize("host", ["203.0.113.7", OTHER_HOST])
def test_a_ringing_callee_answers_by_its_new_flow(harness: EdgeHarness, host: str) -> None:
    device = Device(harness)
    invite = device.called()
    device.answer(invite, 180)
    device.lose()
    new = device.connect(host)
    assert device.register() == [], "it has the INVITE"
    sent = device.answer(invite, 200)
    assert statuses(sent, PBX) == [200]
    ack = harness.receive(PBX, from_pbx("ACK", contact_of(sent[0][1]), to_tag="dev", branch="z9hG4bKa"))
    assert methods(ack, new) == ["ACK"]


@pytest.mark.parametrize(("host", "listener"), PATHS)
def test_the_pbx_cancels_while_the_device_is_away(harness: EdgeHarness, host: str, listener: Listener) -> None:
    """CANCEL and ACK have the Via of their INVITE, also where they are sent by another listener."""
    device = Device(harness)
    invite = device.called()
    device.answer(invite, 180)
    device.lose()
    sent = harness.receive(PBX, from_pbx("CANCEL", device.path, branch="z9hG4bKpbxin1INVITE"))
    assert statuses(sent, PBX) == [200]
    new = device.connect(host, listener)
    ((to, cancel),) = device.register()
    assert (to, isinstance(cancel, Request) and cancel.method) == (new, "CANCEL")
    assert cancel.get("Via") == invite.get("Via")
    device.answer(cancel, 200)
    sent = device.answer(invite, 487)
    assert [message.get("Via") for to, message in sent if to == new] == [invite.get("Via")]
    assert methods(sent, new) == ["ACK"]
    assert statuses(sent, PBX) == [487]
    nothing_is_left(harness)


def test_a_callee_that_does_not_return_fails_as_before(harness: EdgeHarness) -> None:
    device = Device(harness)
    device.answer(device.called(), 180)
    device.lose()
    assert statuses(harness.wait(10.1), PBX) == [480]
    assert [d.call_id for d in harness.decisions if d.reason.code == "flow-gone"] == ["in"]
    harness.receive(PBX, from_pbx("ACK", device.path, to_tag="x", branch="z9hG4bKpbxin1INVITE"))
    nothing_is_left(harness)


def test_a_new_call_for_the_lost_connection_is_refused_at_once(harness: EdgeHarness) -> None:
    """So that the registrar can try another binding (RFC 5626 section 5.3.1)."""
    device = Device(harness)
    device.called("first")
    old_path = device.path
    device.lose()
    assert statuses(harness.receive(PBX, from_pbx("INVITE", old_path, "second")), PBX) == [480]
    device.connect()
    device.register()
    assert statuses(harness.receive(PBX, from_pbx("INVITE", old_path, "third")), PBX) == [480]


# --- inside a dialog -----------------------------------------------------------------------------------------


def established(harness: EdgeHarness, device: Device) -> tuple[str, str]:
    """A call to the device. The Contact of the device for the PBX, and that of the PBX for the device."""
    invite = device.called()
    ok = device.answer(invite, 200)[0][1]
    harness.receive(PBX, from_pbx("ACK", contact_of(ok), to_tag="dev", branch="z9hG4bKa"))
    return contact_of(ok), contact_of(invite)


@pytest.mark.parametrize("method", ["BYE", "INFO", "INVITE", "NOTIFY"])
@pytest.mark.parametrize("host", ["203.0.113.7", OTHER_HOST])
def test_a_request_of_the_pbx_waits_for_the_new_flow(harness: EdgeHarness, method: str, host: str) -> None:
    device = Device(harness)
    target, _ = established(harness, device)
    device.lose()
    sent = harness.receive(PBX, from_pbx(method, target, cseq=2, to_tag="dev"))
    assert methods(sent, device.flow) == statuses(sent, PBX)[1:] == []
    new = device.connect(host)
    ((to, request),) = device.register()
    assert (to, isinstance(request, Request) and request.method) == (new, method)
    assert statuses(device.answer(request, 200), PBX) == [200]


def test_long_after_the_registration_a_bye_finds_the_device(harness: EdgeHarness) -> None:
    device = Device(harness)
    target, _ = established(harness, device)
    for host in ("203.0.113.7", OTHER_HOST, "203.0.113.7"):
        device.lose()
        harness.wait(100)
        device.connect(host)
        device.register()
        harness.wait(100)
    sent = harness.receive(PBX, from_pbx("BYE", target, cseq=2, to_tag="dev"))
    assert methods(sent, device.flow) == ["BYE"]


def test_when_its_registration_has_ended_requests_are_refused_at_once(harness: EdgeHarness) -> None:
    device = Device(harness)
    target, _ = established(harness, device)
    device.lose()
    device.connect()
    device.register()
    device.lose()
    harness.wait(700)
    sent = harness.receive(PBX, from_pbx("BYE", target, cseq=2, to_tag="dev"))
    assert statuses(sent, PBX) == [480]
    assert harness.edge.calls == 0


def test_a_bye_that_nobody_takes_ends_the_call(harness: EdgeHarness) -> None:
    device = Device(harness)
    target, _ = established(harness, device)
    device.lose()
    assert harness.receive(PBX, from_pbx("BYE", target, cseq=2, to_tag="dev")) == []
    assert 480 in statuses(harness.wait(11), PBX)
    nothing_is_left(harness)


def test_an_ack_waits_too(harness: EdgeHarness) -> None:
    device = Device(harness)
    ok = device.answer(device.called(), 200)[0][1]
    device.lose()
    harness.receive(PBX, from_pbx("ACK", contact_of(ok), to_tag="dev", branch="z9hG4bKa"))
    harness.receive(PBX, from_pbx("BYE", contact_of(ok), cseq=2, to_tag="dev"))
    new = device.connect()
    assert methods(device.register(), new) == ["ACK", "BYE"]


@pytest.mark.parametrize(
    ("host", "registers", "accepted"),
    [("203.0.113.7", False, True), (OTHER_HOST, False, False), (OTHER_HOST, True, True)],
)
def test_requests_of_the_device_by_its_new_flow(
    harness: EdgeHarness, host: str, registers: bool, accepted: bool
) -> None:
    """Before its registration it is known by its address only."""
    device = Device(harness)
    _, target = established(harness, device)
    device.lose()
    new = device.connect(host)
    if registers:
        device.register()
    sent = harness.receive(new, device.request("BYE", "in", "pbx", target, "z9hG4bKbye", 2))
    assert methods(sent, PBX) == (["BYE"] if accepted else [])
    assert statuses(sent, new) == ([] if accepted else [403])


def test_a_simple_device_without_a_token_is_known_after_its_registration(harness: EdgeHarness) -> None:
    device = Device(harness)
    established(harness, device)
    device.lose()
    new = device.connect(OTHER_HOST)
    bye = device.request("BYE", "in", "pbx", "sip:100@example.org", "z9hG4bKbye1", 2)
    assert statuses(harness.receive(new, bye), new) == [481]
    device.register()
    bye = device.request("BYE", "in", "pbx", "sip:100@example.org", "z9hG4bKbye2", 3)
    assert methods(harness.receive(new, bye), PBX) == ["BYE"]


def test_the_edge_itself_hangs_up_by_the_new_flow(harness: EdgeHarness) -> None:
    device = Device(harness)
    established(harness, device)
    device.lose()
    harness.sent.clear()
    harness.sort(harness.edge.end_calls(harness.now))
    assert methods(list(harness.sent), PBX) == ["BYE"]
    new = device.connect()
    assert methods(device.register(), new) == ["BYE"]


# --- which device --------------------------------------------------------------------------------------------


def test_a_device_without_an_instance_is_known_by_its_call_id(harness: EdgeHarness) -> None:
    device = Device(harness, contact_params="")
    device.called()
    device.lose()
    new = device.connect(OTHER_HOST)
    device.call_id = "another"
    assert device.register() == []
    device.call_id = "reg-bob"
    assert methods(device.register(), new) == ["INVITE"]


def test_with_an_instance_the_call_id_may_change(harness: EdgeHarness) -> None:
    device = Device(harness)
    device.called()
    device.lose()
    device.call_id = "restarted"
    new = device.connect(OTHER_HOST)
    assert methods(device.register(), new) == ["INVITE"]


def test_a_page_without_an_instance_is_known_by_its_random_name(harness: EdgeHarness) -> None:
    """SIP.js begins another registration after each lost connection."""
    device = Device(harness, contact_params="", contact_host="df7jal23ls0d.invalid")
    device.called()
    device.lose()
    Device(harness, contact_params="", call_id="another", contact_host="wtthvyjgtbhe.invalid")
    assert methods(list(harness.sent), device.flow) == []
    new = device.connect(OTHER_HOST)
    device.call_id = "restarted"
    assert methods(device.register(), new) == ["INVITE"]


@pytest.mark.parametrize(
    ("user", "params", "call_id"),
    [
        ("mallory", INSTANCE, "reg-bob"),
        ("bob", INSTANCE.replace("0000-1000", "0000-2000"), "reg-bob"),
        ("bob", f"{INSTANCE};reg-id=2", "reg-bob"),
        ("bob", "", "reg-bob"),
    ],
    ids=["another account", "another instance", "another reg-id", "without its instance"],
)
def test_another_device_gets_nothing(harness: EdgeHarness, user: str, params: str, call_id: str) -> None:
    device = Device(harness)
    target, _ = established(harness, device)
    device.called("second")
    device.lose()
    other = Device(harness, user, params, call_id)
    assert methods(list(harness.sent), other.flow) == []
    sent = harness.receive(PBX, from_pbx("BYE", target, cseq=2, to_tag="dev"))
    assert methods(sent, other.flow) == []
    assert 480 in statuses(harness.wait(11), PBX)


def test_a_refused_registration_moves_nothing(harness: EdgeHarness) -> None:
    device = Device(harness)
    device.called()
    device.lose()
    device.connect(OTHER_HOST)
    request = device.ask_to_register()
    assert methods(harness.receive(PBX, respond(request, 403)), device.flow) == []
    assert 480 in statuses(harness.wait(11), PBX)


def test_nothing_waits_for_a_peer_that_has_not_registered(harness: EdgeHarness) -> None:
    device = Device(harness)
    device.register(expires=0)
    other = Device(harness, "carol", call_id="reg-carol")
    forwarded = other.invite()
    harness.receive(PBX, respond(forwarded, 180))
    other.register(expires=0)
    assert methods(other.lose(), PBX) == ["CANCEL"]


def test_after_a_star_nothing_waits(harness: EdgeHarness) -> None:
    device = Device(harness)
    harness.receive(PBX, respond(device.invite(), 180))
    device.register(expires=0, contact="*")
    assert methods(device.lose(), PBX) == ["CANCEL"]


def test_a_connection_of_several_devices_is_taken_over_by_all_of_them_together(harness: EdgeHarness) -> None:
    """A phone with two lines registers both again. A user behind the same proxy gets nothing of the others."""
    first = Device(harness)
    second = Device(harness, "carol", INSTANCE, "reg-carol")
    second.register(flow=first.flow)
    invite = first.called()
    old = first.flow
    first.lose()
    new = first.connect(OTHER_HOST)
    second.flow = new
    assert second.register() == []
    ((to, again),) = first.register()
    assert (to, bytes(again)) == (new, bytes(invite))
    assert old != new


def test_devices_of_one_connection_that_part_get_nothing_of_each_other(harness: EdgeHarness) -> None:
    first = Device(harness)
    second = Device(harness, "carol", INSTANCE, "reg-carol")
    second.register(flow=first.flow)
    first.called()
    first.lose()
    first.connect(OTHER_HOST)
    assert first.register() == []
    second.connect()
    assert second.register() == []
    assert 480 in statuses(harness.wait(11), PBX)


def test_devices_that_share_a_connection_with_a_stranger_of_the_past_get_nothing(harness: EdgeHarness) -> None:
    """A device that has logged out on the connection may have calls there still."""
    gone = Device(harness, "carol", INSTANCE, "reg-carol")
    device = Device(harness)
    device.register(flow=gone.flow)
    harness.receive(PBX, respond(gone.invite(), 180))
    gone.register(expires=0)
    assert methods(device.lose(gone.flow), PBX) == ["CANCEL"]


# --- a connection that is lost, and open here ----------------------------------------------------------------


@pytest.mark.parametrize("params", ["", INSTANCE, f"{INSTANCE};reg-id=1"])
def test_a_phone_changes_its_network_before_its_connection_closes_here(harness: EdgeHarness, params: str) -> None:
    device = Device(harness, contact_params=params)
    invite = device.called()
    device.answer(invite, 180)
    old = device.flow
    new = device.connect(OTHER_HOST)
    if params.endswith("reg-id=1"):
        device.call_id = "another"
    assert device.register() == []
    sent = device.answer(invite, 200)
    assert statuses(sent, PBX) == [200]
    target = contact_of(sent[0][1])
    assert methods(harness.receive(PBX, from_pbx("ACK", target, to_tag="dev", branch="z9hG4bKa")), new) == ["ACK"]
    assert device.lose(old) == []
    assert methods(harness.receive(PBX, from_pbx("BYE", target, cseq=2, to_tag="dev")), new) == ["BYE"]


def test_a_device_that_returns_to_the_connection_that_it_had_left(harness: EdgeHarness) -> None:
    device = Device(harness)
    target, _ = established(harness, device)
    old = device.flow
    device.connect(OTHER_HOST)
    device.register()
    device.register(flow=old)
    assert methods(harness.receive(PBX, from_pbx("BYE", target, cseq=2, to_tag="dev")), old) == ["BYE"]


def test_two_windows_with_one_instance_keep_their_messages(harness: EdgeHarness) -> None:
    first = Device(harness)
    forwarded = first.invite()
    second = Device(harness, call_id="reg-second")
    assert second.flow != first.flow
    assert statuses(harness.receive(PBX, respond(forwarded, 180)), first.flow) == [180]
    assert statuses(harness.receive(PBX, respond(forwarded, 200)), first.flow) == [200]


# --- the wait ------------------------------------------------------------------------------------------------


def test_without_a_wait_everything_fails_at_once(harness: EdgeHarness) -> None:
    device = Device(harness)
    forwarded = device.invite()
    harness.receive(PBX, respond(forwarded, 180))
    harness.edge.adopt(harness.edge.parts.router.table, harness.edge.pipeline, RegistrationRules(0.0))
    assert methods(device.lose(), PBX) == ["CANCEL"]


def test_a_new_policy_changes_the_wait(harness: EdgeHarness) -> None:
    device = Device(harness)
    forwarded = device.invite()
    harness.receive(PBX, respond(forwarded, 180))
    harness.edge.adopt(harness.edge.parts.router.table, harness.edge.pipeline, RegistrationRules(2.0))
    device.lose()
    assert harness.wait(1.9) == []
    assert methods(harness.wait(0.2), PBX) == ["CANCEL"]


def test_a_registration_waits_for_nothing(harness: EdgeHarness) -> None:
    """A device sends a new one. The answer to the old one cannot prove a connection that has closed."""
    device = Device(harness)
    request = device.ask_to_register()
    old = device.flow
    device.lose()
    assert device.accept(request) == []
    assert harness.standings.of(old, harness.now) is Standing.REACHABLE
    harness.wait(300)
    assert harness.edge.idle


def test_a_late_answer_to_a_trunk_does_not_prove_its_closed_connection() -> None:
    harness = EdgeHarness(trunks={"carrier": (OTHER_HOST,)})
    trunk = harness.edge.new_flow(CARRIERS, Source(OTHER_HOST, 41000))
    harness.edge.flow_opened(trunk)
    device = Device(harness)
    request = device.ask_to_register(flow=trunk)
    device.lose(trunk)
    device.accept(request)
    harness.edge.adopt(harness.edge.parts.router.table, harness.edge.pipeline)
    assert not harness.standings.registered_within(OTHER_HOST)


def test_what_moved_to_a_trunk_is_not_sent_to_a_port_of_another_via() -> None:
    """The Via of the request is that of the device's former address."""
    harness = EdgeHarness(trunks={"carrier": (OTHER_HOST,)})
    device = Device(harness)
    harness.receive(PBX, respond(device.invite(), 180))
    device.lose()
    device.connect(OTHER_HOST, CARRIERS)
    device.register()
    assert methods(device.lose(), PBX) == ["CANCEL"]
    assert [effect for effect in harness.other if isinstance(effect, Open)] == []


def test_the_wait_does_not_hold_a_flapping_device(harness: EdgeHarness) -> None:
    """What waits moves along, and is given up when the device does not return at last."""
    device = Device(harness)
    invite = device.called()
    for _ in range(20):
        device.lose()
        harness.wait(1)
        new = device.connect()
        ((to, again),) = device.register()
        assert (to, bytes(again)) == (new, bytes(invite))
        assert len(harness.edge.parts.device_flows) == 1
    device.lose()
    assert 480 in statuses(harness.wait(11), PBX)


# --- bounds --------------------------------------------------------------------------------------------------


def test_kept_acks_are_bounded(harness: EdgeHarness) -> None:
    device = Device(harness)
    ok = device.answer(device.called(), 200)[0][1]
    device.lose()
    for number in range(limits.AWAITED_ACKS + 5):
        harness.receive(PBX, from_pbx("ACK", contact_of(ok), to_tag="dev", branch=f"z9hG4bKa{number}"))
    new = device.connect()
    assert methods(device.register(), new) == ["ACK"] * limits.AWAITED_ACKS


def long_ack(contact: str, number: int, call_id: str = "in") -> bytes:
    """An ACK of more than 20,000 bytes."""
    ack = from_pbx("ACK", contact, call_id, to_tag="dev", branch=f"z9hG4bKa{number}")
    return ack.replace(b"Content-Length: 0\r\n\r\n", b"Content-Length: 20000\r\n\r\n" + b"x" * 20_000)


def test_the_bytes_of_kept_acks_are_bounded(harness: EdgeHarness) -> None:
    device = Device(harness)
    ok = device.answer(device.called(), 200)[0][1]
    for _ in range(2):  # what is kept is counted until it is sent
        device.lose()
        for number in range(5):
            harness.receive(PBX, long_ack(contact_of(ok), number))
        new = device.connect()
        sent = device.register()
        assert len(methods(sent, new)) == limits.AWAITED_ACK_BYTES // 20_500


def test_the_bytes_of_kept_acks_are_bounded_over_all_devices(harness: EdgeHarness) -> None:
    devices = []
    for number in range(limits.AWAITED_ACK_BYTES_IN_ALL // 60_000 + 20):
        device = Device(harness, f"user{number}", "", f"reg{number}")
        ok = device.answer(device.called(f"call{number}"), 200)[0][1]
        device.lose()
        for copy in range(3):
            harness.receive(PBX, long_ack(contact_of(ok), copy, f"call{number}"))
        devices.append(device)
    kept = 0
    for device in devices:
        device.connect()
        kept += sum(len(bytes(message)) for _, message in device.register())
    assert limits.AWAITED_ACK_BYTES_IN_ALL - 21_000 < kept <= limits.AWAITED_ACK_BYTES_IN_ALL


def test_former_connections_of_a_device_are_bounded(harness: EdgeHarness) -> None:
    device = Device(harness)
    target, _ = established(harness, device)
    for _ in range(limits.FORMER_CONNECTIONS + 1):
        device.lose()
        device.connect()
        device.register()
    sent = harness.receive(PBX, from_pbx("BYE", target, cseq=2, to_tag="dev"))
    assert statuses(sent, PBX) == [480]


def test_nothing_waits_for_a_connection_with_too_many_devices(harness: EdgeHarness) -> None:
    device = Device(harness)
    flow = device.flow
    for number in range(limits.DEVICES_OF_CONNECTION):
        Device(harness, f"user{number}", call_id=f"reg{number}").register(flow=flow)
    harness.receive(PBX, respond(device.invite(), 180))
    assert methods(device.lose(), PBX) == ["CANCEL"]


def test_one_account_cannot_fill_the_table(harness: EdgeHarness) -> None:
    for number in range(limits.DEVICES_OF_ACCOUNT + 10):
        Device(harness, contact_params="", call_id=f"reg{number}")
    assert len(harness.edge.parts.device_flows) == limits.DEVICES_OF_ACCOUNT


def test_a_device_over_udp_alone_is_not_kept(harness: EdgeHarness) -> None:
    Device(harness, listener=PUBLIC)
    assert len(harness.edge.parts.device_flows) == 0


def test_a_registration_by_the_private_side_is_not_a_device(harness: EdgeHarness) -> None:
    flows = harness.edge.parts.device_flows
    request = Device(harness).ask_to_register()
    flows.registered(Flow(CORE, Source("10.0.0.50", 5060), 77), 1, request, 600, harness.now)
    assert len(flows) == 1


@pytest.mark.parametrize(("host", "listener"), PATHS)
def test_a_cancel_after_the_move_has_the_via_of_its_invite(harness: EdgeHarness, host: str, listener: Listener) -> None:
    device = Device(harness)
    invite = device.called()
    device.answer(invite, 180)
    device.lose()
    new = device.connect(host, listener)
    device.register()
    sent = harness.receive(PBX, from_pbx("CANCEL", device.path, branch="z9hG4bKpbxin1INVITE"))
    (cancel,) = [message for to, message in sent if to == new]
    assert cancel.get("Via") == invite.get("Via")
    device.answer(cancel, 200)
    (ack,) = [message for to, message in device.answer(invite, 487) if to == new]
    assert ack.get("Via") == invite.get("Via")
    nothing_is_left(harness)
