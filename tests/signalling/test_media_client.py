"""Replies of the media plane that are none."""

from __future__ import annotations

from typing import Any

import pytest
from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, Brain, invite, respond

from edgesbc.base.address import Flow
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
REPLIES: list[dict[str, Any]] = [{"result": "ok"}, {"result": "ok", "sdp": 7}, {"sdp": b"v=0\r\n"}, {}]


def reply(brain: Brain, said: dict[str, Any]) -> list[Request | Response]:
    brain.sent.clear()
    brain.sort(brain.edge.media_replied(brain.media.pop(0).cookie, said, brain.now))
    return [message for _, message in brain.sent]


@pytest.mark.parametrize("said", REPLIES)
def test_an_offer_is_refused(said: dict[str, Any]) -> None:
    brain = Brain(anchor=True)
    brain.receive(CALLER, invite(body=OFFER))
    (refusal,) = reply(brain, said)
    assert isinstance(refusal, Response)
    assert refusal.status in (488, 500)
    assert brain.edge.calls == brain.dispatcher.leases == 0


@pytest.mark.parametrize("said", REPLIES)
def test_an_answer_ends_the_call(said: dict[str, Any]) -> None:
    brain = Brain(anchor=True)
    brain.receive(CALLER, invite(body=OFFER))
    (asked,) = reply(brain, {"result": "ok", "sdp": "v=0\r\n"})
    brain.receive(PBX, respond(asked, 200, body=ANSWER))
    ack, bye, refusal = reply(brain, said)
    assert [m.method for m in (ack, bye) if isinstance(m, Request)] == ["ACK", "BYE"]
    assert isinstance(refusal, Response)
    assert refusal.status in (488, 500)
    assert brain.edge.calls == brain.dispatcher.leases == 0
