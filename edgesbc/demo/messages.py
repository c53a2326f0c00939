"""Session descriptions, and the INVITE of a flood, of the demo's callers, PBXs and attackers."""

from __future__ import annotations

import re
import secrets

from edgesbc.base.address import Source, host_port
from edgesbc.base.errors import WireError
from edgesbc.sdp.session import parse_session
from edgesbc.sip import build

__all__ = ["describe", "flood_invite", "media_address", "new_branch"]


def new_branch() -> str:
    """A random branch."""
    return build.new_branch(secrets.token_bytes(8))


def describe(host: str, port: int) -> bytes:
    """An offer or answer with one G.711 stream (RFC 8866)."""
    return (
        f"v=0\r\no=- {secrets.randbelow(2**31)} 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
    ).encode()


def media_address(body: bytes) -> Source:
    """The address and port of the first stream of a description. Raises :class:`WireError` if there is none."""
    session = parse_session(body)
    for media in session.media:
        connection = session.connection_of(media)
        if connection is not None and media.port:
            return Source(connection.address, media.port)
    raise WireError("the description has no stream")


def flood_invite(edge: Source, source: Source) -> tuple[bytes, bytes, bytes, bytes]:
    """An INVITE in four parts, between which belong three numbers: of the branch, of the tag, and of the Call-ID."""
    mark = "0mark0"
    body = describe(source.host, 40000)
    invite = build.request(
        "INVITE",
        f"sip:echo@{host_port(*edge)}",
        via=f"SIP/2.0/UDP {source};branch=z9hG4bK{mark}",
        from_=f"<sip:flood@{source.host}>;tag={mark}",
        to=f"<sip:echo@{edge.host}>",
        call_id=mark,
        cseq=1,
        contact=f"<sip:flood@{source}>",
        body=body,
    )
    first, second, third, fourth = re.split(mark.encode(), bytes(invite))
    return first, second, third, fourth
