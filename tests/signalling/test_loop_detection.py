"""Loops and spirals (RFC 3261 section 16.3 check 4, RFC 5393 section 4)."""

from __future__ import annotations

from support.signalling import CALLER, EdgeHarness, invite, respond

from edgesbc.sip.message import Request


def by_a_proxy(first: Request, sent: bytes) -> bytes:
    """The request ``first`` as a proxy forwards it: with the proxy's Via on top, and Max-Forwards one less."""
    vias = f"Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKproxy{len(sent)}\r\nVia: {first.via}\r\n"
    start, rest = sent.split(b"\r\n", 1)
    _, rest = rest.split(b"\r\n", 1)
    return start + b"\r\n" + vias.encode() + rest


def test_the_same_request_by_another_path_is_a_loop(harness: EdgeHarness) -> None:
    message = invite("REGISTER")
    ((to, first),) = harness.receive(CALLER, message)
    assert isinstance(first, Request)
    ((flow, answer),) = harness.receive(CALLER, by_a_proxy(first, message))
    assert flow == CALLER
    assert answer.status == 482  # type: ignore[union-attr]
    assert harness.reasons[-1] == "loop"
    harness.receive(to, respond(first, 200))


def test_a_request_with_another_destination_is_a_spiral_and_passes(harness: EdgeHarness) -> None:
    ((_, first),) = harness.receive(CALLER, invite("REGISTER"))
    assert isinstance(first, Request)
    looped = by_a_proxy(first, invite("REGISTER", "sip:200@192.0.2.1"))
    ((_, forwarded),) = harness.receive(CALLER, looped)
    assert isinstance(forwarded, Request)
    assert forwarded.uri.user == "200"


def test_the_mark_of_another_edge_is_no_loop(harness: EdgeHarness) -> None:
    other = EdgeHarness()
    other.edge.parts.loops._key = b"another process"
    ((_, first),) = other.receive(CALLER, invite("REGISTER"))
    assert isinstance(first, Request)
    ((_, forwarded),) = harness.receive(CALLER, by_a_proxy(first, invite("REGISTER")))
    assert isinstance(forwarded, Request)


def test_branches_of_one_request_differ_and_share_its_mark() -> None:
    harness = EdgeHarness(algorithm="broadcast", one_priority=True)
    one, two = (message.via.branch for _, message in harness.receive(CALLER, invite()))
    assert one != two
    assert one[-12:] == two[-12:]
