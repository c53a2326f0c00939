"""THREATS 33: HTTP and garbage on the SIP port. It gets no answer, and its connection is closed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from support.certificates import Certificates
from support.running import at, running, until
from support.stream_listeners import (
    NOBODY,
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

FIELDS = b"Via: SIP/2.0/TCP a;branch=z9hG4bKa\r\nCSeq: 1 GET\r\nCall-ID: a\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\n"
OPTIONS = b"OPTIONS sip:edge SIP/2.0\r\n" + FIELDS.replace(b"GET", b"OPTIONS") + b"Content-Length: 0\r\n\r\n"
TEXTS = {
    "GET": b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n",
    "GET that goes on": b"GET / HTTP/1.1\r\nHost: edge\r\n",
    "GET with fields of SIP": b"GET / HTTP/1.1\r\n" + FIELDS + b"Content-Length: 0\r\n\r\n",
    "POST with a length": b"POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 5\r\n\r\nhello",
    "POST with SIP in it": b"POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: %d\r\n\r\n" % len(OPTIONS) + OPTIONS,
    "POST with SIP after it": b"POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 0\r\n\r\n" + OPTIONS,
    "CONNECT": b"CONNECT sip.example.com:5060 HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "RTSP": b"DESCRIBE rtsp://edge/ RTSP/1.0\r\n" + FIELDS + b"\r\n",
    "SMTP": b"EHLO a\r\nMAIL FROM:<a@b>\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "TLS": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(160),
    "STUN": b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
    "NUL": bytes(100),
    "random": b"\xf3" + random.Random(33).randbytes(999),
    "a status line of nothing": b"HTTP/1.1 200 OK\r\n" + FIELDS + b"Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("data", TEXTS.values(), ids=TEXTS.keys())
async def test_33_over_tcp_it_is_closed_without_an_answer(tmp_path: Path, data: bytes) -> None:
    """The edge closes the connection at once, before the announced data or a deadline."""
    async with running(tmp_path, text(tmp_path)) as app:
        stream = await trio.open_tcp_stream(*at(app, "public-tcp"))
        await stream.send_all(data)
        assert await read_to_end(stream) == b""
        assert sum(app.edge.counters.malformed.values()) == 1
        assert not app.edge.counters.requests, "no request was accepted"
        await until(lambda: not open_connections(app))
        await trio.aclose_forcefully(stream)


async def test_33_over_udp_it_is_not_answered(tmp_path: Path) -> None:
    async with (
        running(tmp_path, text(tmp_path, trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as client,
    ):
        for data in TEXTS.values():
            await client.wire.send(data)
        await assert_answered(client, f"sip:{at(app, 'public-udp')}")
        assert len(client.heard) == 1, "only the OPTIONS that came last was answered"
        assert not [method for _, method in app.edge.counters.requests if method != "OPTIONS"]


@pytest.mark.parametrize("transport", ["tls", "ws", "wss"])
async def test_33_a_peer_without_tls_or_websocket_is_closed(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """At once, with an error in the protocol of the listener, a TLS alert or an HTTP 400, and without SIP."""
    monkeypatch.setattr(limits, "HANDSHAKE_SECONDS", 3600.0)
    listener = WS if transport == "ws" else secure_listener(transport, certificates)
    async with running(tmp_path, text(tmp_path, listener)) as app:
        for refused, name in enumerate(("GET", "SSH", "NUL", "random"), 1):
            stream = await trio.open_tcp_stream(*at(app, transport))
            await stream.send_all(TEXTS[name] + b"\r\n\r\n")
            answer = await read_to_end(stream)
            assert answer.startswith(b"HTTP/1.1 400") if transport == "ws" else len(answer) <= 7, f"{name}: {answer!r}"
            assert b"SIP" not in answer
            await until(lambda: not open_connections(app))
            assert event_count(app, transport, "handshake") == refused
            await trio.aclose_forcefully(stream)


async def test_33_other_connections_of_the_address_go_on(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, member=NOBODY)) as app:
        tcp = at(app, "public-tcp")
        async with Ua(await StreamWire.open(tcp)) as phone:
            await assert_answered(phone, f"sip:{tcp}")
            for name in ("GET", "TLS", "random"):
                stream = await trio.open_tcp_stream(*tcp)
                await stream.send_all(TEXTS[name])
                assert await read_to_end(stream) == b""
                await trio.aclose_forcefully(stream)
            await assert_answered(phone, f"sip:{tcp}")
