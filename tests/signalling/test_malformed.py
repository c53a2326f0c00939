"""Addresses that cannot be parsed are refused before any state is made for them."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base.address import Flow
from edgesbc.routing.table import Route, RoutingTable
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
CONTACT = b"Contact: <sip:alice@192.168.1.5:5062>"
UNREADABLE = [
    b"Contact: <sip:>",
    b"Contact: <<sip:>",
    b"Contact: <sip:a@b:70000>",
    CONTACT + b"\r\nRecord-Route: <sip:>",
]


def nothing_stays(harness: EdgeHarness) -> None:
    harness.wait(300)
    assert harness.edge.idle
    assert harness.dispatcher.leases == 0


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "REFER", "NOTIFY", "OPTIONS"])
@pytest.mark.parametrize("field", UNREADABLE)
def test_in_a_request_that_begins_something(harness: EdgeHarness, method: str, field: bytes) -> None:
    ((to, refused),) = harness.receive(CALLER, invite(method).replace(CONTACT, field))
    assert to == CALLER
    assert isinstance(refused, Response)
    assert refused.status == 400
    nothing_stays(harness)


@pytest.mark.parametrize("sender", [CALLER, PBX], ids=["public", "core"])
@pytest.mark.parametrize("uri", [b"<foo>", b"<sip:%zz>"])
def test_in_from_if_it_replaces_a_contact(harness: EdgeHarness, sender: Flow, uri: bytes) -> None:
    """Clients of RFC 2543 need no Contact."""
    harness.edge.adopt(RoutingTable((Route("in", "pbx"), Route("out", "pbx", "core")), ["pbx"]), harness.edge.pipeline)
    old = invite(branch="1").replace(CONTACT + b"\r\n", b"").replace(b"<sip:alice@example.org>", uri)
    ((to, refused),) = harness.receive(sender, old)
    assert to == sender
    assert isinstance(refused, Response)
    assert refused.status == 400
    assert harness.edge.idle
    assert harness.dispatcher.leases == 0


def test_a_from_that_replaces_a_contact_gives_no_request_uri_with_header_fields(harness: EdgeHarness) -> None:
    old = invite(branch="1").replace(CONTACT + b"\r\n", b"").replace(b"alice@example.org", b"alice@example.org?a=b")
    forwarded = harness.receive(CALLER, old)[-1][1]
    harness.receive(PBX, respond(forwarded, 200))
    harness.sort(harness.edge.end_calls(harness.now))
    byes = [message for to, message in harness.sent if to == CALLER and isinstance(message, Request)]
    assert [str(bye.uri) for bye in byes] == ["sip:alice@example.org"]


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_in_a_request_inside_a_dialog(harness: EdgeHarness, method: str) -> None:
    sent = harness.receive(CALLER, invite())
    ((_, ok),) = harness.receive(PBX, respond(sent[-1][1], 200))
    contact = (ok.get("Contact") or "").strip("<>")
    re_invite = invite(method, contact, 2, "z9hG4bKagain", to_tag="bob").replace(CONTACT, UNREADABLE[0])
    ((_, refused),) = harness.receive(CALLER, re_invite)
    assert isinstance(refused, Response)
    assert refused.status == 400
    (bye,) = harness.receive(CALLER, invite("BYE", contact, 3, "z9hG4bKbye", to_tag="bob"))
    harness.receive(PBX, respond(bye[1], 200))
    nothing_stays(harness)


@pytest.mark.parametrize("method", ["INVITE", "REFER"])
def test_in_an_answer(harness: EdgeHarness, method: str) -> None:
    """Such a response ends its branch, as if it were a 502."""
    sent = harness.receive(CALLER, invite(method))
    forwarded = sent[-1][1]
    assert isinstance(forwarded, Request)
    sent = harness.receive(PBX, respond(forwarded, 200, contact=False, extra="Contact: <sip:>"))
    *ended, (_, again) = sent
    assert [message.method for _, message in ended if isinstance(message, Request)] == ["ACK", "BYE"][
        : 2 * (method == "INVITE")
    ]
    assert isinstance(again, Request)
    assert again.method == method
    nothing_stays(harness)


def test_a_contact_with_header_fields_makes_no_request_uri_that_has_them(harness: EdgeHarness) -> None:
    """A Request-URI has no header fields (RFC 3261 section 19.1.1, table 1)."""
    request = invite().replace(b"<sip:alice@192.168.1.5:5062>", b"<sip:al?ce@192.168.1.5:5062;a=b?Subject=x&Route=y>")
    ((to, forwarded),) = harness.receive(CALLER, request)
    harness.receive(to, respond(forwarded, 200))
    target = (forwarded.get("Contact") or "").strip("<>")
    bye = invite("BYE", target, 1, "z9hG4bKbye", to_tag="alice", from_tag="bob")
    ((_, sent),) = harness.receive(to, bye)
    assert isinstance(sent, Request)
    assert str(sent.uri) == "sip:al?ce@192.168.1.5:5062;a=b"


@pytest.mark.parametrize("sender", [CALLER, PBX], ids=["public", "core"])
def test_an_invite_whose_cseq_leaves_no_number_for_a_bye(harness: EdgeHarness, sender: Flow) -> None:
    """The edge could not end such a call at its callee: there is no CSeq for its BYE."""
    ((to, refused),) = harness.receive(sender, invite(cseq=2**31 - 1))
    assert isinstance(refused, Response)
    assert (to, refused.status) == (sender, 400)
    nothing_stays(harness)


@pytest.mark.parametrize("method", ["INFO", "UPDATE", "INVITE"])
def test_nor_does_a_request_inside_a_call_take_the_last_number(harness: EdgeHarness, method: str) -> None:
    ((_, forwarded),) = harness.receive(CALLER, invite(cseq=2**31 - 3))
    harness.receive(PBX, respond(forwarded, 200))
    ((_, refused),) = harness.receive(CALLER, invite(method, cseq=2**31 - 1, branch="z9hG4bKlast", to_tag="bob"))
    assert isinstance(refused, Response)
    assert refused.status == 400
    harness.receive(CALLER, invite("INFO", cseq=2**31 - 2, branch="z9hG4bKinfo", to_tag="bob"))
    harness.sent.clear()
    harness.sort(harness.edge.end_calls(harness.now))
    assert [message.cseq for to, message in harness.sent if to == PBX and isinstance(message, Request)] == [2**31 - 1]


def test_a_bye_may_have_the_last_number(harness: EdgeHarness) -> None:
    ((_, forwarded),) = harness.receive(CALLER, invite())
    harness.receive(PBX, respond(forwarded, 200))
    ((to, bye),) = harness.receive(CALLER, invite("BYE", cseq=2**31 - 1, branch="z9hG4bKlast", to_tag="bob"))
    assert (to, bye.cseq) == (PBX, 2**31 - 1)
