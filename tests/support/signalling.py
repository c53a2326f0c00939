"""The signalling core without sockets: messages in, effects out, on a clock that the test sets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.decision import Decision
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.media.commands import Answer, Establish, MediaCommand, MediaError, MediaReply, Offer
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.stages.admission import AdmissionSettings
from edgesbc.screen.stages.method import CALLS, MethodSettings
from edgesbc.screen.standing import Standings
from edgesbc.screen.trunk import Trunk
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Effect, Media, Open, Record, Send
from edgesbc.signalling.tokens import Sealer
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message

PUBLIC = Listener(0, "public", Zone.PUBLIC, Transport.UDP, "192.0.2.1", 5060)
CORE = Listener(1, "core", Zone.CORE, Transport.UDP, "10.0.0.1", 5060)
BROWSERS = Listener(2, "browsers", Zone.PUBLIC, Transport.WSS, "192.0.2.1", 443)
CARRIERS = Listener(3, "carriers", Zone.PUBLIC, Transport.TCP, "192.0.2.1", 5060)
CORE_TCP = Listener(4, "core-tcp", Zone.CORE, Transport.TCP, "10.0.0.1", 5060)
CORE_TCP6 = Listener(5, "core-tcp6", Zone.CORE, Transport.TCP, "2001:db8:a::1", 5060)
CALLER = Flow(PUBLIC, Source("198.51.100.7", 5060))
MEMBERS = (Source("10.0.0.11", 5060), Source("10.0.0.12", 5060))

OFFER = b"v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ANSWER = b"v=0\r\no=- 1 1 IN IP4 10.0.0.11\r\ns=-\r\nc=IN IP4 10.0.0.11\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


class Entropy:
    """Bytes that differ each time and are the same in each run."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return hashlib.shake_128(str(self.count).encode()).digest(size)


class EdgeHarness:
    """An Edge whose effects are sorted: messages sent, media commands, decisions, others."""

    def __init__(
        self,
        anchor: bool = False,
        algorithm: str = "priority",
        one_priority: bool = False,
        methods: tuple[str, ...] = CALLS,
        trunks: Mapping[str, tuple[str, ...]] = MappingProxyType({"carrier": ("198.51.100.7",)}),
        open: tuple[str, ...] = (),
        connects: bool = True,
        screen: Mapping[str, Any] = MappingProxyType({}),
        health: HealthSettings | None = None,
        **set_settings: Any,
    ) -> None:
        """``one_priority``: both members have the same priority; otherwise the second is used when the first fails.

        ``methods`` may come from the public side; ``open`` are the listeners where unknown sources may call; ``trunks``
        are addresses by name, and ``screen`` has the settings of other stages. ``connects``: connections that are asked
        for are open at once; otherwise the test says what becomes of them. ``health`` is that of the set; None: without
        probes.
        """
        self.connects = connects
        self.now = 1000.0
        self.sent: list[tuple[Flow, Request | Response]] = []
        self.raw: list[bytes] = []
        self.media: list[Media] = []
        self.established: list[Media] = []  # commands that say that a call is answered
        self.decisions: list[Decision] = []
        self.other: list[Effect] = []
        members = tuple(
            MemberSettings(f"sip:{host}:{port}", priority=0 if one_priority else i)
            for i, (host, port) in enumerate(MEMBERS)
        )
        health = health or HealthSettings(interval=0)
        self.dispatcher = Dispatcher(
            [SetSettings("pbx", members=members, health=health, algorithm=algorithm, **set_settings)],
            lambda: 0.5,
            self.now,
        )
        entropy = Entropy()
        self.standings = Standings([Trunk(name, addresses) for name, addresses in trunks.items()])
        settings: dict[str, Any] = {
            "method": MethodSettings(public=methods), "admission": AdmissionSettings(open=open), **screen,
        }  # fmt: skip
        pipeline = Pipeline(
            ScreenSettings(**settings),
            self.standings,
            self.decisions.append,
            lambda stage, error: None,
        )
        self.edge = Edge(
            [PUBLIC, CORE, BROWSERS, CARRIERS, CORE_TCP, CORE_TCP6],
            self.dispatcher,
            RoutingTable((), ["pbx"]),
            pipeline,
            Sealer([b"k" * 16], entropy),
            entropy,
            anchor,
        )
        self.edge.assume_challenges(["pbx"])

    def sort(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.sent.append((effect.flow, parse_message(effect.data)))
                self.raw.append(effect.data)
            elif isinstance(effect, Media):
                (self.established if isinstance(effect.command, Establish) else self.media).append(effect)
            elif isinstance(effect, Record):
                self.decisions.append(effect.decision)
            else:
                self.other.append(effect)
                if isinstance(effect, Open) and self.connects:
                    self.connected(effect.flow)

    def connected(self, flow: Flow) -> None:
        """A connection that was asked for is open."""
        self.sort(self.edge.flow_connected(flow, self.now))

    def closed(self, flow: Flow) -> None:
        """A connection has closed, or was not opened."""
        self.sort(self.edge.flow_closed(flow, self.now))

    def receive(self, flow: Flow, data: bytes) -> list[tuple[Flow, Request | Response]]:
        """Pass a message to the signalling core. Returns the messages that it sends because of it."""
        self.sent.clear()
        self.sort(self.edge.receive(flow, data, self.now))
        return list(self.sent)

    def wait(self, seconds: float) -> list[tuple[Flow, Request | Response]]:
        """Let time pass, from deadline to deadline. Returns the messages that the core sends meanwhile."""
        self.sent.clear()
        until = self.now + seconds
        while (deadline := self.edge.deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.sort(self.edge.expire(self.now))
        self.now = until
        return list(self.sent)

    def reply(self, sdp: bytes | None) -> list[tuple[Flow, Request | Response]]:
        """Reply to the oldest open media command; None refuses it. Returns the messages that the core then sends."""
        self.sent.clear()
        media = next(effect for effect in self.media if isinstance(effect.command, Offer | Answer))
        self.media.remove(media)
        reply = MediaReply(sdp) if sdp is not None else MediaError(488, "no")
        self.sort(self.edge.media_replied(media.cookie, reply, self.now))
        return list(self.sent)

    @property
    def media_command(self) -> MediaCommand:
        """The oldest media command that has no reply yet."""
        return self.media[0].command

    def media_id(self, number: int = 1) -> str:
        """The identifier of the media session of the call that began as the first, second and so on."""
        return f"{self.edge.parts.flows.epoch}-{number}"

    @property
    def reasons(self) -> list[str]:
        return [decision.reason.code for decision in self.decisions]


def invite(
    method: str = "INVITE",
    uri: str = "sip:100@192.0.2.1",
    cseq: int = 1,
    branch: str = "z9hG4bKa1",
    to_tag: str = "",
    body: bytes = b"",
    extra: str = "",
    from_tag: str = "alice",
) -> bytes:
    """A request of the caller."""
    to = f";tag={to_tag}" if to_tag else ""
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5060;branch={branch};rport\r\n"
        f"From: <sip:alice@example.org>;tag={from_tag}\r\nTo: <sip:100@192.0.2.1>{to}\r\nCall-ID: c1\r\n"
        f"CSeq: {cseq} {method}\r\nContact: <sip:alice@192.168.1.5:5062>\r\nMax-Forwards: 70\r\n{extra}{kind}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def respond(
    request: Request | Response, status: int, tag: str = "bob", body: bytes = b"", extra: str = "", contact: bool = True
) -> bytes:
    """The response of a destination to ``request``, with fields that the public side must not see."""
    lines = [f"SIP/2.0 {status} Whatever"]
    lines += [f"{name}: {value}" for name, value in request.fields if name in ("Via", "From", "Call-ID", "CSeq")]
    to = request.get("To") or ""
    lines.append(f"To: {to}" if "tag=" in to else f"To: {to};tag={tag}")
    if contact:
        lines.append("Contact: <sip:bob@10.0.0.11:5070>")
    lines.append("Server: Inside/1.0\r\nRecord-Route: <sip:10.0.0.11;lr>\r\nX-Secret: 10.0.0.99")
    if extra:
        lines.append(extra)
    if body:
        lines.append("Content-Type: application/sdp")
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body
