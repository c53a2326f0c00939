"""THREATS 28: messages that are meant to be slow to parse.

tests/sip measures the work of each parser, and tests/sip/test_grammar.py shows that no pattern backtracks. These tests
are about the signalling core as a whole, and about the network.
"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio
from support.parser_work import count_calls
from support.running import at, running
from support.signalling import CALLER, PUBLIC, EdgeHarness
from support.stream_listeners import assert_answered, text
from support.ua import StreamWire, Ua, UdpWire

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.screen.standing import Standing

SHAPES = {
    "commas": b",", "quotes": b'"', "escaped quotes": b'\\"', "semicolons": b";", "equals signs": b"=", "angles": b"<",
    "closing angles": b">", "percent signs": b"%", "escapes": b"%41", "blanks": b" ", "tabs": b"\t", "folds": b"\r\n ",
    "backslashes": b"\\", "parentheses": b"(", "colons": b":", "at signs": b"@", "digits": b"1", "dots": b".",
    "brackets": b"[", "parameters": b";a=b", "addresses": b"<sip:a>,", "Via values": b"SIP/2.0/UDP a,", "letters": b"x",
    "no UTF-8": b"\xff", "lines of a description": b"a=x\r\n",
}  # fmt: skip
FIELDS = (
    b"Via", b"Route", b"Record-Route", b"Contact", b"From", b"To", b"Call-ID", b"Subject", b"Require", b"Proxy-Require",
    b"Content-Type", b"User-Agent", b"Max-Breadth",
)  # fmt: skip
FIELD = 7_000


def message(shape: bytes, field: bytes, size: int) -> bytes:
    """An INVITE of about ``size`` octets that repeats ``shape`` in this field, in unknown fields, and in its body."""
    filled = (shape * (FIELD // len(shape) + 1))[:FIELD].rstrip(b"\r\n")
    lines = [b"INVITE sip:100@192.0.2.1 SIP/2.0"]
    known = {
        b"Via": b"SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKa", b"From": b"<sip:a@b>;tag=a", b"To": b"<sip:c@d>",
        b"Call-ID": b"a", b"CSeq": b"1 INVITE", b"Contact": b"<sip:a@b>",
    }  # fmt: skip
    lines += [name + b": " + (filled if name == field else value) for name, value in known.items()]
    if field not in known:
        lines.append(field + b": " + filled)
    for number in range((size // 2 - FIELD) // FIELD):
        lines.append(b"X-%d: " % number + filled)
    head = b"\r\n".join(lines)
    body = (shape * size)[: size - len(head) - 80]
    return head + b"\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def effort(data: bytes) -> int:
    harness = EdgeHarness(anchor=True)
    return count_calls(lambda octets: harness.edge.receive(CALLER, octets, harness.now), data)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_28_twice_the_message_is_at_most_about_twice_the_work_of_the_signalling_core(shape: bytes) -> None:
    for field in FIELDS:
        half, whole = (effort(message(shape, field, size)) for size in (32_000, 64_000))
        assert whole <= 2.5 * half + 200, f"{field.decode()}: {half} and {whole} calls"
        assert whole < 60_000, f"{field.decode()}: {whole} calls"


def request(fields: bytes = b"") -> bytes:
    lines = b"INVITE sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=a\r\n"
    return lines + b"To: <sip:c@d>\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\nContact: <sip:a@b>\r\n" + fields + b"\r\n"


PARAMETERS = b",".join(b"p%d=1" % number for number in range(limits.DIGEST_PARAMETERS))
COSTLY = {
    "many credentials": b'Authorization: Digest username="u",realm="r",nonce="n",uri="u",response="1"\r\n' * 180,
    "long credentials": b"".join(b"Authorization: Digest %s\r\n" % PARAMETERS for _ in range(100)),
    "as many as are allowed": b"".join(b"Authorization: Digest %s\r\n" % PARAMETERS for _ in range(limits.CREDENTIALS)),
    "lines": b"Subject: " + b"\r\n x" * 8_000 + b"\r\n",
    "fields": b"".join(b"Z_z.%d: y\r\n" % number for number in range(180)),
    "routes": b"".join(b"Route: <sip:h%d;lr>\r\n" % number for number in range(180)),
    "options": b"Proxy-Require: " + b",".join(b"o%d" % number for number in range(180)) + b"\r\n",
}


@pytest.mark.parametrize("fields", COSTLY.values(), ids=COSTLY.keys())
def test_28_no_message_of_a_registered_phone_costs_much_more_than_another(fields: bytes) -> None:
    """Its datagrams may be forged."""
    phone = Flow(PUBLIC, Source("203.0.113.9", 5060))

    def cost(data: bytes) -> int:
        harness = EdgeHarness(trunks={})
        harness.standings.prove(phone, Standing.REGISTERED, harness.now, 60.0, 1)
        return count_calls(lambda octets: harness.edge.receive(phone, octets, harness.now), data)

    assert cost(request(fields)) <= 10 * cost(request())


async def test_28_large_hostile_messages_do_not_hold_up_the_request_of_another(tmp_path: Path) -> None:
    """Between any two hostile messages of 64 KiB, over UDP and over TCP, another peer gets its response."""
    async with (
        running(tmp_path, text(tmp_path, trunks=["127.0.0.66"])) as app,
        Ua(await UdpWire.open("127.0.0.66", peer=at(app, "public-udp"))) as hostile,
        Ua(await StreamWire.open(at(app, "public-tcp"), host="127.0.0.66")) as stream,
        Ua(await UdpWire.open("127.0.0.7", peer=at(app, "public-udp"))) as other,
        Ua(await StreamWire.open(at(app, "public-tcp"), host="127.0.0.8")) as another,
    ):
        assert isinstance(stream.wire, StreamWire)
        assert isinstance(stream.wire.stream, trio.SocketStream)
        stream.wire.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for shape in list(SHAPES.values())[:12]:
            large = message(shape, b"Contact", limits.MESSAGE_BYTES - 600)
            await hostile.wire.send(large)
            await stream.wire.send(message(shape, b"Subject", limits.MESSAGE_BYTES - 600))
            await assert_answered(other, f"sip:{at(app, 'public-udp')}")
            await assert_answered(another, f"sip:{at(app, 'public-tcp')}")
        assert sum(app.edge.counters.malformed.values()) + app.edge.counters.requests["public-tcp", "INVITE"] >= 12, (
            "the edge has read the messages"
        )
