"""Networks that lose or duplicate messages, and connections that are shared, or closed during a call."""

from __future__ import annotations

import re
from collections.abc import Callable

from support.sipp_calls import CallCase, CallResult, Side
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

_CALLS = 5
_LOST = 12
"""Percent. SIPp doubles its retransmission interval without limit, so a higher loss would take long."""
_LONG = 1000
"""Milliseconds after which a message has been retransmitted exactly once, with T1 of 500 ms."""


def _by_call(side: Side) -> dict[str, list[str]]:
    """The different final responses to INVITE, by Call-ID."""
    finals: dict[str, list[str]] = {}
    for message in side.received:
        if message.kind.isdigit() and int(message.kind) >= 200 and message["CSeq"].endswith("INVITE"):
            texts = finals.setdefault(message["Call-ID"], [])
            if message.text not in texts:
                texts.append(message.text)
    return finals


def _lost(result: CallResult) -> None:
    finals = _by_call(result.caller)
    assert len(finals) == 12
    assert all(len(texts) == 1 for texts in finals.values())
    for method in ("INVITE", "BYE"):
        branches = {message["Via"] for message in result.called[0].all(method)}
        assert len(branches) == 12  # retransmissions belong to the same transaction


def _sent_again(result: CallResult) -> None:
    (called,) = result.called
    assert called.count("INVITE") == called.count("BYE") == 2
    assert [message["CSeq"] for message in result.caller.all(200)] == ["1 INVITE", "1 INVITE", "2 BYE"]
    for method in ("INVITE", "BYE"):
        assert len({message.text for message in called.all(method)}) == 1


def _refused_again(result: CallResult) -> None:
    assert result.caller.count(486) == 2
    assert result.called[0].kinds == ["INVITE", "ACK"]


def _doubled(result: CallResult) -> None:
    (called,) = result.called
    assert [message.kind for message in called.received] == ["INVITE", "ACK", "BYE"]
    assert [message.kind for message in result.caller.received if message["CSeq"] == "2 BYE"] == ["200"]
    assert len(_by_call(result.caller).popitem()[1]) == 1


def _repeated(result: CallResult) -> None:
    """Retransmitted 2xx are forwarded, and each is acknowledged (RFC 3261 section 13.2.2.4)."""
    answers = [message.text for message in result.caller.all(200) if message["CSeq"] == "1 INVITE"]
    assert len(answers) == 3
    assert len(set(answers)) == 1
    assert result.caller.count(180) == 2
    assert result.called[0].count("ACK") == 3


def _from_ports(ports: int) -> Callable[[CallResult], None]:
    def check(result: CallResult) -> None:
        source_ports = {port for message in result.caller.received for port in re.findall(r"rport=(\d+)", message.text)}
        assert len(source_ports) == ports
        assert result.caller.count("BYE") == _CALLS

    return check


def _gone(result: CallResult) -> None:
    assert result.called[0].kinds == ["INVITE", "CANCEL", "ACK"]


def _gone_and_answered(result: CallResult) -> None:
    assert result.called[0].kinds == ["INVITE", "CANCEL", "ACK", "BYE"]
    assert result.called[0].first("BYE")["CSeq"] == "2 BYE"
    assert result.called[0].first("ACK")["CSeq"] == "1 ACK"


def _many(name: str, proves: str, transport: str, ports: int) -> CallCase:
    """Calls that the called side ends: its BYE must reach the caller over the connection or socket of the call."""
    return CallCase(
        name,
        proves,
        (invite(), wait(200, keep=True), ack(), hung_up()),
        ((taken(), answer(200, body=sdp()), take("ACK"), back("BYE", 1), take(200)),),
        _from_ports(ports),
        transport=transport,
        member_transport=transport[0] + "1",
        calls=_CALLS,
    )


_INVITE = sends("INVITE", 1, *FIRST, body=sdp())
_BYE = sends("BYE", 2, "[next_url]", "[$to]")

CASES = (
    CallCase(
        "lossy",
        "messages are lost on both sides, and every call has one final response",
        (invite(lost=_LOST), take(180, optional=True, lost=_LOST), wait(200, keep=True), ack(), bye(lost=_LOST)),
        ((taken(lost=_LOST), answer(180), answer(200, body=sdp(), lost=_LOST), take("ACK"), hung_up(lost=_LOST)),),
        _lost,
        calls=12,
        set_keys=", try_timeout = 32",
    ),
    CallCase(
        "slow-sides",
        "a message without an answer is retransmitted on both hops: INVITE, its 200, and BYE",
        (invite(), wait(200, keep=True), pause(_LONG), ack(), bye()),
        ((taken(), pause(_LONG), answer(200, body=sdp()), take("ACK"), take("BYE"), pause(_LONG), reply(200)),),
        _sent_again,
        set_keys=", try_timeout = 32",
    ),
    CallCase(
        "slow-ack-of-a-refusal",
        "the edge acknowledges a refusal at once, and retransmits it until the caller acknowledges it",
        (invite(), *wait(486, keep=True), pause(_LONG), ack_refusal()),
        ((taken(), answer(486), take("ACK")),),
        _refused_again,
        outcomes="refused",
    ),
    CallCase(
        "doubled",
        "a request that comes two or three times is forwarded once, and has one response",
        (
            send(_INVITE, repeat=False), send(_INVITE, repeat=False), send(_INVITE, repeat=False), wait(200, keep=True),
            ack(), send(_BYE, repeat=False), send(_BYE, repeat=False), take(200), pause(),
        ),
        # During the pauses all copies arrive, before the answer.
        ((taken(), pause(), answer(200, body=sdp()), take("ACK"), take("BYE"), pause(), reply(200)),),
        _doubled,
    ),
    CallCase(
        "repeated-answers",
        "every retransmission of a 2xx reaches the caller, and every ACK the called side",
        # SIPp retransmits its ACK by itself; when INFO arrives, all have passed.
        (invite(), wait(180), wait(200, keep=True), ack(), take("INFO"), reply(200), bye()),
        ((
            taken(), answer(180), answer(180), *[answer(200, body=sdp(), repeat=False), take("ACK")] * 3,
            back("INFO", 1), take(200), hung_up(),
        ),),
        _repeated,
    ),
    _many("one-connection", "calls share a connection, and each BYE ends its own call", "t1", 1),
    _many("connection-per-call", "each call has a connection, and its BYE comes over that one", "tn", _CALLS),
    _many("socket-per-call", "each call has a UDP socket, and its BYE comes to that one", "un", _CALLS),
    CallCase(
        "closes-while-it-rings",
        "when the caller's connection ends during ringing, the called side gets a CANCEL",
        (invite(), wait(180)),
        ((taken(), answer(180), *cancelled(), answer(487), take("ACK")),),
        _gone,
        transport="t1",
        outcomes="cancelled",
    ),
    CallCase(
        "closes-while-it-is-answered",
        "when the caller's connection has ended, a 200 is acknowledged and the call ended with BYE",
        (invite(), wait(180)),
        ((taken(), answer(180), *cancelled(), answer(200, body=sdp()), take("ACK"), hung_up()),),
        _gone_and_answered,
        transport="t1",
        outcomes="cancelled",
    ),
)  # fmt: skip
