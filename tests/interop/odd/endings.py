"""Calls that are given up, or that end as no one meant: in none of them may a side be left alone in a call."""

from __future__ import annotations

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
from support.stories import Story, Told

_RINGS_UNTIL_CANCELLED = (taken(), answer(180), *cancelled(), answer(487), take("ACK"))


def _same_branch(told: Told) -> None:
    """CANCEL and the ACK of its refusal belong to the INVITE's transaction on that hop."""
    called = told.called[0]
    assert called.got("CANCEL")["Via"] == called.got("INVITE")["Via"] == called.got("ACK")["Via"]
    assert called.count("INVITE") == 1
    finals = [each for each in told.caller.received if each["CSeq"] == "1 INVITE" and each.kind >= "200"]
    assert {each.kind for each in finals} == {"487"}


def _not_before_100(told: Told) -> None:
    _same_branch(told)
    # SIPp fails where CANCEL comes in its pause; the caller's own was answered before.
    assert told.caller.kinds.index("200") < told.caller.kinds.index("487")


def _silent(told: Told) -> None:
    _same_branch(told)
    assert told.caller.kinds.count("100") == 1
    assert "tag=" not in told.caller.got(100)["To"]  # the edge's own; the called side's has one
    assert not told.caller.count(180)


def _crossed(told: Told) -> None:
    assert [each["CSeq"] for each in told.caller.received if each.kind == "200"] == ["1 CANCEL", "1 INVITE", "2 BYE"]
    assert told.called[0].kinds == ["INVITE", "CANCEL", "ACK", "BYE"]


def _late(told: Told) -> None:
    slow, quick = told.called
    assert slow.kinds == ["INVITE", "ACK", "BYE"]
    own = next(each["To"] for each in slow.sent if each.kind == "200")
    assert slow.got("ACK")["To"] == slow.got("BYE")["To"] == own
    assert quick.kinds == ["INVITE", "ACK", "BYE"]
    assert [each["CSeq"] for each in told.caller.received if each.kind == "200"] == ["1 INVITE", "2 BYE"]


def _gives_up(told: Told) -> None:
    assert told.caller.count(200) == 3
    assert len({each.text for each in told.caller.received if each.kind == "200"}) == 1
    assert not told.called[0].count("ACK")


_INVITE = sends("INVITE", 1, *FIRST, body=sdp())

STORIES = (
    Story(
        "cancelled-before-100",
        "a CANCEL that comes before anything is known waits until the called side says something",
        (send(_INVITE, repeat=False), cancel(), take(180, optional=True), refused(487)),
        ((taken(), pause(), answer(180), *cancelled(), answer(487), take("ACK")),),
        _not_before_100,
        ends="cancelled",
    ),
    Story(
        "cancelled-while-it-rings",
        "CANCEL goes on, and 487 comes back",
        (invite(), wait(180), cancel(), refused(487)),
        (_RINGS_UNTIL_CANCELLED,),
        _same_branch,
        ends="cancelled",
    ),
    Story(
        "cancelled-after-100-and-silence",
        "a 100 of the called side goes no further, and who says nothing more can still be cancelled",
        (invite(), take(100), pause(), cancel(), refused(487)),
        ((taken(), answer(100, contact=False), *cancelled(), answer(487), take("ACK")),),
        _silent,
        ends="cancelled",
    ),
    Story(
        "cancelled-with-487-alone",
        "a called side that never answers the CANCEL itself ends the call all the same",
        (invite(), wait(180), cancel(), refused(487)),
        ((taken(), answer(180), take("CANCEL"), answer(487), take("ACK")),),
        _same_branch,
        inside="t1",  # over UDP CANCEL would be repeated to a SIPp that is gone
        ends="cancelled",
    ),
    Story(
        "answered-while-cancelled",
        "a 200 that crosses the CANCEL reaches the caller, who hangs up",
        (invite(), wait(180), cancel(), wait(200, keep=True), ack(), bye()),
        ((taken(), answer(180), *cancelled(), answer(200, body=sdp()), take("ACK"), hung_up()),),
        _crossed,
    ),
    Story(
        "answered-too-late",
        "a destination that answers after the next one has the call is acknowledged and hung up",
        (invite(), wait(200, keep=True), ack(), pause(900), bye()),
        (
            (taken(), pause(900), answer(200, body=sdp()), take("ACK"), hung_up()),
            (taken(), answer(200, body=sdp()), take("ACK"), hung_up()),
        ),
        _late,
        more=", try_timeout = 0.3",
    ),
    Story(
        "never-acknowledged",
        "a called side that waits for its ACK in vain repeats its 200 to the caller, and its BYE ends the call",
        (invite(), wait(200, keep=True), hung_up()),
        ((taken(), *[answer(200, body=sdp(), repeat=False)] * 3, pause(), back("BYE", 1), take(200)),),
        _gives_up,
    ),
)  # fmt: skip
