"""RFC 4475 sections 3.2 to 3.4: messages that can be parsed, and are unusual for a later layer."""

from __future__ import annotations

from torture.case import Case, case, response_case, stream_case
from torture.checks import body, field, fields

_UNKNOWN_BODY = b'<audio>\r\n <pcmu port="443"/>\r\n</audio>\r\n'


def _options(call_id: str, uri: str = "sip:user@example.com", extra: str = "", hops: int = 70) -> str:
    return f"""
OPTIONS {uri} SIP/2.0
To: sip:user@example.com
From: sip:caller@example.org;tag=33242
Max-Forwards: {hops}
Call-ID: {call_id}
CSeq: 8 OPTIONS
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{call_id}
{extra}Content-Length: 0
"""


def _register(call_id: str, contact: str, extra: str = "") -> str:
    return f"""
REGISTER sip:example.com SIP/2.0
To: sip:watson@example.com
From: sip:watson@example.com;tag=DkfVgjkrtMwaerKKpe
Max-Forwards: 70
Call-ID: {call_id}
CSeq: 2 REGISTER
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{call_id}
{extra}Contact: {contact}
l: 0
"""


CASES: tuple[Case, ...] = (
    case("3.2.1", "a branch that is the cookie and nothing else", "transaction", "forwarded",
         _options("badbranch").replace("z9hG4bKbadbranch", "z9hG4bK")),
    case("3.3.1", "From, To and Call-ID missing", "application", "400", """
INVITE sip:user@example.com SIP/2.0
CSeq: 193942 INVITE
Via: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf
Content-Type: application/sdp
l: 0
"""),
    case("3.3.2", "a Request-URI of a scheme that nobody knows", "application", "416",
         _options("unkscm", "nobodyKnowsThisScheme:totallyopaquecontent")),
    case("3.3.3", "a Request-URI of a scheme that is not for SIP", "application", "416",
         _options("novelsc", "soap.beep://192.0.2.103:3002")),
    case("3.3.4", "unknown schemes in From, To and Contact", "application", "forwarded", """
REGISTER sip:example.com SIP/2.0
To: isbn:2983792873
From: <http://www.example.com>;tag=3234233
Call-ID: unksm2.daksdj@hyphenated-host.example.com
CSeq: 234902 REGISTER
Max-Forwards: 70
Via: SIP/2.0/UDP 192.0.2.21:5060;branch=z9hG4bKkdjuw
Contact: <name:John_Smith>
l: 0
""", field("To", "isbn:2983792873"), field("Contact", "<name:John_Smith>")),
    case("3.3.5", "extensions that nobody has, in Require and Proxy-Require", "application", "420", _options(
        "bext01", extra="Require: nothingSupportsThis, nothingSupportsThisEither\n"
        "Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis\n")),
    case("3.3.6", "a body of a type that nobody knows", "application", "forwarded", (
        b"INVITE sip:user@example.com SIP/2.0\r\nContact: <sip:caller@host5.example.net>\r\nTo: sip:j.user@example.com\r\n"
        b"From: sip:caller@example.net;tag=8392034\r\nMax-Forwards: 70\r\nCall-ID: invut.0ha0isndaksdjadsfij34n23d\r\n"
        b"CSeq: 235448 INVITE\r\nVia: SIP/2.0/UDP somehost.example.com;branch=z9hG4bKkdjuw\r\n"
        b"Content-Type: application/unknownformat\r\nContent-Length: "
        + str(len(_UNKNOWN_BODY)).encode() + b"\r\n\r\n" + _UNKNOWN_BODY),
         body(_UNKNOWN_BODY), field("Content-Type", "application/unknownformat")),
    case("3.3.7", "credentials of a scheme that nobody knows", "application", "forwarded", _register(
        "regaut01", "sip:j.user@host.example.com", "Authorization: NoOneKnowsThisScheme opaque-data=here\n"),
         field("Authorization", "NoOneKnowsThisScheme opaque-data=here")),
    case("3.3.8", "fields twice that may stand once", "parse", "400", """
INVITE sip:user@company.com SIP/2.0
Contact: <sip:caller@host25.example.net>
Via: SIP/2.0/UDP 192.0.2.25;branch=z9hG4bKkdjuw
Max-Forwards: 70
CSeq: 5 INVITE
Call-ID: multi01.98asdh@192.0.2.1
CSeq: 59 INVITE
Call-ID: multi01.98asdh@192.0.2.2
From: sip:caller@example.com;tag=3413415
To: sip:user@example.com
To: sip:other@example.net
From: sip:caller@example.net;tag=2923420123
Content-Type: application/sdp
l: 0
"""),
    case("3.3.9", "two Content-Lengths", "framing", "400",
         _options("mcl01", extra="Content-Length: 13\n")),
    stream_case("3.3.9", "two Content-Lengths, on a stream", "framing", "400 and closed",
                _options("mcl01", extra="Content-Length: 13\n")),
    # Sent to the caller over the flow of its request: the edge does not use the second Via.
    response_case("3.3.10", "a response whose second Via is a broadcast address", "transaction", "forwarded", """
SIP/2.0 200 OK
Via: {via}
Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23
Call-ID: {call_id}
CSeq: 1 INVITE
From: {from}
To: {to};tag=2229
Content-Length: 0
Contact: <sip:user@host28.example.com>
"""),
    response_case("3.3.10", "the same, where nothing was asked", "transaction", "nothing", """
SIP/2.0 200 OK
Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923
Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23
Call-ID: bcast.0384840201234ksdfak3j2erwedfsASdf
CSeq: 35 INVITE
From: sip:user@example.com;tag=11141343
To: sip:user@example.edu;tag=2229
Content-Length: 0
Contact: <sip:user@host28.example.com>
"""),
    case("3.3.11", "Max-Forwards of zero", "application", "483", _options("zeromf", hops=0)),
    case("3.3.12", "a parameter of a Contact header field", "application", "forwarded", _register(
        "cparam01", "sip:+19725552222@gw1.example.net;unknownparam"),
         field("Contact", "sip:+19725552222@gw1.example.net;unknownparam")),
    case("3.3.13", "a parameter of the URI in a Contact", "application", "forwarded", _register(
        "cparam02", "<sip:+19725552222@gw1.example.net;unknownparam>"),
         field("Contact", "<sip:+19725552222@gw1.example.net;unknownparam>")),
    case("3.3.14", "header fields of the URI in a Contact", "application", "forwarded", _register(
        "regescrt", "<sip:user@example.com?Route=%3Csip:sip.example.com%3E>"),
         field("Contact", "<sip:user@example.com?Route=%3Csip:sip.example.com%3E>"), field("Route")),
    # 406 is left to the callee.
    case("3.3.15", "an INVITE whose sender accepts no session description", "application", "forwarded", """
INVITE sip:user@example.com SIP/2.0
To: sip:j_user@example.com
Contact: <sip:caller@host15.example.net>
From: sip:caller@example.net;tag=234
Max-Forwards: 5
Call-ID: sdp01.ndaksdj9342dasdd
Accept: text/nobodyKnowsThis
CSeq: 8 INVITE
Via: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw
Content-Length: 0
""", field("Accept", "text/nobodyKnowsThis"), fields("To", "From", "Call-ID", "Accept", "CSeq")),
    case("3.4.1", "an INVITE as of RFC 2543: no branch, no tag, no Contact", "transaction", "forwarded", """
INVITE sip:UserB@example.com SIP/2.0
Via: SIP/2.0/UDP iftgw.example.com
From: <sip:+13035551111@ift.client.example.net;user=phone>
Record-Route: <sip:UserB@example.com;maddr=ss1.example.com>
To: sip:+16505552222@ss1.example.net;user=phone
Call-ID: inv2543.1717@ift.client.example.com
CSeq: 56 INVITE
Content-Type: application/sdp
""", field("Record-Route"), field("Max-Forwards", "70")),
)  # fmt: skip
