"""What signalling makes of a side that has fallen silent: the call ends, or a record says so; both name the side."""

from __future__ import annotations

import pytest
from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, EdgeHarness, invite, respond

from edgesbc.base.address import Flow
from edgesbc.media.commands import Establish, MediaSilence, MediaTimeout
from edgesbc.sip.message import Request

PBX = Flow(CORE, MEMBERS[0])
RECORD = b'[1, "c1", "alice", "bob"]'


def established() -> EdgeHarness:
    edge = EdgeHarness(anchor=True)
    edge.receive(CALLER, invite(body=OFFER))
    ((_, invited),) = edge.reply(OFFER)
    edge.receive(PBX, respond(invited, 200, body=ANSWER))
    edge.reply(OFFER)
    assert [media.command for media in edge.established] == [Establish(edge.media_id(), "alice", RECORD)]
    return edge


SILENT = pytest.mark.parametrize(
    ("tag", "flow", "detail"),
    [
        ("alice", CALLER, "no packets from the caller for 60 s, the other side sends"),
        ("bob", PBX, "no packets from the callee for 60 s, the other side sends"),
    ],
)


@SILENT
def test_the_call_ends_and_why_names_the_side(tag: str, flow: Flow, detail: str) -> None:
    edge = established()
    silence = MediaSilence(edge.media_id(), tag, "packets", 60.0)
    edge.sent.clear()
    edge.sort(edge.edge.media_event(MediaTimeout(edge.media_id(), ("alice", "bob"), (silence,)), edge.now))
    assert [message.method for _, message in edge.sent if isinstance(message, Request)] == ["BYE", "BYE"]
    last = [decision for decision in edge.decisions if decision.reason.code == "media-timeout"][-1]
    assert (last.detail, last.source) == (detail, str(flow.peer))
    assert edge.edge.calls == 0


@SILENT
def test_a_record_names_the_side_and_the_call_goes_on(tag: str, flow: Flow, detail: str) -> None:
    edge = established()
    edge.sent.clear()
    edge.sort(edge.edge.media_event(MediaSilence(edge.media_id(), tag, "packets", 60.0), edge.now))
    assert edge.sent == []
    last = edge.decisions[-1]
    assert (last.reason.code, last.detail, last.source) == ("one-way-media", detail, str(flow.peer))
    assert edge.edge.calls == 1


def test_where_both_sides_have_fallen_silent_no_side_is_blamed() -> None:
    edge = established()
    silent = tuple(MediaSilence(edge.media_id(), tag, "RTP", 600.0) for tag in ("alice", "bob"))
    edge.sort(edge.edge.media_event(MediaTimeout(edge.media_id(), ("alice", "bob"), silent), edge.now))
    assert edge.decisions[-1].detail == "no RTP from both sides for 600 s"


def test_an_event_of_a_call_that_has_ended_does_nothing() -> None:
    edge = established()
    edge.sort(edge.edge.end_calls(edge.now))
    edge.sent.clear()
    decisions = len(edge.decisions)
    edge.sort(edge.edge.media_event(MediaSilence(edge.media_id(), "bob", "RTP", 600.0), edge.now))
    assert (edge.sent, len(edge.decisions)) == ([], decisions)
