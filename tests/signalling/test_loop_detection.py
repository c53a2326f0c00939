"""Loops and spirals (RFC 3261 section 16.3 check 4, RFC 5393 section 4)."""

from __future__ import annotations

from support.signalling import CALLER, EdgeHarness, invite, respond

from edgesbc.base import limits
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


def directly_from(first: Request, sent: bytes) -> bytes:
    """The request ``first`` as another edge forwards it: with one Via, whose branch carries the marks of ``first``."""
    start, rest = sent.split(b"\r\n", 1)
    _, rest = rest.split(b"\r\n", 1)
    branch = f"z9hG4bK{'f' * 24}{'e' * 12}{first.via.branch[31:]}"
    return start + f"\r\nVia: SIP/2.0/UDP 198.51.100.7;branch={branch};rport\r\n".encode() + rest


def test_an_edge_in_between_that_removes_the_via_hides_no_loop(harness: EdgeHarness) -> None:
    message = invite("REGISTER")
    ((_, first),) = harness.receive(CALLER, message)
    assert isinstance(first, Request)
    ((_, answer),) = harness.receive(CALLER, directly_from(first, message))
    assert answer.status == 482  # type: ignore[union-attr]


def test_marks_in_a_branch_are_bounded(harness: EdgeHarness) -> None:
    """A request that is routed in another way each time gets no longer for it than by the last few marks."""
    ((_, sent),) = harness.receive(CALLER, invite("REGISTER"))
    for number in range(10):
        assert isinstance(sent, Request)
        message = invite("REGISTER", f"sip:{number}@192.0.2.1")
        ((_, sent),) = harness.receive(CALLER, directly_from(sent, message))
    assert isinstance(sent, Request)
    assert len(sent.via.branch) == 31 + 12 * limits.LOOP_MARKS


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
