"""SIP over WebSocket: the messages that it may carry, and closing (RFC 7118, RFC 6455). Attacks are in
tests/threats."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
import trio
import trio.testing
from support.running import at, until
from support.stream_listeners import (
    assert_answered_over_websocket,
    event_count,
    handshake,
    open_from,
    read_to_end,
    websocket_edge,
)
from support.ua import Ua, WebSocketWire

from edgesbc.base import limits


@pytest.mark.parametrize("name", ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Connection"])
async def test_header_fields_that_are_not_ascii_end_the_handshake_without_an_internal_error(
    tmp_path: Path, name: str
) -> None:
    async with websocket_edge(tmp_path) as app:
        stream, answer = await handshake(app, more=f"{name}: \xe9\r\n")
        await trio.aclose_forcefully(stream)
        assert not answer.startswith("HTTP/1.1 101")
        await until(lambda: not app.plane.connections)
        assert ("ws", "internal") not in app.plane.counts
        async with trio.open_nursery() as nursery, Ua(await open_from(nursery, app)) as alice:
            await assert_answered_over_websocket(alice, app)
            nursery.cancel_scope.cancel()


async def test_a_message_may_be_text_or_binary(tmp_path: Path) -> None:
    """RFC 7118 section 4.2; an answer that is no UTF-8 is binary as well."""
    async with websocket_edge(tmp_path) as app, trio.open_nursery() as nursery:
        async with Ua(await open_from(nursery, app)) as alice:
            assert isinstance(alice.wire, WebSocketWire)
            request = alice.dialog(f"sip:{at(app, 'ws')}").build("OPTIONS")
            for data in (request, request.replace(b"From: ", b'From: "caf\xe9" ')):
                await alice.wire.socket.send_message(data)
                with trio.fail_after(10):
                    answer = await alice.wire.socket.get_message()
                assert answer[:11] in ("SIP/2.0 200", b"SIP/2.0 200")
                assert isinstance(answer, bytes) == (b"\xe9" in data)
        nursery.cancel_scope.cancel()


async def test_a_keep_alive_and_a_broken_message_do_not_end_the_websocket(tmp_path: Path) -> None:
    async with websocket_edge(tmp_path) as app, trio.open_nursery() as nursery:
        async with Ua(await open_from(nursery, app)) as alice:
            await alice.wire.send(b"\r\n\r\n")
            await alice.wire.send(b"OPTIONS sip:edge SIP/2.0\r\nnonsense\r\n\r\n")
            await assert_answered_over_websocket(alice, app)
        nursery.cancel_scope.cancel()


async def test_responses_to_a_closed_websocket_are_dropped(tmp_path: Path) -> None:
    async with websocket_edge(tmp_path) as app:
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
async def test_a_peer_that_closes_before_its_response_ends_only_its_connection(tmp_path: Path, last: bytes) -> None:
    """A reset, in the handshake and after it, or at once after a broken frame."""
    async with websocket_edge(tmp_path) as app:
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
            await assert_answered_over_websocket(alice, app)
            nursery.cancel_scope.cancel()


async def test_a_silent_peer_is_asked_and_one_that_answers_stays(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    """trio-websocket answers pings by itself; a peer by hand does not."""
    mock_clock.rate = 1
    async with websocket_edge(tmp_path, ", ping = 20, idle_unregistered = 900") as app, trio.open_nursery() as nursery:
        async with Ua(await open_from(nursery, app)) as alice:
            await assert_answered_over_websocket(alice, app)
            stream, _ = await handshake(app)
            await until(lambda: len(app.plane.connections) == 2)
            by_hand = list(app.plane.connections.values())[-1]
            options = alice.dialog(f"sip:{at(app, 'ws')}").build("OPTIONS")
            await stream.send_all(b"\x81\xfe" + struct.pack("!H", len(options)) + bytes(4) + options)
            assert b"SIP/2.0 200 " in await stream.receive_some()
            for pongs in (1, 2):
                mock_clock.jump(20)
                with trio.fail_after(10):
                    assert await stream.receive_some() == b"\x89\x00"
                await stream.send_all(b"\x8a\x80abcd")  # a Pong
                await until(lambda pongs=pongs: by_hand.counts.pongs == pongs)  # type: ignore[misc]
            mock_clock.jump(20)
            with trio.fail_after(10):
                assert await stream.receive_some() == b"\x89\x00"
            await assert_answered_over_websocket(alice, app)
            mock_clock.jump(limits.PONG_SECONDS)
            assert await read_to_end(stream) == b"\x88\x02\x03\xe9", "1001: a client connects again"
            await until(lambda: event_count(app, "ws", "timeout") == 1)
            assert "timeout: the peer took too long" in app.why("127.0.0.1").sentences()[-1]
            assert len(app.plane.connections) == 1
            await assert_answered_over_websocket(alice, app)
            await trio.aclose_forcefully(stream)
        nursery.cancel_scope.cancel()
