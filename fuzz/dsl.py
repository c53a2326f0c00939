"""The letters of a program for the signalling core, and the fields, bodies and messages that they stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from edgesbc.sip.message import Request, Response

__all__ = [
    "ANSWER_FIELDS", "BODIES", "DELAYS", "METHODS", "REQUEST_FIELDS", "URIS", "VICTIM", "DslPolicy",
    "build_hop_by_hop", "build_request", "build_response", "lookup", "parse_policy", "unescape",
]  # fmt: skip

VICTIM: Final = "198.51.100.200"
"""An address that messages name and no peer has: the edge must never send to it."""

METHODS: Final = {
    "I": "INVITE", "A": "ACK", "C": "CANCEL", "B": "BYE", "O": "OPTIONS", "R": "REGISTER", "P": "PRACK",
    "U": "UPDATE", "N": "INFO", "F": "REFER", "S": "SUBSCRIBE", "Y": "NOTIFY", "M": "MESSAGE", "X": "FROBNICATE",
}  # fmt: skip

DELAYS: Final = {
    "0": 0.0, "1": 0.1, "2": 0.25, "3": 0.5, "4": 2.1, "5": 5.0, "6": 32.1, "7": 186.0, "8": 601.0, "9": 4 * 3600.0,
}  # fmt: skip
"""Seconds to wait; ``9`` is the longest call."""

URIS: Final = {
    "0": "sip:100@192.0.2.1", "1": "sip:100@192.0.2.1:5060;transport=udp", "e": "sip:192.0.2.1",
    "d": "sip:100@example.com", "v": f"sip:100@{VICTIM}", "m": f"sip:100@192.0.2.1;maddr={VICTIM}",
    "t": "tel:+15550123", "s": "sips:100@example.com", "u": "mailto:a@example.com", "i": "sip:10.0.0.1:5060",
    "x": "sip:%00%0d%0a@example.com", "6": "sip:100@[2001:db8::1]:5062",
}  # fmt: skip
"""Request-URIs of requests outside of a dialog; ``k`` is the Contact that the edge gave to the peer, and ``K`` one that
it gave to another peer."""

REQUEST_FIELDS: Final = {
    "-": "",
    "o": "",
    "O": "",
    "M": "",
    "r": f"Route: <sip:{VICTIM};lr>\r\n",
    "R": "Route: <sip:10.0.0.1;lr>\r\n",
    "c": f"Record-Route: <sip:{VICTIM};lr>\r\n",
    "p": "Proxy-Require: frobnicate\r\n",
    "0": "Max-Forwards: 0\r\n",
    "1": "Max-Forwards: 1\r\n",
    "q": "Require: 100rel\r\nSupported: replaces, timer\r\n",
    "v": f"Via: SIP/2.0/UDP {VICTIM};branch=z9hG4bKup\r\nVia: SIP/2.0/TCP [2001:db8::2]\r\n",
    "V": f"Via: SIP/2.0/UDP {VICTIM}\r\n" * 69,
    "W": f"Via: SIP/2.0/UDP {VICTIM}\r\n" * 70,
    "P": "Replaces: call2;to-tag=t1;from-tag=trunk2\r\n",
    "a": "P-Asserted-Identity: <sip:boss@example.org>\r\nRemote-Party-ID: <sip:boss@10.0.0.7>\r\n",
    "h": "Diversion: <sip:10.0.0.7>\r\nHistory-Info: <sip:10.0.0.7>\r\nX-Inside: 10.0.0.7\r\n"
    "Alert-Info: <http://10.0.0.7/a>\r\nP_Asserted_Identity: <sip:10.0.0.7>\r\nSession_Expires: 90\r\n",
    "b": "Max-Breadth: 1\r\n",
    "B": "Max-Breadth: 0\r\n",
    "u": "User-Agent: friendly-scanner\r\n",
    "U": "User-Agent: Phone/1.0\r\nServer: Inside/1.0\r\nWarning: 399 10.0.0.7 x\r\nCall-Info: <sip:10.0.0.7>\r\n",
    "A": 'Authorization: Digest username="bob", realm="r", nonce="n", uri="u", response="r"\r\n',
    "S": "Path: <sip:10.0.0.7;lr>\r\nService-Route: <sip:10.0.0.7;lr>\r\nSupported: path\r\n",
    "z": "Subject: one\r\n two\r\ns: again\r\nSubject : \xff\r\n",
    "E": "Expires: 0\r\n",
    "n": "RAck: 1 1 INVITE\r\n",
    "f": f"Refer-To: <sip:{VICTIM}?Replaces=call1>\r\nReferred-By: <sip:x@{VICTIM}>\r\n",
    "F": "Refer-To: <sip:200@10.0.0.11>\r\nReferred-By: <sip:x@10.0.0.1>\r\n",
    "G": "Refer-To: <sip:pbx@10.0.0.11?Replaces=call1>\r\nReferred-By: sip:10.0.0.12\r\n",
    "d": "CSeq: 7 INFO\r\n",
    "l": "Content-Encoding: gzip\r\nContent-Disposition: session;handling=required\r\nTimestamp: 54 .1\r\n",
}
"""Header fields in addition to those that a request needs; ``o``, ``O`` and ``M`` change its Via instead. ``T`` is the
last Path as Route, and ``t`` the Contact of a dialog of another peer in Refer-To."""

ANSWER_FIELDS: Final = {
    "-": "",
    "r": "Record-Route: <sip:{host}:{port};lr>\r\n",
    "R": "Record-Route: <sip:10.0.0.77:5077;lr>\r\nRecord-Route: <sip:{host}:{port};lr>\r\n",
    "N": "Record-Route: <sip:inside.example;lr>\r\n",
    "q": "Require: 100rel\r\nRSeq: 1\r\n",
    "x": "Server: Inside/1.0\r\nX-Secret: 10.0.0.7\r\nP-Charging-Vector: 10.0.0.7\r\nWarning: 399 10.0.0.7 x\r\n",
    "i": "P-Asserted-Identity: <sip:10.0.0.7>\r\nCall-Info: <sip:10.0.0.7>\r\nError-Info: <sip:10.0.0.7>\r\n",
    "w": 'WWW-Authenticate: Digest realm="inside"\r\nProxy-Authenticate: Digest realm="inside"\r\n',
    "t": "Retry-After: 3600\r\n",
    "P": "Path: <sip:10.0.0.7;lr>\r\nService-Route: <sip:10.0.0.7;lr>\r\n",
    "b": "Contact: <sip:other@10.0.0.7>;expires=600\r\n",
    "v": f"Via: SIP/2.0/UDP {VICTIM};branch=z9hG4bKdown\r\n",
}
"""Header fields in addition to those that a response needs; ``{host}`` and ``{port}`` are its sender's."""

_SDP = "v=0\r\no=- 1 {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 8\r\n"
BODIES: Final = {
    "-": ("", ""),
    "s": ("application/sdp", _SDP.format(version=1, host="{host}", port=4000)),
    "S": ("application/sdp", _SDP.format(version=2, host="{host}", port=4002) + "a=sendonly\r\n"),
    "2": ("application/sdp", _SDP.format(version=3, host="{host}", port=4000) + "m=video 4004 RTP/AVP 96\r\n"),
    "i": ("Application / SDP ;x=y", _SDP.format(version=1, host="{host}", port=4000)
          + "a=candidate:1 1 UDP 1 {host} 4000 typ host\r\na=rtcp:4001 IN IP4 {host}\r\n"),
    "l": ("application/sdp", _SDP.format(version=1, host="127.0.0.1", port=4000)),
    "e": ("application/sdp", _SDP.format(version=1, host="203.0.113.10", port=30002)),
    "m": ("multipart/mixed;boundary=x", "--x\r\nContent-Type: application/sdp\r\n\r\n"
          + _SDP.format(version=1, host="{host}", port=4000) + "--x--\r\n"),
    "M": ("multipart/mixed;boundary=x", "--x\r\nContent-Type: application/ISUP\r\n\r\n{host}\r\n--x\r\n"
          "Content-Type: application/sdp\r\n\r\n" + _SDP.format(version=1, host="{host}", port=4000) + "\r\n--x--\r\n"),
    "D": ("multipart/alternative;boundary=x", ("--x\r\nContent-Type: application/sdp\r\n\r\n"
          + _SDP.format(version=1, host="{host}", port=4000) + "\r\n") * 2 + "--x--\r\n"),
    "N": ('multipart/mixed;boundary="x y"', "v=0\r\n--x y\r\nContent-Type: multipart/alternative;boundary=z\r\n"
          "Content-Disposition: session;handling=required\r\n\r\n--z\r\nContent-Type: Application/SDP\r\n"
          "Content-Disposition: early-session\r\n\r\n" + _SDP.format(version=1, host="{host}", port=4000)
          + "\r\n--z\r\nContent-Type: application/sdp;x=y\r\n\r\n" + _SDP.format(version=2, host="{host}", port=4002)
          + "\r\n--z--\r\n--x y\r\n\r\n{host}\r\n--x y--\r\nv=0\r\n"),
    "n": ("", _SDP.format(version=1, host="{host}", port=4000)),
    "b": ("application/sdp", "v=0\r\nm=audio -1 RTP/AVP\r\n"),
    "x": ("text/plain", "SIP/2.0 200 OK\r\n\r\n{host}"),
}  # fmt: skip
"""Content-Type and body; ``{host}`` is the sender's address."""


class DslPolicy(NamedTuple):
    """The policy of a program. ``fuzz.signalling`` explains the letters of the first line, which choose it."""

    anchor: bool = True
    algorithm: str = "priority"
    members: str = "12"
    media_at_once: bool = True
    limited: bool = False
    probes: bool = False
    every_method: bool = False


_ALGORITHMS = {
    "p": "priority", "b": "broadcast", "w": "weighted", "h": "hash", "l": "least-loaded", "r": "round-robin",
}  # fmt: skip
_Value = TypeVar("_Value")


def lookup(table: Mapping[str, _Value], letter: str) -> _Value:
    """The value of the letter. Other characters stand for some value too, so that any bytes are a program."""
    if letter in table:
        return table[letter]
    values = list(table.values())
    return values[ord(letter[0]) % len(values)] if letter else values[0]


def parse_policy(line: str) -> DslPolicy:
    """The policy that the first line of a program chooses."""
    letters = line.replace(" ", "")
    members = "".join(dict.fromkeys(letter for letter in letters if letter in "123")) or "12"
    return DslPolicy(
        anchor="a" in letters,
        algorithm=lookup(_ALGORITHMS, next((letter for letter in letters if letter in _ALGORITHMS), "p")),
        members=members,
        media_at_once="o" not in letters,
        limited="L" in letters,
        probes="H" in letters,
        every_method="M" in letters,
    )


_ESCAPE = re.compile(r"\\(?:([rnt\\])|x([0-9A-Fa-f]{2}))")
_ESCAPED = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


def unescape(tail: str) -> str:
    """The tail of a line with its escapes resolved: CR, LF and unprintable bytes are written as in Python."""
    return _ESCAPE.sub(lambda match: _ESCAPED[match[1]] if match[1] else chr(int(match[2], 16)), tail)


def build_request(
    method: str, uri: str, via: str, from_: str, to: str, call_id: str, cseq: int, contact: str, extra: str,
    body: tuple[str, str], host: str,
) -> bytes:  # fmt: skip
    """Build a request; ``extra`` has Max-Forwards or CSeq if they are to differ from the usual ones."""
    content_type, text = body
    payload = text.replace("{host}", host)
    lines = [f"{method} {uri} SIP/2.0", f"Via: {via}", f"From: {from_}", f"To: {to}", f"Call-ID: {call_id}"]
    lines.append(f"CSeq: {cseq} {method}")
    if contact:
        lines.append(f"Contact: {contact}")
    if "Max-Forwards" not in extra:
        lines.append("Max-Forwards: 70")
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    return _bytes(lines, extra, payload)


def build_response(
    to_request: Request, status: int, tag: str, contacts: Sequence[str], extra: str, body: tuple[str, str], host: str
) -> bytes:
    """Build a response to a request, without a To tag if ``tag`` is empty."""
    content_type, text = body
    lines = [f"SIP/2.0 {status} Reason"]
    lines += [f"{name}: {value}" for name, value in to_request.fields if name in ("Via", "From", "Call-ID", "CSeq")]
    to = to_request.get("To") or ""
    lines.append(f"To: {to}" if to_request.to_tag or not tag else f"To: {to};tag={tag}")
    lines += [f"Contact: {contact}" for contact in contacts]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    return _bytes(lines, extra, text.replace("{host}", host))


def build_hop_by_hop(method: str, of: Request, response: Response | None) -> bytes:
    """Build the CANCEL of a request, or the ACK of its refusal (RFC 3261 sections 9.1 and 17.1.1.3)."""
    to = (response.get("To") if response is not None and method == "ACK" else None) or of.get("To")
    lines = [f"{method} {of.uri} SIP/2.0", f"Via: {of.get('Via')}", f"From: {of.get('From')}", f"To: {to}"]
    lines += [f"Route: {route}" for route in of.get_all("Route")]
    lines += [f"Call-ID: {of.call_id}", f"CSeq: {of.cseq} {method}", "Max-Forwards: 70"]
    return _bytes(lines, "", "")


def _bytes(lines: list[str], extra: str, body: str) -> bytes:
    payload = body.encode("utf-8", "surrogateescape")
    head = "\r\n".join(lines) + f"\r\n{extra}Content-Length: {len(payload)}\r\n\r\n"
    return head.encode("utf-8", "surrogateescape") + payload
