"""Fuzz target: what signalling may ask of the media plane in the course of some calls.

The bytes are steps: offers, answers, ends, questions and time, few Call-IDs, tags and descriptions, and lines that
stand in a description as they came (:func:`described`). For whatever bytes come:

- no command raises; its reply can be written, and what is refused changes nothing;
- calls stay below both bounds, and exactly their ports are open; each is closed once, however a call ends;
- a description in a reply has the ports of its call on one interface of the relay, and names no other place;
- no port is aimed at where media must not go, whoever asks for it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final
from unittest.mock import patch

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.media import ng
from edgesbc.media.latch import NOWHERE, AddressScope, MediaTarget, scope_of
from edgesbc.media.session_table import SessionTable
from edgesbc.sdp.session import parse_session
from fuzz.recorded import CORE, INTERFACES, PORTS, PUBLIC, RecordedPair, RecordedPorts
from fuzz.sdp_rewrite import assert_hidden

CALLS: Final = 5
CALLS_PER_CALL_ID: Final = 2
CALLER, CALLEE = "198.51.100.7", "10.0.0.27"
_MOST_STEPS = 40

AUDIO: Final = "m=audio 4000 RTP/AVP 0 8\r\n"
VIDEO: Final = "m=video 4002 RTP/AVPF 99\r\na=rtcp-mux\r\n"
FAX: Final = "m=image 4004 udptl t38\r\n"
DESCRIPTIONS: Final = (
    *((host, AUDIO) for host in (CALLER, CALLEE, "198.51.100.8", "10.0.0.28", "192.168.1.5")),
    (CALLER, AUDIO + VIDEO),
    (CALLEE, AUDIO + VIDEO),
    (CALLER, AUDIO + VIDEO.replace("4002", "0") + FAX),
    (CALLEE, AUDIO.replace("4000", "0") + VIDEO),
    (CALLER, AUDIO + "a=sendonly\r\na=rtcp:4444 IN IP4 198.51.100.9\r\na=alt:1 1 : u p 198.51.100.9 4000\r\n"),
    (CALLEE, AUDIO + "a=rtcp-mux\r\na=rtcp:4000\r\na=inactive\r\n"),
    (CALLER, FAX),
    (CALLER, AUDIO * 6),
    (PUBLIC, AUDIO.replace("4000", str(PORTS[0]))),
    (CORE, AUDIO.replace("4000", str(PORTS[0] + 2))),
    (CALLEE, AUDIO.replace("AVP", "SAVP") + "c=IN IP4 10.0.0.29\r\n"),
)  # fmt: skip
TAGS: Final = ("a", "b", "c", "")
DIRECTIONS: Final = (["public", "core"], ["core", "public"], None, ["public", "moon"])
RECEIVED: Final = (None, ["IP4", CALLER], ["IP4", CALLEE], "nonsense")


def check(data: bytes) -> None:
    with patch.multiple(limits, MEDIA_CALLS=CALLS, MEDIA_CALLS_PER_CALL_ID=CALLS_PER_CALL_ID):
        plane = _Plane(data)
        for _ in range(_MOST_STEPS):
            if not plane.step():
                break
        plane.end()


class _Plane:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._now = 0.0
        self.ports = RecordedPorts()
        self.table = SessionTable(self.ports, INTERFACES)

    def _take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def _byte(self) -> int:
        return (self._take(1) or b"\0")[0]

    def step(self) -> bool:
        """One step; False at the end of the bytes."""
        if self._at >= len(self._data):
            return False
        kind, who = self._byte() % 8, self._byte()
        command: dict[str, Any] = {"call-id": f"call-{who & 3}"}
        if TAGS[who >> 2 & 3]:
            command["from-tag"] = TAGS[who >> 2 & 3]
        if TAGS[3 - (who >> 4 & 3)]:
            command["to-tag"] = TAGS[3 - (who >> 4 & 3)]
        if kind < 3:
            self._describe(command | {"command": "offer"}, who >> 6)
        elif kind < 5:
            self._describe(command | {"command": "answer"}, who >> 6)
        elif kind == 5:
            self.carry_out(command | {"command": "delete"})
        elif kind == 6:
            self.carry_out(command | {"command": ("query", "list", "statistics", "ping")[who >> 6]})
        else:
            self._pass_time(who)
        return True

    def _describe(self, command: dict[str, Any], direction: int) -> None:
        if DIRECTIONS[direction] is not None:
            command["direction"] = DIRECTIONS[direction]
        what = self._byte()
        if RECEIVED[what >> 4 & 3] is not None:
            command["received-from"] = RECEIVED[what >> 4 & 3]
        lines = self._take(self._byte()) if what & 64 else b""
        text = described(*DESCRIPTIONS[what & 15], lines)
        command["sdp"] = text if what & 128 else text.decode("utf-8", "surrogateescape")
        reply = self.carry_out(command)
        if reply["result"] == "ok":
            self._look_at(command, reply, as_written=not lines)

    def carry_out(self, command: dict[str, Any]) -> dict[str, Any]:
        before = self._state()
        reply = self.table.command(command, self._now)
        assert len(ng.encode(reply)) <= limits.NG_BYTES
        if reply["result"] == "error":
            assert 400 <= reply["status-hint"] < 700
            assert self._state() == before
        self._compare()
        return reply

    def _look_at(self, command: dict[str, Any], reply: dict[str, Any], as_written: bool) -> None:
        """The description that the other side gets."""
        assert type(reply["sdp"]) is type(command["sdp"])
        text = reply["sdp"].encode() if isinstance(reply["sdp"], str) else reply["sdp"]
        session = parse_session(text)
        address = session.origin.address
        pairs = [
            pair
            for call in self.table.calls()
            if call.call_id == command["call-id"] and call.side_of(command["from-tag"]) == call.offerer
            for stream in call.streams
            if stream is not None
            for pair in stream.pairs
        ]
        ports = [pair.port for pair in self.ports.open_pairs if pair in pairs and told(pair) == address]
        assert address in (PUBLIC, CORE)
        assert_hidden(session, address, ports)
        if as_written:
            assert not any(peer in text for peer in (b"198.51.100.", b"10.0.0.2", b"192.168."))

    def _pass_time(self, amount: int) -> None:
        self._now += amount * amount / 16
        for pair in self.ports.open_pairs[amount & 15 : amount & 15 + amount % 3]:
            pair.packets += amount
        before = len(self.table)
        events = self.table.expire(self._now)
        assert before - len(self.table) == len(events)
        deadline = self.table.deadline()
        assert deadline is None or deadline > self._now
        self._compare()

    def _state(self) -> object:
        calls = [
            (
                call,
                call.offerer,
                call.answered,
                list(call.streams),
                [(s.tag, s.interface, s.description) for s in call.sides],
            )
            for call in self.table.calls()
        ]
        return calls, [(pair, pair.rtp, pair.rtcp) for pair in self.ports.open_pairs], self.table.total

    def _compare(self) -> None:
        calls = list(self.table.calls())
        assert len(calls) == len(self.table) <= CALLS
        names = [call.call_id for call in calls]
        assert all(names.count(name) <= CALLS_PER_CALL_ID for name in names)
        owned = [pair for call in calls for stream in call.streams if stream is not None for pair in stream.pairs]
        assert len(owned) == len(set(owned))
        assert set(owned) == set(self.ports.open_pairs)
        assert (self.table.deadline() is None) == (not calls)
        for pair in self.ports.open_pairs:
            assert isinstance(pair.other, RecordedPair)
            assert pair.other.other is pair
            assert pair.other in self.ports.open_pairs
            assert_allowed(pair.interface, pair.rtp)
            assert_allowed(pair.interface, pair.rtcp)

    def end(self) -> None:
        """All calls end in one of the ways that calls end in."""
        way = len(self._data) % 3
        if way == 0:
            self.table.close()
        elif way == 1:
            for number in range(4):
                self.carry_out({"command": "delete", "call-id": f"call-{number}"})
        else:
            calls = sorted(call.call_id for call in self.table.calls())
            events = self.table.expire(self._now + 2 * limits.CALL_SECONDS)
            assert sorted(event["call-id"] for event in events) == calls
        assert len(self.table) == 0
        assert not self.ports.open_pairs
        assert self.table.deadline() is None


def described(host: str, sections: str, lines: bytes) -> bytes:
    """A description; ``lines`` go behind the first section's first line."""
    first, end, rest = sections.partition("\r\n")
    head = f"v=0\r\no=- 5 6 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n{first}{end}"
    return head.encode() + lines + rest.encode()


def told(pair: RecordedPair) -> str:
    return INTERFACES[pair.interface].advertise


@lru_cache(1_000)
def assert_allowed(interface: str, aim: MediaTarget) -> None:
    """What a description may make of a port: of a stranger's, nothing on the inside and nothing of our own."""
    if aim == NOWHERE:
        return
    own = INTERFACES[interface].advertise
    named = [aim.signalled, aim.target, *(Source(host, 65_535) for host in aim.learn)]
    for host, port in (each for each in named if each is not None):
        assert scope_of(host) in (AddressScope.PRIVATE, AddressScope.GLOBAL)
        assert host != own or not PORTS[0] <= port <= PORTS[1]
        if interface == "public":
            assert not host.startswith("10.")
            assert port >= limits.MEDIA_PORT_LOWEST
            assert scope_of(host) is AddressScope.GLOBAL or aim.target is None
