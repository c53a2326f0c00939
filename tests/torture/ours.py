"""Cases that the RFCs do not have: texts that two parsers read differently."""

from __future__ import annotations

from torture.case import Case, case, response_case, stream_case
from torture.checks import body, field, fields, uri

_HEAD = (
    b"INVITE sip:user@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKours\r\nTo: <sip:user@example.com>\r\n"
    b"From: <sip:caller@example.net>;tag=1\r\nCall-ID: ours\r\nCSeq: 1 INVITE\r\nMax-Forwards: 7\r\n"
    b"Contact: <sip:caller@192.0.2.15>\r\n"
)
_EMPTY = b"Content-Length: 0\r\n\r\n"


def _with(line: bytes) -> bytes:
    return _HEAD + line + _EMPTY


CASES: tuple[Case, ...] = (
    case("ours 1", "a header field after a CR alone", "parse", "400", _with(b"Subject: a\rRoute: <sip:evil>\r\n")),
    case("ours 2", "a header field after an LF alone", "parse", "400", _with(b"Subject: a\nRoute: <sip:evil>\r\n")),
    case("ours 3", "NUL in a header field", "parse", "400", _with(b"Subject: a\0b\r\n")),
    case("ours 4", "a NEL, which is a line end to some, stays inside its value", "parse", "forwarded",
         _with(b"Subject: a\xc2\x85Route: <sip:evil>\r\n"), field("Subject", "a\x85Route: <sip:evil>"), field("Route")),
    case("ours 5", "bytes that are no UTF-8 pass as they are", "parse", "forwarded", _with(b"Subject: \xff\xfe\r\n"),
         field("Subject", "\udcff\udcfe")),
    case("ours 6", "Content-Length, long and compact", "framing", "400", _with(b"l: 4\r\n")),
    case("ours 7", "a sign before Content-Length", "framing", "400", _HEAD + b"Content-Length: +4\r\n\r\nbody"),
    case("ours 8", "Content-Length in hexadecimal", "framing", "400", _HEAD + b"Content-Length: 0x4\r\n\r\nbody"),
    case("ours 9", "Content-Length as a list", "framing", "400", _HEAD + b"Content-Length: 4, 4\r\n\r\nbody"),
    case("ours 10", "a folded Content-Length is one all the same", "framing", "forwarded",
         _HEAD + b"Content-Length:\r\n 4\r\n\r\nbody", body(b"body")),
    case("ours 11", "Content-Length with space before its colon", "framing", "forwarded",
         _HEAD + b"Content-Length \t: 4\r\n\r\nbodyINVITE", body(b"body")),
    case("ours 12", "no Content-Length: a datagram ends where it ends", "framing", "forwarded",
         _HEAD + b"\r\nbody", body(b"body")),
    case("ours 13", "a field name that is folded", "parse", "400", _with(b"Rou\r\n te: <sip:evil>\r\n")),
    case("ours 14", "a fold in the start line", "parse", "400", _with(b"").replace(b" SIP/2.0\r\n", b"\r\n SIP/2.0\r\n")),
    case("ours 15", "no name before a colon", "parse", "400", _with(b": value\r\n")),
    case("ours 16", "a parameter twice in a Via", "parse", "400", _with(b"").replace(b"ours\r\n", b"ours;branch=z9hG4bKo\r\n")),
    case("ours 17", "a tag twice in From", "parse", "400", _with(b"").replace(b";tag=1", b";tag=1;tag=2")),
    case("ours 18", "an empty place in a list of Via", "parse", "400", _with(b"").replace(b"ours\r\n", b"ours,\r\n")),
    case("ours 19", "a user with an escaped line end", "parse", "forwarded",
         _with(b"").replace(b"To: <sip:user", b"To: <sip:us%0d%0aer"), field("To", "<sip:us%0d%0aer@example.com>")),
    case("ours 20", "a telephone URI", "application", "forwarded", _with(b"").replace(
        b"INVITE sip:user@example.com", b"INVITE tel:+1-201-555-0123;phone-context=example.com")),
    case("ours 21", "compact names of every header field that has one", "parse", "forwarded", _with(
        b"e: gzip\r\nc: text/plain\r\nk: timer\r\no: presence\r\nu: presence\r\na: *\r\nb: <sip:x>\r\nd: fork\r\nj: *\r\n"
        b"n: <https://x>\r\nr: <sip:y>\r\ns: z\r\nx: 90\r\ny: abc\r\n"),
         field("Content-Encoding", "gzip"), field("Supported", "timer"), field("Event", "presence"),
         field("Refer-To", "<sip:y>"), field("Session-Expires", "90"), field("Identity", "abc")),
    case("ours 22", "an ACK for nothing is answered with nothing", "transaction", "nothing",
         _with(b"").replace(b"INVITE", b"ACK")),
    case("ours 23", "a CANCEL for nothing", "transaction", "481", _with(b"").replace(b"INVITE", b"CANCEL")),
    case("ours 24", "a Route to an unknown address has no effect", "application", "forwarded",
         _with(b"Route: <sip:203.0.113.66;lr>\r\n"), field("Route")),
    case("ours 25", "a method in lower case is another method", "application", "405", _with(b"").replace(b"INVITE", b"invite")),
    case("ours 26", "70 Via values and one", "application", "483", _with(
        b"Via: SIP/2.0/UDP 192.0.2.16;branch=z9hG4bKx\r\n" * 70)),
    case("ours 27", "more header fields than there may be", "parse", "513", _with(b"X: y\r\n" * 192)),
    case("ours 28", "a start line that is too long", "parse", "414", _with(b"").replace(b"user@", b"u" * 2048 + b"@", 1)),
    case("ours 29", "a header field that is too long", "parse", "513", _with(b"Subject: " + b"x" * 8193 + b"\r\n")),
    case("ours 30", "a header block that is too long", "parse", "513", _with(b"Subject: x\r\n" * 3 + b"".join(
        b"X-%d: " % n + b"x" * 8000 + b"\r\n" for n in range(5)))),
    stream_case("ours 31", "a stream without Content-Length", "framing", "400 and closed", _HEAD + b"\r\n"),
    stream_case("ours 32", "a body that is announced too large, on a stream", "framing", "413 and closed",
                _HEAD + b"Content-Length: 65536\r\n\r\n"),
    stream_case("ours 33", "header fields without end, on a stream", "framing", "513 and closed",
                _HEAD + b"X-Long: y\r\n" * 4000),
    stream_case("ours 34", "keep-alives between messages", "framing", "forwarded", b"\r\n\r\n\r\n" + _HEAD + _EMPTY),
    stream_case("ours 35", "a CR without LF between messages", "framing", "nothing and closed", b"\rX" + _HEAD + _EMPTY),
    response_case("ours 36", "a response of a version that is not 2.0", "parse", "nothing", """
SIP/3.0 200 OK
Via: {via}
From: {from}
To: {to};tag=1
Call-ID: {call_id}
CSeq: 1 INVITE
"""),
    response_case("ours 37", "a response to another method", "transaction", "nothing", """
SIP/2.0 200 OK
Via: {via}
From: {from}
To: {to};tag=1
Call-ID: {call_id}
CSeq: 1 BYE
"""),
    response_case("ours 38", "a response whose Via has been folded and spaced", "parse", "forwarded", """
SIP/2.0 200 OK
v :
 {via}
f: {from}
t: {to};tag=1
i: {call_id}
CSeq: 1
 INVITE
m: <sip:bob@10.0.0.11>
"""),
    case("ours 39", "70 Via values", "application", "forwarded", _with(
        b"Via: SIP/2.0/UDP 192.0.2.16;branch=z9hG4bKx\r\n" * 69)),
    # SIP knows no Transfer-Encoding: the length alone says where a message ends.
    case("ours 40", "a body in chunks", "framing", "forwarded",
         _HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 13\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
         body(b"3\r\nabc\r\n0\r\n\r\n"[:13])),
    stream_case("ours 41", "a body in chunks, whose length nobody knows", "framing", "400 and closed",
                _HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    case("ours 42", "an INVITE in the body of an INVITE", "framing", "forwarded",
         _HEAD + b"Content-Type: message/sip\r\nContent-Length: %d\r\n\r\n" % len(_HEAD + _EMPTY) + _HEAD + _EMPTY,
         body(_HEAD + _EMPTY)),
    case("ours 43", "an INVITE behind an INVITE", "framing", "forwarded",
         _HEAD + _EMPTY + _HEAD.replace(b"user@", b"other@").replace(b"Call-ID: ours", b"Call-ID: theirs") + _EMPTY,
         uri("sip:user@example.com"), field("Call-ID", "ours"), body(b"")),
    case("ours 44", "header fields that nobody knows keep their order, their case and their values", "application", "forwarded",
         _with(b"Zeta: 1 ; a=\"b;c\"\r\nalpha-Beta:2,,3\r\nZETA : <4>\r\nzeta:\t5\r\n 6\r\n"),
         field("Zeta", '1 ; a="b;c"'), field("alpha-Beta", "2,,3"), field("ZETA", "<4>"), field("zeta", "5 6"),
         fields("Zeta", "alpha-Beta", "ZETA", "zeta")),
    case("ours 45", "65 parameters of one value", "parse", "513", _with(
        b"").replace(b";tag=1", b";tag=1" + b"".join(b";p%d" % n for n in range(64)))),
    case("ours 46", "an LF and a CR in the wrong order", "parse", "400", _with(b"Subject: a\n\rRoute: <sip:evil>\r\n")),
    case("ours 47", "a blank line that is folded ends nothing", "parse", "400", _HEAD + b"Subject: a\r\n \r\nX\r\n" + _EMPTY),
    case("ours 48", "an escape sequence for a terminal", "parse", "400", _with(b"Subject: \x1b[2J\r\n")),
    stream_case("ours 49", "a folded Content-Length, on a stream", "framing", "forwarded",
                _HEAD + b"Content-Length:\r\n  4\r\n\r\nbody", body(b"body")),
    stream_case("ours 50", "a second Content-Length in a fold is a part of a value", "framing", "forwarded",
                _HEAD + b"Subject: a\r\n Content-Length: 9\r\n" + _EMPTY, field("Subject", "a Content-Length: 9")),
)  # fmt: skip
