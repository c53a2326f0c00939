"""A proxy of the private side without sockets, as Kamailio with a location table, and phones that call through it."""

from __future__ import annotations

from collections.abc import Iterable

from support.devices import Device
from support.signalling import CORE, MEMBERS, PUBLIC, EdgeHarness

from edgesbc.base.address import Flow, Listener
from edgesbc.sip.message import Request, Response, serialise

__all__ = ["InnerProxy", "Phone"]

Sent = list[tuple[Flow, Request | Response]]
PBX = Flow(CORE, MEMBERS[0])
OWN = "<sip:10.0.0.11;lr>"


class InnerProxy:
    """Forwards statelessly: requests for a user to the binding of the user, by its Path; all others to their
    Request-URI. It records a route for INVITE and refuses a Route of its own in a request outside a dialog."""

    def __init__(self, harness: EdgeHarness) -> None:
        self.harness = harness
        self.bindings: dict[str, tuple[str, str]] = {}
        """Contact and Path by user."""
        self.seen: list[Request] = []

    def run(self, sent: Iterable[tuple[Flow, Request | Response]]) -> Sent:
        """Forward what the edge sends to the proxy, until nothing is left. Returns what it sends to others."""
        queue, others = list(sent), []
        while queue:
            to, message = queue.pop(0)
            if to != PBX:
                others.append((to, message))
            elif isinstance(message, Request):
                self.seen.append(message)
                queue += self.harness.receive(PBX, self._request(message))
            elif len(message.get_all("Via")) > 1:
                first = next(number for number, (name, _) in enumerate(message.fields) if name == "Via")
                fields = [pair for number, pair in enumerate(message.fields) if number != first]
                queue += self.harness.receive(PBX, serialise(message.start_line, fields, message.body))
        return others

    def _request(self, request: Request) -> bytes:
        uri, path = str(request.uri), ""
        assert request.in_dialog or request.get("Route") is None, "a preloaded Route"
        if not request.in_dialog and request.uri.user in self.bindings:
            uri, path = self.bindings[request.uri.user]
        via = f"SIP/2.0/UDP 10.0.0.11:5060;branch={request.via.branch}x"
        fields = [("Via", via), *((("Record-Route", OWN),) if request.method == "INVITE" else ())]
        fields += [("Route", f"<{path};lr>")] if path else []
        fields += [pair for pair in request.fields if pair[0] != "Route" or pair[1] != OWN]
        return serialise(f"{request.method} {uri} SIP/2.0", fields, request.body)


class Phone:
    """A registered phone, or with ``registered`` False one at an open listener, and its messages."""

    def __init__(
        self, proxy: InnerProxy, user: str, number: int, contact: str = "", listener: Listener = PUBLIC
    ) -> None:
        self.proxy = proxy
        self.user = user
        self.contact = contact or f"sip:{user}@192.168.1.{number}:5062"
        self.device = Device(
            proxy.harness, user, f';+sip.instance="<urn:uuid:{user}>"', f"reg-{user}", host=f"203.0.113.{number}",
            listener=listener,
        )  # fmt: skip
        proxy.bindings[user] = (self.contact, self.device.path)
        self._count = 0

    @property
    def flow(self) -> Flow:
        """Its present connection, or its UDP flow."""
        return self.device.flow

    def send(self, method: str, uri: str, call_id: str, to_tag: str = "", extra: str = "") -> Sent:
        """Send a request. Returns what reaches other phones, and this one, because of it."""
        self._count += 1
        tag = f";tag={to_tag}" if to_tag else ""
        branch = f"z9hG4bK{self.user}{self._count}"
        data = (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {self.flow.peer.host};branch={branch};rport\r\n"
            f"From: <sip:{self.user}@example.org>;tag={self.user}\r\nTo: <sip:someone@example.org>{tag}\r\n"
            f"Call-ID: {call_id}\r\nCSeq: {self._count} {method}\r\nMax-Forwards: 70\r\nContact: <{self.contact}>\r\n"
            f"{extra}Content-Length: 0\r\n\r\n"
        )
        return self.proxy.run(self.proxy.harness.receive(self.flow, data.encode()))

    def answer(self, request: Request, status: int = 200) -> Sent:
        """Answer a request, with the user's name as tag. Returns what reaches other phones because of it."""
        names = ("Via", "From", "Call-ID", "CSeq", "Record-Route")
        fields = [pair for pair in request.fields if pair[0] in names]
        to = request.get("To") or ""
        fields += [("To", to if "tag=" in to else f"{to};tag={self.user}"), ("Contact", f"<{self.contact}>")]
        return self.proxy.run(self.proxy.harness.receive(self.flow, serialise(f"SIP/2.0 {status} X", fields, b"")))

    def call(self, other: Phone, call_id: str) -> tuple[str, str]:
        """A call that is up. The Contact of the edge that this phone has, and that of the other."""
        ((to, invited),) = self.send("INVITE", f"sip:{other.user}@example.org", call_id)
        assert to == other.flow
        assert isinstance(invited, Request)
        ((to, ok),) = other.answer(invited)
        assert to == self.flow
        contact = (ok.get("Contact") or "").strip("<>")
        acked = self.send("ACK", contact, call_id, to_tag=other.user)
        assert [(to, message.cseq_method) for to, message in acked] == [(other.flow, "ACK")]
        return contact, (invited.get("Contact") or "").strip("<>")
