"""An NG server over a table of media sessions without sockets, and clients of NG servers."""

from __future__ import annotations

from typing import Any

import trio
from support.media import RecordedPorts

from edgesbc.base.address import Source
from edgesbc.media.commands import MediaCommand, MediaError, MediaReply
from edgesbc.media.session import MediaSession
from edgesbc.media.session_table import SessionTable
from edgesbc.ng.interfaces import interfaces_by_name, interfaces_by_zone, parse_interface
from edgesbc.ng.messages import frame, parse_frame
from edgesbc.ng.server import NgServer
from edgesbc.sdp.session import SessionDescription, parse_session

__all__ = ["CLIENT", "NgHarness", "NgPeer", "RecordedMedia"]

CLIENT = "192.0.2.9:5000"


class RecordedMedia:
    """A media plane over recorded ports; ``commands`` are all that it got."""

    def __init__(self, table: SessionTable) -> None:
        self.table = table
        self.now = 0.0
        self.commands: list[MediaCommand] = []
        self.packets = 0

    def carry_out(self, command: MediaCommand) -> MediaReply | MediaError | None:
        self.commands.append(command)
        return self.table.receive(command, self.now)

    def find(self, session_id: str) -> MediaSession | None:
        return self.table.find(session_id)

    @property
    def sessions(self) -> int:
        return len(self.table)


class NgHarness:
    """An NG server with the interfaces ``pub`` (IPv4 and IPv6) and ``priv``, whose peers are the operator's own."""

    def __init__(
        self,
        *interfaces: str,
        private: tuple[str, ...] = ("priv",),
        last: int = 30999,
        max_sessions: int = 1_000,
    ) -> None:
        texts = interfaces or ("pub/203.0.113.10", "pub/2001:db8::10", "priv/10.0.0.1")
        named = interfaces_by_name(map(parse_interface, texts), (30000, 39999), private)
        self.ports = RecordedPorts(last)
        self.media = RecordedMedia(SessionTable(self.ports, interfaces_by_zone(named), max_sessions=max_sessions))
        self.now = 0.0
        self.server = NgServer(self.media, named, "e1", lambda moment: 1_000.0 + moment, 0.0, max_sessions)
        self._cookie = 0

    def ask(self, name: str, **keys: Any) -> dict[str, Any]:
        """The reply to a command; underscores in ``keys`` stand for hyphens."""
        self._cookie += 1
        command = {"command": name, **{key.replace("_", "-"): value for key, value in keys.items()}}
        data = self.server.receive(frame(b"c%d" % self._cookie, command), CLIENT, self.now)
        assert data is not None
        cookie, reply = parse_frame(data)
        assert cookie == b"c%d" % self._cookie
        return reply

    def described(self, name: str, sdp: str, **keys: Any) -> SessionDescription:
        """The description in the reply to an offer or answer that is carried out."""
        reply = self.ask(name, **{"call_id": "c", "from_tag": "a", "sdp": sdp} | keys)
        assert reply["result"] == "ok", reply
        return parse_session(reply["sdp"].encode())

    def reason(self, name: str, **keys: Any) -> str:
        """The reason of an error, which leaves everything as it was."""
        before = self.state()
        reply = self.ask(name, **{"call_id": "c", "from_tag": "a"} | keys)
        assert reply["result"] == "error", reply
        assert self.state() == before
        reason: str = reply["error-reason"]
        return reason

    def state(self) -> object:
        """What a refused command must not change."""
        dialogs = [
            (dialog.session_id, dialog.tags, dialog.interfaces, dialog.protocols)
            for call_id in self.server.call_ids()
            for dialog in self.server.dialogs_of(call_id)
        ]
        targets = sorted(((pair.port, pair.rtp, pair.rtcp) for pair in self.ports.open_pairs.values()), key=str)
        return dialogs, targets, len(self.media.table)


class NgPeer:
    """A SIP proxy that asks an NG server over UDP."""

    def __init__(self, address: Source) -> None:
        self._address = address
        self._number = 0

    async def ask(self, name: str, **keys: Any) -> dict[str, Any]:
        """The reply to a command, which is sent again until one comes."""
        self._number += 1
        cookie = b"%d_%d" % (id(self), self._number)
        command = {"command": name, **{key.replace("_", "-"): value for key, value in keys.items()}}
        data = await self.send(frame(cookie, command))
        got, reply = parse_frame(data)
        assert got == cookie
        return reply

    async def send(self, data: bytes) -> bytes:
        """What comes back for a datagram."""
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock, trio.fail_after(20):
            await sock.connect(self._address)
            while True:
                try:
                    await sock.send(data)
                    with trio.move_on_after(0.5):
                        return await sock.recv(65_535)
                except ConnectionRefusedError:
                    await trio.sleep(0.05)
