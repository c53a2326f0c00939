"""Refusals by the called side, which the edge forwards or tries another member after, and refusals by the edge."""

from __future__ import annotations

from collections.abc import Callable

from support.sipp_calls import NEVER, CallCase, CallResult
from support.steps import (
    FIRST,
    Steps,
    ack,
    ack_refusal,
    answer,
    bye,
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

_ANSWERS = (taken(), answer(200, body=sdp()), take("ACK"), hung_up())
_DIGEST = 'Digest realm="pbx", nonce="n0", algorithm=MD5, qop="auth"'
_CREDENTIALS = 'Digest username="alice", realm="pbx", nonce="n0", uri="sip:pbx", response="0123456789abcdef"'


def _refuses(status: int, *fields: str) -> tuple[str, ...]:
    return taken(), answer(status, *fields, contact=False), take("ACK")


def _passed(status: int) -> Callable[[CallResult], None]:
    """A check: the caller gets the refusal of the called side and no other, and it is acknowledged on both hops."""

    def check(result: CallResult) -> None:
        assert [kind for kind in result.caller.kinds if kind != "100"] == [str(status)]
        called = result.called[0]
        assert called.kinds == ["INVITE", "ACK"]
        assert called.first("ACK")["Via"] == called.first("INVITE")["Via"]
        assert result.caller.first(status)["To"] == called.first("ACK")["To"]

    return check


def _moved(result: CallResult) -> None:
    _passed(302)(result)
    assert not result.caller.first(302).all("Contact")


def _asked(status: int, challenge: str, credentials: str) -> Callable[[CallResult], None]:
    def check(result: CallResult) -> None:
        assert result.caller.first(status)[challenge] == _DIGEST
        first, second = result.called[0].all("INVITE")
        assert not first.all(credentials)
        assert second[credentials] == _CREDENTIALS
        assert second["CSeq"] == "2 INVITE"

    return check


def _next_destination(result: CallResult) -> None:
    first, second = result.called
    assert first.kinds == ["INVITE", "ACK"]
    assert second.kinds == ["INVITE", "ACK", "BYE"]
    assert [kind for kind in result.caller.kinds if kind != "100"] == ["200", "200"]


def _all_failed(result: CallResult) -> None:
    """The edge sends its own 503, not that of a member, which would make the caller avoid the whole edge."""
    assert "Retry-After" in dict(result.caller.first(503).fields)
    assert "X-Inside" not in result.caller.first(503).text


def _own(status: int, **fields: str) -> Callable[[CallResult], None]:
    """A check: the caller gets this refusal from the edge, with these header fields."""

    def check(result: CallResult) -> None:
        assert result.caller.kinds == [str(status)]
        for name, value in fields.items():
            assert result.caller.first(status)[name] == value

    return check


def _forged(result: CallResult) -> None:
    assert result.called[0].kinds == ["INVITE", "ACK", "BYE"]
    assert [message.kind for message in result.caller.received if message["CSeq"] == "3 INFO"] == ["481"]


def _challenge(status: int, challenge: str, credentials: str) -> CallCase:
    return CallCase(
        f"challenged-{status}",
        f"a {status} and the credentials that answer it pass unchanged",
        (
            invite(), refused(status),
            invite(f"{credentials}: {_CREDENTIALS}", cseq=2), wait(200, keep=True), ack(2), bye(3),
        ),
        ((*_refuses(status, f"{challenge}: {_DIGEST}"), *_ANSWERS),),
        _asked(status, challenge, credentials),
        outcomes="refused answered",
    )  # fmt: skip


def _passes(status: int, *fields: str, check: Callable[[CallResult], None] | None = None) -> CallCase:
    """A refusal by the callee: no other member is tried."""
    return CallCase(
        f"refused-{status}",
        f"a {status} goes to the caller, and no other destination is tried",
        (invite(), refused(status)),
        (_refuses(status, *fields), NEVER),
        check or _passed(status),
        outcomes="refused",
    )


def _stopped(name: str, proves: str, status: int, text: str, transport: str = "u1", **fields: str) -> CallCase:
    """A case in which the edge refuses the request ``text`` before it routes it."""
    steps: Steps = (send(text), take(status, keep="To"))
    if transport == "u1":  # over TCP the edge closes the connection after its response, so that no ACK can follow
        steps += (ack_refusal(),)
    return CallCase(name, proves, steps, check=_own(status, **fields), transport=transport, outcomes="")


_INVITE = sends("INVITE", 1, *FIRST, body=sdp())
_BEHIND = sends("INVITE", 1, *FIRST, body="x").replace("[call_number]-1", "[call_number]-2").replace("[len]", "1")
_AMBIGUOUS = sends("INVITE", 1, *FIRST, "l: 0").replace("[len]", "0") + _BEHIND
"""An INVITE with two equal Content-Lengths, and behind it another INVITE, which must not be read as a request."""

CASES = (
    _passes(302, "Contact: <sip:bob@[local_ip]:5070>", check=_moved),
    _passes(486),
    _passes(606, 'Warning: 399 [local_ip] "no"'),
    _challenge(401, "WWW-Authenticate", "Authorization"),
    _challenge(407, "Proxy-Authenticate", "Proxy-Authorization"),
    CallCase(
        "refused-480",
        "a 480 of the only destination goes to the caller",
        (invite(), refused(480)),
        (_refuses(480),),
        _passed(480),
        outcomes="refused",
    ),
    *(
        CallCase(
            f"next-destination-after-{status}",
            f"after a {status} the next destination takes the call, and the caller gets nothing from the first",
            (invite(), wait(200, keep=True), ack(), bye()),
            (_refuses(status), _ANSWERS),
            _next_destination,
        )
        for status in (480, 503)
    ),
    CallCase(
        "all-503",
        "when all destinations answer 503, the caller gets the edge's own 503",
        (invite(), refused(503)),
        (_refuses(503, "X-Inside: one"), _refuses(503, "X-Inside: two")),
        _all_failed,
        outcomes="failed",
    ),
    _stopped("no-hops-left", "Max-Forwards 0 gets 483", 483, _INVITE.replace("Forwards: 70", "Forwards: 0")),
    _stopped(
        "required-of-proxies", "the 420 names the extension that the edge does not support", 420,
        _INVITE.replace("Max-Forwards: 70", "Max-Forwards: 70\nProxy-Require: teleport"), Unsupported="teleport",
    ),
    _stopped(
        "no-such-scheme", "a URI scheme that the edge cannot route gets 416", 416,
        _INVITE.replace(f"INVITE {FIRST[0]}", "INVITE news:alt.sip"),
    ),
    _stopped("no-such-version", "SIP/3.0 gets 505", 505, _INVITE.replace(" SIP/2.0\n", " SIP/3.0\n", 1)),
    _stopped("two-lengths", "two Content-Lengths are refused even if they agree", 400, _AMBIGUOUS),
    _stopped(
        "two-lengths-on-a-stream", "after two Content-Lengths nothing more is read from a stream", 400,
        _AMBIGUOUS, transport="t1",
    ),
    CallCase(
        "forged-token",
        "a request with a forged dialog token gets 481, and the call goes on",
        (
            invite(), wait(200, keep=True), ack(),
            send(sends("INFO", 3, f"sip:{'A' * 120}@[remote_ip]:[remote_port]", "[$to]")),
            take(481), pause(), bye(4),
        ),
        (_ANSWERS,),
        _forged,
    ),
)  # fmt: skip
