"""RFC 4475 section 3.1.2: not valid."""

from __future__ import annotations

from torture.case import Case, case, response_case, stream_case
from torture.checks import field

_INVITE = """
INVITE sip:user@example.com SIP/2.0
To: sip:user@example.com
From: sip:caller@example.net;tag=134161461246
Max-Forwards: 7
Call-ID: bad.0ha0isndaksdjasdf3234nas
CSeq: 8 INVITE
Via: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw380234
Contact: <sip:caller@host5.example.net>
{extra}
"""


def _invite(extra: str = "", **changes: str) -> str:
    """The INVITE above with lines added, and with whole lines replaced: ``To`` by ``to_``, and so on."""
    lines = _INVITE.format(extra=extra).strip("\n").split("\n")
    for name, line in changes.items():
        at = 0 if name == "start" else next(n for n, line in enumerate(lines) if line.lower().startswith(name + ":"))
        lines[at] = line
    return "\n".join(line for line in lines if line)


CASES: tuple[Case, ...] = (
    case("3.1.2.1", "separators that separate nothing", "parse", "400", _invite(
        via="Via: SIP/2.0/UDP 192.0.2.15;;,;,,", contact='Contact: "Joe" <sip:joe@example.org>;;;;')),
    case("3.1.2.2", "Content-Length over what is there", "framing", "400", _invite("Content-Length: 9999")),
    stream_case("3.1.2.2", "the same on a stream, where the rest may still come", "framing", "nothing",
                _invite("Content-Length: 9999")),
    case("3.1.2.3", "a negative Content-Length", "framing", "400", _invite("Content-Length: -999")),
    stream_case("3.1.2.3", "the same on a stream, which has no end then", "framing", "400 and closed",
                _invite("Content-Length: -999")),
    case("3.1.2.4", "numbers too large, in a request", "parse", "400", """
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/TCP host129.example.com;branch=z9hG4bK342sdfoi3
To: <sip:user@example.com>
From: <sip:user@example.com>;tag=239232jh3
CSeq: 36893488147419103232 REGISTER
Call-ID: scalar02.23o0pd9vanlq3wnrlnewofjas9ui32
Max-Forwards: 300
Expires: 10000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
Contact: <sip:user@host129.example.com>
  ;expires=280297596632815
Content-Length: 0
"""),
    response_case("3.1.2.5", "numbers too large, in a response", "parse", "nothing", """
SIP/2.0 503 Service Unavailable
Via: {via}
From: {from}
Call-ID: {call_id}
CSeq: 9292394834772304023312 INVITE
To: {to};tag=1
Retry-After: 949302838503028349304023988
Warning: 1812 overture "In Progress"
Content-Length: 0
"""),
    case("3.1.2.6", "a quoted string that does not end", "parse", "400", _invite(
        to='To: "Mr. J. User <sip:j.user@example.com>')),
    case("3.1.2.7", "angle brackets about a Request-URI", "parse", "400", _invite(
        start="INVITE <sip:user@example.com> SIP/2.0")),
    case("3.1.2.8", "space inside a Request-URI", "parse", "400", _invite(
        start="INVITE sip:user@example.com; lr SIP/2.0")),
    case("3.1.2.9", "two spaces in a request line", "parse", "400", _invite(
        start="INVITE  sip:user@example.com  SIP/2.0")),
    case("3.1.2.10", "space at the end of a request line", "parse", "400", _invite(
        start="INVITE sip:user@example.com SIP/2.0  ")),
    case("3.1.2.11", "header fields in a Request-URI", "parse", "400", _invite(
        start="INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0")),
    # A proxy does not use Date, so it forwards it unparsed (section 3.1.2.12 allows both).
    case("3.1.2.12", "a time zone in Date that is not GMT", "application", "forwarded", _invite(
        "Date: Fri, 01 Jan 2010 16:00:00 EST"), field("Date", "Fri, 01 Jan 2010 16:00:00 EST")),
    case("3.1.2.13", "a URI with header fields and without angle brackets", "parse", "400", """
REGISTER sip:example.com SIP/2.0
To: sip:user@example.com
From: sip:user@example.com;tag=998332
Max-Forwards: 70
Call-ID: regbadct.k345asrl3fdbv@10.0.0.1
CSeq: 1 REGISTER
Via: SIP/2.0/UDP 135.180.130.133:5060;branch=z9hG4bKkdjuw
Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E
l: 0
"""),
    case("3.1.2.14", "space inside angle brackets", "parse", "400", _invite(
        to='To: "Watson, Thomas" < sip:t.watson@example.org >')),
    case("3.1.2.15", "a comma in a display name without quotes", "parse", "400", _invite(
        **{"from": "From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43"})),
    case("3.1.2.16", "a version that is not 2.0", "parse", "505", _invite(start="INVITE sip:user@example.com SIP/7.0")),
    case("3.1.2.17", "CSeq of another method", "parse", "400", _invite(
        start="OPTIONS sip:user@example.com SIP/2.0")),
    case("3.1.2.18", "CSeq of another method, where the method is unknown", "parse", "400", _invite(
        start="NEWMETHOD sip:user@example.com SIP/2.0")),
    response_case("3.1.2.19", "a status of ten digits", "parse", "nothing", """
SIP/2.0 4294967301 better not break the receiver
Via: {via}
From: {from}
Call-ID: {call_id}
CSeq: 1 INVITE
To: {to};tag=1
Content-Length: 0
"""),
)  # fmt: skip
