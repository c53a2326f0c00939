"""THREATS 23: what a forged source can have sent to its victim. Some of the row is in test_steering.py."""

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
from edgesbc.sip.message import Request, Response

STRANGER = Flow(PUBLIC, Source("203.0.113.9", 5060))
PBX = Flow(CORE, MEMBERS[0])
METHODS = (
    "INVITE", "REGISTER", "OPTIONS", "SUBSCRIBE", "MESSAGE", "PUBLISH", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO",
    "REFER", "NOTIFY", "X",
)  # fmt: skip


def smallest(method: str, uri: str = "sip:1", fields: str = "", to: str = "<sip:b>", via: str = "a") -> bytes:
    """A request as short as one can be written that is read at all."""
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
    """Octets sent to the stranger because of ``data``, at once and in the four minutes after it; how many answers."""
    answers: list[bytes] = []
    harness.sort(harness.edge.receive(STRANGER, data, harness.now))
    for _ in range(250):
        answers += sent_to(harness, STRANGER.peer.host)
        harness.raw.clear()
        harness.wait(1)
    return sum(map(len, answers)), len(answers)


@pytest.mark.parametrize("data", SMALLEST.values(), ids=SMALLEST.keys())
def test_23_the_smallest_request_draws_no_more_than_one_and_a_half_times_itself(data: bytes) -> None:
    got, _ = heard(EdgeHarness(open=("public",)), data)
    assert got <= limits.AMPLIFICATION * len(data), f"{got} octets for {len(data)}"


@pytest.mark.parametrize("kind", ["OPTIONS for the edge", "MESSAGE", "BYE", "INVITE", "REGISTER"])
@pytest.mark.parametrize("size", [0, 40, 80, 120, 160, 200, 300, 600])
def test_23_nor_does_a_request_of_any_size(kind: str, size: int) -> None:
    """There is a size from which on it is answered, and it is one that every client's requests have."""
    data = SMALLEST[kind].replace(b"i:1\r\n", b"i:1\r\nUser-Agent: " + b"x" * size + b"\r\n")
    got, answers = heard(EdgeHarness(open=("public",)), data)
    assert got <= limits.AMPLIFICATION * len(data), f"{got} octets for {len(data)}"
    if len(data) >= 300:
        assert answers


def test_23_repeating_a_small_request_draws_nothing_either() -> None:
    harness, data = EdgeHarness(open=("public",)), SMALLEST["INVITE"]
    got = 0
    for _ in range(20):
        harness.raw.clear()
        harness.sent.clear()
        harness.sort(harness.edge.receive(STRANGER, data, harness.now))
        got += sum(map(len, sent_to(harness, STRANGER.peer.host)))
        harness.raw.clear()
        harness.wait(4)
        got += sum(map(len, sent_to(harness, STRANGER.peer.host)))
    assert got <= limits.AMPLIFICATION * 20 * len(data)


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_23_small_packets_do_not_have_the_long_answer_to_a_long_request_sent_again(method: str) -> None:
    harness, small = EdgeHarness(open=("public",)), smallest(method)
    long = small.replace(b"i:1\r\n", b"i:1\r\nUser-Agent: " + b"x" * 1200 + b"\r\n")
    ((_, forwarded),) = harness.receive(STRANGER, long)
    assert isinstance(forwarded, Request)
    challenge = 'WWW-Authenticate: Digest realm="a", nonce="' + "n" * 1000 + '"'
    harness.receive(PBX, respond(forwarded, 401, extra=challenge, contact=False))
    harness.wait(1)
    elsewhere = Flow(PUBLIC, Source(STRANGER.peer.host, 7))
    for flow in (STRANGER, elsewhere):
        assert harness.receive(flow, small) == []
    ((to, again),) = harness.receive(STRANGER, long)
    assert isinstance(again, Response)
    assert (to.peer.host, again.status) == (STRANGER.peer.host, 401)


def test_23_trunks_and_proven_sources_get_full_responses() -> None:
    harness = EdgeHarness()
    trunk = Flow(PUBLIC, Source("198.51.100.7", 5060))
    ((_, answer),) = harness.receive(trunk, SMALLEST["MESSAGE"])
    assert isinstance(answer, Response)
    assert answer.status == 405
    assert answer.get("Allow")


def test_23_what_a_destination_answers_is_passed_on_once() -> None:
    """Its answers are not the edge's to cut; no timer of the edge's sends one of them again, or more than one BYE."""
    harness = EdgeHarness(open=("public",))
    data = invite().replace(b"198.51.100.7", b"203.0.113.9")
    ((_, forwarded),) = harness.receive(STRANGER, data)
    assert isinstance(forwarded, Request)
    told: list[tuple[str | int, int]] = []
    for answer in (respond(forwarded, 180), respond(forwarded, 200), respond(forwarded, 200), respond(forwarded, 200)):
        told += [_named(message) for flow, message in harness.receive(PBX, answer) if flow == STRANGER]
    for flow, message in harness.wait(5 * 3600):
        if flow == STRANGER:
            told.append(_named(message))
    assert [what for what, _ in told] == [180, 200, 200, "BYE"], "the 2xx a second time, since a loss may need it"


def _named(message: Request | Response) -> tuple[str | int, int]:
    return (message.status if isinstance(message, Response) else message.method), message.cseq


async def test_23_by_udp(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    """Every kind from an address of its own, and what comes back in forty seconds."""
    mock_clock.rate = 1
    more = 'server = "An edge of that name"'
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], edge=more)) as app,
        contextlib.AsyncExitStack() as stack,
    ):
        sent: list[tuple[str, int, Ua]] = []
        for number, (kind, small) in enumerate(SMALLEST.items()):
            peer = at(app, "public-udp")
            stranger = await stack.enter_async_context(Ua(await UdpWire.open(f"127.0.1.{number + 1}", peer=peer)))
            data = small.replace(b" a;", f" {stranger.address};".encode())
            data = data.replace(b"sip:192.0.2.1", f"sip:{peer}".encode())
            await stranger.wire.send(data)
            sent.append((kind, len(data), stranger))
        await until(
            lambda: (
                sum(app.edge.counters.requests.values()) + sum(app.edge.counters.malformed.values()) == len(SMALLEST)
            )
        )
        for _ in range(8):
            mock_clock.jump(5)
            await trio.testing.wait_all_tasks_blocked(0.05)
        for kind, size, stranger in sent:
            got = 0
            with trio.move_on_after(0.01):
                while True:
                    got += len(await stranger.wire.receive())
            assert got <= limits.AMPLIFICATION * size, f"{kind}: {got} octets for {size}"
