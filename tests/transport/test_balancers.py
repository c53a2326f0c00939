"""Listeners behind a balancer: the peer that its PROXY header names is the peer of the edge."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from support.certificates import Certificates
from support.running import at, listen, running, until
from support.stream_listeners import event_count, open_connections, read_to_end, text
from support.ua import StreamWire, Ua

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.transport.read_budget import ReadBudget

BALANCER = "127.0.0.9"
BEHIND = f', proxy_protocol = ["{BALANCER}"]'
TCP = listen("public", "tcp", "127.0.0.1:0", "behind", BEHIND)


def header(source: str, port: int = 40_000) -> bytes:
    """The header of a connection of ``source``, an IPv4 address."""
    host = bytes(map(int, source.split(".")))
    body = host + bytes((127, 0, 0, 1)) + port.to_bytes(2, "big") + b"\x13\xc4"
    return b"\r\n\r\n\x00\r\nQUIT\n\x21\x11" + len(body).to_bytes(2, "big") + body


async def connect(app: App, begin: bytes, host: str = BALANCER) -> trio.SocketStream:
    stream = await trio.open_tcp_stream(*at(app, "behind"), local_address=host)
    await stream.send_all(begin)
    assert isinstance(stream, trio.SocketStream)
    return stream


async def answer_by(stream: trio.abc.Stream, app: App, host: str = "198.51.100.7") -> str:
    """The answer to an OPTIONS over ``stream``."""
    async with Ua(StreamWire(stream, "TCP", host, 40_000)) as caller:  # type: ignore[arg-type]
        await caller.dialog(f"sip:{at(app, 'behind')}").send("OPTIONS")
        response = await caller.response(200)
        return str(response.via)


@pytest.mark.parametrize("pieces", [False, True])
async def test_the_named_peer_is_the_source_of_the_requests(tmp_path: Path, pieces: bool) -> None:
    async with running(tmp_path, text(tmp_path, TCP)) as app:
        begin = header("203.0.113.66")
        stream = await connect(app, b"" if pieces else begin)
        for byte in begin if pieces else b"":
            await stream.send_all(bytes((byte,)))
        via = await answer_by(stream, app)
        assert "received=203.0.113.66" in via
        assert "rport=40000" in via
        await until(lambda: open_connections(app) == 0)


async def test_with_tls_inside(tmp_path: Path, certificates: Certificates) -> None:
    more = f', certificate = "{certificates.folder}"{BEHIND}'
    async with running(tmp_path, text(tmp_path, listen("public", "tls", "127.0.0.1:0", "behind", more))) as app:
        plain = await connect(app, header("203.0.113.66"))
        secure = trio.SSLStream(plain, certificates.client, server_hostname="localhost", https_compatible=True)
        await secure.do_handshake()
        assert "received=203.0.113.66" in await answer_by(secure, app)


async def test_a_header_from_any_other_address_is_not_believed(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, TCP)) as app:
        stream = await connect(app, header("203.0.113.66"), host="127.0.0.5")
        await read_to_end(stream)
        assert app.why("203.0.113.66").sentences() == []
        assert app.edge.counters.malformed
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("begin", [b"", b"OPTIONS sip:a SIP/2.0\r\n\r\n", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff"])
async def test_a_balancer_that_names_nobody_is_refused(tmp_path: Path, begin: bytes) -> None:
    async with running(tmp_path, text(tmp_path, TCP)) as app:
        stream = await connect(app, begin)
        if not begin:
            await stream.send_eof()
        assert await read_to_end(stream) == b""
        await until(lambda: event_count(app, "behind", "proxy-protocol") == 1)
        assert (open_connections(app), app.plane.connections) == (0, {})
        await trio.aclose_forcefully(stream)


async def test_limits_and_bans_are_those_of_the_named_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS", 2)
    async with running(tmp_path, text(tmp_path, TCP)) as app:
        streams = [await connect(app, header("203.0.113.66", port)) for port in (1, 2)]
        await until(lambda: len(app.plane.connections) == 2)
        third = await connect(app, header("203.0.113.66", 3))
        assert await read_to_end(third) == b""
        assert event_count(app, "behind", "connections") == 1
        other = await connect(app, header("203.0.113.67"))
        assert "received=203.0.113.67" in await answer_by(other, app)
        app.bans.add("203.0.113.67", by="tests")
        banned = await connect(app, header("203.0.113.67"))
        assert await read_to_end(banned) == b""
        assert event_count(app, "behind", "banned") == 1
        for stream in [*streams, third, banned]:
            await trio.aclose_forcefully(stream)
        await until(lambda: open_connections(app) == 0)


async def test_a_header_is_read_in_its_turn(tmp_path: Path) -> None:
    """Connections of a balancer that name nobody yet are those of anybody, and each read costs."""
    async with running(tmp_path, text(tmp_path, TCP)) as app:
        budget = app.plane.read_budget = ReadBudget()  # whose turns come when they are begun here
        begun = budget._left
        stream = await connect(app, header("203.0.113.66")[:16])
        await until(lambda: budget._left < begun)
        budget.charge(limits.UNPROVEN_TURN_SECONDS)
        await stream.send_all(header("203.0.113.66")[16:])
        await until(lambda: bool(budget._waiting))
        async with trio.open_nursery() as turns:
            turns.start_soon(budget.run)
            assert "received=203.0.113.66" in await answer_by(stream, app)
            turns.cancel_scope.cancel()


async def test_connections_that_name_nobody_count_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 3)
    monkeypatch.setattr(limits, "CONNECTIONS_TRUSTED", 1)
    async with running(tmp_path, text(tmp_path, TCP, edge="max_connections = 3")) as app:
        streams = [await connect(app, b"\r\n") for _ in range(2)]
        await until(lambda: open_connections(app) == 2)
        third = await connect(app, header("203.0.113.66"))
        assert await read_to_end(third) == b""
        assert event_count(app, "behind", "connections") == 1
        for stream in [*streams, third]:
            await trio.aclose_forcefully(stream)
        await until(lambda: open_connections(app) == 0)
