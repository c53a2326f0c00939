"""THREATS 23: how much the edge sends to a source that may be forged. More tests of the row are in test_steering.py."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import trio
import trio.testing
from support.running import at, policy_text, running, until
from support.signalling import CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond
from support.ua import Ua, UdpWire

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Request, Response

UNPROVEN = Flow(PUBLIC, Source("203.0.113.9", 5060))
PBX = Flow(CORE, MEMBERS[0])
METHODS = (
    "INVITE", "REGISTER", "OPTIONS", "SUBSCRIBE", "MESSAGE", "PUBLISH", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO",
    "REFER", "NOTIFY", "X",
)  # fmt: skip


def smallest(method: str, uri: str = "sip:1", fields: str = "", to: str = "<sip:b>", via: str = "a") -> bytes:
    """The shortest request of a method that the parser accepts."""
    contact = "m:<sip:a>\r\n" if method == "INVITE" else ""
    return (
        f"{method} {uri} SIP/2.0\r\nv:SIP/2.0/UDP {via};branch=z9hG4bKa\r\nf:<sip:a>;tag=1\r\nt:{to}\r\ni:1\r\n"
        f"CSeq:1 {method}\r\n{contact}{fields}\r\n"
    ).encode()


SMALLEST = {
    **{method: smallest(method) for method in METHODS},
    **{f"{method} in a dialog": smallest(method, to="<sip:b>;tag=1") for method in ("INVITE", "BYE", "INFO")},
    "OPTIONS for the edge": smallest("OPTIONS", "sip:192.0.2.1"),
    "OPTIONS that requires": smallest("OPTIONS", "sip:192.0.2.1", "Require:x\r\n"),
    "Proxy-Require": smallest("OPTIONS", fields="Proxy-Require:x\r\n"),
    "no hops": smallest("OPTIONS", fields="Max-Forwards:0\r\n"),
    "another scheme": smallest("OPTIONS", "x:y"),
    "another version": smallest("OPTIONS").replace(b"SIP/2.0\r", b"SIP/3.0\r"),
    "malformed": smallest("OPTIONS", fields="l:x\r\n"),
    "malformed and short": b"A B SIP/2.0\r\nv:a\r\nCSeq:\r\n\r\n",
    "an empty Via": b"A B SIP/2.0\r\nv:\r\nv:\r\nv:\r\nv:\r\nv:\r\nv:\r\nv:\r\nCSeq:\r\n\r\n",
    "many empty Via": b"A B SIP/2.0\r\nCSeq:\r\n" + b"v:\r\n" * 150 + b"\r\n",
}


def sent_to(harness: EdgeHarness, host: str) -> list[bytes]:
    return [data for (flow, _), data in zip(harness.sent, harness.raw, strict=True) if flow.peer.host == host]


def heard(harness: EdgeHarness, data: bytes) -> tuple[int, int]:
    """Octets sent to the source because of ``data``, within four minutes, and the number of answers."""
    answers: list[bytes] = []
    harness.sort(harness.edge.receive(UNPROVEN, data, harness.now))
    for _ in range(250):
        answers += sent_to(harness, UNPROVEN.peer.host)
        harness.raw.clear()
        harness.wait(1)
    return sum(map(len, answers)), len(answers)


@pytest.mark.parametrize("data", SMALLEST.values(), ids=SMALLEST.keys())
def test_23_the_smallest_request_gets_at_most_one_and_a_half_times_its_size(data: bytes) -> None:
    octets, _ = heard(EdgeHarness(open=("public",)), data)
    assert octets <= limits.AMPLIFICATION * len(data), f"{octets} octets for {len(data)}"


@pytest.mark.parametrize("kind", ["OPTIONS for the edge", "MESSAGE", "BYE", "INVITE", "REGISTER"])
@pytest.mark.parametrize("size", [0, 40, 80, 120, 160, 200, 300, 600])
def test_23_a_request_of_any_size_gets_at_most_one_and_a_half_times_its_size(kind: str, size: int) -> None:
    """Requests of 300 octets and more are answered; those of every real client are so large."""
    data = SMALLEST[kind].replace(b"i:1\r\n", b"i:1\r\nUser-Agent: " + b"x" * size + b"\r\n")
    octets, answers = heard(EdgeHarness(open=("public",)), data)
    assert octets <= limits.AMPLIFICATION * len(data), f"{octets} octets for {len(data)}"
    if len(data) >= 300:
        assert answers


def test_23_repetitions_of_a_small_request_get_no_more() -> None:
    harness, data = EdgeHarness(open=("public",)), SMALLEST["INVITE"]
    octets = 0
    for _ in range(20):
        harness.raw.clear()
        harness.sent.clear()
        harness.sort(harness.edge.receive(UNPROVEN, data, harness.now))
        octets += sum(map(len, sent_to(harness, UNPROVEN.peer.host)))
        harness.raw.clear()
        harness.wait(4)
        octets += sum(map(len, sent_to(harness, UNPROVEN.peer.host)))
    assert octets <= limits.AMPLIFICATION * 20 * len(data)


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_23_a_short_repetition_of_a_long_request_gets_no_answer(method: str) -> None:
    harness, small = EdgeHarness(open=("public",)), smallest(method)
    long = small.replace(b"i:1\r\n", b"i:1\r\nUser-Agent: " + b"x" * 1200 + b"\r\n")
    ((_, forwarded),) = harness.receive(UNPROVEN, long)
    assert isinstance(forwarded, Request)
    challenge = 'WWW-Authenticate: Digest realm="a", nonce="' + "n" * 1000 + '"'
    harness.receive(PBX, respond(forwarded, 401, extra=challenge, contact=False))
    harness.wait(1)
    assert harness.receive(UNPROVEN, small) == []
    elsewhere = Flow(PUBLIC, Source(UNPROVEN.peer.host, 7))
    ((to, own),) = harness.receive(elsewhere, small)
    assert (to, type(own)) == (PBX, Request), "from another port it is a request of its own"
    ((to, again),) = harness.receive(UNPROVEN, long)
    assert isinstance(again, Response)
    assert (to.peer.host, again.status) == (UNPROVEN.peer.host, 401)


def test_23_trunks_and_proven_sources_get_full_responses() -> None:
    harness = EdgeHarness()
    trunk = Flow(PUBLIC, Source("198.51.100.7", 5060))
    ((_, answer),) = harness.receive(trunk, SMALLEST["MESSAGE"])
    assert isinstance(answer, Response)
    assert answer.status == 405
    assert answer.get("Allow")


PADDING = f"User-Agent: {'x' * 200}\r\n"
SDP = b"v=0\r\n" + b"a=" + b"y" * 600 + b"\r\n"


def answers_to(harness: EdgeHarness, source: Flow, *answers: bytes) -> tuple[list[int | str], int]:
    """What the source gets when the destination sends these, and within five hours, and its octets."""
    messages: list[int | str] = []
    octets = 0
    for answer in (*answers, b""):
        harness.sent.clear()
        harness.raw.clear()
        if answer:
            harness.receive(PBX, answer)
        else:
            harness.wait(5 * 3600)
        for (flow, message), data in zip(harness.sent, harness.raw, strict=True):
            if flow == source:
                messages.append(_named(message)[0])
                octets += len(data) if messages[-1] != "BYE" else 0
    return messages, octets


def called(harness: EdgeHarness, method: str = "INVITE", fields: str = "") -> tuple[Request, int]:
    """A request of the unproven source as the destination gets it, and its size."""
    data = invite(method, extra=fields).replace(b"198.51.100.7", b"203.0.113.9")
    (forwarded,) = [message for flow, message in harness.receive(UNPROVEN, data) if flow == PBX]
    assert isinstance(forwarded, Request)
    return forwarded, len(data)


def test_23_an_answer_of_a_destination_is_forwarded_once() -> None:
    """The edge does not shorten ordinary answers; its timers retransmit none of them, and send one BYE."""
    harness = EdgeHarness(open=("public",))
    request, _ = called(harness, fields="User-Agent: " + "x" * 500 + "\r\n")
    ok = respond(request, 200)
    messages, _ = answers_to(harness, UNPROVEN, respond(request, 180), ok, ok, ok)
    assert messages == [180, 200, 200, "BYE"], "the 2xx a second time, since the first may be lost"


@pytest.mark.parametrize("size", [0, 100, 300, 900])
def test_23_answers_of_a_destination_have_together_at_most_three_times_the_bytes_of_the_invite(size: int) -> None:
    harness = EdgeHarness(open=("public",))
    request, sent = called(harness, fields=f"User-Agent: {'x' * size}\r\n")
    ringing = [respond(request, 180)] * 20 + [respond(request, 183, body=SDP)] * 20
    ok = respond(request, 200)
    messages, octets = answers_to(harness, UNPROVEN, *ringing, *[ok] * 20)
    assert messages[0] == 180
    assert 200 in messages, "the call is set up"
    assert octets <= 2 * limits.AMPLIFICATION * sent


def test_23_a_provisional_answer_goes_without_its_body_before_it_is_dropped() -> None:
    harness = EdgeHarness(open=("public",))
    request, _ = called(harness, fields=PADDING)
    harness.receive(PBX, respond(request, 183, body=SDP * 2))
    ((flow, answer),) = harness.sent
    assert (flow, answer.body) == (UNPROVEN, b"")


def test_23_a_provisional_answer_that_is_cut_has_no_tag_if_its_sender_gives_none() -> None:
    harness = EdgeHarness(open=("public",))
    request, _ = called(harness)
    harness.receive(PBX, respond(request, 183, body=SDP * 9).replace(b";tag=bob\r\n", b"\r\n"))
    ((flow, answer),) = harness.sent
    assert (flow, answer.get("To")) == (UNPROVEN, request.get("To"))


def test_23_a_2xx_that_is_much_longer_than_the_invite_ends_the_call_at_both_sides() -> None:
    harness = EdgeHarness(open=("public",))
    request, sent = called(harness)
    long = respond(request, 200, body=b"x" * 7_000)
    harness.receive(PBX, long)
    assert [_named(message)[0] for flow, message in harness.sent if flow == PBX] == ["ACK", "BYE"]
    (answer,) = [message for flow, message in harness.sent if flow == UNPROVEN]
    assert _named(answer)[0] == 513
    assert len(bytes(answer)) <= limits.AMPLIFICATION * sent
    assert harness.reasons[-1] == "too-large"
    assert harness.edge.calls == harness.dispatcher.leases == 0


@pytest.mark.parametrize("status", [302, 404, 486, 503, 603])
def test_23_a_refusal_that_is_much_longer_than_the_invite_is_cut_to_what_it_needs(status: int) -> None:
    harness = EdgeHarness(open=("public",))
    request, sent = called(harness)
    retry = "Retry-After: 7\r\nAllow: " + ", ".join(["INVITE"] * 900)
    harness.receive(PBX, respond(request, status, body=SDP, extra=retry, contact=False))
    if status == 503:  # of both members
        second = next(
            message for flow, message in harness.sent if flow.listener is CORE and _named(message)[0] == "INVITE"
        )
        harness.receive(Flow(CORE, MEMBERS[1]), respond(second, status, body=SDP, extra=retry, contact=False))
    (answer,) = [message for flow, message in harness.sent if flow == UNPROVEN]
    assert _named(answer)[0] in (status, 500)
    assert answer.get("Retry-After") == "7" or status != 404
    assert len(bytes(answer)) <= limits.AMPLIFICATION * sent


@pytest.mark.parametrize(("status", "name"), [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")])
def test_23_a_challenge_reaches_its_sender_without_all_that_it_does_not_need(status: int, name: str) -> None:
    """It is how an address is proven; the next INVITE repeats its nonce."""
    harness = EdgeHarness(open=("public",))
    request, _ = called(harness)
    challenge = f'{name}: Digest realm="a", nonce="{"n" * 200}"\r\nAllow: {"INVITE, " * 300}BYE'
    harness.receive(PBX, respond(request, status, body=SDP, extra=challenge, contact=False))
    ((_, answer),) = [(flow, message) for flow, message in harness.sent if flow == UNPROVEN]
    assert _named(answer)[0] == status
    assert (answer.get(name) or "").startswith("Digest")
    assert (answer.body, answer.get("Allow")) == (b"", None)


@pytest.mark.parametrize("method", ["PUBLISH", "MESSAGE", "SUBSCRIBE"])
def test_23_a_long_answer_to_another_request_is_cut_to_what_it_needs(method: str) -> None:
    harness = EdgeHarness(open=("public",), methods=("INVITE", method))
    request, sent = called(harness, method)
    harness.receive(PBX, respond(request, 200, body=SDP, extra="Expires: 60\r\nAllow: " + "INVITE, " * 900 + "BYE"))
    ((_, answer),) = [(flow, message) for flow, message in harness.sent if flow == UNPROVEN]
    assert (_named(answer)[0], answer.get("Expires"), answer.body) == (200, "60", b"")
    assert len(bytes(answer)) <= limits.AMPLIFICATION * sent


def test_23_a_caller_that_has_shown_that_it_receives_gets_long_answers() -> None:
    """By PRACK with the Contact of the 180; then its address is proven."""
    harness = EdgeHarness(open=("public",), methods=("INVITE", "PRACK", "ACK"))
    request, _ = called(harness, fields=PADDING)
    ((_, ringing),) = harness.receive(PBX, respond(request, 180, extra="Require: 100rel\r\nRSeq: 1"))
    contact = (ringing.get("Contact") or "").strip("<>")
    harness.receive(UNPROVEN, invite("PRACK", contact, 2, "z9hG4bKp", to_tag="bob", extra="RAck: 1 1 INVITE\r\n"))
    harness.receive(PBX, respond(request, 200, body=b"x" * 7_000))
    ((_, answer),) = [(flow, message) for flow, message in harness.sent if flow == UNPROVEN]
    assert (_named(answer)[0], len(answer.body)) == (200, 7_000)


def test_23_a_callee_that_knows_the_tags_proves_no_address_of_a_caller() -> None:
    """Who has the INVITE forged answers it, and then forges the ACK too. It does not know the Contact that the edge
    sent to the caller alone."""
    harness = EdgeHarness(open=("public",), trunks={})
    ((_, forwarded),) = harness.receive(UNPROVEN, invite())
    harness.receive(PBX, respond(forwarded, 200))
    for method in ("ACK", "INFO", "BYE"):
        forged = invite(method, cseq=2, branch=f"z9hG4bK{method}", to_tag="bob")
        assert [to for to, message in harness.receive(UNPROVEN, forged) if isinstance(message, Request)] == [PBX]
        assert harness.standings.of(UNPROVEN, harness.now) is Standing.UNPROVEN
    ((_, forwarded),) = harness.receive(UNPROVEN, invite(from_tag="again", branch="z9hG4bKagain"))
    answer = next(m for to, m in harness.receive(PBX, respond(forwarded, 200)) if to == UNPROVEN)
    contact = (answer.get("Contact") or "").strip("<>")
    harness.receive(UNPROVEN, invite("ACK", uri=contact, branch="z9hG4bKack", from_tag="again", to_tag="bob"))
    assert harness.standings.of(UNPROVEN, harness.now) is Standing.REACHABLE


def _named(message: Request | Response) -> tuple[str | int, int]:
    return (message.status if isinstance(message, Response) else message.method), message.cseq


async def test_23_by_udp(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    """Every kind of request from another address; what comes back in forty seconds is counted."""
    mock_clock.rate = 1
    more = 'server = "An edge of that name"'
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], edge=more)) as app,
        contextlib.AsyncExitStack() as stack,
    ):
        sent: list[tuple[str, int, Ua]] = []
        for number, (kind, small) in enumerate(SMALLEST.items()):
            peer = at(app, "public-udp")
            source = await stack.enter_async_context(Ua(await UdpWire.open(f"127.0.1.{number + 1}", peer=peer)))
            data = small.replace(b" a;", f" {source.address};".encode())
            data = data.replace(b"sip:192.0.2.1", f"sip:{peer}".encode())
            await source.wire.send(data)
            sent.append((kind, len(data), source))
        await until(
            lambda: (
                sum(app.edge.counters.requests.values()) + sum(app.edge.counters.malformed.values()) == len(SMALLEST)
            )
        )
        for _ in range(8):
            mock_clock.jump(5)
            await trio.testing.wait_all_tasks_blocked(0.05)
        for kind, size, source in sent:
            octets = 0
            with trio.move_on_after(0.01):
                while True:
                    octets += len(await source.wire.receive())
            assert octets <= limits.AMPLIFICATION * size, f"{kind}: {octets} octets for {size}"
