"""An internal error of the edge while it processes a message."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, EdgeHarness, invite, respond

from edgesbc.sip.message import Response


def fails(size: int) -> bytes:
    raise OSError("no entropy")


def faulted(harness: EdgeHarness, data: bytes) -> list[int]:
    """The statuses that a request gets if the edge fails on it and the shell then calls ``recover``."""
    entropy, harness.edge.parts.identifiers.entropy = harness.edge.parts.identifiers.entropy, fails
    with pytest.raises(OSError, match="no entropy"):
        harness.receive(CALLER, data)
    harness.edge.parts.identifiers.entropy = entropy
    harness.sent.clear()
    harness.sort(harness.edge.recover(CALLER, data, harness.now))
    return [message.status for _, message in harness.sent if isinstance(message, Response)]


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_the_sender_gets_500_and_nothing_is_left(harness: EdgeHarness, method: str) -> None:
    assert faulted(harness, invite(method)) == [500]
    assert harness.reasons[-1] == "internal"
    assert harness.edge.calls == harness.dispatcher.leases == 0
    harness.wait(60)
    assert harness.edge.idle


def test_the_next_call_is_not_harmed(harness: EdgeHarness) -> None:
    faulted(harness, invite())
    assert len(harness.receive(CALLER, invite(branch="z9hG4bKnext", from_tag="next"))) == 1


def test_a_request_that_was_answered_gets_no_second_response(harness: EdgeHarness) -> None:
    harness.receive(CALLER, invite("OPTIONS"))
    assert harness.edge.recover(CALLER, invite("OPTIONS"), harness.now) == []


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_nothing_is_left_of_a_request_whose_response_fails(harness: EdgeHarness, method: str) -> None:
    """Its transaction has no timer that would end it, and would keep its place in the table for ever."""
    ((flow, request),) = harness.receive(CALLER, invite(method))
    identifiers = harness.edge.parts.identifiers
    answer = respond(request, 503)  # after which the next member is tried, with a new branch
    entropy, identifiers.entropy = identifiers.entropy, fails
    with pytest.raises(OSError, match="no entropy"):
        harness.receive(flow, answer)
    identifiers.entropy = entropy
    harness.sent.clear()
    harness.sort(harness.edge.recover(flow, answer, harness.now))
    assert [message.status for _, message in harness.sent if isinstance(message, Response)] == [500]
    harness.receive(CALLER, invite("ACK"))
    harness.wait(60)
    assert harness.edge.idle
    assert harness.dispatcher.leases == 0
