"""Fuzz target: commands of signalling to two rtpengines, and what these reply.

The lines of the input are steps. ``o CALL TAG OTHER SDP SIDE``, ``a CALL TAG OTHER SDP`` and one of ``drekf`` with
CALL and TAG are commands; each word is one letter or digit, and what follows are lines for the description. ``t`` lets
tenths of a second pass. ``m ENGINE MODE`` says what an rtpengine does from now on: ``g`` replies, ``s`` is silent,
``f`` has no room, ``u`` knows no call, ``x`` has no description, ``l`` replies when a mode changes. ``i ENGINE`` is an
ICMP error, ``! BYTES`` a datagram of the first one, ``= BYTES`` the same with the cookie of the last command.

For any input:

- nothing is raised, and each offer or answer has one reply, at the latest when the rtpengines have been silent long;
- an rtpengine gets no address to which media must not be sent, nor a candidate of ICE, in any line that it may read;
- a description in a reply has one address, and no attribute of a path;
- a call's commands are carried out one after the other, and wait in a bounded number;
- when each call has ended and time has passed, nothing is left but pings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.media.commands import (
    Acknowledge,
    Answer,
    Consent,
    Delete,
    Establish,
    MediaCommand,
    MediaReply,
    Offer,
    Refresh,
    Rollback,
)
from edgesbc.media.latch import AddressScope, scope_of
from edgesbc.ng.client import ClientEffect, EngineReply, RtpengineClient, ToEngine
from edgesbc.ng.messages import frame, parse_frame
from edgesbc.ng.settings import RtpengineSettings
from edgesbc.sdp.session import parse_session
from fuzz.media import CALLEE, CALLER, DESCRIPTIONS, build_description
from fuzz.recorded import INTERFACES
from fuzz.sdp_rewrite import assert_hidden, lenient_name

RELAY: Final = "192.0.2.50"
PREFIX: Final = b"secret"
NOTES: Final[dict[str, Callable[[str, str], MediaCommand]]] = {
    "d": Delete,
    "r": Rollback,
    "e": Establish,
    "k": Acknowledge,
    "f": Refresh,
}
MODES: Final = "gsfuxl"
_MOST_STEPS = 40


def check(data: bytes) -> None:
    run = _Run()
    for line in data.split(b"\n")[:_MOST_STEPS]:
        run.step(line)
    run.end()


class _Run:
    def __init__(self) -> None:
        settings = [RtpengineSettings(Source("127.0.0.1", 2223 + number)) for number in range(2)]
        self.client = RtpengineClient(settings, INTERFACES, PREFIX, lambda: 0.25, 8.0, 0.0)
        self.now = 0.0
        self.modes = ["g", "g"]
        self.held: list[tuple[int, bytes]] = []
        self.asked: set[int] = set()
        self.replied: set[int] = set()
        self.open: dict[bytes, str] = {}
        self.last = b""
        self._cookie = 0
        self._port = 40_000

    def step(self, line: bytes) -> None:
        kind, _, rest = line.partition(b" ")
        words = [*rest.decode("latin-1").split(" "), "", "", "", "", ""]
        if kind == b"!":
            self._apply(self.client.receive(0, rest[: limits.NG_BYTES], self.now))
        elif kind == b"=":
            self.open.pop(self.last, None)
            self._apply(self.client.receive(0, (self.last + b" " + rest)[: limits.NG_BYTES], self.now))
        elif kind == b"t":
            self._pass_time(float(min(int(words[0]), 100)) / 10 if words[0].isdecimal() else 0.5)
        elif kind == b"m":
            self._set_mode(int(words[0] == "1"), words[1][:1])
        elif kind == b"i":
            self._apply(self.client.unreachable(int(words[0] == "1"), self.now))
        else:
            self._command(kind.decode("latin-1")[:1], words)

    def _command(self, kind: str, words: list[str]) -> None:
        session_id, tag, other = f"call-{words[0][:1]}", words[1][:1], words[2][:1].strip("-")
        if kind in NOTES:
            self._give(NOTES[kind](session_id, tag))
            return
        number = int(words[3], 16) if words[3][:1] in tuple("0123456789abcdef") and len(words[3]) == 1 else 0
        lines = "".join(f"{word}\r\n" for word in words[5:] if word).replace("_", " ")
        sdp = build_description(*DESCRIPTIONS[number], lines.encode("latin-1"))
        if kind == "a":
            self._give(Answer(session_id, tag, other, sdp, final=words[4] != "n"))
        else:
            zone = Zone.CORE if words[4] == "c" else Zone.PUBLIC
            consent = Consent.NONE if words[4] == "n" else Consent.ANY
            self._give(
                Offer(session_id, tag, other, sdp, zone, zone.other, (CALLER, CALLEE)[zone is Zone.CORE], consent)
            )

    def _give(self, command: MediaCommand) -> None:
        self._cookie += 1
        if isinstance(command, Offer | Answer):
            self.asked.add(self._cookie)
        self._apply(self.client.carry_out(self._cookie, command, self.now))
        for session in self.client._sessions.values():
            assert len(session.queue) <= limits.PENDING_MEDIA + 3

    def _set_mode(self, engine: int, mode: str) -> None:
        self.modes[engine] = mode if mode and mode in MODES else "g"
        held, self.held = self.held, []
        for number, data in held:
            self._reply(number, data)

    def _apply(self, effects: list[ClientEffect]) -> None:
        for effect in effects:
            if isinstance(effect, ToEngine):
                self._receive(effect)
            elif isinstance(effect, EngineReply):
                assert effect.cookie in self.asked
                assert effect.cookie not in self.replied
                self.replied.add(effect.cookie)
                if isinstance(effect.reply, MediaReply):
                    description = parse_session(effect.reply.sdp)
                    assert_hidden(description, description.origin.address, range(65_536))

    def _receive(self, effect: ToEngine) -> None:
        assert len(effect.data) <= limits.NG_BYTES
        self.last, command = parse_frame(effect.data)
        assert self.last.startswith(PREFIX)
        if "sdp" in command:
            _assert_judged(command)
            self._assert_alone(command)
        self._reply(effect.engine, effect.data)

    def _assert_alone(self, command: dict[str, Any]) -> None:
        """No other command of the call is under way; one that has moved to another rtpengine counts no longer."""
        busy = [request.name for request in self.client._requests.values() if request.session is not None]
        self.open = {name: call for name, call in self.open.items() if name in busy and name != self.last}
        assert command["call-id"] not in self.open.values()
        self.open[self.last] = command["call-id"]

    def _reply(self, engine: int, data: bytes) -> None:
        cookie, command = parse_frame(data)
        mode = self.modes[engine]
        if mode == "l":
            self.held.append((engine, data))
        elif mode != "s":
            self._apply(self.client.receive(engine, frame(cookie, self._content(mode, command)), self.now))

    def _content(self, mode: str, command: dict[str, Any]) -> dict[str, Any]:
        if command["command"] == "ping":
            return {"result": "pong"}
        if mode == "f":
            return {"result": "load limit"}
        if mode == "u":
            return {"result": "error", "error-reason": "Unknown call-id"}
        if "sdp" not in command or mode == "x":
            return {"result": "ok"}
        self._port += 2
        text = command["sdp"]
        for host in (CALLER, CALLEE, "198.51.100.8", "10.0.0.28", "192.168.1.5"):
            text = text.replace(host, RELAY)
        return {"result": "ok", "sdp": text}

    def _pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (deadline := self.client.deadline()) is not None and deadline <= end:
            assert deadline >= self.now
            self.now = deadline
            self._apply(self.client.expire(self.now))
        self.now = end

    def end(self) -> None:
        """End every call, while the rtpengines do as they did last."""
        for number in range(2):
            if self.modes[number] == "l":
                self._set_mode(number, "s")
        for session_id in list(self.client._sessions):
            self._give(Delete(session_id, "a"))
        self._pass_time(12.0)
        assert self.asked == self.replied
        assert len(self.client) == 0
        assert [self.client.sessions_at(number) for number in range(2)] == [0, 0]
        assert self.client.waiting <= 2


def _assert_judged(command: dict[str, Any]) -> None:
    """What an rtpengine gets has no address that media must not be sent to, unless it waits for a packet."""
    description = parse_session(command["sdp"].encode())
    waits = "NAT-wait" in command["flags"]
    is_public = command.get("received-from") == ["IP4", CALLER]
    for media in description.media:
        attributes = [*description.attributes, *media.attributes]
        names = [lenient_name(attribute) for attribute in attributes]
        assert not {"candidate", "remote-candidates", "ice-ufrag", "altc", "fingerprint"}.intersection(names)
        assert names.count("rtcp") <= 1
        if not media.port:
            continue
        connection = description.connection_of(media)
        assert connection is not None
        if connection.unspecified:
            continue
        hosts = [connection.address]
        hosts += [(one.value or "").split()[3] for one in attributes if one.name == "rtcp" and " " in (one.value or "")]
        for host in hosts:
            assert scope_of(host) in (AddressScope.GLOBAL, AddressScope.PRIVATE)
            assert waits or not is_public or scope_of(host) is AddressScope.GLOBAL
