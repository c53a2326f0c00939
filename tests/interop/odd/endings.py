"""Calls that are cancelled, or end in an unusual order: neither side may be left in a call that the other has ended."""

from __future__ import annotations

from support.sipp_calls import CallCase, CallResult
from support.steps import (
    FIRST,
    ack,
    answer,
    back,
    bye,
    cancel,
    cancelled,
    hung_up,
    invite,
    pause,
    refused,
    sdp,
    send,
    sends,
    take,
    taken,
    wait,
)  # fmt: skip

_RINGS_UNTIL_CANCELLED = (taken(), answer(180), *cancelled(), answer(487), take("ACK"))


def _same_branch(result: CallResult) -> None:
    """CANCEL and the ACK of its refusal belong to the INVITE's transaction on that hop."""
    called = result.called[0]
    assert called.first("CANCEL")["Via"] == called.first("INVITE")["Via"] == called.first("ACK")["Via"]
    assert called.count("INVITE") == 1
    finals = [message for message in result.caller.received if message["CSeq"] == "1 INVITE" and message.kind >= "200"]
    assert {message.kind for message in finals} == {"487"}


def _not_before_100(result: CallResult) -> None:
    _same_branch(result)
    # SIPp fails if the CANCEL arrives during its pause, before the 180; the edge answers the caller's CANCEL at once.
    assert result.caller.kinds.index("200") < result.caller.kinds.index("487")


def _only_own_100(result: CallResult) -> None:
    _same_branch(result)
    assert result.caller.kinds.count("100") == 1
    assert "tag=" not in result.caller.first(100)["To"]  # the edge's own 100; that of the called side has a tag
    assert not result.caller.count(180)


def _crossed(result: CallResult) -> None:
    assert [message["CSeq"] for message in result.caller.all(200)] == ["1 CANCEL", "1 INVITE", "2 BYE"]
    assert result.called[0].kinds == ["INVITE", "CANCEL", "ACK", "BYE"]


def _late_answer_ended(result: CallResult) -> None:
    slow, quick = result.called
    assert slow.kinds == ["INVITE", "ACK", "BYE"]
    to_of_200 = next(message["To"] for message in slow.sent if message.kind == "200")
    assert slow.first("ACK")["To"] == slow.first("BYE")["To"] == to_of_200
    assert quick.kinds == ["INVITE", "ACK", "BYE"]
    assert [message["CSeq"] for message in result.caller.all(200)] == ["1 INVITE", "2 BYE"]


def _never_acknowledged(result: CallResult) -> None:
    assert result.caller.count(200) == 3
    assert len({message.text for message in result.caller.all(200)}) == 1
    assert not result.called[0].count("ACK")


_INVITE = sends("INVITE", 1, *FIRST, body=sdp())

CASES = (
    CallCase(
        "cancelled-before-100",
        "a CANCEL that comes before any response waits for one from the called side (RFC 3261 section 9.1)",
        (send(_INVITE, repeat=False), cancel(), take(180, optional=True), refused(487)),
        ((taken(), pause(), answer(180), *cancelled(), answer(487), take("ACK")),),
        _not_before_100,
        outcomes="cancelled",
    ),
    CallCase(
        "cancelled-while-it-rings",
        "a CANCEL is forwarded, and the 487 reaches the caller",
        (invite(), wait(180), cancel(), refused(487)),
        (_RINGS_UNTIL_CANCELLED,),
        _same_branch,
        outcomes="cancelled",
    ),
    CallCase(
        "cancelled-after-100-and-silence",
        "a 100 of the called side is not forwarded, and a call without another response can be cancelled",
        (invite(), take(100), pause(), cancel(), refused(487)),
        ((taken(), answer(100, contact=False), *cancelled(), answer(487), take("ACK")),),
        _only_own_100,
        outcomes="cancelled",
    ),
    CallCase(
        "cancelled-with-487-alone",
        "a called side that answers the INVITE with 487, but not the CANCEL, ends the call all the same",
        (invite(), wait(180), cancel(), refused(487)),
        ((taken(), answer(180), take("CANCEL"), answer(487), take("ACK")),),
        _same_branch,
        member_transport="t1",  # over UDP the CANCEL would be retransmitted to a SIPp that has ended
        outcomes="cancelled",
    ),
    CallCase(
        "answered-while-cancelled",
        "a 200 that crosses the CANCEL reaches the caller, which then hangs up",
        (invite(), wait(180), cancel(), wait(200, keep=True), ack(), bye()),
        ((taken(), answer(180), *cancelled(), answer(200, body=sdp()), take("ACK"), hung_up()),),
        _crossed,
    ),
    CallCase(
        "answered-too-late",
        "a late answer, after the next destination has taken the call, is acknowledged and its call ended with BYE",
        (invite(), wait(200, keep=True), ack(), pause(900), bye()),
        (
            (taken(), pause(900), answer(200, body=sdp()), take("ACK"), hung_up()),
            (taken(), answer(200, body=sdp()), take("ACK"), hung_up()),
        ),
        _late_answer_ended,
        set_keys=", try_timeout = 0.3",
    ),
    CallCase(
        "never-acknowledged",
        "without an ACK the called side retransmits its 200, the caller gets each copy, and the BYE ends the call",
        (invite(), wait(200, keep=True), hung_up()),
        ((taken(), *[answer(200, body=sdp(), repeat=False)] * 3, pause(), back("BYE", 1), take(200)),),
        _never_acknowledged,
    ),
)  # fmt: skip
