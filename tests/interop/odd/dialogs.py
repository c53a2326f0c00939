"""Requests inside a call: late offers, hold, reliable responses, updates, and session timers."""

from __future__ import annotations

import re

from support.sipp_calls import CallCase, CallResult, Message
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

_DIGIT = "Signal=5\nDuration=160"


def _relayed(message: Message, side: str) -> None:
    """The SDP has the media address of the edge on this side."""
    (address,) = re.findall(r"^c=IN IP4 (\S+)", message.body, re.MULTILINE)
    assert re.fullmatch(rf"127\.[0-9]+\.0\.{'1' if side == 'public' else '2'}", address)


def _late_offer(result: CallResult) -> None:
    (called,) = result.called
    assert not called.first("INVITE").body
    _relayed(result.caller.first(200), "public")
    _relayed(called.first("ACK"), "core")


def _directions(messages: list[Message]) -> list[str]:
    return re.findall(r"a=(send\w+|recv\w+|inactive)", "".join(message.body for message in messages))


def _hold(result: CallResult) -> None:
    (called,) = result.called
    assert _directions(called.received) == ["sendrecv", "sendonly", "sendrecv"]
    assert _directions(result.caller.received) == ["sendrecv", "recvonly", "sendrecv"]
    for message in called.received:
        if message.kind == "INVITE":
            _relayed(message, "core")


def _held(result: CallResult) -> None:
    assert _directions(result.caller.received) == ["sendrecv", "inactive"]
    _relayed(result.caller.first("INVITE"), "public")
    assert _directions(result.called[0].received) == ["sendrecv", "inactive"]


def _reliable(result: CallResult) -> None:
    early, (called,) = result.caller.first(183), result.called
    assert (early["Require"], early["RSeq"]) == ("100rel", "7")
    _relayed(early, "public")
    assert called.first("PRACK")["RAck"] == "7 1 INVITE"
    assert result.caller.kinds.count("183") == 1


def _updates(result: CallResult) -> None:
    (called,) = result.called
    assert _directions([called.first("UPDATE")]) == ["sendonly"]
    assert _directions([result.caller.first("UPDATE")]) == ["recvonly"]
    _relayed(called.first("UPDATE"), "core")
    _relayed(result.caller.first("UPDATE"), "public")


def _digits(result: CallResult) -> None:
    for side in (result.caller, *result.called):
        digit = side.first("INFO")
        assert digit.body.split() == _DIGIT.split()
        assert digit["Content-Type"] == "application/dtmf-relay"
        assert digit["Info-Package"] == "dtmf"


def _refreshed(result: CallResult) -> None:
    caller, (called,) = result.caller, result.called
    assert caller.first(422)["Min-SE"] == "90"
    assert caller.first(200)["Session-Expires"] == called.first("UPDATE")["Session-Expires"] == "90;refresher=uac"
    assert caller.first(200)["Require"] == "timer"
    assert not called.first("UPDATE").body


CASES = (
    CallCase(
        "late-offer",
        "an offer in the 200 and an answer in the ACK are rewritten for the relay",
        (invite(body=""), wait(200, keep=True), ack(body=sdp()), bye()),
        ((taken(), answer(200, body=sdp()), take("ACK"), hung_up()),),
        _late_offer,
    ),
    CallCase(
        "hold-and-resume",
        "a caller puts its call on hold, and resumes it",
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
    CallCase(
        "held-from-inside",
        "a re-INVITE of the called side reaches the caller",
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
    CallCase(
        "reliable-answer",
        "a reliable 183 gets its PRACK, and its SDP is rewritten for the relay",
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
    CallCase(
        "updates",
        "UPDATE changes the media of a ringing call and of an answered one, from either side",
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
    CallCase(
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
    CallCase(
        "session-refresh",
        "a session timer is agreed on at the second attempt, and refreshed by an UPDATE without SDP",
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
        outcomes="refused answered",
    ),
)  # fmt: skip
