"""Policies with stream listeners, raw connections to them, and counts of their connections."""

from __future__ import annotations

import gc
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import trio
from support.certificates import Certificates
from support.running import CORE_UDP, PUBLIC_TCP, PUBLIC_UDP, at, listen, policy_text, running
from support.ua import StreamWire, Ua, WebSocketWire

from edgesbc.app import App
from edgesbc.base.address import Source

WS = listen("public", "ws", "127.0.0.1:0", "ws")
NOBODY = "sip:127.0.0.11:9"
"""A member where no program listens."""


def text(folder: Path, *more: str, member: str = NOBODY, **settings: object) -> str:
    """A policy with ``more`` listeners beside the usual ones. Any source may call: admission has tests of its own."""
    settings.setdefault("open", ["public"])
    return policy_text(folder, [member], [PUBLIC_UDP, PUBLIC_TCP, CORE_UDP, *more], **settings)  # type: ignore[arg-type]


@asynccontextmanager
async def websocket_edge(folder: Path, more: str = "", trunks: Iterable[str] = ()) -> AsyncIterator[App]:
    """A running edge with a WebSocket listener that has ``more`` keys."""
    listener = listen("public", "ws", "127.0.0.1:0", "ws", more)
    async with running(folder, policy_text(folder, [NOBODY], [PUBLIC_UDP, CORE_UDP, listener], trunks=trunks)) as app:
        yield app


async def open_from(nursery: trio.Nursery, app: App, origin: str = "") -> WebSocketWire:
    return await WebSocketWire.open(nursery, at(app, "ws"), origin=origin)


async def assert_answered_over_websocket(ua: Ua, app: App) -> None:
    """Send OPTIONS over a WebSocket of the edge; the response must be 200."""
    await assert_answered(ua, f"sip:{at(app, 'ws')}")


def secure_listener(transport: str, certificates: Certificates) -> str:
    return listen("public", transport, "127.0.0.1:0", transport, f', certificate = "{certificates.folder}"')


def open_connections(app: App) -> int:
    """The number of connections of all stream listeners, including those in a handshake."""
    return app.plane.connection_limits.total


def event_count(app: App, listener: str, event: str) -> int:
    """How often a listener has counted an event, such as a connection above a limit or a failed handshake."""
    return app.plane.counts.get((listener, event), 0)


async def read_to_end(stream: trio.abc.Stream) -> bytes:
    """Everything that the peer sends until it closes the connection, which it must do within ten seconds."""
    received = b""
    with trio.fail_after(10):
        try:
            while data := await stream.receive_some():
                received += bytes(data)
        except trio.BrokenResourceError:
            pass
    return received


async def handshake(
    app: App, subprotocol: str = "sip", origin: str = "", more: str = "", host: str | None = None
) -> tuple[trio.SocketStream, str]:
    """Send the opening handshake of a WebSocket (RFC 6455 section 4.1), from the address ``host``. Returns the stream
    and the server's answer."""
    stream = await trio.open_tcp_stream(*at(app, "ws"), local_address=host)
    request = (
        "GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}"
    )
    if subprotocol:
        request += f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    if origin:
        request += f"Origin: {origin}\r\n"
    await stream.send_all(f"{request}\r\n".encode())
    with trio.fail_after(10):
        answer = bytes(await stream.receive_some())
    return stream, answer.decode()


async def reset(stream: trio.SocketStream) -> None:
    """Reset the connection."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def invite_and_reset(tcp: Source) -> None:
    """Send an INVITE, and reset the connection."""
    wire = await StreamWire.open(tcp)
    await wire.send(Ua(wire).dialog(f"sip:100@{tcp}").build("INVITE"))
    assert isinstance(wire.stream, trio.SocketStream)
    await reset(wire.stream)


async def assert_answered(ua: Ua, uri: str) -> None:
    """Send OPTIONS; the response must be 200."""
    await ua.dialog(uri).send("OPTIONS")
    await ua.response(200)


class Resources(NamedTuple):
    """Tasks and descriptors of this process."""

    tasks: int
    descriptors: int

    @classmethod
    def now(cls) -> Resources:
        """The current numbers. Garbage of earlier tests may hold descriptors, so it is collected first."""
        gc.collect()
        return cls(trio.lowlevel.current_statistics().tasks_living, len(os.listdir("/proc/self/fd")))

    def within(self, before: Resources) -> bool:
        """Whether neither number is above that of ``before``. It may be lower: a thread may have ended meanwhile."""
        return self.tasks <= before.tasks and self.descriptors <= before.descriptors
