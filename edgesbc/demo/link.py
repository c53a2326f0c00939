"""The connection of a caller to the edge, over any transport: sends and receives messages; certificates are
verified."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Protocol

import trio
import trio_websocket

from edgesbc.base.address import Source, Transport, host_port
from edgesbc.sip.framing import PING, StreamFramer

__all__ = ["Link", "open_link"]

CONNECT_SECONDS = 10.0
_DATAGRAM = 65_535


class Link(Protocol):
    """A connection, or a UDP socket. Its methods raise ``OSError``, ``EOFError`` or ``trio.BrokenResourceError`` when
    it has ended."""

    local: Source

    async def send(self, data: bytes) -> None: ...

    async def receive(self) -> list[bytes]: ...

    async def aclose(self) -> None: ...


class _Datagrams:
    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._sock = sock
        host, port = sock.getsockname()[:2]
        self.local = Source(host, port)

    async def send(self, data: bytes) -> None:
        await self._sock.send(data)

    async def receive(self) -> list[bytes]:
        return [await self._sock.recv(_DATAGRAM)]

    async def aclose(self) -> None:
        self._sock.close()
        await trio.lowlevel.checkpoint()


class _Stream:
    def __init__(self, stream: trio.abc.Stream, local: Source) -> None:
        self.local = local
        self._stream = stream
        self._framer = StreamFramer()
        self._sending = trio.Lock()

    async def send(self, data: bytes) -> None:
        async with self._sending:
            await self._stream.send_all(data)

    async def receive(self) -> list[bytes]:
        data = await self._stream.receive_some(_DATAGRAM)
        if not data:
            raise EOFError
        return [message for message in self._framer.receive(bytes(data)) if message != PING]

    async def aclose(self) -> None:
        await self._stream.aclose()


class _WebSocket:
    def __init__(self, socket: trio_websocket.WebSocketConnection, local: Source) -> None:
        self.local = local
        self._socket = socket

    async def send(self, data: bytes) -> None:
        try:
            await self._socket.send_message(data.decode())
        except trio_websocket.ConnectionClosed:
            raise trio.BrokenResourceError from None

    async def receive(self) -> list[bytes]:
        try:
            message = await self._socket.get_message()
        except trio_websocket.ConnectionClosed:
            raise EOFError from None
        return [message.encode() if isinstance(message, str) else bytes(message)]

    async def aclose(self) -> None:
        await self._socket.aclose()


async def open_link(
    nursery: trio.Nursery, transport: Transport, edge: Source, local_host: str, ca: str | Path | None
) -> Link:
    """Connect to ``edge`` from ``local_host``. ``ca`` is a PEM file of the only trusted certificate authorities.

    The tasks of a WebSocket run in ``nursery``. Raises ``OSError``, ``trio.BrokenResourceError`` (with the TLS
    error as its cause), ``trio_websocket.HandshakeError`` or ``trio.TooSlowError``.
    """
    with trio.fail_after(CONNECT_SECONDS):
        if transport is Transport.UDP:
            return await _open_datagrams(edge, local_host)
        connection = await trio.open_tcp_stream(edge.host, edge.port, local_address=local_host)
        try:
            return await _handshakes(nursery, transport, edge, connection, ca)
        except BaseException:
            await trio.aclose_forcefully(connection)
            raise


async def _open_datagrams(edge: Source, local_host: str) -> Link:
    sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    try:
        await sock.bind((local_host, 0))
        await sock.connect(tuple(edge))
    except BaseException:
        sock.close()
        raise
    return _Datagrams(sock)


async def _handshakes(
    nursery: trio.Nursery, transport: Transport, edge: Source, connection: trio.SocketStream, ca: str | Path | None
) -> Link:
    """The handshakes of TLS and WebSocket, if the transport has them."""
    host, port = connection.socket.getsockname()[:2]
    local = Source(host, port)
    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = connection
    if transport.secure:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        stream = trio.SSLStream(connection, context, server_hostname=edge.host, https_compatible=True)
        await stream.do_handshake()
    if transport in (Transport.TCP, Transport.TLS):
        return _Stream(stream, local)
    socket = await trio_websocket.wrap_client_stream(
        nursery, stream, host_port(*edge), "/", subprotocols=["sip"], message_queue_size=8
    )
    return _WebSocket(socket, local)
