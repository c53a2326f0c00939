"""THREATS 13: memory for data that is announced and does not come."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
import trio
import trio.testing
from support.running import at, running, until
from support.stream_listeners import WS, handshake, open_connections, text

from edgesbc.app import App
from edgesbc.base import limits

CONNECTIONS = 40
OPEN = "[screen.pike]\nreqs_density_per_unit = 10000"
HEAD = b"INVITE sip:100@edge SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKa\r\n"
ANNOUNCED = 60_000


async def held(app: App, data: bytes, websocket: bool) -> int:
    """Octets by which the process grows for :data:`CONNECTIONS` connections that send ``data`` and nothing else."""
    streams: list[trio.SocketStream] = []
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(CONNECTIONS):
        if websocket:
            stream, _ = await handshake(app)
        else:
            stream = await trio.open_tcp_stream(*at(app, "public-tcp"))
        await stream.send_all(data)
        streams.append(stream)
    await until(lambda: len(app.plane.connections) == CONNECTIONS)
    await trio.testing.wait_all_tasks_blocked(0.05)
    grown = tracemalloc.get_traced_memory()[0] - before
    for stream in streams:
        await trio.aclose_forcefully(stream)
    await until(lambda: not open_connections(app))
    return grown


@pytest.mark.parametrize(
    ("websocket", "quiet", "announcing"),
    [
        (False, HEAD, HEAD + b"Content-Length: %d\r\n\r\n" % ANNOUNCED),
        (True, b"\x81\x80abcd"[:2], b"\x81\xfe" + ANNOUNCED.to_bytes(2, "big") + b"abcd"),
        (True, b"\x81\x80abcd"[:2], b"\x01\xfe" + ANNOUNCED.to_bytes(2, "big") + b"abcd"),
    ],
    ids=["Content-Length", "a frame of a WebSocket", "a fragment of a WebSocket"],
)
async def test_13_no_memory_is_allocated_before_data_arrives(
    tmp_path: Path, websocket: bool, quiet: bytes, announcing: bytes
) -> None:
    """A connection that announces 60 kB takes no more memory than one that announces nothing."""
    async with running(tmp_path, text(tmp_path, WS, more=OPEN)) as app:
        await held(app, quiet, websocket)  # for the objects that are made only once
        tracemalloc.start()
        try:
            without = await held(app, quiet, websocket)
            announced = await held(app, announcing, websocket)
        finally:
            tracemalloc.stop()
        assert announced - without < CONNECTIONS * ANNOUNCED / 10, f"{announced} octets, {without} for nothing"


async def test_13_an_announcement_above_the_limit_is_refused_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, WS, more=OPEN)) as app:
        for size in (limits.MESSAGE_BYTES + 1, 2**31, 2**63):
            stream = await trio.open_tcp_stream(*at(app, "public-tcp"))
            await stream.send_all(HEAD + b"CSeq: 1 INVITE\r\nContent-Length: %d\r\n\r\n" % size)
            with trio.fail_after(10):
                assert (await stream.receive_some())[:10] in (b"SIP/2.0 41", b"SIP/2.0 40")
            await trio.aclose_forcefully(stream)
        await until(lambda: not open_connections(app))
