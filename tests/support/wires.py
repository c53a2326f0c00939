"""The transports of a test agent: UDP, TCP, TLS and WebSocket, as client or as server."""

from __future__ import annotations

import ssl
from collections import deque
from typing import Protocol

import trio
import trio_websocket

from edgesbc.base.address import Source
from edgesbc.sip.framing import PING, StreamFramer


class Wire(Protocol):
    """A transport; ``via`` is its name in Via header fields, ``host`` and ``port`` are its own address."""

    via: str
    host: str
    port: int

    async def send(self, data: bytes) -> None: ...
    async def receive(self) -> bytes: ...
    async def aclose(self) -> None: ...


class UdpWire:
    """A datagram socket; sends to ``peer``, which is the source of the last datagram."""

    via = "UDP"

    def __init__(self, sock: trio.socket.SocketType, peer: Source | None) -> None:
        self._sock = sock
        self.peer = peer
        self.host, self.port = sock.getsockname()[:2]

    @classmethod
    async def open(cls, host: str = "127.0.0.1", peer: Source | None = None, port: int = 0) -> UdpWire:
        family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
        sock = trio.socket.socket(family, trio.socket.SOCK_DGRAM)
        await sock.bind((host, port))
        return cls(sock, peer)

    async def send(self, data: bytes) -> None:
        assert self.peer is not None
        await self._sock.sendto(data, tuple(self.peer))

    async def receive(self) -> bytes:
        while True:
            try:
                data, address = await self._sock.recvfrom(65535)
            except ConnectionRefusedError:
                continue
            self.peer = Source(address[0], address[1])
            return data

    async def aclose(self) -> None:
        self._sock.close()


class StreamWire:
    """A TCP or TLS connection to ``peer``."""

    def __init__(self, stream: trio.abc.Stream, via: str, host: str, port: int) -> None:
        self.stream = stream
        self.via = via
        self.host, self.port = host, port
        self._framer = StreamFramer()
        self._messages: deque[bytes] = deque()

    @classmethod
    async def open(
        cls, peer: Source, context: ssl.SSLContext | None = None, name: str = "localhost", host: str = "127.0.0.1"
    ) -> StreamWire:
        plain = await trio.open_tcp_stream(*peer, local_address=host)
        own = plain.socket.getsockname()
        if context is None:
            return cls(plain, "TCP", own[0], own[1])
        secure = trio.SSLStream(plain, context, server_hostname=name, https_compatible=True)
        await secure.do_handshake()
        return cls(secure, "TLS", own[0], own[1])

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def receive(self) -> bytes:
        while not self._messages:
            data = await self.stream.receive_some(65536)
            if not data:
                raise EOFError
            self._messages.extend(m for m in self._framer.receive(bytes(data)) if m != PING)
        return self._messages.popleft()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)


class ServedWire:
    """A TCP or TLS server for one peer, whose connection it accepts when the test first receives."""

    def __init__(self, sock: trio.socket.SocketType, context: ssl.SSLContext | None) -> None:
        self._sock = sock
        self._context = context
        self._wire: StreamWire | None = None
        self.via = "TCP" if context is None else "TLS"
        self.host, self.port = sock.getsockname()[:2]

    @classmethod
    async def open(cls, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> ServedWire:
        sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_STREAM)
        await sock.bind((host, 0))
        sock.listen(8)
        return cls(sock, context)

    async def send(self, data: bytes) -> None:
        assert self._wire is not None
        await self._wire.send(data)

    async def receive(self) -> bytes:
        if self._wire is None:
            accepted, _ = await self._sock.accept()
            stream: trio.abc.Stream = trio.SocketStream(accepted)
            if self._context is not None:
                stream = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
            self._wire = StreamWire(stream, self.via, self.host, self.port)
        return await self._wire.receive()

    async def disconnect(self) -> None:
        """Close the connection; the next is accepted when the test receives again."""
        if self._wire is not None:
            await self._wire.aclose()
            self._wire = None

    async def aclose(self) -> None:
        self._sock.close()
        await self.disconnect()


class WebSocketWire:
    """SIP over WebSocket as a browser does it: it cannot know its own address (RFC 7118 section 5)."""

    host = "client.invalid"
    port = 0

    def __init__(self, socket: trio_websocket.WebSocketConnection, via: str) -> None:
        self.socket = socket
        self.via = via

    @classmethod
    async def open(
        cls,
        nursery: trio.Nursery,
        peer: Source,
        context: ssl.SSLContext | None = None,
        subprotocols: tuple[str, ...] = ("sip",),
        origin: str = "",
    ) -> WebSocketWire:
        scheme = "ws" if context is None else "wss"
        socket = await trio_websocket.connect_websocket_url(
            nursery,
            f"{scheme}://{peer}/",
            ssl_context=context,
            subprotocols=list(subprotocols),
            extra_headers=[(b"Origin", origin.encode())] if origin else None,
        )
        return cls(socket, scheme.upper())

    async def send(self, data: bytes) -> None:
        await self.socket.send_message(data.decode())

    async def receive(self) -> bytes:
        try:
            message = await self.socket.get_message()
        except trio_websocket.ConnectionClosed:
            raise EOFError from None
        return message.encode() if isinstance(message, str) else bytes(message)

    async def aclose(self) -> None:
        with trio.move_on_after(0.5):
            await self.socket.aclose()
        await trio.aclose_forcefully(self.socket._stream)  # also where the closing handshake has failed
