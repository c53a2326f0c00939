"""Refusals: those of the called side, which are forwarded, redirect or challenge, and those of the edge itself."""

from __future__ import annotations

from collections.abc import Callable

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
from support.stories import NEVER, Story, Told

_ANSWERS = (taken(), answer(200, body=sdp()), take("ACK"), hung_up())
_DIGEST = 'Digest realm="pbx", nonce="n0", algorithm=MD5, qop="auth"'
_CREDENTIALS = 'Digest username="alice", realm="pbx", nonce="n0", uri="sip:pbx", response="0123456789abcdef"'


def _refuses(status: int, *fields: str) -> tuple[str, ...]:
    return taken(), answer(status, *fields, contact=False), take("ACK")


def _passed(status: int) -> Callable[[Told], None]:
    """The called side's own refusal, acknowledged on each hop, and nothing else."""

    def check(told: Told) -> None:
        assert [kind for kind in told.caller.kinds if kind != "100"] == [str(status)]
        called = told.called[0]
        assert called.kinds == ["INVITE", "ACK"]
        assert called.got("ACK")["Via"] == called.got("INVITE")["Via"]
        assert told.caller.got(status)["To"] == called.got("ACK")["To"]

    return check


def _moved(told: Told) -> None:
    _passed(302)(told)
    assert not told.caller.got(302).all("Contact")


def _asked(status: int, challenge: str, credentials: str) -> Callable[[Told], None]:
    def check(told: Told) -> None:
        assert told.caller.got(status)[challenge] == _DIGEST
        first, second = [each for each in told.called[0].received if each.kind == "INVITE"]
        assert not first.all(credentials)
        assert second[credentials] == _CREDENTIALS
        assert second["CSeq"] == "2 INVITE"

    return check


def _led_on(told: Told) -> None:
    first, second = told.called
    assert first.kinds == ["INVITE", "ACK"]
    assert second.kinds == ["INVITE", "ACK", "BYE"]
    assert [kind for kind in told.caller.kinds if kind != "100"] == ["200", "200"]


def _all_failed(told: Told) -> None:
    """A 503 says that the sender is to be avoided, which one member cannot say of the edge: it has its own."""
    assert "Retry-After" in dict(told.caller.got(503).fields)
    assert "X-Inside" not in told.caller.got(503).text


def _own(status: int, **fields: str) -> Callable[[Told], None]:
    """A refusal of the edge, of which the private side gets nothing."""

    def check(told: Told) -> None:
        assert told.caller.kinds == [str(status)]
        for name, value in fields.items():
            assert told.caller.got(status)[name] == value

    return check


def _forged(told: Told) -> None:
    assert told.called[0].kinds == ["INVITE", "ACK", "BYE"]
    assert [each.kind for each in told.caller.received if each["CSeq"] == "3 INFO"] == ["481"]


def _challenge(status: int, challenge: str, credentials: str) -> Story:
    return Story(
        f"challenged-{status}",
        f"a {status} and the credentials that answer it pass as they are",
        (
            invite(), refused(status),
            invite(f"{credentials}: {_CREDENTIALS}", cseq=2), wait(200, keep=True), ack(2), bye(3),
        ),
        ((*_refuses(status, f"{challenge}: {_DIGEST}"), *_ANSWERS),),
        _asked(status, challenge, credentials),
        ends="refused answered",
    )  # fmt: skip


def _passes(status: int, *fields: str, check: Callable[[Told], None] | None = None) -> Story:
    """A refusal by the callee: no other member is tried."""
    return Story(
        f"refused-{status}",
        f"a {status} is the answer, and no other destination is tried",
        (invite(), refused(status)),
        (_refuses(status, *fields), NEVER),
        check or _passed(status),
        ends="refused",
    )


def _stopped(name: str, proves: str, status: int, text: str, over: str = "u1", **fields: str) -> Story:
    """``text`` is refused before it is routed."""
    steps: Steps = (send(text), take(status, keep="To"))
    if over == "u1":  # over TCP the connection ends with the answer, and nothing is left to acknowledge by
        steps += (ack_refusal(),)
    return Story(name, proves, steps, check=_own(status, **fields), over=over, ends="")


_INVITE = sends("INVITE", 1, *FIRST, body=sdp())
_BEHIND = sends("INVITE", 1, *FIRST, body="x").replace("[call_number]-1", "[call_number]-2").replace("[len]", "1")
_AMBIGUOUS = sends("INVITE", 1, *FIRST, "l: 0").replace("[len]", "0") + _BEHIND
"""Another INVITE stands behind it, which nobody may take for one."""

STORIES = (
    _passes(302, "Contact: <sip:desk@[local_ip]:5070>", check=_moved),
    _passes(486),
    _passes(606, 'Warning: 399 [local_ip] "no"'),
    _challenge(401, "WWW-Authenticate", "Authorization"),
    _challenge(407, "Proxy-Authenticate", "Proxy-Authorization"),
    Story(
        "refused-480",
        "a 480 of the only destination is the caller's answer",
        (invite(), refused(480)),
        (_refuses(480),),
        _passed(480),
        ends="refused",
    ),
    *(
        Story(
            f"led-on-by-{status}",
            f"after a {status} the next destination has the call, and the caller hears nothing of the first",
            (invite(), wait(200, keep=True), ack(), bye()),
            (_refuses(status), _ANSWERS),
            _led_on,
        )
        for status in (480, 503)
    ),
    Story(
        "all-503",
        "when all destinations answer 503, the caller gets the edge's own",
        (invite(), refused(503)),
        (_refuses(503, "X-Inside: one"), _refuses(503, "X-Inside: two")),
        _all_failed,
        ends="failed",
    ),
    _stopped("no-hops-left", "Max-Forwards 0 goes nowhere", 483, _INVITE.replace("Forwards: 70", "Forwards: 0")),
    _stopped(
        "required-of-proxies", "an extension that the edge has not is named", 420,
        _INVITE.replace("Max-Forwards: 70", "Max-Forwards: 70\nProxy-Require: teleport"), Unsupported="teleport",
    ),
    _stopped(
        "no-such-scheme", "a scheme that nobody routes is 416", 416,
        _INVITE.replace(f"INVITE {FIRST[0]}", "INVITE news:alt.sip"),
    ),
    _stopped("no-such-version", "SIP/3.0 is 505", 505, _INVITE.replace(" SIP/2.0\n", " SIP/3.0\n", 1)),
    _stopped("two-lengths", "two Content-Lengths are refused even where they agree", 400, _AMBIGUOUS),
    _stopped(
        "two-lengths-on-a-stream", "after two Content-Lengths nothing more is read from a stream", 400,
        _AMBIGUOUS, over="t1",
    ),
    Story(
        "forged-token",
        "a token that is changed leads nowhere, and the call that it is of goes on",
        (
            invite(), wait(200, keep=True), ack(),
            send(sends("INFO", 3, f"sip:{'A' * 120}@[remote_ip]:[remote_port]", "[$to]")),
            take(481), pause(), bye(4),
        ),
        (_ANSWERS,),
        _forged,
    ),
)  # fmt: skip
