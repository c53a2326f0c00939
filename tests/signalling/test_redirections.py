"""Redirections (RFC 3261 sections 8.1.3.4 and 21.3): the Contacts of a 3xx, inward and outward."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from support.devices import Device
from support.media_calls import MediaCall
from support.signalling import CALLER, CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.screen.standing import Standing
from edgesbc.signalling.header_rules import HeaderRules
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
STRANGER = Flow(PUBLIC, Source("203.0.113.77", 5060))


def contact(*values: str) -> str:
    return "\r\n".join(f"Contact: {value}" for value in values)


def from_phone(call: MediaCall, *values: str, status: int = 302) -> list[str]:
    """The phone redirects a call of the private side: the Contacts that this side gets."""
    data = respond(call.invited, status, "bob", contact=False, extra=contact(*values))
    (response,) = [message for _, message in call.receive("b", data) if isinstance(message, Response)]
    assert response.status == status
    return response.get_all("Contact")


def from_server(
    *values: str, caller: Flow = CALLER, redirected: Iterable[Standing] = (Standing.TRUNK,), status: int = 302
) -> Response:
    """A server redirects a call of the public side: what the caller gets."""
    harness = EdgeHarness(open=("public",))
    harness.edge.parts.live.headers = HeaderRules(redirected=redirected)
    (forwarded,) = [message for _, message in harness.receive(caller, invite()) if isinstance(message, Request)]
    data = respond(forwarded, status, contact=False, extra=contact(*values))
    (response,) = [message for to, message in harness.receive(PBX, data) if to == caller]
    assert isinstance(response, Response)
    assert harness.edge.calls == harness.dispatcher.leases == 0
    return response


@pytest.mark.parametrize("status", [300, 301, 302, 305, 380, 485])
def test_the_private_side_gets_all_contacts_of_a_phone(status: int) -> None:
    values = (
        "<sip:bob@mobile.example.net>;q=0.9;expires=60", '"Desk, two" <sip:bob@192.168.1.7:5062;transport=tcp>;q=0.5',
        "<tel:+493012345>;q=0.1", "<mailto:bob@example.org>",
    )  # fmt: skip
    assert from_phone(MediaCall(outward=True, answered=False), *values, status=status) == list(values)


@pytest.mark.parametrize("status", [400, 486, 603])
def test_other_refusals_have_no_contact(status: int) -> None:
    assert from_phone(MediaCall(outward=True, answered=False), "<sip:bob@192.168.1.7>", status=status) == []
    assert from_server("<sip:bob@example.net>", status=status).get_all("Contact") == []


def test_a_contact_of_the_edge_becomes_the_one_that_it_stands_for() -> None:
    """The phone redirects to the caller, whom it knows by a token."""
    call = MediaCall(outward=True, answered=False)
    token = call.invited.get("Contact") or ""
    assert from_phone(call, f"{token};q=1") == ["<sip:a@10.0.0.11:5060>;q=1"]


def test_a_token_that_leads_nowhere_is_left_out() -> None:
    call = MediaCall(outward=True, answered=False)
    token = call.invited.get("Contact") or ""
    broken = token.replace("<sip:", "<sip:AA", 1)
    values = (broken, "<sip:101@192.0.2.1>")
    assert from_phone(call, *values) == ["<sip:101@192.0.2.1>"]


def test_a_stranger_gets_no_contact_of_the_private_side() -> None:
    every = (Standing.REGISTERED, Standing.TRUNK)
    response = from_server("<sip:bob@example.net>", caller=STRANGER, redirected=every)
    assert (response.status, response.get_all("Contact")) == (302, [])


def test_without_the_key_a_trunk_gets_none_either() -> None:
    assert from_server("<sip:bob@example.net>", redirected=()).get_all("Contact") == []
    assert from_server("<sip:bob@example.net>", redirected=[Standing.REGISTERED]).get_all("Contact") == []


def test_a_trunk_gets_contacts_that_name_nothing_inside() -> None:
    response = from_server(
        "<sip:bob@example.net;maddr=10.0.0.12?Route=%3Csip:10.0.0.12%3E>;q=0.9;expires=60;inside=10.0.0.12",
        "<sip:200@10.0.0.11:5080;transport=tcp>;q=0.5",
        "<http://10.0.0.11/bob>",
        "<tel:+493012345>;q=0.1",
    )
    assert response.get_all("Contact") == [
        "<sip:bob@example.net>;q=0.9;expires=60", "<sip:200@192.0.2.1:5060>;q=0.5", "<tel:+493012345>;q=0.1",
    ]  # fmt: skip
    assert b"10.0.0." not in bytes(response)


def test_a_contact_of_the_edge_becomes_a_token_for_the_caller() -> None:
    """The server redirects to a phone by the Contact that it has from the edge: the caller can follow it."""
    harness = EdgeHarness()
    harness.edge.parts.live.headers = HeaderRules(redirected=[Standing.TRUNK])
    (first,) = [message for _, message in harness.receive(CALLER, invite()) if isinstance(message, Request)]
    known = first.get("Contact") or ""
    (response,) = [m for to, m in harness.receive(PBX, respond(first, 302, contact=False, extra=contact(known)))
                   if to == CALLER]  # fmt: skip
    uri = parse_name_addr(response.get("Contact") or "").uri
    assert uri.host == "192.0.2.1"
    assert uri.user != parse_name_addr(known).uri.user
    following = invite(uri=str(uri), cseq=2, branch="z9hG4bKfollowing", from_tag="again")
    sent = [message for _, message in harness.receive(CALLER, following) if isinstance(message, Request)]
    assert [str(message.uri) for message in sent] == [known.strip("<>")]


def test_a_registered_user_gets_them_by_its_own_word() -> None:
    harness = EdgeHarness()
    instance = ';+sip.instance="<urn:uuid:alice>"'
    flow = Device(harness, "alice", instance, "reg-alice", host="203.0.113.9", listener=PUBLIC).flow
    expected: list[tuple[Standing, list[str]]] = [
        (Standing.TRUNK, []), (Standing.REGISTERED, ["<sip:200@192.0.2.1:5060>"]),
    ]  # fmt: skip
    for number, (word, names) in enumerate(expected):
        harness.edge.parts.live.headers = HeaderRules(redirected=[word])
        invited = harness.receive(flow, invite(branch=f"z9hG4bKr{number}", from_tag=f"r{number}"))
        (forwarded,) = [message for _, message in invited if isinstance(message, Request)]
        data = respond(forwarded, 302, contact=False, extra=contact("<sip:200@10.0.0.11>"))
        (response,) = [message for to, message in harness.receive(PBX, data) if to == flow]
        assert response.get_all("Contact") == names


def test_the_number_of_contacts_is_bounded() -> None:
    values = [f"<sip:{number}@10.0.0.11>" for number in range(limits.REDIRECTIONS + 1)]
    assert len(from_server(*values).get_all("Contact")) == limits.REDIRECTIONS
    assert len(from_phone(MediaCall(outward=True, answered=False), *values)) == limits.REDIRECTIONS
