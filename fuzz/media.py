"""Fuzz target: the commands of signalling to the media plane during several calls.

The bytes are steps: offers, answers, deletes and time, with few identifiers, tags and descriptions; bytes of the input
can be inserted into a description as lines (:func:`build_description`).

For any input:

- no command raises, and a refused one changes nothing; nor does an offer that is taken back;
- sessions stay below both bounds, and exactly their ports are open; each is closed once, however a session ends;
- a description in a reply has the ports of its session on one interface of the relay and no other address;
- no port has a target to which media must not be sent.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from unittest.mock import patch

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone, family_of
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.commands import (
    Acknowledge,
    Answer,
    Consent,
    Delete,
    Establish,
    MediaCommand,
    MediaError,
    MediaReply,
    MediaTimeout,
    Offer,
    Refresh,
    Rollback,
)
from edgesbc.media.latch import NO_TARGET, AddressScope, MediaInterface, MediaTarget, scope_of
from edgesbc.media.session_table import SessionTable
from edgesbc.media.side_activity import OneWay
from edgesbc.sdp.session import parse_session
from fuzz.recorded import CORE, INTERFACES, PORTS, PUBLIC, RecordedPair, RecordedPorts
from fuzz.sdp_rewrite import assert_hidden

OWN: Final = {interface.advertise for of_zone in INTERFACES.values() for interface in of_zone}
SESSIONS: Final = 5
SESSIONS_PER_ID: Final = 2
CALLER, CALLEE = "198.51.100.7", "10.0.0.27"
_MOST_STEPS = 40

AUDIO: Final = "m=audio 4000 RTP/AVP 0 8\r\n"
VIDEO: Final = "m=video 4002 RTP/AVPF 99\r\na=rtcp-mux\r\n"
FAX: Final = "m=image 4004 udptl t38\r\n"
OPAQUE: Final = "m=application 4006 UDP/BFCP *\r\n"
DESCRIPTIONS: Final = (
    *((host, AUDIO) for host in (CALLER, CALLEE, "198.51.100.8", "10.0.0.28", "192.168.1.5")),
    (CALLER, AUDIO + VIDEO),
    (CALLEE, AUDIO + VIDEO),
    (CALLER, AUDIO + VIDEO.replace("4002", "0") + FAX),
    (CALLEE, AUDIO.replace("4000", "0") + VIDEO),
    (CALLER, AUDIO + "a=sendonly\r\na=rtcp:4444 IN IP4 198.51.100.9\r\na=alt:1 1 : u p 198.51.100.9 4000\r\n"),
    (CALLEE, AUDIO + "a=rtcp-mux\r\na=rtcp:4000\r\na=inactive\r\n"),
    (CALLER, FAX + OPAQUE),
    (CALLER, AUDIO * 6),
    (PUBLIC, AUDIO.replace("4000", str(PORTS[0]))),
    (CORE, AUDIO.replace("4000", str(PORTS[0] + 2))),
    (CALLEE, AUDIO.replace("AVP", "SAVP") + "c=IN IP4 10.0.0.29\r\n"),
)  # fmt: skip
TAGS: Final = ("a", "b", "c", "")
CONSENTS: Final = (Consent.ANY, Consent.NONE, Consent.SOURCE, Consent.ANY)
LATCHES: Final = (LatchMode.STRICT, *LatchMode)
RECEIVED: Final = ("", CALLER, CALLEE, "nonsense")
FAMILIES: Final = ("", "IP6", "IP4", "")
IN_IPV6: Final = {"198.51.100.": "2001:db8:198::", "10.0.0.": "fd00:10::", "192.168.1.": "fd00:192::"}
"""Prefixes of the addresses in descriptions, and what stands for them in those of IPv6."""


def check(data: bytes) -> None:
    with patch.multiple(limits, MEDIA_SESSIONS=SESSIONS, MEDIA_SESSIONS_PER_ID=SESSIONS_PER_ID):
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
        self.table = SessionTable(self.ports, INTERFACES, one_way=OneWay.END, opaque_profiles=["UDP/BFCP"])

    def _take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def _byte(self) -> int:
        return (self._take(1) or b"\0")[0]

    def step(self) -> bool:
        """One step; False at the end of the bytes."""
        if self._at >= len(self._data):
            return False
        kind, names = self._byte() % 8, self._byte()
        session_id, offerer, answerer = f"call-{names & 3}", TAGS[names >> 2 & 3], TAGS[3 - (names >> 4 & 3)]
        if kind < 3:
            zone = Zone.CORE if names >> 6 & 1 else Zone.PUBLIC
            received_from, sdp, lines = self._describe()
            consent = CONSENTS[names >> 4 & 3]
            family = FAMILIES[names >> 2 & 3]
            offer = Offer(
                session_id, offerer, answerer, sdp, zone, zone.other, received_from, consent, answerer_family=family,
                latch=LATCHES[names & 3],
            )  # fmt: skip
            agreed = self._agreed()
            self.carry_out(offer, not lines)
            if names & 128 and not agreed.pop(None, False):
                self.carry_out(Rollback(session_id, offerer))
                assert self._agreed().items() >= agreed.items()
        elif kind < 5:
            received_from, sdp, lines = self._describe()
            final = not names & 128
            answer = Answer(
                session_id, offerer, answerer, sdp, received_from, final=final, latch=LATCHES[names >> 5 & 3]
            )
            self.carry_out(answer, not lines)
        elif kind == 5:
            command = (Delete, Acknowledge, Rollback, Refresh)[names >> 6]
            self.carry_out((Establish if names & 32 else command)(session_id, offerer))
        else:
            self._pass_time(names)
        return True

    def _describe(self) -> tuple[str, bytes, bytes]:
        """The source address of a message, its description, and the lines in it that come from the input."""
        chosen = self._byte()
        lines = self._take(self._byte()) if chosen & 64 else b""
        description = build_description(*DESCRIPTIONS[chosen & 15], lines)
        if chosen & 128 and not lines:
            description = in_ipv6(description)
        return RECEIVED[chosen >> 4 & 3], description, lines

    def carry_out(self, command: MediaCommand, as_written: bool = True) -> None:
        state_before = self._state()
        reply = self.table.receive(command, self._now)
        if isinstance(reply, MediaError):
            assert 400 <= reply.status < 700
            assert self._state() == state_before
        assert (reply is not None) == isinstance(command, Offer | Answer)
        self._check_invariants()
        if isinstance(reply, MediaReply) and isinstance(command, Offer | Answer):
            self._check_reply(command, reply, as_written)

    def _check_reply(self, command: Offer | Answer, reply: MediaReply, as_written: bool) -> None:
        """Check the description for the other side."""
        description = parse_session(reply.sdp)
        address = description.origin.address
        pairs = [
            pair
            for session in self.table.sessions()
            if session.session_id == command.session_id and session.side_of(command.offerer) is not None
            for stream in session.streams
            for pair in stream.pairs
        ]
        ports = [pair.port for pair in self.ports.open_pairs if pair in pairs and pair.interface.advertise == address]
        assert address in OWN
        assert_hidden(description, address, ports)
        if as_written:
            assert not any(
                peer in reply.sdp
                for peer in (b"198.51.100.", b"10.0.0.2", b"192.168.", b":198:", b"fd00:10::2", b":192:")
            )

    def _pass_time(self, amount: int) -> None:
        self._now += amount * amount / 16
        for pair in self.ports.open_pairs[amount & 15 : amount & 15 + amount % 3]:
            pair.arrive(amount)
        count_before = len(self.table)
        events = self.table.expire(self._now)
        assert count_before - len(self.table) == sum(isinstance(event, MediaTimeout) for event in events)
        deadline = self.table.deadline()
        assert deadline is None or deadline > self._now
        self._check_invariants()

    def _state(self) -> object:
        sessions = [
            (
                session,
                session.current,
                session.pending,
                session.previous,
                list(session.streams),
                [(side.tag, side.zone, side.description) for side in session.sides],
            )
            for session in self.table.sessions()
        ]
        return sessions, [(pair, pair.rtp, pair.rtcp) for pair in self.ports.open_pairs], self.table.total

    def _agreed(self) -> dict[object, object]:
        """What each session has agreed on, and the targets of its ports; under None whether an offer is pending."""
        agreed: dict[object, object] = {}
        for session in self.table.sessions():
            agreed[session] = session.current
            agreed[None] = agreed.get(None) or session.pending is not None
            for stream in session.streams:
                agreed |= {pair: (pair.rtp, pair.rtcp) for pair in stream.pairs if isinstance(pair, RecordedPair)}
        return agreed

    def _check_invariants(self) -> None:
        sessions = list(self.table.sessions())
        assert len(sessions) == len(self.table) <= SESSIONS
        names = [session.session_id for session in sessions]
        assert all(names.count(name) <= SESSIONS_PER_ID for name in names)
        streams = [stream for session in sessions for stream in session.streams]
        owned = [pair for stream in streams for pair in stream.pairs]
        assert len(owned) == len(set(owned))
        assert set(owned) == set(self.ports.open_pairs)
        assert (self.table.deadline() is None) == (not sessions)
        for pair in self.ports.open_pairs:
            assert pair.other is not None
            assert pair.other.other is pair
            assert pair.other in self.ports.open_pairs
            assert_allowed(pair.interface, pair.rtp)
            assert_allowed(pair.interface, pair.rtcp)

    def end(self) -> None:
        """End all sessions: by closing the table, by commands, or by time."""
        ending = len(self._data) % 3
        if ending == 0:
            self.table.close()
        elif ending == 1:
            for session in list(self.table.sessions()):
                tag = next(side.tag for side in session.sides if side.tag)
                self.carry_out(Delete(session.session_id, tag))
        else:
            names = sorted(session.session_id for session in self.table.sessions())
            events = self.table.expire(self._now + 2 * limits.CALL_SECONDS)
            assert sorted(event.session_id for event in events) == names
        assert len(self.table) == 0
        assert not self.ports.open_pairs
        assert self.table.deadline() is None


def build_description(host: str, sections: str, lines: bytes) -> bytes:
    """Build a description; ``lines`` follow the first line of the first section."""
    first, end, rest = sections.partition("\r\n")
    head = f"v=0\r\no=- 5 6 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n{first}{end}"
    return head.encode() + lines + rest.encode()


def in_ipv6(description: bytes) -> bytes:
    """The description with addresses of IPv6 in place of those of IPv4."""
    text = description.decode()
    for prefix, ipv6 in IN_IPV6.items():
        text = text.replace(f"IN IP4 {prefix}", f"IN IP6 {ipv6}")
    return text.encode()


@lru_cache(1_000)
def assert_allowed(interface: MediaInterface, target: MediaTarget) -> None:
    """Check that a port of the public zone has no target in the core or on the relay, and none one of another family. A
    proxy of the core that sends a call out again names the port of the call that came in."""
    if target == NO_TARGET:
        return
    own, zone = interface.advertise, interface.zone
    addresses = [target.signalled, target.send_to, *(Source(host, 65_535) for host in target.learn_from)]
    for host, port in (address for address in addresses if address is not None):
        assert scope_of(host) in (AddressScope.PRIVATE, AddressScope.GLOBAL)
        assert zone is Zone.CORE or host != own or not PORTS[0] <= port <= PORTS[1]
        assert family_of(host) == interface.family
        if zone is Zone.PUBLIC:
            # A signalled address that is no target is that of a network behind a NAT.
            assert not host.startswith(("10.", "fd00:10:")) or (
                host not in target.learn_from and target.send_to is None
            )
            assert port >= limits.MEDIA_PORT_LOWEST
            assert scope_of(host) is AddressScope.GLOBAL or target.send_to is None
