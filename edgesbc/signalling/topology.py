"""Topology hiding: messages built anew for the other side, with Via and Contact of the edge only."""

from __future__ import annotations

from collections.abc import Iterable

from edgesbc.base.address import Listener, Transport, host_port
from edgesbc.signalling.bodies import CrossingBody
from edgesbc.signalling.header_rules import FieldFilter
from edgesbc.sip.build import request_fields, response_fields
from edgesbc.sip.message import Fields, Request, Response, serialise
from edgesbc.sip.phrases import phrase

__all__ = [
    "answer", "breadth", "cancel", "contact", "forward_request", "forward_response", "refusal_ack",
    "via",
]  # fmt: skip

_VIA_NAME = {
    Transport.UDP: "UDP", Transport.TCP: "TCP", Transport.TLS: "TLS", Transport.WS: "WS", Transport.WSS: "WSS",
}  # fmt: skip


_OF_BODY = frozenset({
    "Content-Type", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-ID", "MIME-Version",
})  # fmt: skip


def via(listener: Listener, branch: str) -> str:
    """Our own Via value (RFC 3261 section 18.1.1), with ``rport`` (RFC 3581)."""
    where = host_port(listener.advertise_host, listener.advertise_port)
    return f"SIP/2.0/{_VIA_NAME[listener.transport]} {where};branch={branch};rport"


def contact(listener: Listener, user: str, where: str = "") -> str:
    """A Contact value that leads back to the edge (RFC 3261 section 20.10); ``user`` is a token, or "" for none.

    ``where`` is host and port, "" for what ``listener`` advertises.
    """
    where = where or host_port(listener.advertise_host, listener.advertise_port)
    token = f"{user}@" if user else ""
    if listener.transport is Transport.UDP:
        return f"<sip:{token}{where}>"
    # RFC 7118 section 5.2: "ws" stands for both; TLS follows from the port and from the connection in use.
    name = "ws" if listener.transport in (Transport.WS, Transport.WSS) else listener.transport.value
    return f"<sip:{token}{where};transport={name}>"


def breadth(request: Request) -> int:
    """How many branches a request may have at once (RFC 5393 section 5): its Max-Breadth, 60 at most and by default."""
    text = request.get("Max-Breadth") or ""
    return min(int(text), 60) if text.isascii() and text.isdigit() and len(text) < 10 else 60


def forward_request(
    request: Request,
    listener: Listener,
    branch: str,
    uri: str,
    crossing: FieldFilter,
    routes: Iterable[str] = (),
    body: CrossingBody | None = None,
    extra: Iterable[tuple[str, str]] = (),
) -> bytes:
    """The request as it leaves through ``listener`` (RFC 3261 section 16.6), with the fields that ``crossing`` passes.

    ``body`` replaces the request's where it is not None; ``extra`` has the Contact there, if any.
    """
    hops = 70 if request.max_forwards is None else request.max_forwards - 1
    fields: Fields = [("Via", via(listener, branch)), ("Max-Forwards", str(hops))]
    fields += [("Route", route) for route in routes]
    fields += _described(crossing.crossing(request.fields), body)
    fields += extra
    return serialise(f"{request.method} {uri} SIP/2.0", fields, request.body if body is None else body.content)


def forward_response(
    response: Response,
    request: Request,
    vias: Fields,
    crossing: FieldFilter,
    contacts: Iterable[str] = (),
    body: CrossingBody | None = None,
) -> bytes:
    """The response as the sender of ``request`` gets it (RFC 3261 section 16.7).

    ``vias`` are the Via fields of the request as it came, and its Record-Route fields go back too: they
    are the proxies on the sender's own side.
    """
    fields: Fields = list(vias)
    if request.cseq_method != "REGISTER":
        fields += [pair for pair in request.fields if pair[0] == "Record-Route"]
    fields += _described(crossing.crossing(response.fields), body)
    fields += [("Contact", value) for value in contacts]
    reason = response.phrase
    return serialise(f"SIP/2.0 {response.status} {reason}", fields, response.body if body is None else body.content)


def _described(fields: Fields, body: CrossingBody | None) -> Fields:
    """The fields, of which those that describe the body (RFC 3261 section 7.4.1) are true of ``body``."""
    if body is None or (body.content and body.content_type is None):
        return fields
    fields = [pair for pair in fields if pair[0] not in _OF_BODY]
    return fields if not body.content_type else [*fields, ("Content-Type", body.content_type)]


def answer(request: Request, vias: Fields, status: int, tag: str, extra: Iterable[tuple[str, str]] = ()) -> bytes:
    """A response of the edge (RFC 3261 section 8.2.6); ``tag`` goes into To unless it has one or status is 100."""
    fields = response_fields(request, status, tag, vias)
    fields += extra
    return serialise(f"SIP/2.0 {status} {phrase(status)}", fields, b"")


def refusal_ack(uri: str, routes: Iterable[str], via_value: str, request: Request, response: Response) -> bytes:
    """The ACK of a final response other than 2xx (RFC 3261 section 17.1.1.3)."""
    return _hop_by_hop("ACK", uri, routes, via_value, request, response.get("To") or "")


def cancel(uri: str, routes: Iterable[str], via_value: str, request: Request, reasons: Iterable[str] = ()) -> bytes:
    """The CANCEL of a request that was forwarded (RFC 3261 section 9.1), with its Reason fields (RFC 3326)."""
    return _hop_by_hop("CANCEL", uri, routes, via_value, request, request.get("To") or "", reasons)


def _hop_by_hop(
    method: str,
    uri: str,
    routes: Iterable[str],
    via_value: str,
    request: Request,
    to: str,
    reasons: Iterable[str] = (),
) -> bytes:
    fields = request_fields(method, via_value, request.get("From") or "", to, request.call_id, request.cseq, routes)
    fields += [("Reason", reason) for reason in reasons]
    return serialise(f"{method} {uri} SIP/2.0", fields, b"")
