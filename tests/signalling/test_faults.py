"""A fault of the edge's own, half-way through a message."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, Brain, invite

from edgesbc.sip.message import Response


def fails(size: int) -> bytes:
    raise OSError("no entropy")


def faulted(brain: Brain, data: bytes) -> list[int]:
    """What a request is answered by a brain that fails on it, as its shell asks it to be."""
    entropy, brain.edge.board.entropy = brain.edge.board.entropy, fails
    with pytest.raises(OSError, match="no entropy"):
        brain.receive(CALLER, data)
    brain.edge.board.entropy = entropy
    brain.sent.clear()
    brain.sort(brain.edge.faulted(data, brain.now))
    return [message.status for _, message in brain.sent if isinstance(message, Response)]


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_the_sender_gets_500_and_nothing_is_left(brain: Brain, method: str) -> None:
    assert faulted(brain, invite(method)) == [500]
    assert brain.reasons[-1] == "internal"
    assert brain.edge.calls == brain.dispatcher.leases == 0
    brain.wait(60)
    assert brain.edge.idle


def test_the_next_call_is_not_harmed(brain: Brain) -> None:
    faulted(brain, invite())
    assert len(brain.receive(CALLER, invite(branch="z9hG4bKnext", from_tag="next"))) == 1


def test_what_had_its_answer_has_no_second(brain: Brain) -> None:
    brain.receive(CALLER, invite("OPTIONS"))
    assert brain.edge.faulted(invite("OPTIONS"), brain.now) == []
