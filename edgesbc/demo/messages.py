"""The SIP and SDP that the demo's callers, PBXs and attackers say (RFC 3261 sections 8, 12 and 13). Sends nothing."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

from edgesbc.base.address import Source, host_port
from edgesbc.base.errors import WireError
from edgesbc.sdp.session import parse_session
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Fields, Request, Response, serialise
from edgesbc.sip.phrases import phrase

__all__ = [
    "Dialog", "describe", "flood_invite", "media_address", "named_dialog", "new_branch", "request", "respond",
]  # fmt: skip

_SDP_TYPE = ("Content-Type", "application/sdp")


def new_branch() -> str:
    return f"z9hG4bK{secrets.token_hex(8)}"


def request(method: str, uri: str, via: str, from_: str, to: str, call_id: str, cseq: int,
            extra: Iterable[tuple[str, str]] = (), body: bytes = b"") -> bytes:  # fmt: skip
    """A request; ``via`` is the whole Via value, ``extra`` fields come last."""
    fields: Fields = [
        ("Via", via),
        ("Max-Forwards", "70"),
        ("From", from_),
        ("To", to),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
        *extra,
    ]
    if body:
        fields.append(_SDP_TYPE)
    return serialise(f"{method} {uri} SIP/2.0", fields, body)


def respond(request: Request, status: int, tag: str = "", extra: Iterable[tuple[str, str]] = (),
            body: bytes = b"") -> bytes:  # fmt: skip
    """An answer to ``request`` (RFC 3261 section 8.2.6); ``tag`` goes into To where it has none."""
    fields = [pair for pair in request.fields if pair[0] in ("Via", "Record-Route", "From", "Call-ID", "CSeq")]
    to = request.get("To") or ""
    fields.append(("To", to if request.in_dialog or not tag else f"{to};tag={tag}"))
    fields += extra
    if body:
        fields.append(_SDP_TYPE)
    return serialise(f"SIP/2.0 {status} {phrase(status)}", fields, body)


def describe(host: str, port: int) -> bytes:
    """An offer or answer of one G.711 stream (RFC 8866); RTCP shares the port where the other side can."""
    return (
        f"v=0\r\no=- {secrets.randbelow(2**31)} 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
    ).encode()


def media_address(body: bytes) -> Source:
    """Where a description wants its first stream. Raises :class:`WireError` where it names no place."""
    session = parse_session(body)
    for media in session.media:
        connection = session.connection_of(media)
        if connection is not None and media.port:
            return Source(connection.address, media.port)
    raise WireError("the description has no stream")


class Dialog:
    """A dialog as one of its ends sees it (RFC 3261 section 12): makes the requests inside it.

    ``local`` and ``remote`` are From and To values with their tags, ``target`` the remote target's URI.
    """

    __slots__ = ("call_id", "cseq", "local", "remote", "routes", "target")

    def __init__(self, call_id: str, local: str, remote: str, target: str, routes: list[str], cseq: int) -> None:
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.target = target
        self.routes = routes
        self.cseq = cseq

    def request(self, method: str, via: str, cseq: int | None = None) -> bytes:
        """A request inside the dialog; ``cseq`` is given for an ACK, which repeats its INVITE's."""
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        routes = [("Route", route) for route in self.routes]
        return request(method, self.target, via, self.local, self.remote, self.call_id, cseq, routes)


def named_dialog(message: Request | Response, local: str, remote: str, cseq: int) -> Dialog:
    """The dialog that ``message``, from the remote side, sets up. Raises :class:`WireError` without a Contact."""
    contact = message.get("Contact")
    if contact is None:
        raise WireError("Contact is missing")
    routes = message.get_all("Record-Route")
    if isinstance(message, Response):
        routes = routes[::-1]
    return Dialog(message.call_id, local, remote, str(parse_name_addr(contact).uri), routes, cseq)


def flood_invite(edge: Source, source: Source) -> tuple[bytes, bytes, bytes, bytes]:
    """An INVITE cut in four where three numbers belong: of the branch, of the tag, and of the Call-ID."""
    mark = "@@"
    body = describe(source.host, 40000)
    data = request(
        "INVITE",
        f"sip:echo@{host_port(*edge)}",
        f"SIP/2.0/UDP {source};branch=z9hG4bK{mark}",
        f"<sip:flood@{source.host}>;tag={mark}",
        f"<sip:echo@{edge.host}>",
        mark,
        1,
        [("Contact", f"<sip:flood@{source}>")],
        body,
    )
    first, second, third, fourth = re.split(mark.encode(), data)
    return first, second, third, fourth
