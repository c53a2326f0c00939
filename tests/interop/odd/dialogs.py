"""Requests inside a call: late offers, hold, reliable responses, updates, and session timers."""

from __future__ import annotations

import re

from support.steps import (
    ack,
    answer,
    back,
    bye,
    hung_up,
    invite,
    refused,
    reply,
    request,
    sdp,
    take,
    taken,
    wait,
)  # fmt: skip
from support.stories import Message, Story, Told

_DIGIT = "Signal=5\nDuration=160"


def _relayed(message: Message, side: str) -> None:
    """The media of this side goes to the edge only."""
    (where,) = re.findall(r"^c=IN IP4 (\S+)", message.body, re.MULTILINE)
    assert re.fullmatch(rf"127\.[0-9]+\.0\.{'1' if side == 'public' else '2'}", where)


def _late_offer(told: Told) -> None:
    (called,) = told.called
    assert not called.got("INVITE").body
    _relayed(told.caller.got(200), "public")
    _relayed(called.got("ACK"), "core")


def _directions(messages: list[Message]) -> list[str]:
    return re.findall(r"a=(send\w+|recv\w+|inactive)", "".join(each.body for each in messages))


def _hold(told: Told) -> None:
    (called,) = told.called
    assert _directions(called.received) == ["sendrecv", "sendonly", "sendrecv"]
    assert _directions(told.caller.received) == ["sendrecv", "recvonly", "sendrecv"]
    for message in called.received:
        if message.kind == "INVITE":
            _relayed(message, "core")


def _held(told: Told) -> None:
    assert _directions(told.caller.received) == ["sendrecv", "inactive"]
    _relayed(told.caller.got("INVITE"), "public")
    assert _directions(told.called[0].received) == ["sendrecv", "inactive"]


def _reliable(told: Told) -> None:
    early, (called,) = told.caller.got(183), told.called
    assert (early["Require"], early["RSeq"]) == ("100rel", "7")
    _relayed(early, "public")
    assert called.got("PRACK")["RAck"] == "7 1 INVITE"
    assert told.caller.kinds.count("183") == 1


def _updates(told: Told) -> None:
    (called,) = told.called
    assert _directions([called.got("UPDATE")]) == ["sendonly"]
    assert _directions([told.caller.got("UPDATE")]) == ["recvonly"]
    _relayed(called.got("UPDATE"), "core")
    _relayed(told.caller.got("UPDATE"), "public")


def _digits(told: Told) -> None:
    for side in (told.caller, *told.called):
        digit = side.got("INFO")
        assert digit.body.split() == _DIGIT.split()
        assert digit["Content-Type"] == "application/dtmf-relay"
        assert digit["Info-Package"] == "dtmf"


def _refreshed(told: Told) -> None:
    caller, (called,) = told.caller, told.called
    assert caller.got(422)["Min-SE"] == "90"
    assert caller.got(200)["Session-Expires"] == called.got("UPDATE")["Session-Expires"] == "90;refresher=uac"
    assert caller.got(200)["Require"] == "timer"
    assert not called.got("UPDATE").body


STORIES = (
    Story(
        "late-offer",
        "an offer that comes in the 200 and an answer in the ACK pass the relay",
        (invite(body=""), wait(200, keep=True), ack(body=sdp()), bye()),
        ((taken(), answer(200, body=sdp()), take("ACK"), hung_up()),),
        _late_offer,
    ),
    Story(
        "hold-and-resume",
        "a caller holds its call and takes it back",
        (
            invite(), wait(200, keep=True), ack(),
            request("INVITE", 2, body=sdp("sendonly", 2)), wait(200), ack(2),
            request("INVITE", 3, body=sdp("sendrecv", 3)), wait(200), ack(3),
            bye(4),
        ),
        ((
            taken(), answer(200, body=sdp()), take("ACK"),
            take("INVITE"), reply(200, body=sdp("recvonly", 2)), take("ACK"),
            take("INVITE"), reply(200, body=sdp("sendrecv", 3)), take("ACK"),
            hung_up(),
        ),),
        _hold,
    ),
    Story(
        "held-from-inside",
        "a re-INVITE of the called side finds the caller",
        (
            invite(), wait(200, keep=True), ack(),
            take("INVITE"), reply(200, body=sdp("inactive", 2)), take("ACK"), bye(),
        ),
        ((
            taken(), answer(200, body=sdp()), take("ACK"),
            back("INVITE", 1, body=sdp("inactive", 2)), wait(200), back("ACK", 1), hung_up(),
        ),),
        _held,
    ),
    Story(
        "reliable-answer",
        "a 183 that asks for PRACK gets it, with the media of the ringing",
        (
            invite("Supported: 100rel"), wait(183, keep=True), request("PRACK", 2, "RAck: 7 1 INVITE"), take(200),
            wait(180), wait(200), ack(), bye(3),
        ),
        ((
            taken(), answer(183, "Require: 100rel", "RSeq: 7", body=sdp(), repeat=True), take("PRACK"), reply(200),
            answer(180), answer(200), take("ACK"), hung_up(),
        ),),
        _reliable,
    ),
    Story(
        "updates",
        "UPDATE changes the media of a call that rings, and of one that was answered, from either side",
        (
            invite("Supported: 100rel"), wait(183, keep=True), request("PRACK", 2, "RAck: 1 1 INVITE"), take(200),
            request("UPDATE", 3, body=sdp("sendonly", 2)), take(200),
            wait(200), ack(), take("UPDATE"), reply(200, body=sdp("sendonly", 3)), bye(4),
        ),
        ((
            taken(), answer(183, "Require: 100rel", "RSeq: 1", body=sdp(), repeat=True), take("PRACK"), reply(200),
            take("UPDATE"), reply(200, body=sdp("recvonly", 2)),
            answer(200), take("ACK"), back("UPDATE", 1, body=sdp("recvonly", 3)), take(200), hung_up(),
        ),),
        _updates,
    ),
    Story(
        "digits",
        "INFO passes with its body, from either side",
        (
            invite(), wait(200, keep=True), ack(),
            request("INFO", 2, "Info-Package: dtmf", body=_DIGIT, kind="application/dtmf-relay"), take(200),
            take("INFO"), reply(200), bye(3),
        ),
        ((
            taken(), answer(200, body=sdp()), take("ACK"), take("INFO"), reply(200),
            back("INFO", 1, "Info-Package: dtmf", body=_DIGIT, kind="application/dtmf-relay"), take(200), hung_up(),
        ),),
        _digits,
    ),
    Story(
        "session-refresh",
        "a session timer is agreed on at the second try, and refreshed by an UPDATE without SDP",
        (
            invite("Supported: timer", "Session-Expires: 30"), refused(422),
            invite("Supported: timer", "Session-Expires: 90;refresher=uac", "Min-SE: 90", cseq=2), wait(200, keep=True),
            ack(2), request("UPDATE", 3, "Supported: timer", "Session-Expires: 90;refresher=uac"), take(200), bye(4),
        ),
        ((
            taken(), answer(422, "Min-SE: 90"), take("ACK"),
            taken(), answer(200, "Require: timer", "Session-Expires: 90;refresher=uac", body=sdp()), take("ACK"),
            take("UPDATE"), reply(200, "Require: timer", "Session-Expires: 90;refresher=uac"), hung_up(),
        ),),
        _refreshed,
        ends="refused answered",
    ),
)  # fmt: skip
