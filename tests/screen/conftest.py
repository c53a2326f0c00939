"""Listeners, flows and requests for the tests of screening."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.screen.stage import Subject
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message

LISTENERS = {
    "udp": Listener(0, "carriers", Zone.PUBLIC, Transport.UDP, "127.0.0.1", 5060),
    "tls": Listener(1, "browsers", Zone.PUBLIC, Transport.TLS, "127.0.0.1", 5061),
    "core": Listener(2, "inside", Zone.CORE, Transport.UDP, "127.0.0.1", 5070),
}

MakeFlow = Callable[..., Flow]
MakeRequest = Callable[..., Request]
MakeSubject = Callable[..., Subject]


@pytest.fixture
def flow() -> MakeFlow:
    """``flow("udp", "192.0.2.1", 5060)``; on ``tls``, the connection number is 1 unless given."""

    def make(
        listener: str = "udp", host: str = "192.0.2.1", port: int = 5060, serial: int = 1, names: tuple[str, ...] = ()
    ) -> Flow:
        return Flow(LISTENERS[listener], Source(host, port), serial if listener == "tls" else 0, names)

    return make


@pytest.fixture
def request_of() -> MakeRequest:
    """``request_of("INVITE", "User-Agent: x")``: a request as the parser makes it."""

    def make(
        method: str = "INVITE",
        *fields: str,
        uri: str = "sip:100@edge.example",
        to: str = "<sip:100@edge.example>",
        call_id: str = "call-1",
        forwards: str = "Max-Forwards: 70",
        contact: str = "Contact: <sip:a@192.0.2.1>",
        vias: int = 1,
    ) -> Request:
        lines = [f"{method} {uri} SIP/2.0"]
        lines += [f"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{n}" for n in range(vias)]
        lines += ["From: <sip:a@b.example>;tag=1", f"To: {to}", f"Call-ID: {call_id}", f"CSeq: 1 {method}"]
        lines += [line for line in (forwards, contact, *fields, "Content-Length: 0") if line]
        message = parse_message(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert isinstance(message, Request)
        return message

    return make


@pytest.fixture
def subject(flow: MakeFlow, request_of: MakeRequest) -> MakeSubject:
    """A subject on the default flow with the given request, standing and trunk."""

    def make(
        request: Request | None = None,
        standing: Standing = Standing.UNPROVEN,
        trunk: str | None = None,
        of: Flow | None = None,
    ) -> Subject:
        return Subject(of or flow(), standing, trunk, request)

    return make
