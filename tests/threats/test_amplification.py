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


def test_23_an_answer_of_a_destination_is_forwarded_once() -> None:
    """The edge does not shorten answers of a destination; its timers retransmit none of them, and send one BYE."""
    harness = EdgeHarness(open=("public",))
    data = invite().replace(b"198.51.100.7", b"203.0.113.9")
    ((_, forwarded),) = harness.receive(UNPROVEN, data)
    assert isinstance(forwarded, Request)
    messages: list[tuple[str | int, int]] = []
    for answer in (respond(forwarded, 180), respond(forwarded, 200), respond(forwarded, 200), respond(forwarded, 200)):
        messages += [_named(message) for flow, message in harness.receive(PBX, answer) if flow == UNPROVEN]
    for flow, message in harness.wait(5 * 3600):
        if flow == UNPROVEN:
            messages.append(_named(message))
    assert [kind for kind, _ in messages] == [180, 200, 200, "BYE"], (
        "the 2xx a second time, since the first may be lost"
    )


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
