"""THREATS 11: header fields that the edge's screening reads differently from the server behind it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.running import at, nothing_left, running
from support.stream_listeners import text
from support.ua import StreamWire, Ua, UdpWire, Wire

from edgesbc.app import App
from edgesbc.sip.parse import parse_message

# Fields that must not pass: P- and X- fields belong to one network, and an untrusted source must not assert an identity
# (RFC 3325).
NORMALISED = {
    "space before the colon": b"P-Asserted-Identity : <sip:boss@inside>",
    "tabs before the colon": b"X-Account\t \t: 1",
    "another case": b"p-asserted-IDENTITY: <sip:boss@inside>",
    "space before Route": b"Route : <sip:10.0.0.9;lr>",
    "a folded field": b"Subject: a\r\n P-Asserted-Identity: <sip:boss@inside>",
    "a fold of tabs": b"Subject: a\r\n\tX-Account: 1\r\n\t\tRoute: <sip:10.0.0.9;lr>",
    "a fold and an empty line of blanks": b"Subject: a\r\n \r\n X-Account: 1",
    "a smuggled field in quotes": b'Subject: "a\r\n X-Account: 1"',
    "NEL": b"Subject: a\xc2\x85X-Account: 1",
    "LINE SEPARATOR": b"Subject: a\xe2\x80\xa8X-Account: 1",
    "escapes": b"Subject: a%0d%0aX-Account: 1\\r\\nX-Account: 1",
    "no UTF-8": b"Subject: a\xff\xc0\x8aX-Account: 1",
}
REFUSED = {
    "folded before the colon": b"P-Asserted-Identity\r\n : <sip:boss@inside>",
    "a CR by itself": b"Subject: a\rX-Account: 1",
    "a LF by itself": b"Subject: a\nX-Account: 1",
    "CR CR LF": b"Subject: a\r\r\nX-Account: 1",
    "LF CR": b"Subject: a\n\rX-Account: 1",
    "NUL": b"Subject: a\0\r\nX-Account: 1",
    "NUL in a name": b"X-\0Account: 1",
    "vertical tab": b"Subject: a\x0bX-Account: 1",
    "form feed": b"Subject: a\x0cX-Account: 1",
    "backspaces": b"Subject: a" + b"\x08" * 10 + b"X-Account: 1",
    "escape": b"Subject: \x1b[2K",
    "DEL": b"Subject: a\x7f",
    "no colon": b"X-Account",
    "no name": b": 1",
    "a name with a space in it": b"X Account: 1",
    "a name that is not ASCII": "Vi\u00e1: 1".encode(),
    "To twice": b"To: <sip:other@example.org>",
    "To twice, once in short": b"t: <sip:other@example.org>",
    "From twice, in another case": b"FROM: <sip:other@example.org>;tag=o",
    "Call-ID twice": b"i: other",
    "CSeq twice": b"CSeq: 7 INVITE",
    "Max-Forwards twice": b"Max-Forwards: 70",
    "Content-Type twice": b"Content-Type: a/b\r\nc: c/d",
    "an empty place in a list": b"Route: <sip:a;lr>,, <sip:b;lr>",
}
OPEN = """
[screen.conduct]
points = 10000
[screen.pike]
reqs_density_per_unit = 10000
[[screen.ratelimit]]
name = "all"
rate = 10000
burst = 10000
"""


def with_field(alice: Ua, app: App, field: bytes) -> bytes:
    invite = alice.dialog(f"sip:100@{at(app, 'public-udp')}").build("INVITE")
    return invite.replace(b"Content-Length: 0", field + b"\r\nContent-Length: 0")


async def opened(transport: str, app: App) -> Wire:
    peer = at(app, f"public-{transport}")
    return await (UdpWire.open(peer=peer) if transport == "udp" else StreamWire.open(peer))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_11_unambiguous_fields_are_forwarded_in_normal_form(tmp_path: Path, transport: str) -> None:
    """The callee gets one line for each field, and no field that the edge removes or did not see."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", more=OPEN)) as app,
        Ua(await opened(transport, app)) as alice,
    ):
        for name, field in NORMALISED.items():
            await alice.wire.send(with_field(alice, app, field))
            invite = await bob.request("INVITE")
            head, _, body = bob.heard[-1].partition(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            assert body == b"", name
            assert re.search(rb"[\0-\x08\x0a-\x1f\x7f]", b"".join(lines)) is None, name
            for line in lines[1:]:
                assert re.match(rb"[A-Za-z-]+: ", line), f"{name}: {line!r}"
                assert not re.match(rb"(?i)p-|x-|route", line), f"{name}: {line!r}"
            assert len(lines) == len(parse_message(bob.heard[-1]).fields) + 2, name
            await bob.answer(invite, 486, tag="b")
            await alice.response(486)
            await bob.request("ACK")
        assert not app.edge.counters.malformed
        await nothing_left(app)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_11_ambiguous_fields_are_refused(tmp_path: Path, transport: str) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", more=OPEN)) as app,
        Ua(await opened(transport, app)) as alice,
    ):
        for number, (name, field) in enumerate(REFUSED.items(), 1):
            await alice.wire.send(with_field(alice, app, field))
            answer = await alice.hear()
            assert getattr(answer, "status", answer) == 400, name
            assert b"X-Account" not in alice.heard[-1], name
            assert sum(app.edge.counters.malformed.values()) == number, name
        assert await bob.silent()
        assert app.edge.idle


async def test_11_fields_with_unusually_written_names_are_screened(tmp_path: Path) -> None:
    """The stages ``scanner`` and ``sanity`` read User-Agent and Proxy-Require in any spelling of the names."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}")) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        for field in (b"USER-agent : friendly-scanner", b"User-Agent:\r\n friendly-scanner"):
            await alice.wire.send(with_field(alice, app, field))
        await alice.wire.send(with_field(alice, app, b"proxy-REQUIRE\t: nothing"))
        await alice.response(420)
        assert app.edge.pipeline.counts["scanner", "scanner"] == 2
        assert await bob.silent()


async def test_11_a_response_of_the_private_side_smuggles_nothing(tmp_path: Path) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}")) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("INVITE")
        invite = await bob.request("INVITE")
        await bob.answer(
            invite, 183, tag="b", extra=("Subject: a\rServer: Inside/1.0",)
        )  # malformed, so that the edge drops it
        odd = ("SERVER : Inside/1.0", "Subject: a\r\n Server: Inside/1.0", "x-Secret\t: 10.0.0.9")
        await bob.answer(invite, 486, tag="b", extra=odd)
        await alice.response(486)
        lines = alice.heard[-1].split(b"\r\n")
        assert b"Subject: a Server: Inside/1.0" in lines
        assert not any(re.match(rb"(?i)server|x-", line) for line in lines)
        assert not any(b" 183 " in message for message in alice.heard)
