"""Messages in a legal but unusual form: they must reach the other side with the same meaning."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from support.sipp_calls import CallCase, CallResult, Message
from support.steps import (
    ack,
    answer,
    bye,
    hung_up,
    invite,
    refused,
    reply,
    request,
    sdp,
    send,
    take,
    taken,
    wait,
)  # fmt: skip

_UNKNOWN = ('Zeta: 1 ; a="b;c"', "alpha-Beta: 2,,3", "ZETA: <4>", "zeta: ;", "Ordnung: Größe")
_FILLING = tuple(f"Filling-{n}: {'x' * 7000}" for n in range(3))
_PARTS = """--part
Content-Type: text/plain

one
--part
Content-Type: application/octet-stream
Content-Transfer-Encoding: binary

two -- \\ <>
--part--"""
_SDP_PART = f"--part\nContent-Type: application/sdp\n\n{sdp()}"
_ISUP_PART = "--part\nContent-Type: application/ISUP;version=itu-t92+\n\n01 00 49\n"
_OFFER_IN_PARTS = f"{_ISUP_PART}{_SDP_PART}\n--part--"
_MIXED = "multipart/mixed;boundary=part"

_COMPACT = f"""INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
v: SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bK-[pid]-1;rport
f: sip:alice@example.org;tag=[pid]a[call_number]
t: sip:[service]@[remote_ip]:[remote_port]
i: [call_id]
CSeq: 1 INVITE
Max-Forwards: 70
m: sip:alice@[local_ip]:[local_port]
k: timer, replaces
s: short
c: application/sdp
l: [len]

{sdp()}"""
_COMPACT_ANSWER = f"""SIP/2.0 200 OK
v:[$via]
f:[$from]
t:[$to];tag=[pid]b
i: [call_id]
CSeq:[$cseq]
m: <sip:bob@[local_ip]:[local_port]>
k: timer
s: shorter
c: application/sdp
l: [len]

{sdp()}"""

_FOLDED = f"""INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via:[fold]SIP/2.0/[transport][fold][local_ip]:[local_port][fold];branch=z9hG4bK-[pid]-1[fold];rport
From: "Alice[fold]  of old"[fold] <sip:alice@example.org>[fold];tag=[pid]a[call_number]
To:[fold]<sip:[service]@[remote_ip]:[remote_port]>
Call-ID:[fold][call_id]
CSeq: 1[fold]INVITE
Max-Forwards:[fold]70
Contact:[fold]<sip:alice@[local_ip]:[local_port]>
Subject: one[fold]two[fold]three
Content-Type:[fold]application/sdp
Content-Length:[fold][len]

{sdp()}"""

_SPACED = f"""INVITE sip:[service]@[remote_ip]:[remote_port] sip/2.0
vIA   : SIP  / 2.0 /  [transport]   [local_ip] : [local_port]  ; branch =  z9hG4bK-[pid]-1 ;  RPORT
FROM\t:"A\\"l, ice;" <sip:alice@example.org> ; TAG = [pid]a[call_number] ; x
tO :   <SIP:[service]@[remote_ip]:[remote_port]>  ;  nothing = "a;b , c"
call-id :[call_id]
cSEQ  :   0001     INVITE
MAX-FORWARDS:0070
CONTACT:   sip:alice@[local_ip]:[local_port]   ;  expires = 60
SUBJECT:
content-TYPE : APPLICATION  /  SDP ; charset=utf-8
CONTENT-LENGTH  :  [len]

{sdp()}"""

_TELEPHONE = f"""INVITE tel:+1-201-555-0123;phone-context=example.com SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bK-[pid]-1;rport
From: <tel:+1-201-555-0100>;tag=[pid]a[call_number]
To: <tel:+1-201-555-0123;phone-context=example.com>
Call-ID: [call_id]
CSeq: 1 INVITE
Max-Forwards: 70
Contact: <sip:alice@[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

{sdp()}"""

_IPV6 = f"""INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [loopback]:[local_port];branch=z9hG4bK-[pid]-1;rport
From: <sip:alice@[far]>;tag=[pid]a[call_number]
To: <sip:[service]@[farther]:5070>
Call-ID: [call_id]
CSeq: 1 INVITE
Max-Forwards: 70
Contact: <sip:alice@[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

{sdp()}"""


def _normalised(result: CallResult) -> Message:
    """The INVITE that the called side got. Its header fields must have their long names, each once, and no fold."""
    message = result.called[0].first("INVITE")
    names = [name for name, _ in message.fields]
    for name in ("Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Contact", "Content-Type", "Content-Length"):
        assert names.count(name) == 1, name
    number, method = message["CSeq"].split()
    assert (int(number), method) == (1, "INVITE")
    assert message["Max-Forwards"] == "69"
    assert not any(name[:1] in " \t" or name != name.strip() for name in names)
    return message


def _compact(result: CallResult) -> None:
    message = _normalised(result)
    assert (message["Supported"], message["Subject"]) == ("timer, replaces", "short")
    ok = result.caller.first(200)
    assert (ok["Supported"], ok["Subject"], ok["Content-Type"]) == ("timer", "shorter", "application/sdp")


def _folded(result: CallResult) -> None:
    message = _normalised(result)
    assert message["Subject"] == "one two three"
    assert re.fullmatch(r'"Alice of old" <sip:alice@example\.org> ;tag=[0-9]+a1', message["From"])


def _spaced(result: CallResult) -> None:
    message = _normalised(result)
    assert message["Subject"] == ""
    assert message["From"].startswith('"A\\"l, ice;" <sip:alice@example.org>')
    assert "a;b , c" in message["To"]


def _unknown(result: CallResult) -> None:
    for message in (result.called[0].first("INVITE"), result.caller.first(200)):
        names = [line.partition(":")[0] for line in _UNKNOWN]
        assert [f"{name}: {value}" for name, value in message.fields if name in names] == list(_UNKNOWN)


def _method(result: CallResult) -> None:
    message = result.called[0].first("FROBNICATE")
    assert message["CSeq"] == "2 FROBNICATE"
    assert message["Zeta"] == "1"
    assert message.body.split() == ["any", "words"]
    assert result.caller.first(299).start == "SIP/2.0 299 Frobnicated"


def _refused_method(result: CallResult) -> None:
    assert "INVITE" in result.caller.first(405)["Allow"]
    assert "WIBBLE" not in result.caller.first(405)["Allow"]


def _parts(result: CallResult) -> None:
    message = result.called[0].first("INFO")
    assert message["Content-Type"] == _MIXED
    assert message.body.strip() == _PARTS.replace("\n", "\r\n")


def _offer_in_parts(result: CallResult) -> None:
    for message in (result.called[0].first("INVITE"), result.caller.first(200)):
        assert message["Content-Type"] == _MIXED
        assert message.body.startswith(_ISUP_PART.replace("\n", "\r\n"))
        assert message.body.count("v=0") == 1
        assert "s=-" in message.body


def _long(result: CallResult) -> None:
    for message in (result.called[0].first("INVITE"), result.caller.first(200)):
        assert len(message.text) > 21_000
        assert [f"{name}: {value}" for name, value in message.fields if name.startswith("Filling")] == list(_FILLING)


def _telephone(result: CallResult) -> None:
    message = _normalised(result)
    assert message.start == "INVITE tel:+1-201-555-0123;phone-context=example.com SIP/2.0"
    assert message["From"].startswith("<tel:+1-201-555-0100>;tag=")


def _ipv6(result: CallResult) -> None:
    message = _normalised(result)
    assert "[2001:DB8::1]" in message["From"]
    assert message["To"].endswith("@[2001:db8:0::2]:5070>")
    assert "::1" not in message["Via"] + message["Contact"] + message.body
    assert "received=::1" in result.caller.first(200)["Via"]


def _call(
    name: str, proves: str, first: str, check: Callable[[CallResult], None], last: str = "", **settings: Any
) -> CallCase:
    """A usual call whose INVITE is ``first`` and, if given, whose 200 is ``last``."""
    called = (taken(), send(last) if last else answer(200, body=sdp()), take("ACK"), hung_up())
    caller = (send(first), wait(200, keep=True), ack(), bye())
    return CallCase(name, proves, caller, (called,), check, **settings)


CASES = (
    _call("compact", "compact header names are understood, in requests and responses", _COMPACT, _compact,
          last=_COMPACT_ANSWER),
    _call("folded", "a header field may be folded wherever it may have white space", _FOLDED, _folded),
    _call("spaced", "extra white space and another case of names change nothing", _SPACED, _spaced),
    _call("telephone", "a tel: URI is routed by its number, and forwarded unchanged", _TELEPHONE, _telephone,
          user=r"^\+1201555"),
    _call("ipv6", "an IPv6 caller writes its addresses in any form", _IPV6, _ipv6, ipv6=True, arguments=(
        "-key", "loopback", "[0:0:0:0:0:0:0:1]", "-key", "far", "[2001:DB8::1]", "-key", "farther", "[2001:db8:0::2]")),
    CallCase(
        "unknown-fields",
        "unknown header fields pass in their order, in both directions",
        (invite(*_UNKNOWN), wait(200, keep=True), ack(), bye()),
        ((taken(), answer(200, *_UNKNOWN, body=sdp()), take("ACK"), hung_up()),),
        _unknown,
    ),
    CallCase(
        "unknown-method",
        "an unknown method that the policy allows passes with its body, and so does an unknown status",
        (
            invite(), wait(200, keep=True), ack(),
            request("FROBNICATE", 2, "Zeta: 1", body="any words", kind="text/plain"), take(299), bye(3),
        ),
        ((
            taken(), answer(200, body=sdp()), take("ACK"),
            take("FROBNICATE"), reply(299, reason="Frobnicated"), hung_up(),
        ),),
        _method,
    ),
    CallCase(
        "refused-method",
        "a method that the policy does not name gets a 405, which lists the methods that it does",
        (send(_COMPACT.replace("INVITE", "WIBBLE")), take(405)),
        check=_refused_method,
        outcomes="",
    ),
    CallCase(
        "parts",
        "a multipart body in INFO passes byte for byte",
        (invite(), wait(200, keep=True), ack(), request("INFO", 2, body=_PARTS, kind=_MIXED), take(200), bye(3)),
        ((taken(), answer(200, body=sdp()), take("ACK"), take("INFO"), reply(200), hung_up()),),
        _parts,
    ),
    CallCase(
        "offer-in-parts",
        "an offer in a multipart body goes to the relay, and the ISUP of a trunk beside it crosses as it is",
        (invite(body=_OFFER_IN_PARTS, kind=_MIXED), wait(200, keep=True), ack(), bye()),
        ((taken(), answer(200, body=_OFFER_IN_PARTS, kind=_MIXED), take("ACK"), hung_up()),),
        _offer_in_parts,
    ),
    CallCase(
        "two-offers-in-parts",
        "two offers in a multipart body get 488: no answer could say which of them it is for",
        (invite(body=f"{_SDP_PART}\n{_SDP_PART}\n--part--", kind=_MIXED), refused(488)),
        outcomes="no-media",
    ),
    CallCase(
        "long",
        "21 kilobytes of header fields pass over TCP, in both directions",
        (invite(*_FILLING), wait(200, keep=True), ack(), bye()),
        ((taken(), answer(200, *_FILLING, body=sdp()), take("ACK"), hung_up()),),
        _long,
        transport="t1",
        member_transport="t1",
    ),
)  # fmt: skip
