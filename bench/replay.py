"""An :class:`Edge` without transports, and the messages of calls through it; only the time in the core is measured."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.standing import Standings
from edgesbc.screen.trunk import Trunk
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Effect, Send
from edgesbc.signalling.tokens import Sealer

__all__ = ["CALLER", "UNPROVEN", "Replay", "invite"]

PUBLIC = Listener(0, "carriers", Zone.PUBLIC, Transport.UDP, "192.0.2.1", 5060)
CORE = Listener(1, "inside", Zone.CORE, Transport.UDP, "10.0.0.1", 5060)
CALLER = Flow(PUBLIC, Source("198.51.100.7", 5060))
UNPROVEN = Flow(PUBLIC, Source("203.0.113.9", 5060))
PBX = Flow(CORE, Source("10.0.0.11", 5060))
CALLS_A_SECOND = 300

SDP = (
    b"v=0\r\no=alice 53655765 2353687637 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n"
)


def invite(number: int) -> bytes:
    """An INVITE with 14 header fields and a session description, like that of a carrier."""
    return (
        f"INVITE sip:15550123@192.0.2.1:5060 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK-{number}-1;rport\r\n"
        "Max-Forwards: 70\r\n"
        f'From: "Alice" <sip:+15550100@carrier.example>;tag=a{number}\r\n'
        "To: <sip:15550123@192.0.2.1:5060>\r\n"
        f"Call-ID: {number}-4711@198.51.100.7\r\n"
        "CSeq: 1 INVITE\r\n"
        "Contact: <sip:alice@198.51.100.7:5060;transport=udp>\r\n"
        "User-Agent: bench caller\r\n"
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK\r\n"
        "Supported: replaces, 100rel\r\n"
        "P-Asserted-Identity: <sip:+15550100@carrier.example>\r\n"
        "Subject: bench\r\n"
        "Content-Type: application/sdp\r\n"
        f"Content-Length: {len(SDP)}\r\n\r\n"
    ).encode() + SDP


# Built without the SIP library, whose cache of parsed values would otherwise have the values of these messages.


def _request(method: str, number: int, uri: str, cseq: int) -> bytes:
    """The caller's ACK or BYE to the Contact of the edge."""
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK-{number}-{method};rport\r\n"
        f'Max-Forwards: 70\r\nFrom: "Alice" <sip:+15550100@carrier.example>;tag=a{number}\r\n'
        f"To: <sip:15550123@192.0.2.1:5060>;tag=b{number}\r\nCall-ID: {number}-4711@198.51.100.7\r\n"
        f"CSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def _field(message: bytes, name: bytes) -> bytes:
    start = message.index(b"\r\n" + name + b": ") + len(name) + 4
    return message[start : message.index(b"\r\n", start)]


def _response(request: bytes, status: str, number: int, body: bytes = b"") -> bytes:
    to = _field(request, b"To")
    lines = [b"SIP/2.0 " + status.encode()]
    lines += [name + b": " + _field(request, name) for name in (b"Via", b"From", b"Call-ID", b"CSeq")]
    lines.append(b"To: " + (to if b"tag=" in to else to + b";tag=b%d" % number))
    lines.append(b"Contact: <sip:bob@10.0.0.11:5060;transport=udp>")
    if body:
        lines.append(b"Content-Type: application/sdp")
    lines.append(b"Content-Length: %d\r\n\r\n" % len(body))
    return b"\r\n".join(lines) + body


class Replay:
    """An :class:`Edge` with one trunk and one destination, and a clock that advances with each call.

    ``screen`` defaults to the settings of an empty policy.
    """

    def __init__(self, screen: ScreenSettings | None = None) -> None:
        self.now = 1_000.0
        members = (MemberSettings("sip:10.0.0.11:5060"),)
        self.pipeline = Pipeline(
            screen if screen is not None else ScreenSettings(),
            Standings([Trunk("carrier", ("198.51.100.7",), max_calls=10_000, max_cps=5_000)]),
            lambda decision: None,
            lambda stage, error: None,
        )
        self.edge = Edge(
            [PUBLIC, CORE],
            Dispatcher(
                [SetSettings("pbx", members=members, health=HealthSettings(interval=0))], random.random, self.now
            ),
            RoutingTable((), ["pbx"]),
            self.pipeline,
            Sealer([os.urandom(32)], os.urandom),
            os.urandom,
            anchor=False,
        )
        self.spent = 0
        """Nanoseconds in the signalling core since the last :meth:`take_spent`."""

    def take_spent(self) -> float:
        """Microseconds in the signalling core since the last call of this method."""
        spent, self.spent = self.spent, 0
        return spent / 1000

    def _timed(self, work: Callable[[], list[Effect]]) -> list[bytes]:
        started = time.perf_counter_ns()
        effects = work()
        self.spent += time.perf_counter_ns() - started
        return [effect.data for effect in effects if isinstance(effect, Send)]

    def start(self, number: int) -> bytes:
        """Send the INVITE of call ``number``; return the INVITE that the destination gets."""
        return self._receive(CALLER, invite(number))

    def finish(self, number: int, forwarded: bytes) -> None:
        """Send 180, 200, ACK, BYE and 200 of a call that has begun."""
        self._receive(PBX, _response(forwarded, "180 Ringing", number))
        ok = self._receive(PBX, _response(forwarded, "200 OK", number, SDP))
        uri = _field(ok, b"Contact").strip(b"<>").decode()
        self._receive(CALLER, _request("ACK", number, uri, 1))
        bye = self._receive(CALLER, _request("BYE", number, uri, 2))
        self._receive(PBX, _response(bye, "200 OK", number))

    def expire(self) -> None:
        """Advance the clock to the next call, and expire deadlines."""
        self.now += 1 / CALLS_A_SECOND
        deadline = self.edge.deadline()
        if deadline is not None and deadline <= self.now:
            self._timed(lambda: self.edge.expire(self.now))

    def _receive(self, flow: Flow, data: bytes) -> bytes:
        sent = self._timed(lambda: self.edge.receive(flow, data, self.now))
        return sent[-1]
