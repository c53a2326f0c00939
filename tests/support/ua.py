"""A SIP user agent that tests drive by hand: one wire, dialogs, RTP beside it. It keeps every byte it hears."""

from __future__ import annotations

import itertools
import secrets
import ssl
from collections import deque
from types import TracebackType
from typing import Any, Protocol

import trio
import trio_websocket

from edgesbc.base.address import Source, host_port
from edgesbc.sdp.session import parse_session
from edgesbc.sip.framing import PING, StreamFramer
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message

PATIENCE = 8.0
"""Seconds that a test waits for what must come; nothing is measured by it."""


class Wire(Protocol):
    via: str
    host: str
    port: int

    async def send(self, data: bytes) -> None: ...
    async def receive(self) -> bytes: ...
    async def aclose(self) -> None: ...


class UdpWire:
    """A datagram socket; sends to ``peer``, which is whoever was heard last."""

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
    """TCP or TLS."""

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
    """A TCP or TLS server for one peer at a time, accepted when something is first heard."""

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

    async def aclose(self) -> None:
        self._sock.close()
        if self._wire is not None:
            await self._wire.aclose()


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
        await trio.aclose_forcefully(self.socket._stream)  # whatever its own tasks have come to


class Ua:
    """A user agent. ``heard`` has every message as it came; health checks are answered and counted in ``probes``."""

    def __init__(self, wire: Wire, user: str = "alice") -> None:
        self.wire = wire
        self.user = user
        self.heard: list[bytes] = []
        self.probes = 0
        self._seen: set[bytes] = set()

    async def __aenter__(self) -> Ua:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        with trio.move_on_after(1, shield=True):
            await self.wire.aclose()

    @property
    def address(self) -> str:
        return host_port(self.wire.host, self.wire.port) if self.wire.port else self.wire.host

    @property
    def contact(self) -> str:
        return f"<sip:{self.user}@{self.address};transport={self.wire.via.lower()}>"

    async def hear(self) -> Request | Response:
        """The next message that is no retransmission."""
        with trio.fail_after(PATIENCE):
            while True:
                data = await self.wire.receive()
                if data in self._seen or not data.strip(b"\r\n"):
                    continue
                self._seen.add(data)
                self.heard.append(data)
                message = parse_message(data)
                if isinstance(message, Request) and message.method == "OPTIONS" and not message.in_dialog:
                    self.probes += 1
                    await self.answer(message, 200)
                    continue
                return message

    async def request(self, method: str) -> Request:
        """The next request, which must be ``method``."""
        message = await self.hear()
        assert isinstance(message, Request), message
        assert message.method == method, message
        return message

    async def response(self, status: int, method: str = "") -> Response:
        """The next answer that is no 100, which must be ``status``."""
        while True:
            message = await self.hear()
            assert isinstance(message, Response), message
            if message.status == 100 and status != 100:
                continue
            assert message.status == status, message
            assert message.cseq_method == (method or message.cseq_method), message
            return message

    async def silent(self, seconds: float = 0.2) -> bool:
        """Whether nothing comes for a while: for what must not happen."""
        with trio.move_on_after(seconds):
            await self.hear()
            return False
        return True

    async def answer(
        self, request: Request, status: int, body: bytes = b"", tag: str = "", extra: tuple[str, ...] = ()
    ) -> None:
        lines = [f"SIP/2.0 {status} Answered"]
        copied = ("Via", "From", "Call-ID", "CSeq", "Record-Route")
        lines += [f"{name}: {value}" for name, value in request.fields if name in copied]
        to = request.get("To") or ""
        lines.append(f"To: {to}" if request.in_dialog or not tag else f"To: {to};tag={tag}")
        lines += extra
        if status < 300 and not any(line.startswith("Contact") for line in extra):
            lines.append(f"Contact: {self.contact}")
        await self.wire.send(_assembled(lines, body))

    def dialog(self, uri: str) -> Dialog:
        """A dialog that this side begins."""
        local = f"<sip:{self.user}@example.org>;tag={secrets.token_hex(4)}"
        return Dialog(self, local, f"<{uri}>", secrets.token_hex(8), uri)

    def taken(self, invite: Request) -> Dialog:
        """The dialog that ``invite`` begins with this side."""
        tag = secrets.token_hex(4)
        dialog = Dialog(self, f"{invite.get('To')};tag={tag}", invite.get("From") or "", invite.call_id, "")
        dialog.tag = tag
        dialog.learn(invite)
        dialog.routes = tuple(invite.get_all("Record-Route"))
        return dialog


class Dialog:
    """One side of a dialog (RFC 3261 section 12): ``target`` is the remote target."""

    def __init__(self, ua: Ua, local: str, remote: str, call_id: str, target: str) -> None:
        self.ua = ua
        self.local = local
        self.remote = remote
        self.call_id = call_id
        self.target = target
        self.tag = ""
        self.routes: tuple[str, ...] = ()
        self.branch = ""
        self._cseq = itertools.count(1)
        self._last = 0

    def build(self, method: str, body: bytes = b"", extra: tuple[str, ...] = (), uri: str = "") -> bytes:
        if method not in ("ACK", "CANCEL"):
            self._last = next(self._cseq)
        if method != "CANCEL":
            self.branch = f"z9hG4bK{secrets.token_hex(8)}"
        lines = [f"{method} {uri or self.target} SIP/2.0"]
        lines.append(f"Via: SIP/2.0/{self.ua.wire.via} {self.ua.address};branch={self.branch};rport")
        lines += [f"Route: {route}" for route in self.routes]
        lines += [f"From: {self.local}", f"To: {self.remote}", f"Call-ID: {self.call_id}"]
        lines += [f"CSeq: {self._last} {method}", "Max-Forwards: 70"]
        if method in ("INVITE", "REGISTER", "UPDATE"):
            lines.append(f"Contact: {self.ua.contact}")
        lines += extra
        return _assembled(lines, body)

    async def send(self, method: str, body: bytes = b"", extra: tuple[str, ...] = (), uri: str = "") -> None:
        await self.ua.wire.send(self.build(method, body, extra, uri))

    async def answer(self, request: Request, status: int, body: bytes = b"", extra: tuple[str, ...] = ()) -> None:
        await self.ua.answer(request, status, body, self.tag, extra)

    def learn(self, message: Request | Response) -> None:
        """Take the remote target, and the tag of an answer."""
        contact = message.get("Contact")
        if contact:
            self.target = parse_name_addr(contact).uri_text
        if isinstance(message, Response):
            self.remote = message.get("To") or ""


class Rtp:
    """A sender and receiver of RTP on a port of its own."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._sock = sock
        self.host, self.port = sock.getsockname()[:2]
        self.peer: tuple[str, int] | None = None
        self._number = 0

    @classmethod
    async def open(cls, host: str = "127.0.0.1") -> Rtp:
        family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
        sock = trio.socket.socket(family, trio.socket.SOCK_DGRAM)
        await sock.bind((host, 0))
        return cls(sock)

    async def __aenter__(self) -> Rtp:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self._sock.close()

    def sdp(self, direction: str = "sendrecv") -> bytes:
        family = "IP6" if ":" in self.host else "IP4"
        return (
            f"v=0\r\no=- 7 1 IN {family} {self.host}\r\ns=-\r\nc=IN {family} {self.host}\r\nt=0 0\r\n"
            f"m=audio {self.port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na={direction}\r\n"
        ).encode()

    def aim(self, message: Request | Response) -> None:
        """Send to where the SDP of ``message`` says."""
        session = parse_session(message.body)
        media = session.media[0]
        connection = session.connection_of(media)
        assert connection is not None
        self.peer = (connection.address, media.port)

    async def send(self) -> bytes:
        """A packet of 20 ms like no other."""
        assert self.peer is not None
        self._number += 1
        number = self._number
        head = bytes((0x80, 0)) + number.to_bytes(2, "big") + (number * 160).to_bytes(4, "big") + b"test"
        packet = head + secrets.token_bytes(160)
        await self._sock.sendto(packet, self.peer)
        return packet

    async def receive(self) -> bytes:
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    return await self._sock.recv(4096)
                except ConnectionRefusedError:
                    continue


async def talk(one: Rtp, other: Rtp, packets: int = 10) -> None:
    """Audio in both directions, every packet as it was sent."""
    for _ in range(packets):
        sent = await one.send()
        assert await other.receive() == sent
        sent = await other.send()
        assert await one.receive() == sent


async def set_up(caller: Ua, callee: Ua, uri: str, near: Rtp, far: Rtp) -> tuple[Dialog, Dialog]:
    """A call from ``caller`` that ``callee`` answers, audio aimed both ways."""
    calling = caller.dialog(uri)
    await calling.send("INVITE", near.sdp())
    invite = await callee.request("INVITE")
    far.aim(invite)
    called = callee.taken(invite)
    await called.answer(invite, 180)
    await called.answer(invite, 200, far.sdp(), ("Content-Type: application/sdp",))
    await caller.response(180)
    answered = await caller.response(200)
    near.aim(answered)
    calling.learn(answered)
    await calling.send("ACK")
    await callee.request("ACK")
    return calling, called


async def hang_up(ending: Dialog, ended: Ua) -> None:
    await ending.send("BYE")
    bye = await ended.request("BYE")
    await ended.answer(bye, 200)
    await ending.ua.response(200, "BYE")


def _assembled(lines: list[str], body: bytes) -> bytes:
    if body and not any(line.startswith("Content-Type") for line in lines):
        lines.append("Content-Type: application/sdp")
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode() + body
