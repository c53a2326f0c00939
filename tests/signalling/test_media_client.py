"""Replies of the media plane that are none."""

from __future__ import annotations

from typing import Any

import pytest
from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, EdgeHarness, invite, respond

from edgesbc.base.address import Flow
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
REPLIES: list[dict[str, Any]] = [{"result": "ok"}, {"result": "ok", "sdp": 7}, {"sdp": b"v=0\r\n"}, {}]


def reply(harness: EdgeHarness, said: dict[str, Any]) -> list[Request | Response]:
    harness.sent.clear()
    harness.sort(harness.edge.media_replied(harness.media.pop(0).cookie, said, harness.now))
    return [message for _, message in harness.sent]


@pytest.mark.parametrize("said", REPLIES)
def test_an_offer_is_refused(said: dict[str, Any]) -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    (refusal,) = reply(harness, said)
    assert isinstance(refusal, Response)
    assert refusal.status in (488, 500)
    assert harness.edge.calls == harness.dispatcher.leases == 0


@pytest.mark.parametrize("said", REPLIES)
def test_an_answer_ends_the_call(said: dict[str, Any]) -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    (asked,) = reply(harness, {"result": "ok", "sdp": "v=0\r\n"})
    harness.receive(PBX, respond(asked, 200, body=ANSWER))
    ack, bye, refusal = reply(harness, said)
    assert [m.method for m in (ack, bye) if isinstance(m, Request)] == ["ACK", "BYE"]
    assert isinstance(refusal, Response)
    assert refusal.status in (488, 500)
    assert harness.edge.calls == harness.dispatcher.leases == 0
