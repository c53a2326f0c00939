"""Rows of RFC 6455 over a running edge, each in a connection of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.handshake_rows import ROWS as REQUESTS
from support.running import CORE_UDP, PUBLIC_UDP, at, policy_text, running, until
from support.stream_listeners import NOBODY, WS, event_count, open_connections, read_to_end
from support.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    REQUEST,
    TEXT,
    close,
    fragments,
    frame,
    frames_of_server,
)
from support.websocket_rows import ROWS, Row

from edgesbc.app import App


@asynccontextmanager
async def edge_for_rows(folder: Path) -> AsyncIterator[App]:
    """A running edge that does not limit its client, which is a trunk."""
    policy = policy_text(folder, [NOBODY], [PUBLIC_UDP, CORE_UDP, WS], trunks=["127.0.0.1"])
    async with running(folder, policy) as app:
        yield app


async def opened(app: App) -> trio.SocketStream:
    """A connection after the opening handshake."""
    stream = await trio.open_tcp_stream(*at(app, "ws"))
    await stream.send_all(REQUEST)
    response = b""
    with trio.fail_after(10):
        while not response.endswith(b"\r\n\r\n"):
            response += bytes(await stream.receive_some())
    assert response.startswith(b"HTTP/1.1 101 ")
    return stream


async def send(stream: trio.SocketStream, data: bytes, is_last: bool) -> None:
    with contextlib.suppress(trio.BrokenResourceError):  # the edge has ended the connection meanwhile
        await stream.send_all(data)
        if is_last:
            await stream.send_eof()


async def control_frames(app: App, row: Row) -> list[tuple[int, bytes]]:
    """The control frames that the edge sends until it ends the connection."""
    stream = await opened(app)
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(send, stream, row.sent, not row.code)
        output = await read_to_end(stream)
    return [(opcode, content) for opcode, content in frames_of_server(output) if opcode >= CLOSE]


@pytest.mark.parametrize("group", ROWS)
async def test_pongs_and_the_code_of_the_close_frame(tmp_path: Path, group: str) -> None:
    async with edge_for_rows(tmp_path) as app:
        for row in ROWS[group]:
            code = row.code or 1001  # a client that ends its direction is sent a Close frame too
            expected = [*((PONG, pong) for pong in row.pongs), (CLOSE, code.to_bytes(2, "big"))]
            assert await control_frames(app, row) == expected, row.name
        await until(lambda: not app.plane.connections)
        assert ("ws", "internal") not in app.plane.counts


async def test_the_status_of_each_request(tmp_path: Path) -> None:
    """A refused one is counted with its reason."""
    expected = {"handshake": 0, "subprotocol": 0}
    async with edge_for_rows(tmp_path) as app:
        for row in REQUESTS:
            stream = await trio.open_tcp_stream(*at(app, "ws"))
            async with stream:
                await send(stream, row.request, row.status == 101)
                output = await read_to_end(stream)
            assert output.startswith(b"HTTP/1.1 %d " % row.status), row.name
            if row.status != 101:
                expected[row.reason] += 1
                assert output.endswith(b"\r\n\r\n"), row.name
        await until(lambda: not open_connections(app))
        assert {reason: event_count(app, "ws", reason) for reason in expected} == expected
        assert ("ws", "internal") not in app.plane.counts


WAYS = ("a text", "a binary", "a text in fragments", "a binary in fragments", "a text with pings inside")


def options(app: App, number: int) -> bytes:
    """A request that the edge answers itself; it is UTF-8 and not ASCII."""
    edge = f"sip:{at(app, 'ws')}"
    return (
        f"OPTIONS {edge} SIP/2.0\r\nVia: SIP/2.0/WS a.invalid;branch=z9hG4bK{number};rport\r\nMax-Forwards: 70\r\n"
        f'From: "\u00e9" <sip:a@example.com>;tag=a\r\nTo: <{edge}>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\n'
        "Content-Length: 0\r\n\r\n"
    ).encode()


def framed(message: bytes, way: str) -> tuple[bytes, int]:
    """The message in frames, and the number of pings between them."""
    parts = [message[begin : begin + 7] for begin in range(0, len(message), 7)]
    if "ping" in way:
        pings = frame(PING, b"1") * 3
        return frame(TEXT, message[:40], last=False) + pings + frame(CONTINUATION, message[40:]), 3
    opcode = TEXT if "text" in way else BINARY
    return fragments(opcode, *parts) if "fragments" in way else frame(opcode, message), 0


@pytest.mark.parametrize("with_request", [True, False])
@pytest.mark.parametrize("size", [1, 100, 10_000])
async def test_a_request_is_answered_however_its_frames_come(tmp_path: Path, with_request: bool, size: int) -> None:
    """Also with the opening request, before the client knows that the WebSocket is open. A Close frame that comes so
    early too leaves no answer to what is before it, and no client may send it (RFC 6455 section 4.1)."""
    async with edge_for_rows(tmp_path) as app:
        for number, way in enumerate(WAYS):
            sent, pongs = framed(options(app, number), way)
            data = REQUEST + sent if with_request else sent + close(1000)
            stream = await trio.open_tcp_stream(*at(app, "ws")) if with_request else await opened(app)
            async with stream:
                for begin in range(0, len(data), size):
                    await stream.send_all(data[begin : begin + size])
                if with_request:
                    await stream.send_eof()
                output = await read_to_end(stream)
            if with_request:
                response, _, output = output.partition(b"\r\n\r\n")
                assert response.startswith(b"HTTP/1.1 101 ")
            frames = frames_of_server(output)
            assert [opcode for opcode, _ in frames if opcode != TEXT] == [PONG] * pongs + [CLOSE], way
            (answer,) = [content for opcode, content in frames if opcode == TEXT]
            assert answer.startswith(b"SIP/2.0 200 "), way
