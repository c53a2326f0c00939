"""Calls over a signalling core and a table of media sessions, without sockets: both sides, in both directions."""

from __future__ import annotations

from support.media import TableHarness
from support.signalling import BROWSERS, CALLER, CORE, MEMBERS, EdgeHarness, respond

from edgesbc.base.address import Flow, Source
from edgesbc.media.commands import MediaCommand
from edgesbc.signalling.effects import Effect, Media
from edgesbc.sip.message import Request, Response

__all__ = ["MediaCall", "MediaEdgeHarness", "sdp_of"]

PBX = Flow(CORE, MEMBERS[0])


def sdp_of(host: str, port: int = 4000, media: str = "", version: int = 1) -> bytes:
    """A description with one audio section, or the given sections."""
    media = media or f"m=audio {port} RTP/AVP 0\r\n"
    return (f"v=0\r\no=- 1 {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n{media}").encode()


class MediaEdgeHarness(EdgeHarness):
    """An edge whose media commands a table carries out at once; ``commands`` are all of them."""

    def __init__(self, **options: object) -> None:
        super().__init__(anchor=True, **options)  # type: ignore[arg-type]
        self.plane = TableHarness()
        self.commands: list[MediaCommand] = []

    def sort(self, effects: list[Effect]) -> None:
        for effect in effects:
            super().sort([effect])
            if isinstance(effect, Media):
                self.media.clear()
                self.commands.append(effect.command)
                reply = self.plane.table.receive(effect.command, self.now)
                if reply is not None:
                    self.sort(self.edge.media_replied(effect.cookie, reply, self.now))


class MediaCall:
    """A call between ``a``, which calls, and ``b``. ``outward``: from the private side to a browser that has
    registered; otherwise from a trunk to a server."""

    def __init__(self, outward: bool = False, late: bool = False, answered: bool = True, **options: object) -> None:
        harness = self.harness = MediaEdgeHarness(**options)
        self.outward = outward
        self.cseq = {"a": 0, "b": 100}
        self.tags = {"a": "alice", "b": ""}
        self.hosts = {"a": "198.51.100.7", "b": "10.0.0.11"}
        self.flows = {"a": CALLER, "b": PBX}
        self.targets = {"a": "sip:100@192.0.2.1", "b": ""}
        route = ""
        if outward:
            self.flows = {"a": PBX, "b": harness.edge.new_flow(BROWSERS, Source("203.0.113.5", 40000))}
            self.hosts = {"a": "10.0.0.11", "b": "203.0.113.5"}
            harness.edge.flow_opened(self.flows["b"])
            route = f"Route: {self._register()}\r\n"
            self.targets["a"] = "sip:bob@a.invalid"
        self.late = late
        self.invited = self.request("a", "INVITE", b"" if late else self.sdp("a"), route)
        if answered:
            self.tags["b"] = "bob"
            ok = self.respond(self.invited, 200, self.sdp("b"))
            self.ack(ok, self.sdp("a") if late else b"")
            harness.commands.clear()

    def _register(self) -> str:
        ((_, inward),) = self.harness.receive(
            self.flows["b"],
            b"REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/WSS a.invalid;branch=z9hG4bKw1\r\n"
            b"From: <sip:bob@example.org>;tag=r1\r\nTo: <sip:bob@example.org>\r\nCall-ID: reg1\r\nCSeq: 1 REGISTER\r\n"
            b"Contact: <sip:bob@a.invalid;transport=ws>\r\nContent-Length: 0\r\n\r\n",
        )
        self.harness.receive(PBX, respond(inward, 200, contact=False))
        return inward.get("Path") or ""

    def sdp(self, side: str, port: int = 4000, media: str = "", host: str = "") -> bytes:
        return sdp_of(host or self.hosts[side], port, media)

    @staticmethod
    def other(side: str) -> str:
        return "b" if side == "a" else "a"

    def message(
        self, side: str, method: str, body: bytes = b"", extra: str = "", cseq: int = 0, branch: str = ""
    ) -> bytes:
        """A request of one side; with the number and branch given, or new ones."""
        other = self.other(side)
        if not cseq:
            self.cseq[side] += 1
            cseq = self.cseq[side]
        to_tag = f";tag={self.tags[other]}" if self.tags[other] else ""
        kind = "Content-Type: application/sdp\r\n" if body and "Content-Type" not in extra else ""
        transport = "WSS" if self.flows[side].serial else "UDP"
        return (
            f"{method} {self.targets[side]} SIP/2.0\r\n"
            f"Via: SIP/2.0/{transport} {self.hosts[side]}:5060;branch={branch or f'z9hG4bK{side}{cseq}{method}'}\r\n"
            f"From: <sip:{side}@example.org>;tag={self.tags[side]}\r\nTo: <sip:{other}@example.org>{to_tag}\r\n"
            f"Call-ID: c1\r\nCSeq: {cseq} {method}\r\nContact: <sip:{side}@{self.hosts[side]}:5060>\r\n"
            f"Max-Forwards: 70\r\n{extra}{kind}Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def receive(self, side: str, data: bytes) -> list[tuple[Flow, Request | Response]]:
        return self.harness.receive(self.flows[side], data)

    def request(self, side: str, method: str, body: bytes = b"", extra: str = "") -> Request:
        """Send a request of one side; the one that the other side gets."""
        sent = self.receive(side, self.message(side, method, body, extra))
        flow, forwarded = next((flow, message) for flow, message in sent if isinstance(message, Request))
        if side == "a":
            self.flows["b"] = flow
        if method == "INVITE":
            contact = forwarded.get("Contact") or ""
            self.targets[self.other(side)] = contact.partition("<")[2].partition(">")[0]
        return forwarded

    def respond(self, forwarded: Request, status: int, body: bytes = b"", extra: str = "", tag: str = "") -> Response:
        """The side that has got a request responds; what the sender of the request gets."""
        side = "a" if forwarded.from_tag != "alice" else "b"
        answered = self.respond_all(side, forwarded, status, body, extra, tag)
        (response,) = [message for message in answered if isinstance(message, Response)]
        contact = response.get("Contact") or ""
        if status < 300 and contact and response.cseq_method == "INVITE":
            self.targets[self.other(side)] = contact.partition("<")[2].partition(">")[0]
        return response

    def respond_all(
        self, side: str, forwarded: Request, status: int, body: bytes = b"", extra: str = "", tag: str = ""
    ) -> list[Request | Response]:
        """The same; all messages that the core then sends."""
        data = respond(forwarded, status, tag or self.tags[side] or "bob", extra=extra, body=body)
        return [message for _, message in self.receive(side, data)]

    def ack(self, ok: Response, body: bytes = b"", branch: str = "") -> list[Request]:
        """The sender of an INVITE acknowledges its 2xx; the ACKs that go on."""
        side = "a" if ok.from_tag == "alice" else "b"
        data = self.message(side, "ACK", body, cseq=ok.cseq, branch=branch)
        return [message for _, message in self.receive(side, data) if isinstance(message, Request)]

    @property
    def agreed(self) -> object:
        """The targets of each open port, in order."""
        return sorted(self.harness.plane.targets().items(), key=str)
