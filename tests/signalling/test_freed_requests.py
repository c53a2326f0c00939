"""What belongs to a request is freed when its transactions end, by reference counts: a cycle would keep it until the
garbage collector runs, which has to visit every live call to find it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest
from support.signalling import CALLER, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.signalling.branch import Branch
from edgesbc.signalling.call import Call
from edgesbc.signalling.response_context import ResponseContext
from edgesbc.sip.message import Request, Response
from edgesbc.sip.transaction import ClientTransaction, ServerTransaction

STRANGER = Flow(PUBLIC, Source("203.0.113.1", 5060))
CHALLENGE = 'WWW-Authenticate: Digest realm="inside", nonce="n"'


KINDS = (Branch, Call, ClientTransaction, ResponseContext, ServerTransaction)


@pytest.fixture(autouse=True)
def before() -> Iterator[set[int]]:
    """What other tests have left alive, by id; the collector is off."""
    gc.collect()
    gc.disable()
    yield {id(thing) for thing in gc.get_objects() if isinstance(thing, KINDS)}
    gc.enable()


@pytest.fixture
def harness() -> EdgeHarness:
    return EdgeHarness(open=("public",), one_priority=True, algorithm="broadcast")


def alive(before: set[int]) -> list[str]:
    things = (thing for thing in gc.get_objects() if isinstance(thing, KINDS) and id(thing) not in before)
    return sorted(type(thing).__name__ for thing in things)


def requests(sent: list[tuple[Flow, Request | Response]], method: str) -> list[tuple[Flow, Request]]:
    return [(flow, request) for flow, request in sent if isinstance(request, Request) and request.method == method]


def challenged(harness: EdgeHarness) -> None:
    for flow, request in requests(harness.receive(STRANGER, invite("REGISTER")), "REGISTER"):
        harness.receive(flow, respond(request, 401, extra=CHALLENGE, contact=False))


def unanswered(harness: EdgeHarness) -> None:
    assert requests(harness.receive(STRANGER, invite("REGISTER")), "REGISTER")


def refused(harness: EdgeHarness) -> None:
    for (flow, request), status in zip(requests(harness.receive(CALLER, invite()), "INVITE"), (503, 486), strict=True):
        harness.receive(flow, respond(request, status))
    harness.receive(CALLER, invite("ACK", to_tag="bob"))


def cancelled(harness: EdgeHarness) -> None:
    calls = requests(harness.receive(CALLER, invite()), "INVITE")
    for flow, request in calls:
        harness.receive(flow, respond(request, 180))
    for flow, request in requests(harness.receive(CALLER, invite("CANCEL")), "CANCEL"):
        harness.receive(flow, respond(request, 200))
    for flow, request in calls:
        harness.receive(flow, respond(request, 487))


def silent(harness: EdgeHarness) -> None:
    assert requests(harness.receive(CALLER, invite()), "INVITE")


def answer(harness: EdgeHarness) -> tuple[Response, list[tuple[Flow, Request]]]:
    """One branch answers the call; what its caller gets, and the other branches."""
    (flow, request), *others = requests(harness.receive(CALLER, invite()), "INVITE")
    ((_, answered),) = ((to, m) for to, m in harness.receive(flow, respond(request, 200)) if to == CALLER)
    assert isinstance(answered, Response)
    return answered, others


def hang_up(harness: EdgeHarness, answered: Response) -> None:
    target = (answered.get("Contact") or "").strip("<>")
    harness.receive(CALLER, invite("ACK", uri=target, branch="z9hG4bKack", to_tag="bob"))
    bye = harness.receive(CALLER, invite("BYE", uri=target, cseq=2, branch="z9hG4bKbye", to_tag="bob"))
    for flow, request in requests(bye, "BYE"):
        harness.receive(flow, respond(request, 200))


def ended(harness: EdgeHarness) -> None:
    answered, others = answer(harness)
    for flow, request in others:
        harness.receive(flow, respond(request, 487))
    hang_up(harness, answered)


def answered_too_late(harness: EdgeHarness) -> None:
    """The other branch answers when the call has ended."""
    answered, others = answer(harness)
    hang_up(harness, answered)
    for flow, request in others:
        harness.receive(flow, respond(request, 200, tag="carol"))


def refused_too_late(harness: EdgeHarness) -> None:
    answered, others = answer(harness)
    hang_up(harness, answered)
    for flow, request in others:
        harness.receive(flow, respond(request, 487, tag="carol"))


def unacknowledged(harness: EdgeHarness) -> None:
    answer(harness)


@pytest.mark.parametrize(
    "course",
    [
        *(challenged, unanswered, refused, cancelled, silent, ended, answered_too_late, refused_too_late),
        unacknowledged,
    ],
)
def test_a_request_that_has_ended_is_freed_without_the_collector(
    harness: EdgeHarness, before: set[int], course: Callable[[EdgeHarness], None]
) -> None:
    course(harness)
    assert alive(before) != []
    harness.wait(20_000)
    assert len(harness.edge.parts.transactions) == 0
    assert alive(before) == []


def test_a_request_that_has_ended_leaves_its_place_at_once(harness: EdgeHarness, before: set[int]) -> None:
    """One that gives its place to a new one, too: its memory is free, and not only its place."""
    harness.edge.parts.transactions._limit = 8
    for number in range(40):
        flow = Flow(PUBLIC, Source(f"203.0.113.{number + 1}", 5060))
        sent = harness.receive(flow, invite("REGISTER", branch=f"z9hG4bK{number}", from_tag=f"t{number}"))
        for to, request in requests(sent, "REGISTER"):
            harness.receive(to, respond(request, 401, extra=CHALLENGE, contact=False))
        harness.wait(6.0)
    assert alive(before) == ["ServerTransaction"] * len(harness.edge.parts.transactions)
    assert len(harness.edge.parts.transactions) <= 5
