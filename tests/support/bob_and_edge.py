"""A running edge with one destination, and a user agent on any transport of its public side."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from support.running import CORE_UDP, at, listen, nothing_left, policy_text, running
from support.ua import StreamWire, Ua, UdpWire, WebSocketWire, Wire

from edgesbc.app import App

__all__ = ["TRANSPORTS", "bob_and_edge", "connected", "listeners"]

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")


def listeners(folder: Path) -> list[str]:
    secure = f', certificate = "{folder}"'
    return [
        *(listen("public", t, "127.0.0.1:0", f"public-{t}", secure if t in ("tls", "wss") else "") for t in TRANSPORTS),
        CORE_UDP,
    ]


@asynccontextmanager
async def connected(app: App, transport: str, context: ssl.SSLContext) -> AsyncIterator[Ua]:
    """Alice on a transport of the public side."""
    peer = at(app, f"public-{transport}")
    async with trio.open_nursery() as nursery:
        wire: Wire
        if transport == "udp":
            wire = await UdpWire.open(peer=peer)
        elif transport in ("tcp", "tls"):
            wire = await StreamWire.open(peer, context if transport == "tls" else None)
        else:
            wire = await WebSocketWire.open(nursery, peer, context if transport == "wss" else None)
        async with Ua(wire) as alice:
            yield alice
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def bob_and_edge(folder: Path, **settings: object) -> AsyncIterator[tuple[Ua, App]]:
    """A destination on the private side and an edge in front of it that accepts calls from any source."""
    async with Ua(await UdpWire.open("127.0.0.11"), "bob") as bob:
        text = policy_text(folder, [f"sip:{bob.address}"], open=["public"], **settings)  # type: ignore[arg-type]
        async with running(folder, text) as app:
            yield bob, app
            await nothing_left(app)
