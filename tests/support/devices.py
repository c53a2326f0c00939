"""A registered phone or browser at a signalling core without sockets, with the connections that it loses and opens."""

from __future__ import annotations

from support.signalling import BROWSERS, CORE, MEMBERS, EdgeHarness, respond

from edgesbc.base.address import Flow, Listener, Source
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
Sent = list[tuple[Flow, Request | Response]]

INSTANCE = ';+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'


class Device:
    """A device of the account ``user``. ``flow`` is its present connection, or its UDP flow; ``contact_params`` follow
    its Contact, and ``call_id`` is that of its registrations."""

    def __init__(
        self,
        harness: EdgeHarness,
        user: str = "bob",
        contact_params: str = INSTANCE,
        call_id: str = "reg-bob",
        contact_host: str = "192.168.1.5:5060",
        host: str = "203.0.113.7",
        listener: Listener = BROWSERS,
    ) -> None:
        self.harness = harness
        self.user = user
        self.contact_params = contact_params
        self.call_id = call_id
        self.contact_host = contact_host
        self._count = 0
        self.path = ""
        self.flow = self.connect(host, listener)
        self.register()

    def connect(self, host: str = "203.0.113.7", listener: Listener = BROWSERS) -> Flow:
        """Use another connection from now on, or another address over UDP."""
        self._count += 1
        peer = Source(host, 40000 + self._count)
        if listener.transport == "udp":
            self.flow = Flow(listener, peer)
        else:
            self.flow = self.harness.edge.new_flow(listener, peer)
            self.harness.edge.flow_opened(self.flow)
        return self.flow

    def register(self, expires: int = 600, flow: Flow | None = None, contact: str = "") -> Sent:
        """Register with credentials. Returns what the edge sends because of the registrar's 200, except that 200."""
        request = self.ask_to_register(expires, flow, contact)
        self.path = (request.get("Path") or "").partition(";lr")[0].strip("<>")
        return self.accept(request, expires)

    def ask_to_register(self, expires: int = 600, flow: Flow | None = None, contact: str = "") -> Request:
        """Send REGISTER. Returns it as the registrar gets it."""
        self._count += 1
        value = contact or f"<sip:{self.user}@{self.contact_host};transport=ws>{self.contact_params}"
        sent = self.harness.receive(
            flow or self.flow,
            (
                f"REGISTER sip:example.org SIP/2.0\r\n"
                f"Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK{self.user}{self._count};rport\r\n"
                f"From: <sip:{self.user}@example.org>;tag=r{self._count}\r\nTo: <sip:{self.user}@example.org>\r\n"
                f"Call-ID: {self.call_id}\r\nCSeq: {self._count} REGISTER\r\nMax-Forwards: 70\r\n"
                f"Contact: {value}\r\nExpires: {expires}\r\n"
                f'Authorization: Digest username="{self.user}", realm="r", nonce="n", uri="u", '
                f'response="{self.call_id}{self._count}"\r\n'
                "Content-Length: 0\r\n\r\n"
            ).encode(),
        )
        (request,) = [message for to, message in sent if to == PBX]
        assert isinstance(request, Request)
        return request

    def accept(self, request: Request, expires: int = 600) -> Sent:
        contact = (request.get("Contact") or "").partition(";expires")[0]
        binding = f"Contact: {contact};expires={expires}" if expires else ""
        sent = self.harness.receive(PBX, respond(request, 200, tag="reg", extra=binding, contact=False))
        if sent and isinstance(sent[0][1], Response) and sent[0][1].cseq_method == "REGISTER":
            sent = sent[1:]
        return sent

    def lose(self, flow: Flow | None = None) -> Sent:
        """A connection closes, by default the present one. Returns what the edge sends because of that."""
        self.harness.sent.clear()
        self.harness.sort(self.harness.edge.flow_closed(flow or self.flow, self.harness.now))
        return list(self.harness.sent)

    def invite(self, call_id: str = "out", method: str = "INVITE", body: str = "") -> Request:
        """Call the PBX. Returns the request that it gets."""
        sent = self.harness.receive(self.flow, self.request(method, call_id, body=body))
        (forwarded,) = [message for to, message in sent if to == PBX]
        assert isinstance(forwarded, Request)
        return forwarded

    def request(
        self, method: str, call_id: str = "out", to_tag: str = "", uri: str = "sip:100@192.0.2.1",
        branch: str = "", cseq: int = 1, body: str = "",
    ) -> bytes:  # fmt: skip
        to = f";tag={to_tag}" if to_tag else ""
        branch = branch or f"z9hG4bK{call_id}"
        return (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/WSS df7jal23ls0d.invalid;branch={branch}\r\n"
            f"From: <sip:{self.user}@example.org>;tag=dev\r\nTo: <sip:100@example.org>{to}\r\nCall-ID: {call_id}\r\n"
            f"CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:{self.user}@df7jal23ls0d.invalid>\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def called(self, call_id: str = "in", flow: Flow | None = None) -> Request:
        """The PBX calls the device. Returns the INVITE that it gets."""
        sent = self.harness.receive(PBX, from_pbx("INVITE", self.path, call_id))
        (invite,) = [message for to, message in sent if to == (flow or self.flow)]
        assert isinstance(invite, Request)
        return invite

    def answer(self, request: Request, status: int, flow: Flow | None = None) -> Sent:
        data = respond(request, status, tag="dev").replace(b"10.0.0.11:5070", b"df7jal23ls0d.invalid")
        return self.harness.receive(flow or self.flow, data.replace(b"Record-Route: <sip:10.0.0.11;lr>\r\n", b""))


def from_pbx(
    method: str, uri: str, call_id: str = "in", cseq: int = 1, to_tag: str = "", branch: str = "", from_tag: str = "pbx"
) -> bytes:
    to = f";tag={to_tag}" if to_tag else ""
    branch = branch or f"z9hG4bKpbx{call_id}{cseq}{method}"
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.11:5060;branch={branch}\r\n"
        f"From: <sip:100@example.org>;tag={from_tag}\r\nTo: <sip:bob@example.org>{to}\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:100@10.0.0.11:5060>\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def statuses(sent: Sent, to: Flow) -> list[int]:
    """The responses to a flow."""
    return [message.status for flow, message in sent if flow == to and isinstance(message, Response)]


def methods(sent: Sent, to: Flow) -> list[str]:
    """The requests to a flow."""
    return [message.method for flow, message in sent if flow == to and isinstance(message, Request)]
