"""Replies of the media plane: refusals, late ones and repeated ones."""

from __future__ import annotations

import pytest
from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.media.commands import Delete, MediaError, MediaReply
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])


def reply(harness: EdgeHarness, cookie: int, answer: MediaReply | MediaError) -> list[Request | Response]:
    harness.sent.clear()
    harness.sort(harness.edge.media_replied(cookie, answer, harness.now))
    return [message for _, message in harness.sent]


@pytest.mark.parametrize("status", [400, 488, 503])
def test_a_refused_offer_gets_the_status_of_the_media_plane(status: int) -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    (refusal,) = reply(harness, harness.media[0].cookie, MediaError(status, "why it was refused"))
    assert isinstance(refusal, Response)
    assert refusal.status == status
    assert harness.decisions[-1].detail == "why it was refused"
    assert harness.edge.calls == harness.dispatcher.leases == 0
    assert harness.media[1].command == Delete("c1", "alice")


@pytest.mark.parametrize("status", [488, 503])
def test_a_refused_answer_ends_the_call(status: int) -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    ((_, forwarded),) = harness.reply(b"v=0\r\n")
    harness.receive(PBX, respond(forwarded, 200, body=ANSWER))
    ack, bye, refusal = reply(harness, harness.media[0].cookie, MediaError(status, "no"))
    assert [m.method for m in (ack, bye) if isinstance(m, Request)] == ["ACK", "BYE"]
    assert isinstance(refusal, Response)
    assert refusal.status == status
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_without_a_reply_in_time_the_call_is_refused_and_a_late_reply_is_ignored() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    cookie = harness.media[0].cookie
    sent = [message for _, message in harness.wait(limits.MEDIA_REPLY_SECONDS + 0.1)]
    finals = [message.status for message in sent if isinstance(message, Response) and message.status >= 200]
    assert set(finals) == {500}
    assert harness.edge.calls == 0
    assert reply(harness, cookie, MediaReply(b"v=0\r\n")) == []


def test_a_reply_that_comes_twice_is_taken_once() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    cookie = harness.media[0].cookie
    (forwarded,) = reply(harness, cookie, MediaReply(b"v=0\r\n"))
    assert forwarded.body == b"v=0\r\n"
    assert reply(harness, cookie, MediaReply(b"v=0\r\ns=again\r\n")) == []


def test_responses_after_one_that_waits_for_media_keep_their_order_and_are_bounded() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    ((_, forwarded),) = harness.reply(b"v=0\r\n")
    harness.receive(PBX, respond(forwarded, 183, body=ANSWER))
    for _ in range(limits.PENDING_MEDIA + 3):
        assert harness.receive(PBX, respond(forwarded, 180)) == []
    sent = [message for _, message in harness.reply(b"v=0\r\ns=answer\r\n")]
    statuses = [message.status for message in sent if isinstance(message, Response)]
    assert statuses == [183] + [180] * limits.PENDING_MEDIA
