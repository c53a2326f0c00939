"""RFC 4475 section 3.1.1: odd, and valid."""

from __future__ import annotations

from torture.case import Case, case, response_case
from torture.checks import body, field, fields, phrase, uri

_SHORT_AND_TORTUOUS = """
INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;{tag}
from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33
"""

_EVERY_SIGN_METHOD = "!interesting-Method0123456789_*+`.%indeed'~"
_EVERY_SIGN_URI = (
    "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com"
)
_EVERY_SIGN = """
{method} {uri} SIP/2.0
Via: SIP/2.0/UDP host1.example.com;branch=z9hG4bK-.!%66*_+`'~
To: "{signs}" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>
From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%="\\e\\\"\\\\work%";tag=_token~1'+`*%!-.
Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/"][?}}{{
CSeq: 139122385 {method}
Max-Forwards: 255
extensionHeader-!.%*+_`'~: \t anything but what is there: ;,"\\ é
Content-Length: 0
"""

_PARTS = (
    b"--boundary42\r\nContent-Type: text/plain\r\n\r\nHello\r\n--boundary42\r\n"
    b"Content-Type: application/octet-stream\r\n\r\n" + bytes(range(256)) + b"\r\n\r\nSIP/2.0 200\r\n--boundary42--\r\n"
)

CASES: tuple[Case, ...] = (
    case("3.1.1.1", "a short tortuous INVITE, in a dialog that is not ours", "application", "481",
         _SHORT_AND_TORTUOUS.replace(";{tag}", ";\n   tag    = 1918181833n")),
    case("3.1.1.1", "the same outside of dialogs", "parse", "forwarded", _SHORT_AND_TORTUOUS.replace(";{tag}", ""),
         uri("sip:vivekg@chair-dnrc.example.com;unknownparam"),
         field("NewFangledHeader", "newfangled value continued newfangled value"),
         field("UnknownHeaderWithUnusualValue", ";;,,;;,;"), field("Subject", ""), field("Max-Forwards", "67"),
         field("From", '"J Rosenberg \\\\\\""       <sip:jdrosen@example.com> ; tag = 98asjd8'), field("Route")),
    # The grammar has control bytes behind a backslash; no edge lets a NUL pass to servers written in C.
    case("3.1.1.2", "every sign that there may be, control bytes too", "parse", "400", _EVERY_SIGN.format(
        method=_EVERY_SIGN_METHOD, uri=_EVERY_SIGN_URI, signs="BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f")),
    case("3.1.1.2", "the same without control bytes, where the method is all that is not allowed", "application", "405",
         _EVERY_SIGN.format(method=_EVERY_SIGN_METHOD, uri=_EVERY_SIGN_URI, signs="")),
    case("3.1.1.2", "the same with a method that is", "parse", "forwarded", _EVERY_SIGN.format(
        method="OPTIONS", uri=_EVERY_SIGN_URI, signs="quoted: \\; \\, \\\" \\\\ \\é"),
         uri(_EVERY_SIGN_URI), field("Call-ID", "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"),
         field("To", '"quoted: \\; \\, \\" \\\\ \\é" <sip:1_unusual.URI~(to-be!sure)&isn\'t+it$/crazy?,/;;*@example.com>'),
         field("From", "token1~` token2'+_ token3*%!.- <sip:mundane@example.com>"
               ";fromParam''~+*_!.-%=\"\\e\\\"\\\\work%\";tag=_token~1'+`*%!-."),
         field("extensionHeader-!.%*+_`'~", 'anything but what is there: ;,"\\ é'), field("Max-Forwards", "254")),
    case("3.1.1.3", "escapes in a user", "parse", "forwarded", """
INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0
To: sip:%75se%72@example.com
From: <sip:I%20have%20spaces@example.net>;tag=938
Max-Forwards: 87
i: esc01.239409asdfakjkn23onasd0-3234
CSeq: 234234 INVITE
Via: SIP/2.0/UDP host5.example.net;branch=z9hG4bKkdjuw
C: application/sdp
Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>
""", uri("sip:sips%3Auser%40example.com@example.net"), field("To", "sip:%75se%72@example.com")),
    case("3.1.1.4", "escaped NUL in URIs", "parse", "forwarded", """
REGISTER sip:example.com SIP/2.0
To: sip:null-%00-null@example.com
From: sip:null-%00-null@example.com;tag=839923423
Max-Forwards: 70
Call-ID: escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd
CSeq: 14398234 REGISTER
Via: SIP/2.0/UDP host5.example.com;branch=z9hG4bKkdjuw
Contact: <sip:%00@host5.example.com>
Contact: <sip:%00%00@host5.example.com>
L:0
""", field("To", "sip:null-%00-null@example.com"),
         field("Contact", "<sip:%00@host5.example.com>", "<sip:%00%00@host5.example.com>")),
    case("3.1.1.5", "a percent sign that is no escape, in a method", "application", "405", """
RE%47IST%45R sip:registrar.example.com SIP/2.0
To: "%Z%45" <sip:resource@example.com>
From: "%Z%45" <sip:resource@example.com>;tag=f232jadfj23
Call-ID: esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf
Via: SIP/2.0/TCP host.example.com;rport;branch=z9hG4bK209%fzsnel234
CSeq: 29344 RE%47IST%45R
Max-Forwards: 70
Contact: <sip:alias1@host1.example.com>
C%6Fntact: <sip:alias2@host2.example.com>
l: 0
"""),
    case("3.1.1.6", "no space between a display name and its angle bracket", "parse", "forwarded", """
OPTIONS sip:user@example.com SIP/2.0
To: sip:user@example.com
From: caller<sip:caller@example.com>;tag=323
Max-Forwards: 70
Call-ID: lwsdisp.1234abcd@funky.example.com
CSeq: 60 OPTIONS
Via: SIP/2.0/UDP funky.example.com;branch=z9hG4bKkdjuw
l: 0
""", field("From", "caller<sip:caller@example.com>;tag=323")),
    case("3.1.1.7", "long values", "parse", "forwarded", f"""
INVITE sip:user@example.com SIP/2.0
To: "I have a user name of {"extreme " * 40}proportion"<sip:user@example.com:6000;{"unknownparam" * 20}={"v" * 300}>
F: sip:{"amazinglylongcallername" * 5}@example.net;tag=12{"982" * 50}424;{"unknownheaderparam" * 10}name={"u" * 200}
Call-ID: longreq.one{"really" * 20}longcallid
CSeq: 3882340 INVITE
Unknown-{"Long" * 20}-Name: unknown-{"long" * 20}-value; unknown-{"long" * 20}-parameter-name = {"p" * 200}
Via: SIP/2.0/TCP sip33.example.com
v: SIP/2.0/TCP sip32.example.com
V: SIP/2.0/TCP sip31.example.com
{"".join(f"Via: SIP/2.0/TCP sip{n}.example.com{chr(10)}" for n in range(30, 2, -1))}Via: SIP/2.0/TCP sip1.example.com
 ;received=192.0.2.5;branch=very{"long" * 50}branchvalue
Max-Forwards: 70
Contact: <sip:{"amazinglylongcallername" * 5}@host5.example.net>
"""),
    case("3.1.1.8", "a second request in the same datagram", "framing", "forwarded", (
        b"REGISTER sip:example.com SIP/2.0\r\nTo: sip:j.user@example.com\r\nFrom: sip:j.user@example.com;tag=43251j3j324"
        b"\r\nMax-Forwards: 8\r\nI: dblreq.0ha0isndaksdj99sdfafnl3lk233412\r\nContact: sip:j.user@host.example.com\r\n"
        b"CSeq: 8 REGISTER\r\nVia: SIP/2.0/UDP 192.0.2.125;branch=z9hG4bKkdjuw23492\r\nContent-Length: 0\r\n\r\n\r\n"
        b"INVITE sip:joe@example.com SIP/2.0\r\nt: sip:joe@example.com\r\nFrom: sip:caller@example.net;tag=141334\r\n"
        b"Max-Forwards: 8\r\nCall-ID: dblreq.0ha0isnda977644900765@192.0.2.15\r\nCSeq: 8 INVITE\r\nContact: <sip:c@e.net>"
        b"\r\nVia: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw380234\r\nContent-Length: 0\r\n\r\n"),
         uri("sip:example.com"), field("CSeq", "8 REGISTER"), body(b"")),
    case("3.1.1.9", "semicolons in a user", "parse", "forwarded", """
OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0
To: sip:j_user@example.com
From: sip:caller@example.org;tag=33242
Max-Forwards: 3
Call-ID: semiuri.0ha0isndaksdj
CSeq: 8 OPTIONS
Accept: application/sdp, application/pkcs7-mime, multipart/mixed
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKkdjuw
l: 0
""", uri("sip:user;par=u%40example.net@example.com"), field("Max-Forwards", "2")),
    case("3.1.1.10", "transports that nobody knows", "parse", "forwarded", """
OPTIONS sip:user@example.com SIP/2.0
To: sip:user@example.com
From: <sip:caller@example.com>;tag=323
Max-Forwards: 70
Call-ID: transports.kijh4akdnaqjkwendsasfdj
Accept: application/sdp
CSeq: 60 OPTIONS
Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw
Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf
Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj
Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en
Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee
l: 0
"""),
    case("3.1.1.11", "a multipart body with every byte in it", "parse", "forwarded", (
        b"MESSAGE sip:kumiko@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-d87543-4dade06d0bdb11e"
        b"\r\nMax-Forwards: 70\r\nRoute: <sip:127.0.0.1:5080>\r\nIdentity: r5mwreLuyDRYBi/0TiPwEsY3rEVsk/G2WxhgTV1PF7hHuL"
        b"\r\nIdentity-Info: <https://example.com/cert>;alg=rsa-sha1\r\nContent-Type: multipart/mixed;boundary=boundary42"
        b"\r\nTo: <sip:kumiko@example.org>\r\nFrom: <sip:fluffy@example.com>;tag=2fb0dcc9\r\nCall-ID: 3d9485ad0c49859b@"
        b"Zmx1ZmZ5LW1hYy0xNi5sb2NhbA..\r\nCSeq: 1 MESSAGE\r\nContent-Transfer-Encoding: binary\r\nMIME-Version: 1.0"
        b"\r\nContent-Length: " + str(len(_PARTS)).encode() + b"\r\n\r\n" + _PARTS),
         body(_PARTS), field("Content-Type", "multipart/mixed;boundary=boundary42"), field("MIME-Version", "1.0")),
    response_case("3.1.1.12", "words of a status line in Russian", "parse", "forwarded", """
SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое
Via: {via}
Call-ID: {call_id}
CSeq: 1 INVITE
From: {from}
To: {to};tag=2229
Contact: <sip:user@host198.example.com>
Content-Length: 0
""", phrase("= 2**3 * 5**2 но сто девяносто девять - простое"), fields("Via", "Via", "Call-ID", "CSeq")),
    response_case("3.1.1.13", "no words in a status line", "parse", "forwarded", """
SIP/2.0 180 \n\
Via: {via}
From: {from}
Call-ID: {call_id}
CSeq: 1 INVITE
To: {to};tag=x
Content-Length: 0
""", phrase("")),
)  # fmt: skip
