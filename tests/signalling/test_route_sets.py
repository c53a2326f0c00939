"""The route set of a side: whose Record-Route, in which order, and from when on (RFC 3261 section 12)."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, Brain, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
NEAR, FAR = "<sip:10.0.0.21;lr>", "<sip:10.0.0.22;lr>"
OWN = b"Record-Route: <sip:10.0.0.11;lr>\r\n"
"""What the answers of the tests have."""


def recorded(answer: bytes, *routes: str) -> bytes:
    """An answer that came by way of these proxies, as they stand on the wire: the nearest to us last."""
    return answer.replace(OWN, "".join(f"Record-Route: {route}\r\n" for route in routes).encode())


def target(answer: bytes, brain: Brain) -> str:
    ((_, shown),) = brain.receive(PBX, answer)
    return (shown.get("Contact") or "").strip("<>")


def sent_by(brain: Brain, contact: str, method: str = "ACK", cseq: int = 1) -> tuple[Flow, Request]:
    """Where a request of the caller inside the dialog goes."""
    ((to, message),) = brain.receive(CALLER, invite(method, contact, cseq, f"z9hG4bK{method}", to_tag="bob"))
    assert isinstance(message, Request)
    return to, message


def test_the_route_set_of_who_answered_is_in_reverse(brain: Brain) -> None:
    """Section 12.1.2: the proxy that the INVITE passed first is asked first again."""
    forwarded = brain.receive(CALLER, invite())[-1][1]
    to, ack = sent_by(brain, target(recorded(respond(forwarded, 200), FAR, NEAR), brain))
    assert ack.get_all("Route") == [NEAR, FAR]
    assert to.peer.host == "10.0.0.21"


def test_that_of_who_called_is_not(brain: Brain) -> None:
    """Section 12.1.1: in the INVITE the last proxy has put itself first."""
    forwarded = brain.receive(CALLER, invite(extra="Record-Route: <sip:a.example;lr>, <sip:b.example;lr>\r\n"))[-1][1]
    brain.receive(PBX, respond(forwarded, 200))
    brain.sort(brain.edge.end_calls(brain.now))
    byes = [message for to, message in brain.sent if to == CALLER and isinstance(message, Request)]
    assert [bye.get_all("Route") for bye in byes] == [["<sip:a.example;lr>", "<sip:b.example;lr>"]]


def test_the_edge_hangs_up_by_the_route_set(brain: Brain) -> None:
    forwarded = brain.receive(CALLER, invite())[-1][1]
    target(recorded(respond(forwarded, 200), FAR, NEAR), brain)
    brain.sort(brain.edge.end_calls(brain.now))
    ((to, bye),) = [(to, message) for to, message in brain.sent if to.listener is CORE and isinstance(message, Request)]
    assert bye.method == "BYE"
    assert bye.get_all("Route") == [NEAR, FAR]
    assert to.peer.host == "10.0.0.21"


def test_an_answer_that_nobody_waits_for_is_hung_up_by_it(brain: Brain) -> None:
    forwarded = brain.receive(CALLER, invite())[-1][1]
    brain.receive(PBX, respond(forwarded, 180))
    brain.wait(181)  # Timer C: the caller is refused, and the phone is cancelled
    sent = brain.receive(PBX, recorded(respond(forwarded, 200), FAR, NEAR))
    assert [(m.method, m.get_all("Route")) for _, m in sent if isinstance(m, Request)] == [
        ("ACK", [NEAR, FAR]),
        ("BYE", [NEAR, FAR]),
    ]


def test_a_2xx_says_the_route_set_anew(brain: Brain) -> None:
    """Section 13.2.2.4; a 180 need not have one."""
    forwarded = brain.receive(CALLER, invite())[-1][1]
    target(recorded(respond(forwarded, 180)), brain)
    _, ack = sent_by(brain, target(recorded(respond(forwarded, 200), NEAR), brain))
    assert ack.get_all("Route") == [NEAR]


def test_nothing_inside_the_dialog_changes_it(brain: Brain) -> None:
    """Section 12.2: a target refresh changes the remote target alone."""
    forwarded = brain.receive(CALLER, invite())[-1][1]
    contact = target(recorded(respond(forwarded, 200)), brain)
    _, again = sent_by(brain, contact, "INVITE", 2)
    moved = respond(again, 200).replace(b"bob@10.0.0.11:5070", b"bob@10.0.0.12:5080")
    contact = target(recorded(moved, NEAR), brain)
    to, bye = sent_by(brain, contact, "BYE", 3)
    assert str(bye.uri) == "sip:bob@10.0.0.12:5080"
    assert bye.get_all("Route") == []
    assert to.peer.port == 5080


def test_an_answer_without_a_tag_is_hung_up_by_its_to(brain: Brain) -> None:
    """Servers of RFC 2543 put no tag into To (section 12.1.2)."""
    forwarded = brain.receive(CALLER, invite())[-1][1]
    brain.receive(PBX, respond(forwarded, 200).replace(b";tag=bob", b""))
    brain.sent.clear()
    brain.sort(brain.edge.end_calls(brain.now))
    assert {to.listener.zone: message.get("To") for to, message in brain.sent} == {
        Zone.CORE: "<sip:100@192.0.2.1>",
        Zone.PUBLIC: "<sip:alice@example.org>;tag=alice",
    }


def test_a_request_that_is_no_target_refresh_moves_nothing(brain: Brain) -> None:
    """Section 12.2.2: the Contact of an INFO says nothing about the dialog."""
    forwarded = brain.receive(CALLER, invite())[-1][1]
    contact = target(recorded(respond(forwarded, 200)), brain)
    _, info = sent_by(brain, contact, "INFO", 2)
    brain.receive(PBX, recorded(respond(info, 200).replace(b"bob@10.0.0.11:5070", b"bob@10.0.0.12:5080")))
    brain.sent.clear()
    brain.sort(brain.edge.end_calls(brain.now))
    (bye,) = [message for to, message in brain.sent if to.listener is CORE and isinstance(message, Request)]
    assert str(bye.uri) == "sip:bob@10.0.0.11:5070"


def test_the_longest_target_comes_back_as_a_request_uri(brain: Brain) -> None:
    """What is sealed into a token has to fit where the token stands."""
    routes = [f"<sip:10.0.0.2{n};lr;x={'r' * 100}>" for n in range(limits.ROUTE_SET)]
    forwarded = brain.receive(CALLER, invite())[-1][1]
    room = limits.TARGET_BYTES - len("".join(routes)) - len("<sip:bob@10.0.0.11:5070;x=>")
    answer = respond(forwarded, 200).replace(b"5070>", b"5070;x=" + b"y" * room + b">")
    contact = target(recorded(answer, *routes), brain)
    _, ack = sent_by(brain, contact)
    assert ack.get_all("Route") == routes[::-1]


@pytest.mark.parametrize("over", ["number", "bytes"])
def test_a_target_over_the_bound_is_refused(over: str, brain: Brain) -> None:
    one_more = ["<sip:10.0.0.21;lr>"] * (limits.ROUTE_SET + 1)
    routes = one_more if over == "number" else [f"<sip:10.0.0.21;lr;x={'r' * limits.TARGET_BYTES}>"]
    extra = "".join(f"Record-Route: {route}\r\n" for route in routes)
    ((to, answer),) = brain.receive(CALLER, invite(extra=extra))
    assert to == CALLER
    assert isinstance(answer, Response)
    assert answer.status == 513
    forwarded = brain.receive(CALLER, invite(branch="z9hG4bKagain"))[-1][1]
    assert brain.receive(PBX, recorded(respond(forwarded, 200), *routes)) == []
    assert brain.receive(PBX, recorded(respond(forwarded, 486), *routes)) != []  # which begins no dialog
