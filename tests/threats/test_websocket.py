"""THREATS 19 and 20: lengths, fragments and compression of WebSockets, and WebSockets of foreign web pages."""

from __future__ import annotations

import contextlib
import tracemalloc
from pathlib import Path

import pytest
import trio
import trio.testing
from support.running import until
from support.stream_listeners import (
    assert_answered_over_websocket,
    event_count,
    handshake,
    open_from,
    read_to_end,
    websocket_edge,
)
from support.ua import Ua, WebSocketWire

from edgesbc.app import App
from edgesbc.base import limits

PAGE = "https://phone.example.com"
MASK = b"\0\0\0\0"


def frame(first: int, size: int, wide: int = 0) -> bytes:
    """The header of a frame with a mask of zeros. ``wide``: octets of the extended length; 0 for the shortest form."""
    wide = wide or (0 if size < 126 else 2 if size < 65536 else 8)
    extended = size.to_bytes(wide, "big") if wide else b""
    return bytes((first, 0x80 | {0: size, 2: 126, 8: 127}[wide])) + extended + MASK


TEXT, BINARY, CONTINUED, PING, CLOSE = 0x81, 0x82, 0x00, 0x89, 0x88
OVER = limits.MESSAGE_BYTES + 1
TOO_LARGE = {
    "2^63 - 1 octets": frame(TEXT, 2**63 - 1) + b"x" * OVER,
    "a gigabyte": frame(BINARY, 2**30) + b"x" * OVER,
    "one over the bound": frame(BINARY, OVER) + b"x" * OVER,
    "in fragments": frame(0x02, 60000) + b"x" * 60000 + frame(0x80, OVER - 60000) + b"x" * (OVER - 60000),
}
BROKEN = {
    "2^63 octets, which is a negative number": frame(TEXT, 2**63),
    "2^64 - 1 octets": frame(BINARY, 2**64 - 1),
    "a length that is longer than it need be": frame(TEXT, 5, 8) + b"hello",
    "no mask": b"\x81\x05hello",
    "a continuation of nothing": frame(CONTINUED, 5) + b"hello",
    "a text in a text": frame(0x01, 5) + b"hello" + frame(TEXT, 5) + b"hello",
    "a ping in fragments": frame(0x09, 5) + b"hello",
    "a long ping": frame(PING, 126) + b"x" * 126,
    "RSV1, compressed": frame(0xC1, 5) + b"hello",
    "RSV2": frame(0xA1, 5) + b"hello",
    "RSV3": frame(0x91, 5) + b"hello",
    "a reserved opcode": frame(0x83, 5) + b"hello",
    "a close of one octet": frame(CLOSE, 1) + b"x",
    "a text that is no UTF-8": frame(TEXT, 2) + b"\xc3\x28",
}


async def test_19_too_large_and_broken_frames_close_the_websocket(tmp_path: Path) -> None:
    """At once, and with the right close code. No message reaches the core, and another WebSocket goes on."""
    async with websocket_edge(tmp_path) as app, trio.open_nursery() as nursery:
        async with Ua(await open_from(nursery, app)) as other:
            for name, data in {**TOO_LARGE, **BROKEN}.items():
                stream, _ = await handshake(app)
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(data)
                answer = await read_to_end(stream)
                code = 1009 if name in TOO_LARGE else 1007 if "UTF-8" in name else 1002
                assert answer[:1] == b"\x88", f"{name}: {answer!r}"
                assert len(answer) == answer[1] + 2, f"{name}: one close frame, and nothing else"
                assert int.from_bytes(answer[2:4], "big") == code, name
                await until(lambda: len(app.plane.connections) == 1)
                await trio.aclose_forcefully(stream)
            await assert_answered_over_websocket(other, app)
        await until(lambda: event_count(app, "ws", "websocket") == len(TOO_LARGE) + len(BROKEN))
        assert not app.edge.counters.malformed
        assert sum(app.edge.counters.requests.values()) == 1
        nursery.cancel_scope.cancel()


async def test_19_no_large_allocation(tmp_path: Path) -> None:
    async with websocket_edge(tmp_path) as app:
        tracemalloc.start()
        try:
            stream, _ = await handshake(app)
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(frame(BINARY, 2**40))
                for _ in range(100):
                    await stream.send_all(b"x" * limits.MESSAGE_BYTES)
            await until(lambda: not app.plane.connections)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        await trio.aclose_forcefully(stream)
        assert peak - before < 20 * limits.MESSAGE_BYTES, peak - before


@pytest.mark.parametrize(
    "data", [b"x" * (limits.MESSAGE_BYTES + 1), "\N{GRINNING FACE}".encode() * (limits.MESSAGE_BYTES // 4 + 1)]
)
async def test_19_a_message_that_is_too_large_is_closed_with_1009(tmp_path: Path, data: bytes) -> None:
    """The limit counts bytes, not characters."""
    async with websocket_edge(tmp_path) as app, trio.open_nursery() as nursery:
        async with Ua(await open_from(nursery, app)) as alice, Ua(await open_from(nursery, app)) as other:
            assert isinstance(alice.wire, WebSocketWire)
            await alice.wire.send(data)
            assert await closing(alice.wire) == 1009
            await assert_answered_over_websocket(other, app)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("trunks", [(), ("127.0.0.1",)], ids=["a stranger", "a trunk"])
@pytest.mark.parametrize("filler", [b"\x00\x80\0\0\0\0", b"\x89\xfd\0\0\0\0" + bytes(125)], ids=["fragments", "pings"])
async def test_19_endless_fragments_and_pings_are_cut_off(
    tmp_path: Path, filler: bytes, trunks: tuple[str, ...]
) -> None:
    """Without a limit a peer could fill the memory, or the time of the edge. By the number of frames, with 1008: what
    the stage of work without messages would do later is not needed, and it does not meter trunks."""
    async with websocket_edge(tmp_path, trunks=trunks) as app, trio.open_nursery() as nursery:
        stream, _ = await handshake(app)
        received = bytearray()
        nursery.start_soon(read_on, stream, received)  # the pongs: unread, they would block both directions
        await stream.send_all(b"\x01\x80\0\0\0\0")  # a text begins
        sent = 0
        with trio.fail_after(30), pytest.raises(trio.BrokenResourceError):
            while sent < 40 * limits.LINGER_BYTES:
                await stream.send_all(filler * 1000)
                sent += 1000 * len(filler)
        await until(lambda: not app.plane.connections)
        assert app.plane.counts["ws", "websocket"] == 1
        assert not app.edge.pipeline.counts.get(("work", "work"))
        nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)
    assert received.endswith(b"\x88\x02\x03\xf0") or filler[0] == PING, "a Close frame with 1008"


async def read_on(stream: trio.abc.Stream, received: bytearray) -> None:
    """Read until the connection ends."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await stream.receive_some():
            received += data


async def closing(wire: WebSocketWire) -> int:
    """Wait for the close frame. Returns its code."""
    with trio.fail_after(10), pytest.raises(EOFError):
        while True:
            await wire.receive()
    code: int = wire.socket.closed.code
    return code


@pytest.mark.parametrize(
    "extensions",
    [
        "permessage-deflate", "permessage-deflate; server_no_context_takeover; client_max_window_bits=15",
        "x-webkit-deflate-frame", "permessage-bzip2, permessage-deflate",
    ],
)  # fmt: skip
async def test_19_no_extension_is_accepted(tmp_path: Path, extensions: str) -> None:
    """A compression bomb needs an extension that decompresses it."""
    async with websocket_edge(tmp_path) as app:
        stream, answer = await handshake(app, more=f"Sec-WebSocket-Extensions: {extensions}\r\n")
        assert answer.startswith("HTTP/1.1 101 ")
        assert "extensions" not in answer.lower()
        await trio.aclose_forcefully(stream)


# --- 20 --------------------------------------------------------------------------------------------------


async def refusal(app: App, **request: str) -> str:
    """The beginning of the status line that refuses an opening handshake."""
    stream, answer = await handshake(app, **request)
    rest = await read_to_end(stream)
    await trio.aclose_forcefully(stream)
    assert b" 101 " not in rest
    return answer[:12]


async def test_20_a_websocket_without_the_sip_subprotocol_is_refused(tmp_path: Path) -> None:
    async with websocket_edge(tmp_path) as app:
        for number, proposed in enumerate(("chat", "", "sips", "SIP2, xsip", "msrp"), 1):
            assert await refusal(app, subprotocol=proposed) == "HTTP/1.1 400", proposed
            assert app.plane.counts["ws", "subprotocol"] == number
        await until(lambda: not app.plane.connections)
        assert app.edge.connections == 0


async def test_20_a_foreign_page_gets_403_before_the_upgrade(tmp_path: Path) -> None:
    foreign = (
        "https://evil.example.net", f"{PAGE}.evil.example.net", PAGE.replace("https", "http"), f"{PAGE}:8443", "null",
        f"{PAGE}/", PAGE.upper(), f"{PAGE} https://evil.example.net", "",
    )  # fmt: skip
    async with websocket_edge(tmp_path, f', origins = ["{PAGE}"]') as app:
        for number, origin in enumerate(foreign, 1):
            assert await refusal(app, origin=origin) == "HTTP/1.1 403", origin
            assert app.plane.counts["ws", "origin"] == number
        assert app.edge.connections == 0
        async with trio.open_nursery() as nursery, Ua(await open_from(nursery, app, PAGE)) as alice:
            await assert_answered_over_websocket(alice, app)
            nursery.cancel_scope.cancel()


async def test_20_two_origin_fields_are_refused(tmp_path: Path) -> None:
    """In either order."""
    async with websocket_edge(tmp_path, f', origins = ["{PAGE}"]') as app:
        for first, second in ((PAGE, "https://evil.example.net"), ("https://evil.example.net", PAGE)):
            assert await refusal(app, origin=first, more=f"Origin: {second}\r\n") in ("HTTP/1.1 403", "HTTP/1.1 400")
