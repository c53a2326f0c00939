"""The connection of a trunk closes during a call: answers and requests go by a new one (RFC 3261 section 18.2.2)."""

from __future__ import annotations

import pytest
from support.signalling import CARRIERS, CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.signalling.effects import Open
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])


class TrunkCall:
    """A call of the trunk 198.51.100.7 over TCP from an ephemeral port; its Via has port 5060, its Contact 5062."""

    def __init__(self, harness: EdgeHarness, data: bytes | None = None) -> None:
        self.harness = harness
        self.flow = harness.edge.new_flow(CARRIERS, Source("198.51.100.7", 40000))
        harness.edge.flow_opened(self.flow)
        sent = harness.receive(self.flow, data or invite())
        (forwarded,) = [message for flow, message in sent if flow == PBX]
        assert isinstance(forwarded, Request)
        self.forwarded = forwarded

    def respond(self, status: int) -> list[tuple[Flow, Request | Response]]:
        return self.harness.receive(PBX, respond(self.forwarded, status))

    def close(self, flow: Flow) -> tuple[list[str], list[Flow]]:
        """Close a connection: the methods that are sent to the destination, and the connections that are opened."""
        self.harness.sent.clear()
        self.harness.other.clear()
        self.harness.sort(self.harness.edge.flow_closed(flow, self.harness.now))
        methods = [message.method for _, message in self.harness.sent if isinstance(message, Request)]
        return methods, [effect.flow for effect in self.harness.other if isinstance(effect, Open)]


def bye_to(call: TrunkCall) -> bytes:
    """A BYE of the destination to the caller."""
    target = (call.forwarded.get("Contact") or "").strip("<>")
    return (
        f"BYE {target} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKb1\r\n"
        "From: <sip:100@192.0.2.1>;tag=bob\r\nTo: <sip:alice@example.org>;tag=alice\r\nCall-ID: c1\r\n"
        "CSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("rings", [False, True])
def test_the_answer_goes_by_a_new_connection_to_the_port_of_the_via(harness: EdgeHarness, rings: bool) -> None:
    call = TrunkCall(harness)
    if rings:
        call.respond(180)
    methods, (reopened,) = call.close(call.flow)
    assert methods == []
    assert (reopened.listener, reopened.peer) == (CARRIERS, ("198.51.100.7", 5060))
    ((to, answer),) = call.respond(200)
    assert to == reopened
    assert isinstance(answer, Response)
    contact = (answer.get("Contact") or "").strip("<>")
    ((to, ack),) = harness.receive(reopened, invite("ACK", contact, branch="z9hG4bKack", to_tag="bob"))
    assert to == PBX
    assert isinstance(ack, Request)
    harness.wait(64)
    assert harness.edge.calls == 1


def test_a_refusal_goes_by_a_new_connection_as_well(harness: EdgeHarness) -> None:
    call = TrunkCall(harness)
    _, (reopened,) = call.close(call.flow)
    sent = call.respond(486)
    assert [answer.status for to, answer in sent if to == reopened and isinstance(answer, Response)] == [486]


def test_a_2xx_that_was_lost_with_the_connection_is_repeated_by_a_new_one(harness: EdgeHarness) -> None:
    """Only then: the trunk may as well have got it, and have closed the connection when it had sent its ACK."""
    call = TrunkCall(harness)
    call.respond(200)
    assert call.close(call.flow) == ([], [])
    again = call.respond(200)
    (reopened,) = [effect.flow for effect in harness.other if isinstance(effect, Open)]
    assert [to for to, answer in again if isinstance(answer, Response)] == [reopened]
    assert reopened.peer == ("198.51.100.7", 5060)
    assert call.close(reopened) == ([], [])
    call.respond(200)
    assert [effect for effect in harness.other if isinstance(effect, Open)] == [], "one new connection a transaction"
    harness.wait(64)
    assert harness.edge.transactions == 0


def test_where_the_new_connection_fails_too_the_call_ends(harness: EdgeHarness) -> None:
    call = TrunkCall(harness)
    call.respond(180)
    _, (reopened,) = call.close(call.flow)
    assert call.close(reopened) == (["CANCEL"], [])
    call.respond(487)
    harness.wait(64)
    assert harness.edge.idle
    assert harness.edge.calls == harness.dispatcher.leases == 0


@pytest.mark.parametrize("via", ["198.51.100.7:5061", "203.0.113.80:5060", "carrier.example.com"])
def test_only_the_received_address_with_the_port_of_a_trunk_is_connected_to(via: str) -> None:
    """The trunk has ports 40000 and 5060. Another port ends the call; another host in Via changes nothing."""
    harness = EdgeHarness(trunks={"carrier": ("198.51.100.7:40000", "198.51.100.7:5060")})
    call = TrunkCall(harness, invite().replace(b"198.51.100.7:5060;branch", via.encode() + b";branch"))
    call.respond(180)
    methods, opened = call.close(call.flow)
    if via.endswith("5061"):
        assert (methods, opened) == (["CANCEL"], [])
    else:
        assert methods == []
        assert [flow.peer for flow in opened] == [("198.51.100.7", 5060)]


def test_others_behind_the_address_of_a_trunk_have_nothing_sent_to_it() -> None:
    """The trunk is listed with its port. Via and Contact of the caller, from another port, name that of the trunk."""
    harness = EdgeHarness(trunks={"carrier": ("198.51.100.7:5060",)}, open=("carriers",))
    call = TrunkCall(harness, invite().replace(b"198.51.100.7:5062", b"198.51.100.7:5060"))
    call.respond(180)
    assert call.close(call.flow) == (["CANCEL"], [])
    call.respond(487)
    harness.wait(64)
    call = TrunkCall(harness, invite(branch="z9hG4bKsecond").replace(b":5062", b":5060"))
    call.respond(200)
    assert call.close(call.flow) == ([], [])
    assert harness.receive(PBX, bye_to(call))[0][0] == PBX, "it is refused"
    assert [effect for effect in harness.other if isinstance(effect, Open)] == []


def test_many_transactions_of_one_connection_open_one_in_its_place(harness: EdgeHarness) -> None:
    call = TrunkCall(harness)
    for number in range(2, 10):
        harness.receive(call.flow, invite(branch=f"z9hG4bK{number}").replace(b"c1", b"c%d" % number))
    assert harness.edge.calls == 9
    methods, (reopened,) = call.close(call.flow)
    assert methods == []
    assert call.close(reopened)[1] == []
    harness.wait(64)
    assert harness.edge.idle
    assert harness.dispatcher.leases == 0


@pytest.mark.parametrize(
    ("route", "port"), [("", 5062), ("<sip:198.51.100.7:5064;lr>", 5064), ("<sip:proxy;lr>", 5060)]
)
def test_a_bye_to_the_trunk_goes_by_a_new_connection_to_the_port_of_its_route_or_contact(
    harness: EdgeHarness, route: str, port: int
) -> None:
    call = TrunkCall(harness, invite(extra=f"Record-Route: {route}\r\n" if route else ""))
    call.respond(200)
    assert call.close(call.flow) == ([], [])
    harness.other.clear()
    ((to, forwarded),) = harness.receive(PBX, bye_to(call))
    (opened,) = [effect.flow for effect in harness.other if isinstance(effect, Open)]
    assert to == opened
    assert opened.peer == ("198.51.100.7", port)
    assert isinstance(forwarded, Request)
    assert str(forwarded.uri) == "sip:alice@192.168.1.5:5062"
