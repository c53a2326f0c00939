"""SIP over WebSocket: who may come in, and what a WebSocket may carry (RFC 7118, RFC 6455)."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.running import CORE_UDP, PUBLIC_UDP, at, listen, policy_text, running, until
from support.ua import Ua, WebSocketWire

from edgesbc.app import App
from edgesbc.base import limits

PAGE = "https://phone.example.com"


@asynccontextmanager
async def door(folder: Path, more: str = "") -> AsyncIterator[App]:
    listener = listen("public", "ws", "127.0.0.1:0", "ws", more)
    async with running(folder, policy_text(folder, ["sip:127.0.0.11:9"], [PUBLIC_UDP, CORE_UDP, listener])) as app:
        yield app


async def handshake(
    app: App, subprotocol: str = "sip", origin: str = "", more: str = ""
) -> tuple[trio.abc.Stream, str]:
    """An opening handshake by hand: the stream, and the answer."""
    stream = await trio.open_tcp_stream(*at(app, "ws"))
    asked = (
        "GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}"
    )
    if subprotocol:
        asked += f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    if origin:
        asked += f"Origin: {origin}\r\n"
    await stream.send_all(f"{asked}\r\n".encode())
    with trio.fail_after(10):
        answer = bytes(await stream.receive_some())
    return stream, answer.decode()


async def refusal(app: App, **how: str) -> str:
    """The status line that refuses the opening handshake."""
    stream, answer = await handshake(app, **how)
    await trio.aclose_forcefully(stream)
    return answer[:12]


async def test_without_the_sip_subprotocol_nobody_comes_in(tmp_path: Path) -> None:
    async with door(tmp_path) as app:
        assert await refusal(app, subprotocol="chat") == "HTTP/1.1 400"
        assert await refusal(app, subprotocol="") == "HTTP/1.1 400"
        assert app.plane.counts["ws", "subprotocol"] == 2
        await until(lambda: not app.plane.connections)


async def test_a_foreign_page_gets_403_before_the_upgrade(tmp_path: Path) -> None:
    async with door(tmp_path, f', origins = ["{PAGE}"]') as app:
        assert await refusal(app, origin="https://evil.example.net") == "HTTP/1.1 403"
        assert await refusal(app, origin=f"{PAGE}.evil.example.net") == "HTTP/1.1 403"
        assert await refusal(app) == "HTTP/1.1 403"
        assert app.plane.counts["ws", "origin"] == 3
        async with trio.open_nursery() as nursery, Ua(await open_from(nursery, app, PAGE)) as alice:
            await answered(alice, app)
            nursery.cancel_scope.cancel()


async def open_from(nursery: trio.Nursery, app: App, origin: str = "") -> WebSocketWire:
    return await WebSocketWire.open(nursery, at(app, "ws"), origin=origin)


async def answered(ua: Ua, app: App) -> None:
    await ua.dialog(f"sip:{at(app, 'ws')}").send("OPTIONS")
    await ua.response(200)


@pytest.mark.parametrize(
    "data", [b"x" * (limits.MESSAGE_BYTES + 1), "\N{GRINNING FACE}".encode() * (limits.MESSAGE_BYTES // 4 + 1)]
)
async def test_one_message_that_is_too_large_is_1009(tmp_path: Path, data: bytes) -> None:
    """It is bytes that count, not the characters of a text."""
    async with door(tmp_path) as app, trio.open_nursery() as nursery:
        async with Ua(await open_from(nursery, app)) as alice, Ua(await open_from(nursery, app)) as other:
            assert isinstance(alice.wire, WebSocketWire)
            await alice.wire.send(data)
            assert await closing(alice.wire) == 1009
            await answered(other, app)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("nothing", [b"\x00\x80\0\0\0\0", b"\x89\xfd\0\0\0\0" + bytes(125)], ids=["fragments", "pings"])
async def test_what_never_becomes_a_message_ends(tmp_path: Path, nothing: bytes) -> None:
    """The library keeps a record of each fragment; without a bound a stranger could fill the memory."""
    async with door(tmp_path) as app, trio.open_nursery() as nursery:
        stream, _ = await handshake(app)
        nursery.start_soon(read_on, stream)  # the answers to pings: unread, they would stop the flow both ways
        await stream.send_all(b"\x01\x80\0\0\0\0")  # a text begins
        sent = 0
        with trio.fail_after(30), pytest.raises(trio.BrokenResourceError):
            while sent < 4 * limits.WEBSOCKET_BYTES:
                await stream.send_all(nothing * 1000)
                sent += 1000 * len(nothing)
        await until(lambda: not app.plane.connections)
        nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)


async def read_on(stream: trio.abc.Stream) -> None:
    """Take what comes, until the other side ends."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while await stream.receive_some():
            pass


async def closing(wire: WebSocketWire) -> int:
    """The code of the close frame that comes."""
    with trio.fail_after(10), pytest.raises(EOFError):
        while True:
            await wire.receive()
    code: int = wire.socket.closed.code
    return code


@pytest.mark.parametrize("name", ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Connection"])
async def test_header_fields_that_are_not_ascii_end_the_handshake_and_are_no_fault_of_ours(
    tmp_path: Path, name: str
) -> None:
    async with door(tmp_path) as app:
        stream, answer = await handshake(app, more=f"{name}: \xe9\r\n")
        await trio.aclose_forcefully(stream)
        assert not answer.startswith("HTTP/1.1 101")
        await until(lambda: not app.plane.connections)
        assert ("ws", "internal") not in app.plane.counts
        async with trio.open_nursery() as nursery, Ua(await open_from(nursery, app)) as alice:
            await answered(alice, app)
            nursery.cancel_scope.cancel()


async def test_no_extension_is_accepted(tmp_path: Path) -> None:
    """A compressed bomb needs an extension that unpacks it."""
    async with door(tmp_path) as app:
        stream, answer = await handshake(app, more="Sec-WebSocket-Extensions: permessage-deflate\r\n")
        assert answer.startswith("HTTP/1.1 101 ")
        assert "extensions" not in answer.lower()
        await stream.send_all(bytes((0xC1, 0x80)) + bytes(4))  # RSV1, by which deflate is told
        await until(lambda: not app.plane.connections)
        await trio.aclose_forcefully(stream)


async def test_a_message_may_be_text_or_binary(tmp_path: Path) -> None:
    """RFC 7118 section 4.2; an answer that is no UTF-8 is binary as well."""
    async with door(tmp_path) as app, trio.open_nursery() as nursery:
        async with Ua(await open_from(nursery, app)) as alice:
            assert isinstance(alice.wire, WebSocketWire)
            asked = alice.dialog(f"sip:{at(app, 'ws')}").build("OPTIONS")
            for data in (asked, asked.replace(b"From: ", b'From: "caf\xe9" ')):
                await alice.wire.socket.send_message(data)
                with trio.fail_after(10):
                    answer = await alice.wire.socket.get_message()
                assert answer[:11] in ("SIP/2.0 200", b"SIP/2.0 200")
                assert isinstance(answer, bytes) == (b"\xe9" in data)
        nursery.cancel_scope.cancel()


async def test_a_keep_alive_and_a_broken_message_do_not_end_the_websocket(tmp_path: Path) -> None:
    async with door(tmp_path) as app, trio.open_nursery() as nursery:
        async with Ua(await open_from(nursery, app)) as alice:
            await alice.wire.send(b"\r\n\r\n")
            await alice.wire.send(b"OPTIONS sip:edge SIP/2.0\r\nnonsense\r\n\r\n")
            await answered(alice, app)
        nursery.cancel_scope.cancel()


async def test_the_answers_of_a_websocket_that_went_are_dropped(tmp_path: Path) -> None:
    async with door(tmp_path) as app:
        async with trio.open_nursery() as nursery:
            wire = await open_from(nursery, app)
            await Ua(wire).dialog(f"sip:100@{at(app, 'ws')}").send("INVITE")
            await wire.aclose()
            nursery.cancel_scope.cancel()
        await until(lambda: not app.plane.connections)
        assert (app.edge.calls, app.edge.dispatcher.leases) == (0, 0)


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)


@pytest.mark.parametrize("last", [b"", b"\xff\xff\xff\xff", b"\x89\x80abcd"])
async def test_a_peer_that_is_gone_before_its_answer_ends_nothing_but_itself(tmp_path: Path, last: bytes) -> None:
    """The library tells of it by exceptions of its own, from the handshake as well as from its reader's task."""
    async with door(tmp_path) as app:
        for _ in range(20):
            if last:
                stream, _ = await handshake(app)
            else:
                stream, last_words = await trio.open_tcp_stream(*at(app, "ws")), UPGRADE
            assert isinstance(stream, trio.SocketStream)
            await stream.send_all(last or last_words)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
        await until(lambda: not app.plane.connections)
        async with trio.open_nursery() as nursery, Ua(await open_from(nursery, app)) as alice:
            await answered(alice, app)
            nursery.cancel_scope.cancel()
