"""THREATS 62: more REGISTERs with forged sources than half of the transactions, while new phones register."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
CHALLENGE = 'WWW-Authenticate: Digest realm="inside", nonce="n"'
LIMIT = 8


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> EdgeHarness:
    """An edge with few places, whose callers need not register."""
    harness = EdgeHarness(open=("public",))
    monkeypatch.setattr(harness.edge.parts.transactions, "_limit", LIMIT)
    return harness


def ask(harness: EdgeHarness, number: int, method: str = "REGISTER") -> list[Request]:
    """A request of a source that sends nothing else; what the registrar gets for it."""
    flow = Flow(PUBLIC, Source(f"203.0.113.{number}", 5060))
    data = invite(method, branch=f"z9hG4bKf{number}", from_tag=f"f{number}")
    sent = harness.receive(flow, data.replace(b"Call-ID: c1", f"Call-ID: f{number}".encode()))
    return [message for to, message in sent if to == PBX and isinstance(message, Request)]


def challenge(harness: EdgeHarness, request: Request) -> None:
    """The registrar's answer. The client transaction waits 5 s for repetitions of it (Timer K)."""
    harness.receive(PBX, respond(request, 401, extra=CHALLENGE, contact=False))
    harness.wait(6.0)


def test_62_those_that_were_challenged_leave_their_places_to_new_phones(harness: EdgeHarness) -> None:
    for number in range(1, 3 * LIMIT):
        (request,) = ask(harness, number)
        harness.receive(PBX, respond(request, 401, extra=CHALLENGE, contact=False))
        harness.wait(2.0)
        assert len(harness.edge.parts.transactions) <= LIMIT


def test_62_those_without_an_answer_keep_their_places(harness: EdgeHarness) -> None:
    for number in range(1, LIMIT // 2 + 1):
        assert len(ask(harness, number)) == 1
    assert ask(harness, LIMIT) == []
    assert len(harness.receive(CALLER, invite())) > 0


def test_62_a_repetition_is_answered_while_there_is_room_and_forwarded_later(harness: EdgeHarness) -> None:
    """What comes twice after its place was given away is a request of its own."""
    (first,) = ask(harness, 1)
    challenge(harness, first)
    flow = Flow(PUBLIC, Source("203.0.113.1", 5060))
    again = invite("REGISTER", branch="z9hG4bKf1", from_tag="f1").replace(b"Call-ID: c1", b"Call-ID: f1")
    ((to, answer),) = harness.receive(flow, again)
    assert to == flow
    assert isinstance(answer, Response)
    assert answer.status == 401
    for number in range(2, LIMIT):
        (request,) = ask(harness, number)
        challenge(harness, request)
    assert [to for to, _ in harness.receive(flow, again)] == [PBX]
