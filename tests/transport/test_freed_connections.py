"""An ended connection is freed at once: a cycle would keep it, with its TLS buffers, until the collector runs."""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from support.certificates import Certificates
from support.running import at, running, until
from support.stream_listeners import WS, open_connections, secure_listener, text

from edgesbc.base.address import Source
from edgesbc.streams.layer import StreamLayer
from edgesbc.streams.session import StreamSession
from edgesbc.transport.connection import Connection

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)


def over_tls(sock: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


def silent(sock: socket.socket) -> None:
    pass


def keep_alive(sock: socket.socket) -> None:
    sock.sendall(b"\r\n\r\n")
    assert sock.recv(100) == b"\r\n"


def garbage(sock: socket.socket) -> None:
    sock.sendall(b"\x00\xff" * 40 + b"\r\n\r\n")
    while sock.recv(1_000):
        pass


def no_http(sock: socket.socket) -> None:
    sock.sendall(b"GET / HTTP/1.1\r\nno field\r\n\r\n")
    while sock.recv(1_000):
        pass


def upgrade(sock: socket.socket) -> None:
    sock.sendall(UPGRADE)
    assert sock.recv(1_000).startswith(b"HTTP/1.1 101 ")


def bad_length(sock: socket.socket) -> None:
    sock.sendall(b"OPTIONS sip:edge SIP/2.0\r\nContent-Length: -1\r\n\r\n")
    while sock.recv(1_000):
        pass


def break_frames(sock: socket.socket, data: bytes = b"\xff\xff") -> None:
    upgrade(sock)
    sock.sendall(data)
    while sock.recv(1_000):
        pass


def break_text(sock: socket.socket) -> None:
    break_frames(sock, b"\x81\x82\0\0\0\0\xff\xff")


def break_fragment(sock: socket.socket) -> None:
    break_frames(sock, b"\x01\x82\0\0\0\0\xff\xff")


def break_close_reason(sock: socket.socket) -> None:
    break_frames(sock, b"\x88\x84\0\0\0\0\x03\xe8\xff\xff")


def bad_field(sock: socket.socket) -> None:
    sock.sendall(UPGRADE.replace(b": Upgrade", b": Upgr\xff"))
    while sock.recv(1_000):
        pass


def keep_alive_over_tls(sock: socket.socket) -> None:
    with over_tls(sock) as secure:
        keep_alive(secure)


def upgrade_over_tls(sock: socket.socket) -> None:
    with over_tls(sock) as secure:
        upgrade(secure)


def talk(server: Source, say: Callable[[socket.socket], None]) -> None:
    with socket.create_connection((server.host, server.port), 10) as sock:
        say(sock)


def alive() -> int:
    kinds = (Connection, StreamSession, StreamLayer)
    return sum(isinstance(thing, kinds) for thing in gc.get_objects())


@pytest.mark.parametrize(
    ("listener", "say"),
    [
        ("public-tcp", silent),
        ("public-tcp", keep_alive),
        ("public-tcp", garbage),
        ("public-tcp", bad_length),
        ("ws", silent),
        ("ws", upgrade),
        ("ws", garbage),
        ("ws", no_http),
        ("ws", bad_field),
        ("ws", break_frames),
        ("ws", break_text),
        ("ws", break_fragment),
        ("ws", break_close_reason),
        ("tls", silent),
        ("tls", keep_alive_over_tls),
        ("tls", garbage),
        ("wss", upgrade_over_tls),
        ("wss", garbage),
    ],
)
async def test_an_ended_connection_is_freed_without_the_collector(
    tmp_path: Path, certificates: Certificates, listener: str, say: Callable[[socket.socket], None]
) -> None:
    listeners = [WS, secure_listener("tls", certificates), secure_listener("wss", certificates)]
    async with running(tmp_path, text(tmp_path, *listeners)) as app:
        gc.collect()
        before = alive()
        gc.disable()
        try:
            for _ in range(3):
                await trio.to_thread.run_sync(talk, at(app, listener), say)
            await until(lambda: not open_connections(app))
            await trio.testing.wait_all_tasks_blocked()
            assert alive() == before
        finally:
            gc.enable()
