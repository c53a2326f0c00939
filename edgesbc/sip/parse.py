"""Bytes to messages (RFC 3261 section 7): one whole datagram or framed message in, one value out.

What cannot be read one way only is refused, because what the edge screens and what the far side reads
must be the same message.
"""

from __future__ import annotations

from typing import Final

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.headers import parse_cseq, parse_via, split_list
from edgesbc.sip.message import Fields, Request, Response
from edgesbc.sip.uri import Uri, parse_uri
from edgesbc.sip.values import parse_content_length, parse_max_forwards

__all__ = ["is_sip", "parse_message", "salvage"]

# Every byte that may stand in a header block, apart from CR and LF: tab, printable ASCII, UTF-8.
_TEXT: Final = bytes([9, *range(32, 127), *range(128, 256)])


def parse_message(data: bytes) -> Request | Response:
    """Read one SIP message.

    Bytes after the body that Content-Length announces are ignored, as RFC 3261 section 18.3 asks for a
    datagram. Raises :class:`WireError`, whose ``status_hint`` answers a request where that is possible.
    """
    if data[:2] == b"\r\n":
        data = _skip_empty_lines(data)
    end = data.find(b"\r\n\r\n", 0, limits.HEADER_BLOCK_BYTES + 4)
    if end < 0:
        if len(data) > limits.HEADER_BLOCK_BYTES + 3:
            raise WireError("the header fields are too long", 513)
        raise WireError("no blank line ends the header fields")
    lines = _split_lines(data[:end])
    start = lines[0].split(" ", 2)
    if len(start) != 3:
        raise WireError("the start line has not three parts")
    fields, first = _parse_fields(lines)
    body = _body(data, end + 4, fields, first)
    try:
        via, call_id = parse_via(first["Via"]), first["Call-ID"]
        number, method = parse_cseq(first["CSeq"])
        if not grammar.call_id(call_id):
            raise WireError("Call-ID is malformed")
        if start[0][:4] == "SIP/":
            return Response(*_status_line(start), fields, first, body, via, call_id, number, method)
        uri = _request_line(start)
        if method != start[0]:
            raise WireError("the method of CSeq is not that of the request line")
        hops = first.get("Max-Forwards")
        left = None if hops is None else parse_max_forwards(hops)
        return Request(start[0], uri, fields, first, body, via, call_id, number, method, left)
    except KeyError as missing:
        raise WireError(f"{missing.args[0]} is missing") from None


def _skip_empty_lines(data: bytes) -> bytes:
    """What follows the empty lines that may stand before a start line (section 7.5)."""
    rest = data.lstrip(b"\r\n")
    skipped = len(data) - len(rest)
    if data[:skipped] != b"\r\n" * (skipped // 2):
        raise WireError("a CR or LF stands by itself before the start line")
    return rest


def _split_lines(head: bytes) -> list[str]:
    """The header block as unfolded lines without control bytes."""
    text = head.decode("utf-8", "surrogateescape")
    lines = text.split("\r\n")
    # What is left after taking out all text must be the line ends that the lines were split at.
    if len(head.translate(None, _TEXT)) != 2 * (len(lines) - 1):
        raise WireError("the header fields have a control byte, or a CR or LF by itself")
    if grammar.fold.search(head):
        lines = _unfold(lines)
    if len(lines) > limits.HEADER_FIELDS + 1:
        raise WireError("the message has too many header fields", 513)
    if len(head) > limits.START_LINE_BYTES and _size(lines[0]) > limits.START_LINE_BYTES:
        raise WireError("the start line is too long", 414)
    if len(head) > limits.HEADER_FIELD_BYTES and max(map(_size, lines)) > limits.HEADER_FIELD_BYTES:
        raise WireError("a header field is too long", 513)
    return lines


def _size(line: str) -> int:
    return len(line.encode("utf-8", "surrogateescape"))


def _unfold(lines: list[str]) -> list[str]:
    """Join continuation lines with one space (section 7.3.1)."""
    unfolded: list[list[str]] = []
    for line in lines:
        if line[:1] not in (" ", "\t"):
            unfolded.append([line])
        elif len(unfolded) < 2:
            raise WireError("a line is folded into the start line")
        elif ":" not in unfolded[-1][0]:
            raise WireError("a line is folded between the name of a header field and its colon")
        else:
            unfolded[-1].append(line.strip(" \t"))
    return [" ".join(parts) for parts in unfolded]


def _parse_fields(lines: list[str]) -> tuple[Fields, dict[str, str]]:
    fields: Fields = []
    first: dict[str, str] = {}
    canonical, listed = grammar.CANONICAL, grammar.LISTED
    lines_after_start = iter(lines)
    next(lines_after_start)
    for line in lines_after_start:
        written, colon, value = line.partition(":")
        name = (colon and canonical.get(written)) or _name(written, colon)
        value = value.strip(" \t")
        if name in listed and ("," in value or not value):
            values = split_list(value)
            fields += [(name, part) for part in values]
            value = values[0]
        else:
            fields.append((name, value))
        if name not in first:
            first[name] = value
        elif name in grammar.SINGLE:
            raise WireError(f"{name} stands twice")
    if len(fields) > limits.HEADER_FIELDS:
        raise WireError("the message has too many header fields", 513)
    return fields, first


def _name(written: str, colon: str) -> str:
    """The canonical form of a name that is not in the table as it is written."""
    name = written.rstrip(" \t")  # HCOLON allows space before the colon; the serialised form has none
    if not colon or not grammar.token(name):
        raise WireError("a header field has no name")
    return grammar.CANONICAL.get(name) or grammar.CANONICAL.get(name.lower()) or name


def _body(data: bytes, start: int, fields: Fields, first: dict[str, str]) -> bytes:
    """The body; Content-Length, which belongs to the framing, leaves the header fields."""
    announced = first.pop("Content-Length", None)
    if announced is None:
        if len(data) > limits.MESSAGE_BYTES:
            raise WireError("the body is too large", 413)
        return data[start:]
    if fields[-1][0] == "Content-Length":
        fields.pop()
    else:
        fields[:] = [pair for pair in fields if pair[0] != "Content-Length"]
    length = parse_content_length(announced)
    if length > limits.MESSAGE_BYTES - start:
        raise WireError("the body is too large", 413)
    if length > len(data) - start:
        raise WireError("the body is shorter than Content-Length says")
    return data[start : start + length]


def _status_line(start: list[str]) -> tuple[int, str]:
    version, status, text = start
    if version != "SIP/2.0":
        raise WireError("the version is not SIP/2.0", 505)
    if not (len(status) == 3 and status.isascii() and status.isdigit() and "1" <= status[0] <= "6"):
        raise WireError("the status is not a number from 100 to 699")
    return int(status), text


def _request_line(start: list[str]) -> Uri:
    method, uri, version = start
    if version != "SIP/2.0":
        if version[:4].upper() != "SIP/" or " " in version or not version.isascii():
            raise WireError("the request line is malformed")
        if version.upper() != "SIP/2.0":
            raise WireError("the version is not SIP/2.0", 505)
    if not grammar.token(method):
        raise WireError("the method is not a token")
    parsed = parse_uri(uri)
    if parsed.headers:
        raise WireError("a Request-URI has no header fields")  # section 19.1.1, table 1
    return parsed


def is_sip(start_line: bytes) -> bool:
    """Whether a start line says that SIP follows, in whatever version and however malformed it is otherwise.

    What does not is the word of another protocol: to answer it could only teach or serve an attacker, such as
    a page that has a browser send what it likes to any port.
    """
    return b"SIP/" in (start_line[:4].upper(), start_line.rstrip(b" \t").rpartition(b" ")[2][:4].upper())


def salvage(data: bytes) -> Fields | None:
    """The fields that an answer to a malformed request repeats (RFC 3261 section 8.2.6.2), those that are there.

    Each value is a line of clean text, however malformed: it says to its sender what it sent. None for
    what must not be answered, responses and ACK, for what is not SIP, and for what has no Via and CSeq: by
    these a client knows its transaction (section 17.1.3).
    """
    data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n")
    head = data[: end if end >= 0 else len(data)][: limits.HEADER_BLOCK_BYTES]
    head = grammar.fold.sub(b" ", head)
    lines = head.split(b"\r\n")
    if head[:4].upper() == b"SIP/" or head[:4] == b"ACK " or not is_sip(lines[0]):
        return None
    fields: Fields = []
    found: set[str] = set()
    for line in lines[1 : limits.HEADER_FIELDS]:
        if line.translate(None, _TEXT):
            continue
        written, _, value = line.decode("utf-8", "surrogateescape").partition(":")
        written = written.rstrip(" \t")
        name = grammar.CANONICAL.get(written) or grammar.CANONICAL.get(written.lower())
        if name == "Via" or (name in ("From", "To", "Call-ID", "CSeq") and name not in found):
            found.add(name)
            fields.append((name, value.strip(" \t")))
    return fields if "Via" in found and "CSeq" in found else None
