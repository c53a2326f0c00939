"""THREATS 12: messages whose end two readers of a stream would see in different places."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
import trio
from support.running import at, listen, nothing_left, running, until
from support.stream_listeners import WS, open_connections, read_to_end, text
from support.ua import ServedWire, StreamWire, Ua, UdpWire, WebSocketWire

from edgesbc.app import App
from edgesbc.sip.parse import parse_message

DOUBTFUL = {
    "missing": "Subject: no length",
    "twice": "Content-Length: 0\r\nContent-Length: 500",
    "twice the same": "Content-Length: 0\r\nContent-Length: 0",
    "long and short": "l: 0\r\nContent-Length: 500",
    "in odd cases": "cONTENT-lENGTH : 500\r\nL\t: 0",
    "negative": "Content-Length: -1",
    "signed": "Content-Length: +0",
    "hexadecimal": "Content-Length: 0x0",
    "a list": "Content-Length: 0, 0",
    "with a space in it": "Content-Length: 0 0",
    "folded in two": "Content-Length: 0\r\n 1",
    "empty": "Content-Length:",
    "huge": "Content-Length: 99999999999999999999",
    "no ASCII digit": "Content-Length: \u0660",
    "hidden in a fold": "Subject: a\r\n Content-Length: 0",
    "after a LF by itself": "Subject: a\nContent-Length: 0",
    "too large": "Content-Length: 65535",
}
NO_BAN = "[screen.pike]\nreqs_density_per_unit = 10000"


@pytest.mark.parametrize("pieces", ["whole", "byte by byte"])
async def test_12_a_doubtful_length_is_answered_and_the_connection_closed(tmp_path: Path, pieces: str) -> None:
    """An INVITE follows on the connection; neither the edge nor the server behind it reads it."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", more=NO_BAN)) as app,
    ):
        for name, length in DOUBTFUL.items():
            answer = await answer_to(app, length, pieces)
            assert answer.startswith(b"SIP/2.0 413 " if name == "too large" else b"SIP/2.0 400 "), name
            assert answer.count(b"SIP/2.0 4") == 1, f"{name}: one answer, to the broken message"
            await until(lambda: not open_connections(app))
            assert not app.edge.counters.requests, f"{name}: a request was accepted"
        assert not app.plane.connections
        assert await bob.silent()


async def answer_to(app: App, length: str, pieces: str) -> bytes:
    """Everything that the edge sends on a connection where a message has ``length`` in place of its Content-Length."""
    async with Ua(await StreamWire.open(at(app, "public-tcp"))) as alice:
        dialog = alice.dialog(f"sip:100@{at(app, 'public-tcp')}")
        broken = dialog.build("INVITE").replace(b"Content-Length: 0", length.encode())
        stream = broken + dialog.build("INVITE") + dialog.build("OPTIONS")
        assert isinstance(alice.wire, StreamWire)
        assert isinstance(alice.wire.stream, trio.SocketStream)
        if pieces == "whole":
            await alice.wire.send(stream)
        else:
            alice.wire.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(trio.BrokenResourceError):
                for byte in stream:
                    await alice.wire.send(bytes((byte,)))
        return await read_to_end(alice.wire.stream)


async def test_12_a_body_stays_a_body_towards_a_destination_over_tcp(tmp_path: Path) -> None:
    """Whatever Content-Length a datagram has, the message that leaves on a stream has one, and it is right."""
    core_tcp = listen("core", "tcp", "127.0.0.2:0", "core-tcp")
    async with (
        Ua(await ServedWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, core_tcp, member=f"sip:{bob.address};transport=tcp")) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        uri = f"sip:100@{at(app, 'public-udp')}"
        hidden = alice.dialog(uri).build("BYE")
        kind = ("Content-Type: message/sip",)
        counted, uncounted, cut = (alice.dialog(uri).build("INFO", hidden, kind) for _ in range(3))
        announced = f"Content-Length: {len(hidden)}".encode()
        sent = [
            (counted, hidden),
            (uncounted.replace(b"\r\n" + announced, b"", 1), hidden),
            (
                cut.replace(announced, b"Content-Length: 10", 1),
                hidden[:10],
            ),  # the rest of a datagram is discarded (RFC 3261 section 18.3)
        ]
        for data, body in sent:
            await alice.wire.send(data)
            info = await bob.request("INFO")
            assert info.body == body
            head = bob.heard[-1].partition(b"\r\n\r\n")[0].lower()
            assert head.count(b"\r\ncontent-length: ") == 1
            assert head.endswith(b"content-length: %d" % len(body))
            await bob.answer(info, 200)
            await alice.response(200)
        assert await bob.silent(0.05)
        assert ("public-udp", "BYE") not in app.edge.counters.requests
        await nothing_left(app)


async def test_12_a_websocket_is_framed_by_its_messages_alone(tmp_path: Path) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, WS, member=f"sip:{bob.address}")) as app,
        trio.open_nursery() as nursery,
    ):
        async with Ua(await WebSocketWire.open(nursery, at(app, "ws"))) as alice:
            dialog = alice.dialog(f"sip:100@{at(app, 'ws')}")
            short = dialog.build("INVITE").replace(b"Content-Length: 0", b"Content-Length: 500")
            await alice.wire.send(short)
            await alice.response(400)
            await alice.wire.send(dialog.build("INVITE") + dialog.build("INVITE"))
            invite = await bob.request("INVITE")
            assert invite.body == b""
            assert parse_message(bob.heard[-1]).fields == invite.fields
            await bob.answer(invite, 486, tag="b")
            await alice.response(486)
            await bob.request("ACK")
            assert await bob.silent(0.05)
            assert app.edge.counters.requests["ws", "INVITE"] == 1
        nursery.cancel_scope.cancel()
