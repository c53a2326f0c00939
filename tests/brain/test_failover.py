"""What a caller is told when one destination after the other refuses (RFC 3261 section 16.7)."""

from __future__ import annotations

import pytest
from support.brain import CALLER, CORE, MEMBERS, Brain, invite, respond

from edgesbc.base.address import Flow
from edgesbc.sip.message import Response

FIRST, SECOND = (Flow(CORE, member) for member in MEMBERS)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [(480, 480, 480), (480, 503, 480), (503, 480, 480), (500, 480, 480), (480, 500, 480), (503, 503, 503)],
)
def test_the_best_refusal_is_passed_on(brain: Brain, first: int, second: int, told: int) -> None:
    """Not a 503 of the edge's own: a trunk would stop sending calls for what one user's phone said."""
    sent = brain.receive(CALLER, invite())
    sent = brain.receive(FIRST, respond(sent[-1][1], first))
    sent = brain.receive(SECOND, respond(sent[-1][1], second, tag="two"))
    to, answer = sent[-1]
    assert to == CALLER
    assert isinstance(answer, Response)
    assert answer.status == told
    assert brain.edge.calls == brain.dispatcher.leases == 0
    brain.wait(64)
    assert brain.edge.idle


def test_a_refusal_counts_where_the_next_is_silent(brain: Brain) -> None:
    sent = brain.receive(CALLER, invite())
    brain.receive(FIRST, respond(sent[-1][1], 480))
    finals = {m.status for to, m in brain.wait(40) if to == CALLER and isinstance(m, Response) and m.status >= 200}
    assert finals == {480}


def test_a_member_that_says_when_to_come_back_is_asked_as_before(brain: Brain) -> None:
    """RFC 3261 section 21.5.4 would leave it alone; see the deviations."""
    for number in range(2):
        asked = invite(branch=f"z9hG4bKra{number}", from_tag=f"ra{number}")
        ((to, forwarded),) = brain.receive(CALLER, asked)
        assert to == FIRST
        brain.receive(FIRST, respond(forwarded, 503, extra="Retry-After: 3600"))
        brain.receive(CALLER, asked.replace(b"INVITE", b"CANCEL"))


def test_every_step_says_whose_call_it_was(brain: Brain) -> None:
    """So that the ledger can be asked by the caller's address as well as by the Call-ID."""
    sent = brain.receive(CALLER, invite())
    brain.receive(FIRST, respond(sent[-1][1], 503))
    steps = [each for each in brain.decisions if each.reason.code in ("routed", "failover")]
    assert [each.reason.code for each in steps] == ["routed", "failover", "routed"]
    assert {(each.source, each.listener) for each in steps} == {(str(CALLER.peer), CALLER.listener.name)}
