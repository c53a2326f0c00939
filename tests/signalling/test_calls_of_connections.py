"""The connections on which a call lives: they may be silent while it lasts."""

from __future__ import annotations

from support.devices import PBX, Device
from support.signalling import BROWSERS, CALLER, CARRIERS, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.sip.message import Request


def guest(harness: EdgeHarness, port: int = 41000) -> Flow:
    """The connection of a browser that nobody knows."""
    flow = harness.edge.new_flow(BROWSERS, Source("203.0.113.9", port))
    harness.edge.flow_opened(flow)
    return flow


def table(harness: EdgeHarness) -> int:
    return len(harness.edge.parts.calls.of_connections)


def harness_of_strangers() -> EdgeHarness:
    return EdgeHarness(open=("browsers",))


def may_be_silent(harness: EdgeHarness, flow: Flow) -> bool:
    return harness.edge.may_be_silent(flow, harness.now)


def forwarded(sent: list[tuple[Flow, object]]) -> Request:
    (request,) = [message for flow, message in sent if flow == PBX and isinstance(message, Request)]
    return request


def test_from_the_invite_to_the_end_of_the_call() -> None:
    harness = harness_of_strangers()
    flow = guest(harness)
    assert not may_be_silent(harness, flow)
    request = forwarded(harness.receive(flow, invite()))
    assert may_be_silent(harness, flow)
    harness.receive(PBX, respond(request, 180))
    ((_, ok),) = harness.receive(PBX, respond(request, 200))
    assert may_be_silent(harness, flow)
    assert table(harness) == 1, "the destination has no connection"
    target = (ok.get("Contact") or "").strip("<>")
    bye = forwarded(harness.receive(flow, invite("BYE", target, cseq=2, branch="z9hG4bKb", to_tag="bob")))
    assert may_be_silent(harness, flow)
    harness.receive(PBX, respond(bye, 200))
    assert not may_be_silent(harness, flow)
    assert table(harness) == 0


def test_until_a_refusal() -> None:
    harness = harness_of_strangers()
    flow = guest(harness)
    harness.receive(PBX, respond(forwarded(harness.receive(flow, invite())), 404))
    assert not may_be_silent(harness, flow)
    assert table(harness) == 0


def test_a_call_that_rings_at_a_device_lives_on_its_connection_although_its_registration_has_ended() -> None:
    harness = EdgeHarness()
    device = Device(harness)
    assert may_be_silent(harness, device.flow)
    from_inside = invite().replace(b"sip:100@192.0.2.1 SIP", f"{device.path} SIP".encode())
    ((_, request),) = harness.receive(PBX, from_inside)
    assert isinstance(request, Request)
    harness.edge.pipeline.standings.withdraw(device.flow)
    assert may_be_silent(harness, device.flow)
    harness.receive(device.flow, respond(request, 200))
    assert may_be_silent(harness, device.flow)
    harness.sort(harness.edge.end_calls(harness.now))
    assert not may_be_silent(harness, device.flow)


def test_a_peer_that_goes_on_by_another_connection_leaves_the_first() -> None:
    harness = harness_of_strangers()
    first, second = guest(harness), guest(harness, 41001)
    request = forwarded(harness.receive(first, invite()))
    ((_, ok),) = harness.receive(PBX, respond(request, 200))
    target = (ok.get("Contact") or "").strip("<>")
    harness.receive(second, invite("INFO", target, cseq=2, branch="z9hG4bKb", to_tag="bob"))
    assert (may_be_silent(harness, first), may_be_silent(harness, second)) == (False, True)
    assert table(harness) == 1


def test_two_calls_of_one_connection() -> None:
    harness = harness_of_strangers()
    flow = guest(harness)
    one = forwarded(harness.receive(flow, invite()))
    two = forwarded(harness.receive(flow, invite(branch="z9hG4bKtwo", from_tag="two")))
    harness.receive(PBX, respond(one, 486))
    assert may_be_silent(harness, flow)
    harness.receive(PBX, respond(two, 486))
    assert not may_be_silent(harness, flow)


def test_a_call_has_a_bounded_number_of_connections() -> None:
    """A device that moves while it rings leaves an entry each time, until there are as many as a call may have."""
    harness = EdgeHarness()
    device = Device(harness)
    from_inside = invite().replace(b"sip:100@192.0.2.1 SIP", f"{device.path} SIP".encode())
    ((_, request),) = harness.receive(PBX, from_inside)
    assert isinstance(request, Request)
    for _ in range(3 * limits.CONNECTIONS_OF_CALL):
        harness.closed(device.flow)
        device.connect()
        device.register()
        harness.receive(device.flow, respond(request, 180))
        assert table(harness) <= limits.CONNECTIONS_OF_CALL + 1
    assert may_be_silent(harness, device.flow)


def test_trunks_registered_peers_and_the_private_side_need_no_call() -> None:
    harness = harness_of_strangers()
    assert may_be_silent(harness, Flow(CARRIERS, CALLER.peer, serial=77))
    assert may_be_silent(harness, Flow(PBX.listener, PBX.peer, serial=78))
    assert may_be_silent(harness, Device(harness).flow)
