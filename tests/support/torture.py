"""Messages after RFC 4475 and RFC 5118, and what the edge makes of them; all are spelled anew here."""

from __future__ import annotations

from support.sip import request, response

CASES: list[tuple[str, str, bytes, int | str]] = [
    ("3.1.1.1 a short tortuous INVITE", "syntax",
     b"INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\nTO :\r\n sip:vivekg@chair-dnrc.example.com ;"
     b"   tag    = 1918181833n\r\nfrom   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n"
     b"  tag = 98asjd8\r\nMaX-fOrWaRdS: 0068\r\nCall-ID: wsinv.ndaksdj@192.0.2.1\r\nContent-Length   : 2\r\n"
     b"cseq: 0009\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\ns :\r\n"
     b"NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n"
     b"UnknownHeaderWithUnusualValue: ;;,,;;,;\r\nContent-Type: application/sdp\r\nRoute:\r\n"
     b" <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n"
     b"v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
     b" SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n"
     b"m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n"
     b"  secondparam ; q = 0.33\r\n\r\nhi", "read"),
    ("3.1.1.2 every sign of a token", "syntax",
     request("!interesting-Method0123456789_*+`.%indeed'~",
     "sip:1_x~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1@e.com"),
     "read"),
    ("3.1.1.3 an escaped NUL in a user", "syntax", request("REGISTER", "sip:null-%00-null@example.com"), "read"),
    ("3.1.1.5 no space before the angle bracket", "syntax", request(from_="caller<sip:caller@e.com>;tag=323"), "read"),
    ("3.1.1.6 a long call-id and a long user", "syntax",
     request(uri="sip:" + "a" * 500 + "@e.com", call_id="longreq." + "really" * 20 + "longcallid"), "read"),
    ("3.1.1.7 a second request in the datagram", "transport", request("REGISTER") + request(), "read"),
    ("3.1.1.8 a semicolon in the user", "syntax", request("OPTIONS", "sip:user;par=u%40e.net@e.com"), "read"),
    ("3.1.1.9 unknown transports", "syntax", request("OPTIONS",
     extra="Via: SIP/2.0/UNKNOWN t5.e.com;branch=z9hG4bK1\r\n"),
     "read"),
    ("3.1.1.12 words of a status line in UTF-8", "syntax", response().replace(b"Some words",
     "= 2**3 * 3² Ж".encode()), "read"),
    ("3.1.1.13 no words in a status line", "syntax", response(100).replace(b"Some words", b""), "read"),
    ("3.1.2.1 stray separators", "syntax", request(via="SIP/2.0/UDP 192.0.2.15;;,;,,",
     extra="Contact: \"\" <>;,;,,\r\n"), 400),
    ("3.1.2.2 a body shorter than announced", "transport", request(length="Content-Length: 9999\r\n", body=b"v=0"),
     400),
    ("3.1.2.3 a negative Content-Length", "transport", request(length="Content-Length: -999\r\n"), 400),
    ("3.1.2.4 numbers that are too large", "syntax", request("REGISTER", cseq="36893488147419103232 REGISTER"), 400),
    ("3.1.2.5 a large status", "syntax", response().replace(b" 200 ", b" 4294967301 "), 400),
    ("3.1.2.6 an open quote in To", "syntax", request(to='"Mr. J. User <sip:j.user@example.com>'), 400),
    ("3.1.2.7 a Request-URI in angle brackets", "syntax", request(uri="<sip:user@example.com>"), 400),
    ("3.1.2.8 space in a Request-URI", "syntax", request(uri="sip:user@example.com; lr"), 400),
    ("3.1.2.9 two spaces in a request line", "syntax", request().replace(b"INVITE sip", b"INVITE  sip", 1), 400),
    ("3.1.2.10 space after a request line", "syntax", request().replace(b"SIP/2.0\r\n", b"SIP/2.0  \r\n", 1), 400),
    ("3.1.2.11 header fields in a Request-URI", "syntax", request(uri="sip:u@e.com?Route=%3Csip:e.com%3E"), 400),
    ("3.1.2.14 space inside angle brackets", "syntax", request(to='"Watson, Thomas" < sip:t.watson@e.org >'), 400),
    ("3.1.2.15 a display name with a comma", "syntax", request(from_="Bell, Alexander <sip:a@e.com>;tag=1"), 400),
    ("3.1.2.16 an unknown version", "syntax", request().replace(b"SIP/2.0\r\n", b"SIP/7.0\r\n", 1), 505),
    ("3.1.2.17 another method in CSeq", "syntax", request("OPTIONS", cseq="8 INVITE"), 400),
    ("3.1.2.18 another method, unknown, in CSeq", "syntax", request("NEWMETHOD", cseq="8 INVITE"), 400),
    ("3.1.2.19 a status over 699", "syntax", response(700), 400),
    ("3.2.1 a branch that is only the cookie", "transaction", request(via="SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK"),
     "read"),
    ("3.3.1 fields missing", "application", b"INVITE sip:u@e.com SIP/2.0\r\nCSeq: 193942 INVITE\r\n\r\n", 400),
    ("3.3.2 a Request-URI of an unknown scheme", "application", request(uri="nobodyKnows:opaque"), "read"),
    ("3.3.8 fields twice that may stand once", "application", request(extra="To: <sip:other@e.com>\r\n"), 400),
    ("3.3.9 two Content-Lengths", "transport", request(extra="Content-Length: 8\r\n"), 400),
    ("3.3.10 a response whose Via is a broadcast address", "transport",
     response(via="SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1, SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKsaul"), "read"),
    ("3.3.11 Max-Forwards of zero", "application", request().replace(b"s: 70", b"s: 0"), "read"),
    ("3.4.1 a request of RFC 2543", "transaction",
     b"INVITE sip:u@e.com SIP/2.0\r\nVia: SIP/2.0/UDP iftgw.e.com\r\nFrom: <sip:+1-303@e.com;user=phone>\r\n"
     b"Record-Route: <sip:u@e.com;maddr=ss1.e.com>\r\nTo: sip:+16505552222@ss1.e.net;user=phone\r\n"
     b"Call-ID: inv2543.1717@ift.client.example.com\r\nCSeq: 56 INVITE\r\n\r\n", "read"),
    ("5118 4.1 an IPv6 reference", "syntax", request(uri="sip:[2001:db8::10]", via="SIP/2.0/UDP [2001:db8::9:1]"),
     "read"),
    ("5118 4.2 an IPv6 address without brackets", "syntax", request(uri="sip:2001:db8::10"), 400),
    ("5118 4.5 received without brackets", "syntax",
     response(via="SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255"), "read"),
]  # fmt: skip
"""Section and subject; the layer that it tries (syntax, transport, transaction, application); the bytes;
and the parser's part in it: the status hint where it refuses, "read" where it passes the message on."""
