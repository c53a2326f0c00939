"""The client of websockets, another implementation of RFC 6455, with sockets of its own against a running edge."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from support.certificates import Certificates
from support.running import CORE_UDP, PUBLIC_UDP, at, listen, policy_text, running, until
from support.stream_listeners import NOBODY, event_count
from support.tls_tunnel import tls_tunnel
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from edgesbc.app import App
from edgesbc.base import limits

PAGE = "https://phone.example.com"
SECONDS = 30.0
"""For what comes at once, so that a test ends if it does not come."""
T = TypeVar("T")


class Peer:
    """Where a running edge listens; the client is used in a thread."""

    def __init__(self, app: App, context: ssl.SSLContext | None) -> None:
        self.app = app
        self._context = context
        # Over TLS as well: a tunnel has that.
        self.url = f"ws://{at(app, 'web')}/ws?token=1"

    @contextmanager
    def opened(self, **options: object) -> Iterator[ClientConnection]:
        options = {"subprotocols": ["chat", "sip"], "proxy": None, "origin": PAGE, "open_timeout": 60} | options
        if self._context is not None:
            options["sock"] = tls_tunnel(*at(self.app, "web"), self._context, SECONDS)
        with connect(self.url, **options) as socket:  # type: ignore[arg-type]
            yield socket

    async def run(self, step: Callable[[ClientConnection], T], **options: object) -> T:
        """The result of a step with an open WebSocket, which is closed afterwards."""

        def in_thread() -> T:
            with self.opened(**options) as socket:
                return step(socket)

        return await trio.to_thread.run_sync(in_thread)


@asynccontextmanager
async def edge(folder: Path, certificates: Certificates, transport: str) -> AsyncIterator[Peer]:
    keys = f', origins = ["{PAGE}"]' + (f', certificate = "{certificates.folder}"' if transport == "wss" else "")
    listeners = [PUBLIC_UDP, CORE_UDP, listen("public", transport, "127.0.0.1:0", "web", keys)]
    async with running(folder, policy_text(folder, [NOBODY], listeners, trunks=["127.0.0.1"])) as app:
        yield Peer(app, certificates.client if transport == "wss" else None)
        await until(lambda: not app.plane.connections)
        assert ("web", "internal") not in app.plane.counts


@pytest.fixture(params=["ws", "wss"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def options(size: int = 0, name: str = "a") -> str:
    """A request that the edge answers, of ``size`` bytes, or without a body."""
    head = (
        f"OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/WS a.invalid;branch=z9hG4bK{size}{name}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:a@example.com>;tag=a\r\nTo: <sip:127.0.0.1>\r\nCall-ID: {size}{name}\r\nCSeq: 1 OPTIONS\r\n"
        "Content-Length: %05d\r\n\r\n"
    )
    body = max(0, size - len(head % 0))
    return head % body + "x" * body


async def test_a_subprotocol_is_agreed_and_no_extension(
    tmp_path: Path, certificates: Certificates, transport: str
) -> None:
    """The client offers permessage-deflate."""

    def agreed(socket: ClientConnection) -> tuple[str | None, int, str | None]:
        assert socket.request is not None
        assert "permessage-deflate" in socket.request.headers["Sec-WebSocket-Extensions"]
        assert socket.response is not None
        return socket.subprotocol, len(socket.protocol.extensions), socket.response.headers.get("Server")

    async with edge(tmp_path, certificates, transport) as peer:
        assert await peer.run(agreed) == ("sip", 0, None)


@pytest.mark.parametrize(
    ("offer", "status", "reason"),
    [
        ({"subprotocols": ["chat"]}, 400, "subprotocol"),
        ({"subprotocols": None}, 400, "subprotocol"),
        ({"origin": "https://elsewhere.example.com"}, 403, "origin"),
        ({"origin": None}, 403, "origin"),
        ({"additional_headers": {"Content-Length": "5"}}, 400, "handshake"),
        ({"additional_headers": {"X-Long": "x" * limits.UPGRADE_BYTES}}, 431, "handshake"),
    ],
    ids=["another subprotocol", "no subprotocol", "another origin", "no origin", "a body", "too long"],
)
async def test_the_client_reads_the_status_of_a_refusal(
    tmp_path: Path, certificates: Certificates, transport: str, offer: dict[str, object], status: int, reason: str
) -> None:
    async with edge(tmp_path, certificates, transport) as peer:
        with pytest.raises(InvalidStatus) as refused:
            await peer.run(lambda socket: None, **offer)
        assert refused.value.response.status_code == status
        await until(lambda: event_count(peer.app, "web", reason) == 1)


@pytest.mark.parametrize("pieces", [1, 2, 7, 300])
@pytest.mark.parametrize("kind", ["text", "binary"])
async def test_messages_whole_and_in_fragments(
    tmp_path: Path, certificates: Certificates, transport: str, kind: str, pieces: int
) -> None:
    def asked(socket: ClientConnection) -> list[str | bytes]:
        answers = []
        for size in (0, 125, 126, 127, 4096):
            message = options(size)
            data = message if kind == "text" else message.encode()
            step = -(-len(data) // pieces)
            parts = [data[begin : begin + step] for begin in range(0, len(data), step)]
            socket.send(data if pieces == 1 else parts)  # type: ignore[arg-type]
            answers.append(socket.recv(SECONDS))
        return answers

    async with edge(tmp_path, certificates, transport) as peer:
        for answer in await peer.run(asked):
            assert isinstance(answer, str)
            assert answer.startswith("SIP/2.0 200 ")


@pytest.mark.parametrize("pieces", [1, 16])
async def test_a_message_at_the_bound_is_answered_and_one_above_it_gets_1009(
    tmp_path: Path, certificates: Certificates, transport: str, pieces: int
) -> None:
    def send(socket: ClientConnection, size: int) -> None:
        message = options(size)
        step = -(-size // pieces)
        socket.send([message[begin : begin + step] for begin in range(0, size, step)] if pieces > 1 else message)

    def largest(socket: ClientConnection) -> str | bytes:
        send(socket, limits.MESSAGE_BYTES)
        return socket.recv(SECONDS)

    def too_large(socket: ClientConnection) -> None:
        send(socket, limits.MESSAGE_BYTES + 1)
        socket.recv(SECONDS)

    async with edge(tmp_path, certificates, transport) as peer:
        answer = await peer.run(largest)
        assert str(answer).startswith("SIP/2.0 200 ")
        with pytest.raises(ConnectionClosed) as closed:
            await peer.run(too_large)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_pings_are_answered_each_with_its_content(
    tmp_path: Path, certificates: Certificates, transport: str
) -> None:
    """The client looks for the Ping of a Pong by its content; also between the fragments of a message."""

    def ping(socket: ClientConnection) -> list[bool]:
        return [socket.ping(content).wait(SECONDS) for content in (b"", b"x", bytes(125))]

    def ping_inside(socket: ClientConnection) -> tuple[list[bool], str | bytes]:
        answered = []

        def parts() -> Iterator[str]:
            message = options()
            for begin in range(0, len(message), 50):
                answered.append(socket.ping().wait(SECONDS))
                yield message[begin : begin + 50]

        socket.send(parts())
        return answered, socket.recv(SECONDS)

    async with edge(tmp_path, certificates, transport) as peer:
        assert await peer.run(ping) == [True, True, True]
        answered, answer = await peer.run(ping_inside)
        assert len(answered) > 4
        assert all(answered)
        assert str(answer).startswith("SIP/2.0 200 ")


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999])
async def test_the_code_of_the_client_is_answered(
    tmp_path: Path, certificates: Certificates, transport: str, code: int
) -> None:
    """With what was asked before."""

    def closed(socket: ClientConnection) -> int:
        socket.send(options())
        assert str(socket.recv(SECONDS)).startswith("SIP/2.0 200 ")
        socket.close(code, "the reason")
        assert socket.protocol.close_rcvd is not None
        assert socket.protocol.close_rcvd_then_sent is False
        return int(socket.protocol.close_rcvd.code)

    async with edge(tmp_path, certificates, transport) as peer:
        assert await peer.run(closed) == code


async def test_the_end_of_the_edge_has_1001(tmp_path: Path, certificates: Certificates, transport: str) -> None:
    """The client answers it, and takes the end for a regular one."""
    async with edge(tmp_path, certificates, transport) as peer:

        def code(socket: ClientConnection) -> int:
            trio.from_thread.run_sync(peer.app.drain)
            assert list(socket) == []  # until a regular end; another one is an exception
            assert socket.protocol.close_rcvd is not None
            return int(socket.protocol.close_rcvd.code)

        assert await peer.run(code) == 1001


async def test_a_text_that_is_not_utf_8_gets_1007(tmp_path: Path, certificates: Certificates, transport: str) -> None:
    def send(socket: ClientConnection) -> None:
        socket.send(b"good\xff", text=True)
        socket.recv(SECONDS)

    async with edge(tmp_path, certificates, transport) as peer:
        with pytest.raises(ConnectionClosed) as closed:
            await peer.run(send)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007
