"""What networks do to messages: they lose and double them, and carry them over connections that come and go."""

from __future__ import annotations

import re
from collections.abc import Callable

from support.steps import (
    FIRST,
    ack,
    ack_refusal,
    answer,
    back,
    bye,
    cancelled,
    hung_up,
    invite,
    pause,
    reply,
    sdp,
    send,
    sends,
    take,
    taken,
    wait,
)  # fmt: skip
from support.stories import Side, Story, Told

_CALLS = 5
_LOST = 12
"""Percent. SIPp doubles its waits without end, so more would make for long waits."""
_T1 = 1000
"""Milliseconds after which, with T1 of 500, everything has been sent once more and nothing twice more."""


def _by_call(side: Side) -> dict[str, list[str]]:
    """The final answers to INVITE, each text once, by Call-ID."""
    finals: dict[str, list[str]] = {}
    for each in side.received:
        if each.kind.isdigit() and int(each.kind) >= 200 and each["CSeq"].endswith("INVITE"):
            texts = finals.setdefault(each["Call-ID"], [])
            if each.text not in texts:
                texts.append(each.text)
    return finals


def _lost(told: Told) -> None:
    finals = _by_call(told.caller)
    assert len(finals) == 12
    assert all(len(texts) == 1 for texts in finals.values())
    for method in ("INVITE", "BYE"):
        branches = {each["Via"] for each in told.called[0].received if each.kind == method}
        assert len(branches) == 12  # however often it came, it was one transaction


def _sent_again(told: Told) -> None:
    (called,) = told.called
    assert called.count("INVITE") == called.count("BYE") == 2
    assert [each["CSeq"] for each in told.caller.received if each.kind == "200"] == ["1 INVITE", "1 INVITE", "2 BYE"]
    for method in ("INVITE", "BYE"):
        assert len({each.text for each in called.received if each.kind == method}) == 1


def _refused_again(told: Told) -> None:
    assert told.caller.count(486) == 2
    assert told.called[0].kinds == ["INVITE", "ACK"]


def _doubled(told: Told) -> None:
    (called,) = told.called
    assert [each.kind for each in called.received] == ["INVITE", "ACK", "BYE"]
    assert [each.kind for each in told.caller.received if each["CSeq"] == "2 BYE"] == ["200"]
    assert len(_by_call(told.caller).popitem()[1]) == 1


def _repeated(told: Told) -> None:
    """Repeated 2xx go through, each to be acknowledged (RFC 3261 section 13.2.2.4)."""
    answers = [each.text for each in told.caller.received if each.kind == "200" and each["CSeq"] == "1 INVITE"]
    assert len(answers) == 3
    assert len(set(answers)) == 1
    assert told.caller.count(180) == 2
    assert told.called[0].count("ACK") == 3


def _from_ports(ports: int) -> Callable[[Told], None]:
    def check(told: Told) -> None:
        seen = {port for each in told.caller.received for port in re.findall(r"rport=(\d+)", each.text)}
        assert len(seen) == ports
        assert told.caller.count("BYE") == _CALLS

    return check


def _gone(told: Told) -> None:
    assert told.called[0].kinds == ["INVITE", "CANCEL", "ACK"]


def _gone_and_answered(told: Told) -> None:
    assert told.called[0].kinds == ["INVITE", "CANCEL", "ACK", "BYE"]
    assert told.called[0].got("BYE")["CSeq"] == "2 BYE"
    assert told.called[0].got("ACK")["CSeq"] == "1 ACK"


def _many(name: str, proves: str, over: str, ports: int) -> Story:
    """Calls that the called side ends: its BYE has to come by the way that the call came."""
    return Story(
        name,
        proves,
        (invite(), wait(200, keep=True), ack(), hung_up()),
        ((taken(), answer(200, body=sdp()), take("ACK"), back("BYE", 1), take(200)),),
        _from_ports(ports),
        over=over,
        inside=over[0] + "1",
        calls=_CALLS,
    )


_INVITE = sends("INVITE", 1, *FIRST, body=sdp())
_BYE = sends("BYE", 2, "[next_url]", "[$to]")

STORIES = (
    Story(
        "lossy",
        "some of all messages are lost on either side, and each call has its one answer",
        (invite(lost=_LOST), take(180, optional=True, lost=_LOST), wait(200, keep=True), ack(), bye(lost=_LOST)),
        ((taken(lost=_LOST), answer(180), answer(200, body=sdp(), lost=_LOST), take("ACK"), hung_up(lost=_LOST)),),
        _lost,
        calls=12,
        more=", try_timeout = 32",
    ),
    Story(
        "late-ears",
        "what is not answered at once is sent again on each hop: INVITE, its 200, and BYE",
        (invite(), wait(200, keep=True), pause(_T1), ack(), bye()),
        ((taken(), pause(_T1), answer(200, body=sdp()), take("ACK"), take("BYE"), pause(_T1), reply(200)),),
        _sent_again,
        more=", try_timeout = 32",
    ),
    Story(
        "late-ears-for-a-refusal",
        "a refusal is acknowledged by the edge at once, and repeated until its caller does",
        (invite(), *wait(486, keep=True), pause(_T1), ack_refusal()),
        ((taken(), answer(486), take("ACK")),),
        _refused_again,
        ends="refused",
    ),
    Story(
        "doubled",
        "a request that comes two or three times goes on once, and has one answer",
        (
            send(_INVITE, repeat=False), send(_INVITE, repeat=False), send(_INVITE, repeat=False), wait(200, keep=True),
            ack(), send(_BYE, repeat=False), send(_BYE, repeat=False), take(200), pause(),
        ),
        # The pauses let all copies come before the answer.
        ((taken(), pause(), answer(200, body=sdp()), take("ACK"), take("BYE"), pause(), reply(200)),),
        _doubled,
    ),
    Story(
        "repeated-answers",
        "a 2xx that is repeated reaches the caller each time, and so does each ACK the called side",
        # SIPp repeats its ACK by itself; when it hears INFO, all are through.
        (invite(), wait(180), wait(200, keep=True), ack(), take("INFO"), reply(200), bye()),
        ((
            taken(), answer(180), answer(180), *[answer(200, body=sdp(), repeat=False), take("ACK")] * 3,
            back("INFO", 1), take(200), hung_up(),
        ),),
        _repeated,
    ),
    _many("many-in-one", "calls share one connection, and each BYE finds its own", "t1", 1),
    _many("one-in-each", "each call has a connection, and each BYE goes by the one of its call", "tn", _CALLS),
    _many("socket-in-each", "each call has a UDP socket, and each BYE goes to the one of its call", "un", _CALLS),
    Story(
        "closes-while-it-rings",
        "a caller whose connection ends while it rings leaves nobody ringing",
        (invite(), wait(180)),
        ((taken(), answer(180), *cancelled(), answer(487), take("ACK")),),
        _gone,
        over="t1",
        ends="cancelled",
    ),
    Story(
        "closes-while-it-is-answered",
        "an answer to a caller whose connection has ended is acknowledged and hung up",
        (invite(), wait(180)),
        ((taken(), answer(180), *cancelled(), answer(200, body=sdp()), take("ACK"), hung_up()),),
        _gone_and_answered,
        over="t1",
        ends="cancelled",
    ),
)  # fmt: skip
