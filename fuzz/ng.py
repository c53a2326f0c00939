"""Fuzz target: commands of SIP proxies to an NG server, over a table of media sessions.

The lines of the input are steps: ``! BYTES`` is a datagram, ``t SECONDS`` lets time pass, ``COMMAND CALL FROM TO SDP
KEY=VALUE...`` is a command, whose words of one letter or digit choose among a few, and whose values are texts, or lists
where they have a comma (:func:`_Proxy.command`). ``~`` sends the last datagram again.

For any input:

- nothing is raised, and a reply has the cookie of its command and says ``ok``, ``error``, ``pong`` or ``load limit``;
- what is refused changes nothing, and what comes again is answered with the same bytes;
- each dialog has one session and each session a dialog, and exactly their ports are open, however they end;
- a description in a reply has no address but the relay's;
- no port has a target to which media must not be sent.
"""

from __future__ import annotations

from typing import Any, Final
from unittest.mock import patch

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.media.commands import MediaCommand, MediaError, MediaReply
from edgesbc.media.session import MediaSession
from edgesbc.media.session_table import SessionTable
from edgesbc.ng.bencode import decode, decode_first, encode
from edgesbc.ng.interfaces import interfaces_by_name, interfaces_by_zone, parse_interface
from edgesbc.ng.messages import frame, parse_frame
from edgesbc.ng.server import NgServer
from edgesbc.sdp.session import parse_session
from fuzz.media import DESCRIPTIONS, assert_allowed, build_description
from fuzz.recorded import CORE, PORTS, PUBLIC, PUBLIC6, RecordedPorts
from fuzz.sdp_rewrite import assert_hidden

NAMES: Final = interfaces_by_name(
    map(parse_interface, (f"pub/{PUBLIC}", f"pub/{PUBLIC6}", f"priv/{CORE}")),
    PORTS,
    ["priv"],
    ["10.0.0.0/8", "fd00:10::/32"],
)
OWN: Final = {interface.advertise for of_name in NAMES.values() for interface in of_name}
COMMANDS: Final = {
    "o": "offer", "a": "answer", "d": "delete", "q": "query", "l": "list", "s": "statistics", "p": "ping", "x": "play",
}  # fmt: skip
SESSIONS: Final = 5
DIALOGS: Final = 3
RESULTS: Final = frozenset({"ok", "error", "pong", "load limit"})
CHANGING: Final = frozenset({"offer", "answer", "delete"})
_MOST_STEPS = 40


def check(data: bytes) -> None:
    with patch.multiple(limits, NG_DIALOGS_PER_CALL=DIALOGS, NG_REPLIES=8):
        proxy = _Proxy()
        for line in data.split(b"\n")[:_MOST_STEPS]:
            proxy.step(line)
        proxy.end()


class _Media:
    """See :class:`edgesbc.ng.server.ControlledMedia`."""

    def __init__(self) -> None:
        self.ports = RecordedPorts()
        self.table = SessionTable(self.ports, interfaces_by_zone(NAMES), max_sessions=SESSIONS)
        self.now = 0.0
        self.packets = 0

    def carry_out(self, command: MediaCommand) -> MediaReply | MediaError | None:
        return self.table.receive(command, self.now)

    def find(self, session_id: str) -> MediaSession | None:
        return self.table.find(session_id)

    @property
    def sessions(self) -> int:
        return len(self.table)


class _Proxy:
    def __init__(self) -> None:
        self.media = _Media()
        self.server = NgServer(self.media, NAMES, "mark", lambda moment: 1e9 + moment, 0.0, SESSIONS)
        self._cookie = 0
        self._last = b""
        self._shown: set[int] = set()
        """Every port that was in a description."""

    def step(self, line: bytes) -> None:
        kind, _, rest = line.partition(b" ")
        if kind == b"!":
            self._datagram(rest)
        elif kind == b"~":
            self._repeat()
        elif kind == b"t":
            self._pass_time(float(min(int(rest), 10_000)) if rest.isdigit() else 0.5)
        else:
            self._command(line.decode("latin-1").split(" "))
        self._check_invariants()

    def _datagram(self, data: bytes) -> None:
        self._stream(data)
        self._last = data
        reply = self.server.receive(data, "192.0.2.9:1", self.media.now)
        if reply is not None:
            assert data.startswith(parse_frame(reply)[0] + b" ")

    def _stream(self, data: bytes) -> None:
        """The same bytes at a stream: a value is there as soon as it is complete, and not before."""
        try:
            value, size = decode_first(data[: limits.NG_BYTES])
        except WireError:
            return
        if size:
            assert decode(data[:size]) == value
            assert decode(encode(value)) == value
            assert decode_first(data[: size - 1]) == (None, 0)

    def _repeat(self) -> None:
        client = "192.0.2.9:1"
        first = self.server.receive(self._last, client, self.media.now)
        state = self._state()
        assert self.server.receive(self._last, client, self.media.now) == first
        assert self._state() == state

    def _command(self, words: list[str]) -> None:
        name, call, offerer, answerer, described, *options = [*words, "", "", "", "", ""]
        command: dict[str, Any] = {
            "command": COMMANDS.get(name, name), "call-id": f"call-{call[:1]}", "from-tag": offerer[:1],
        }  # fmt: skip
        if answerer.strip("-"):
            command["to-tag"] = answerer[:1]
        lines = ""
        for option in options:
            key, equals, value = option.partition("=")
            if key == "sdp":
                lines += f"{value}\r\n"
            elif equals:
                command[key] = value.split(",") if "," in value else int(value) if value.isdecimal() else value
        number = int(described, 16) if len(described) == 1 and described in "0123456789abcdef" else 0
        extra = lines.replace("_", " ").encode("latin-1")
        command["sdp"] = build_description(*DESCRIPTIONS[number], extra)
        self._cookie += 1
        try:
            self._last = frame(b"%d" % self._cookie, command)
        except (TypeError, ValueError):
            return
        if len(self._last) > limits.NG_BYTES:
            return
        before = self._state()
        data = self.server.receive(self._last, "192.0.2.9:1", self.media.now)
        assert data is not None
        assert len(data) <= limits.NG_BYTES
        cookie, reply = parse_frame(data)
        assert cookie == b"%d" % self._cookie
        assert reply["result"] in RESULTS
        if reply["result"] != "ok" or str(command["command"]) not in CHANGING:
            assert self._state() == before
        marked = b"a=rtpengine:mark" in command["sdp"]
        if "sdp" in reply and not marked:
            has_ended = not self.server.dialogs_of(command["call-id"])
            self._check_description(reply["sdp"].encode("utf-8", "surrogateescape"), not lines, has_ended)

    def _check_description(self, sdp: bytes, as_written: bool, has_ended: bool) -> None:
        """``has_ended``: an answer that is repeated after the end of its call has the ports of then."""
        description = parse_session(sdp)
        address = description.origin.address
        assert address in OWN
        ports = [pair.port for pair in self.media.ports.open_pairs if pair.interface.advertise == address]
        assert_hidden(description, address, self._shown if has_ended else ports)
        self._shown.update(media.port for media in description.media)
        if as_written:
            assert not any(peer in sdp for peer in (b"198.51.100.", b"10.0.0.2", b"192.168."))

    def _pass_time(self, seconds: float) -> None:
        self.media.now += seconds
        for event in self.media.table.expire(self.media.now):
            self.server.media_event(event)
        self.server.expire(self.media.now)
        deadline = self.server.deadline()
        assert deadline is None or deadline > self.media.now

    def _state(self) -> object:
        dialogs = [
            (dialog.session_id, dialog.tags, dialog.interfaces, dialog.answered, list(dialog.protocols))
            for call_id in self.server.call_ids()
            for dialog in self.server.dialogs_of(call_id)
        ]
        return dialogs, [(pair, pair.rtp, pair.rtcp) for pair in self.media.ports.open_pairs], len(self.media.table)

    def _check_invariants(self) -> None:
        dialogs = [one for call_id in self.server.call_ids() for one in self.server.dialogs_of(call_id)]
        sessions = list(self.media.table.sessions())
        assert sorted(dialog.session_id for dialog in dialogs) == sorted(session.session_id for session in sessions)
        assert len(dialogs) == len(self.server) <= SESSIONS
        assert all(len(self.server.dialogs_of(call_id)) <= DIALOGS for call_id in self.server.call_ids())
        pairs = [pair for session in sessions for stream in session.streams for pair in stream.pairs]
        assert sorted(map(id, pairs)) == sorted(map(id, self.media.ports.open_pairs))
        for pair in self.media.ports.open_pairs:
            for target in (pair.rtp, pair.rtcp):
                assert_allowed(pair.interface, target)

    def end(self) -> None:
        """End every call that is left."""
        for call_id in self.server.call_ids():
            self.server.receive(
                frame(b"end%d" % self._cookie, {"command": "delete", "call-id": call_id}), "192.0.2.9:1", self.media.now
            )
            self._cookie += 1
        assert not self.media.ports.open_pairs
        assert not len(self.server)
