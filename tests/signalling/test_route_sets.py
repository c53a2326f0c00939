"""The route set of each side of a dialog (RFC 3261 section 12)."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
NEAR, FAR = "<sip:10.0.0.21;lr>", "<sip:10.0.0.22;lr>"
OWN = b"Record-Route: <sip:10.0.0.11;lr>\r\n"
"""The Contact of the answers in these tests."""


def recorded(answer: bytes, *routes: str) -> bytes:
    """The answer with these proxies in Record-Route in their order on the wire: the nearest to the edge is last."""
    return answer.replace(OWN, "".join(f"Record-Route: {route}\r\n" for route in routes).encode())


def target(answer: bytes, harness: EdgeHarness) -> str:
    ((_, passed_on),) = harness.receive(PBX, answer)
    return (passed_on.get("Contact") or "").strip("<>")


def sent_by(harness: EdgeHarness, contact: str, method: str = "ACK", cseq: int = 1) -> tuple[Flow, Request]:
    """The flow and the message of a request of the caller inside the dialog."""
    ((to, message),) = harness.receive(CALLER, invite(method, contact, cseq, f"z9hG4bK{method}", to_tag="bob"))
    assert isinstance(message, Request)
    return to, message


def test_the_route_set_of_the_callee_is_in_reverse(harness: EdgeHarness) -> None:
    """Section 12.1.2: the first proxy that the INVITE passed is the first for later requests too."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    to, ack = sent_by(harness, target(recorded(respond(forwarded, 200), FAR, NEAR), harness))
    assert ack.get_all("Route") == [NEAR, FAR]
    assert to.peer.host == "10.0.0.21"


def test_the_route_set_of_the_caller_is_in_order(harness: EdgeHarness) -> None:
    """Section 12.1.1: the last proxy is first in Record-Route of the INVITE."""
    forwarded = harness.receive(CALLER, invite(extra="Record-Route: <sip:a.example;lr>, <sip:b.example;lr>\r\n"))[-1][1]
    harness.receive(PBX, respond(forwarded, 200))
    harness.sort(harness.edge.end_calls(harness.now))
    byes = [message for to, message in harness.sent if to == CALLER and isinstance(message, Request)]
    assert [bye.get_all("Route") for bye in byes] == [["<sip:a.example;lr>", "<sip:b.example;lr>"]]


def test_the_edge_hangs_up_by_the_route_set(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    target(recorded(respond(forwarded, 200), FAR, NEAR), harness)
    harness.sort(harness.edge.end_calls(harness.now))
    ((to, bye),) = [
        (to, message) for to, message in harness.sent if to.listener is CORE and isinstance(message, Request)
    ]
    assert bye.method == "BYE"
    assert bye.get_all("Route") == [NEAR, FAR]
    assert to.peer.host == "10.0.0.21"


def test_an_unwanted_answer_is_ended_by_its_route_set(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    harness.receive(PBX, respond(forwarded, 180))
    harness.wait(limits.SET_UP_SECONDS + 1)  # Timer C: the caller is refused, and the phone is cancelled
    sent = harness.receive(PBX, recorded(respond(forwarded, 200), FAR, NEAR))
    assert [(m.method, m.get_all("Route")) for _, m in sent if isinstance(m, Request)] == [
        ("ACK", [NEAR, FAR]),
        ("BYE", [NEAR, FAR]),
    ]


def test_the_route_set_of_a_2xx_replaces_that_of_a_180(harness: EdgeHarness) -> None:
    """Section 13.2.2.4; a 180 need not have one."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    target(recorded(respond(forwarded, 180)), harness)
    _, ack = sent_by(harness, target(recorded(respond(forwarded, 200), NEAR), harness))
    assert ack.get_all("Route") == [NEAR]


def test_nothing_inside_the_dialog_changes_it(harness: EdgeHarness) -> None:
    """Section 12.2: a target refresh changes the remote target alone."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    contact = target(recorded(respond(forwarded, 200)), harness)
    _, re_invite = sent_by(harness, contact, "INVITE", 2)
    moved = respond(re_invite, 200).replace(b"bob@10.0.0.11:5070", b"bob@10.0.0.12:5080")
    contact = target(recorded(moved, NEAR), harness)
    to, bye = sent_by(harness, contact, "BYE", 3)
    assert str(bye.uri) == "sip:bob@10.0.0.12:5080"
    assert bye.get_all("Route") == []
    assert to.peer.port == 5080


def test_an_answer_without_a_tag_is_hung_up_by_its_to(harness: EdgeHarness) -> None:
    """Servers of RFC 2543 put no tag into To (section 12.1.2)."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    harness.receive(PBX, respond(forwarded, 200).replace(b";tag=bob", b""))
    harness.sent.clear()
    harness.sort(harness.edge.end_calls(harness.now))
    assert {to.listener.zone: message.get("To") for to, message in harness.sent} == {
        Zone.CORE: "<sip:100@192.0.2.1>",
        Zone.PUBLIC: "<sip:alice@example.org>;tag=alice",
    }


def test_a_request_that_is_no_target_refresh_moves_nothing(harness: EdgeHarness) -> None:
    """Section 12.2.2: the Contact of an INFO says nothing about the dialog."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    contact = target(recorded(respond(forwarded, 200)), harness)
    _, info = sent_by(harness, contact, "INFO", 2)
    harness.receive(PBX, recorded(respond(info, 200).replace(b"bob@10.0.0.11:5070", b"bob@10.0.0.12:5080")))
    harness.sent.clear()
    harness.sort(harness.edge.end_calls(harness.now))
    (bye,) = [message for to, message in harness.sent if to.listener is CORE and isinstance(message, Request)]
    assert str(bye.uri) == "sip:bob@10.0.0.11:5070"


def test_the_longest_target_comes_back_as_a_request_uri(harness: EdgeHarness) -> None:
    """A token with a target of the largest size must fit into a Request-URI."""
    routes = [f"<sip:10.0.0.2{n};lr;x={'r' * 100}>" for n in range(limits.ROUTE_SET)]
    forwarded = harness.receive(CALLER, invite())[-1][1]
    free_bytes = limits.TARGET_BYTES - len("".join(routes)) - len("<sip:bob@10.0.0.11:5070;x=>")
    answer = respond(forwarded, 200).replace(b"5070>", b"5070;x=" + b"y" * free_bytes + b">")
    contact = target(recorded(answer, *routes), harness)
    _, ack = sent_by(harness, contact)
    assert ack.get_all("Route") == routes[::-1]


@pytest.mark.parametrize("over", ["number", "bytes"])
def test_a_target_over_the_bound_is_refused(over: str, harness: EdgeHarness) -> None:
    one_more = ["<sip:10.0.0.21;lr>"] * (limits.ROUTE_SET + 1)
    routes = one_more if over == "number" else [f"<sip:10.0.0.21;lr;x={'r' * limits.TARGET_BYTES}>"]
    extra = "".join(f"Record-Route: {route}\r\n" for route in routes)
    ((to, answer),) = harness.receive(CALLER, invite(extra=extra))
    assert to == CALLER
    assert isinstance(answer, Response)
    assert answer.status == 513
    forwarded = harness.receive(CALLER, invite(branch="z9hG4bKagain"))[-1][1]
    ended = harness.receive(PBX, recorded(respond(forwarded, 200), *routes))[:2]
    assert [(to, message.get_all("Route")) for to, message in ended] == [(PBX, [])] * 2  # ACK and BYE
    forwarded = harness.receive(CALLER, invite(branch="z9hG4bKthird", from_tag="third"))[-1][1]
    assert harness.receive(PBX, recorded(respond(forwarded, 486), *routes)) != []  # which begins no dialog
