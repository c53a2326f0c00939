"""A SIP user agent whose every step a test decides, with dialogs and RTP. It keeps every message that it receives."""

from __future__ import annotations

import itertools
import secrets
from types import TracebackType
from typing import Any

import trio
from support.running import PATIENCE
from support.wires import ServedWire, StreamWire, UdpWire, WebSocketWire, Wire

from edgesbc.base.address import host_port
from edgesbc.sdp.session import parse_session
from edgesbc.sip.build import request_fields, response_fields
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Fields, Request, Response
from edgesbc.sip.parse import parse_message

__all__ = [
    "Dialog", "Rtp", "ServedWire", "StreamWire", "Ua", "UdpWire", "WebSocketWire", "Wire", "hang_up", "set_up", "talk",
]  # fmt: skip


class Ua:
    """A user agent. ``heard`` has the received messages without retransmissions. Health checks are answered with 200
    and counted in ``probes``."""

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

    async def hear(self, patience: float = PATIENCE) -> Request | Response:
        """The next message that is neither a retransmission nor a health check."""
        with trio.fail_after(patience):
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

    def forget(self) -> None:
        """Take a message that has come before for a new one."""
        self._seen.clear()

    async def request(self, method: str) -> Request:
        """The next request, which must be ``method``."""
        message = await self.hear()
        assert isinstance(message, Request), message
        assert message.method == method, message
        return message

    async def response(self, status: int, method: str = "") -> Response:
        """The next response that is no 100; its status must be ``status``."""
        while True:
            message = await self.hear()
            assert isinstance(message, Response), message
            if message.status == 100 and status != 100:
                continue
            assert message.status == status, message
            assert message.cseq_method == (method or message.cseq_method), message
            return message

    async def silent(self, seconds: float = 0.2) -> bool:
        """Whether no message arrives for so long. For messages that the edge must not send."""
        with trio.move_on_after(seconds):
            await self.hear()
            return False
        return True

    async def answer(
        self, request: Request, status: int, body: bytes = b"", tag: str = "", extra: tuple[str, ...] = ()
    ) -> None:
        """Send a response; ``extra`` are further lines, which may be malformed."""
        fields = response_fields(request, status, tag)
        if status < 300 and not any(line.startswith("Contact") for line in extra):
            fields.append(("Contact", self.contact))
        await self.wire.send(_written(f"SIP/2.0 {status} Answered", fields, extra, body))

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
        """A request of this side; ``extra`` are further lines, which may be malformed."""
        if method not in ("ACK", "CANCEL"):
            self._last = next(self._cseq)
        if method != "CANCEL":
            self.branch = f"z9hG4bK{secrets.token_hex(8)}"
        via = f"SIP/2.0/{self.ua.wire.via} {self.ua.address};branch={self.branch};rport"
        fields = request_fields(method, via, self.local, self.remote, self.call_id, self._last, self.routes)
        if method in ("INVITE", "REGISTER", "UPDATE"):
            fields.append(("Contact", self.ua.contact))
        return _written(f"{method} {uri or self.target} SIP/2.0", fields, extra, body)

    async def send(self, method: str, body: bytes = b"", extra: tuple[str, ...] = (), uri: str = "") -> None:
        await self.ua.wire.send(self.build(method, body, extra, uri))

    async def answer(self, request: Request, status: int, body: bytes = b"", extra: tuple[str, ...] = ()) -> None:
        await self.ua.answer(request, status, body, self.tag, extra)

    def learn(self, message: Request | Response) -> None:
        """Take the remote target from the Contact of ``message``, and the remote tag if it is a response."""
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
        """Send to the address in the SDP of ``message``."""
        session = parse_session(message.body)
        media = session.media[0]
        connection = session.connection_of(media)
        assert connection is not None
        self.peer = (connection.address, media.port)

    async def send(self, packet: bytes = b"") -> bytes:
        """Send and return ``packet``, or one of 20 ms with random audio, which no other packet has."""
        assert self.peer is not None
        if not packet:
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
    """Send audio in both directions; every packet must arrive unchanged."""
    for _ in range(packets):
        sent = await one.send()
        assert await other.receive() == sent
        sent = await other.send()
        assert await one.receive() == sent


async def set_up(caller: Ua, callee: Ua, uri: str, near: Rtp, far: Rtp) -> tuple[Dialog, Dialog]:
    """Set up a call from ``caller`` to ``callee``; ``near`` and ``far`` then send to the addresses in the SDP."""
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


def _written(start_line: str, fields: Fields, extra: tuple[str, ...], body: bytes) -> bytes:
    """The message, in which the lines of ``extra`` stand unchanged."""
    lines = [start_line, *(f"{name}: {value}" for name, value in fields), *extra]
    if body and not any(line.startswith("Content-Type") for line in extra):
        lines.append("Content-Type: application/sdp")
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode() + body
