"""THREATS 17 and 18: peers that send a byte at a time, and peers that do not read."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from support.certificates import Certificates
from support.running import at, running, until
from support.stream_listeners import (
    WS,
    assert_answered,
    event_count,
    open_connections,
    read_to_end,
    secure_listener,
    text,
)
from support.ua import StreamWire, Ua, UdpWire

from edgesbc.base import limits
from edgesbc.base.address import Source

SHORT = 0.5
"""Seconds for the patched deadlines: the tests show that they are absolute, not how long they are."""
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: sip\r\n"
)


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def without_end(begin: bytes, line: bytes) -> Iterator[bytes]:
    """The bytes of ``begin``, and then those of ``line`` again and again."""
    yield from (bytes((byte,)) for byte in begin)
    while True:
        yield from (bytes((byte,)) for byte in line)


Pieces = Callable[[], Iterator[bytes]]


def sip_fields() -> Iterator[bytes]:
    return without_end(b"INVITE sip:100@edge SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKa\r\n", b"Subject: slow\r\n")


def sip_body() -> Iterator[bytes]:
    return without_end(b"INFO sip:100@edge SIP/2.0\r\nContent-Length: 60000\r\n\r\n", b"slow")


def hello() -> Iterator[bytes]:
    pieces = client_hello()
    return without_end(pieces[:-20], pieces[-1:])


def upgrade() -> Iterator[bytes]:
    return without_end(UPGRADE, b"X-Slow: loris\r\n")


@pytest.mark.parametrize(
    ("transport", "pieces"),
    [("public-tcp", sip_fields), ("public-tcp", sip_body), ("tls", hello), ("wss", hello), ("ws", upgrade)],
    ids=["SIP header fields", "a SIP body", "ClientHello", "ClientHello of wss", "Upgrade"],
)
async def test_17_a_peer_that_sends_single_bytes_is_closed_by_an_absolute_deadline(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, transport: str, pieces: Pieces
) -> None:
    monkeypatch.setattr(limits, "MESSAGE_SECONDS", SHORT)
    monkeypatch.setattr(limits, "HANDSHAKE_SECONDS", SHORT)
    listeners = [WS, secure_listener("tls", certificates), secure_listener("wss", certificates)]
    async with running(tmp_path, text(tmp_path, *listeners)) as app:
        tcp = at(app, "public-tcp")
        async with Ua(await StreamWire.open(tcp, host="127.0.0.5")) as other:
            stream = await trio.open_tcp_stream(*at(app, transport))
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
                for number, byte in enumerate(pieces()):
                    await stream.send_all(byte)
                    await trio.sleep(SHORT / 50)  # slow, and never silent for long
                    if number == 10:
                        await assert_answered(other, f"sip:{tcp}")
            assert await read_to_end(stream) == b""
            await assert_answered(other, f"sip:{tcp}")
            await until(lambda: open_connections(app) == 1)
            if transport != "public-tcp":
                assert event_count(app, transport, "handshake") == 1
            assert ("public-tcp", "INVITE") not in app.edge.counters.requests
            await trio.aclose_forcefully(stream)


# --- 18 --------------------------------------------------------------------------------------------------


async def connect_without_reading(peer: Source) -> trio.SocketStream:
    """A connection with the smallest receive buffer, on which the test never reads."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.connect(tuple(peer))
    return trio.SocketStream(sock)


@pytest.mark.parametrize("transport", ["public-tcp", "tls", "ws"])
async def test_18_a_peer_that_does_not_read_loses_only_its_own_flow(
    tmp_path: Path, certificates: Certificates, transport: str
) -> None:
    """A trunk sends requests and never reads the responses. Another connection of its address is served before,
    meanwhile and after."""
    listeners = [WS, secure_listener("tls", certificates)]
    async with running(tmp_path, text(tmp_path, *listeners, trunks=["127.0.0.1"])) as app:
        tcp = at(app, "public-tcp")
        plain = await connect_without_reading(at(app, transport))
        asking = await speaking(plain, transport, certificates)
        async with Ua(await StreamWire.open(tcp)) as neighbour, Ua(await UdpWire.open(), "deaf") as deaf:
            await assert_answered(neighbour, f"sip:{tcp}")
            ask = deaf.dialog(f"sip:{at(app, transport)}")
            long = ("Call-Info: <sip:a>",)
            sent = 0
            with trio.fail_after(60), pytest.raises(trio.BrokenResourceError):
                while sent < 40 * limits.OUTBOX_BYTES:
                    request = ask.build("OPTIONS", extra=long).replace(b"example.org", b"e" * 4000)
                    await asking(request)
                    sent += len(request)
                    if sent // len(request) == 50:
                        await assert_answered(neighbour, f"sip:{tcp}")
            assert sent > limits.OUTBOX_BYTES, "its requests were read until the queue was full"
            await until(lambda: len(app.plane.connections) == 1)
            await assert_answered(neighbour, f"sip:{tcp}")
            async with Ua(await StreamWire.open(tcp)) as newcomer:
                await assert_answered(newcomer, f"sip:{tcp}")
        await trio.aclose_forcefully(plain)


async def speaking(
    plain: trio.SocketStream, transport: str, certificates: Certificates
) -> Callable[[bytes], Awaitable[None]]:
    """Make the handshakes of the transport over ``plain``. Returns the function that sends a SIP message."""
    if transport == "public-tcp":
        return plain.send_all
    if transport == "tls":
        secure = trio.SSLStream(plain, certificates.client, server_hostname="localhost", https_compatible=True)
        await secure.do_handshake()
        return secure.send_all
    await plain.send_all(UPGRADE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    assert (await plain.receive_some()).startswith(b"HTTP/1.1 101")

    async def framed(data: bytes) -> None:
        await plain.send_all(b"\x82\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data)

    return framed
