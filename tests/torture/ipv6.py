"""RFC 5118: IPv6 addresses."""

from __future__ import annotations

from torture.case import Case, case
from torture.checks import body, uri


def _register(uri: str, via: str = "[2001:db8::9:1]") -> str:
    return f"""
REGISTER {uri} SIP/2.0
To: sip:user@example.com
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP {via};branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Max-Forwards: 70
Contact: "Caller" <sip:caller@[2001:db8::1]>
CSeq: 98176 REGISTER
Content-Length: 0
"""


def _invite(description: bytes) -> bytes:
    return (
        b"INVITE sip:user@[2001:db8::10] SIP/2.0\r\nTo: sip:user@[2001:db8::10]\r\nFrom: sip:user@example.com;tag=81x2\r\n"
        b"Via: SIP/2.0/UDP [2001:db8::20];branch=z9hG4bKas3-111\r\nCall-ID: SSG9559905523997077@hlau_4100\r\n"
        b'Contact: "Caller" <sip:caller@[2001:db8::20]>\r\nCSeq: 8612 INVITE\r\nMax-Forwards: 70\r\n'
        b"Content-Type: application/sdp\r\nContent-Length: "
        + str(len(description)).encode()
        + b"\r\n\r\n"
        + description
    )


_SDP = b"v=0\r\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\r\ns=Live video feed\r\nc=IN IP6 2001:db8::20\r\n"
_SDP += b"t=3338481189 3370017201\r\nm=audio 6000 RTP/AVP 2\r\na=rtpmap:2 G726-32/8000\r\n"
_TWO = b"v=0\r\no=bob 280744730 28977631 IN IP4 host.example.com\r\ns=\r\nt=0 0\r\nm=audio 22334 RTP/AVP 0\r\n"
_TWO += b"c=IN IP4 192.0.2.1\r\nm=video 6024 RTP/AVP 107\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:107 H263-1998/90000\r\n"
_MAPPED = b"v=0\r\no=bob 280744730 28977631 IN IP6 ::ffff:192.0.2.2\r\ns=\r\nc=IN IP6 ::ffff:192.0.2.2\r\nt=0 0\r\n"
_MAPPED += b"m=audio 22334 RTP/AVP 0\r\n"

CASES: tuple[Case, ...] = (
    case("5118 4.1", "an IPv6 reference", "parse", "forwarded", _register("sip:[2001:db8::10]"),
         uri("sip:[2001:db8::10]")),
    case("5118 4.2", "an IPv6 address without brackets", "parse", "400", _register("sip:2001:db8::10")),
    case("5118 4.3", "a port inside the brackets is a part of the address", "parse", "forwarded",
         _register("sip:[2001:db8::10:5070]"), uri("sip:[2001:db8::10:5070]")),
    case("5118 4.4", "a port after the brackets", "parse", "forwarded", _register("sip:[2001:db8::10]:5070"),
         uri("sip:[2001:db8::10]:5070")),
    case("5118 4.5", "received with brackets", "parse", "481", """
BYE sip:[2001:db8::10] SIP/2.0
To: sip:user@example.com;tag=bd76ya
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Max-Forwards: 70
CSeq: 321 BYE
Content-Length: 0
"""),
    case("5118 4.5", "received without brackets", "parse", "481", """
OPTIONS sip:[2001:db8::10] SIP/2.0
To: sip:user@example.com;tag=bd76ya
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3
Call-ID: SSG95523997077@hlau_4100
Max-Forwards: 70
CSeq: 921 OPTIONS
Content-Length: 0
"""),
    case("5118 4.6", "a description with an IPv6 address", "application", "forwarded", _invite(_SDP), body(_SDP)),
    case("5118 4.7", "addresses of both kinds in one header", "parse", "481", """
BYE sip:user@host.example.net SIP/2.0
Via: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144
Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200
Call-ID: 997077@lau_4100
Max-Forwards: 70
CSeq: 89187 BYE
To: sip:user@example.net;tag=9817--94
From: sip:user@example.com;tag=81x2
Content-Length: 0
"""),
    case("5118 4.8", "addresses of both kinds in one description", "application", "forwarded", _invite(_TWO), body(_TWO)),
    # As an edge without media: where the relay is on, a mapped address is refused with 488 (tests/threats).
    case("5118 4.9", "IPv4 addresses mapped into IPv6", "application", "forwarded",
         _invite(_MAPPED).replace(b"[2001:db8::20]", b"[::ffff:192.0.2.10]"), body(_MAPPED)),
    case("5118 4.10", "three colons, as the grammar of RFC 3261 had it by mistake", "parse", "400",
         _register("sip:user@[2001:db8:::192.0.2.1]")),
    case("5118 4.10", "two colons, as they have to be", "parse", "forwarded",
         _register("sip:user@[2001:db8::192.0.2.1]"), uri("sip:user@[2001:db8::192.0.2.1]")),
)  # fmt: skip
