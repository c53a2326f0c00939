"""The parser of messages (RFC 3261 section 7): one datagram or framed message in, one value out.

Whatever two implementations could read in different ways is refused: the message that is screened here and the message
that the next hop reads must be the same.
"""

from __future__ import annotations

from typing import Final

from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.fields import Fields
from edgesbc.sip.headers import parse_name_addr, split_list
from edgesbc.sip.limits import DEFAULT_LIMITS, Limits
from edgesbc.sip.message import Request, Response
from edgesbc.sip.uri import Uri, parse_uri
from edgesbc.sip.values import parse_content_length

__all__ = ["is_sip", "parse_message", "salvage", "salvage_response"]

# Every byte that may stand in a header block, apart from CR and LF: tab, printable ASCII, UTF-8.
_TEXT: Final = bytes([9, *range(32, 127), *range(128, 256)])


def parse_message(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Request | Response:
    """Parse one SIP message: a datagram, or what :class:`~edgesbc.sip.framing.StreamFramer` returned.

    Bytes after the body that Content-Length announces are ignored, as RFC 3261 section 18.3 asks for a
    datagram. Raises :class:`WireError`, whose ``status_hint`` answers a request where that is possible.
    """
    if data[:2] == b"\r\n":
        data = _skip_empty_lines(data)
    try:
        return _parse(data, limits)
    except WireError:
        check_version(data, limits)  # not before: what was parsed is of version 2.0
        raise


def _parse(data: bytes, limits: Limits) -> Request | Response:
    end = data.find(b"\r\n\r\n", 0, limits.header_block_bytes + 4)
    if end < 0:
        if len(data) > limits.header_block_bytes + 3:
            raise WireError("the header fields are too long", 513)
        raise WireError("no blank line ends the header fields")
    lines = _split_lines(data[:end], limits)
    start = lines[0].split(" ", 2)
    if len(start) != 3:
        raise WireError("the start line has not three parts")
    fields = _parse_fields(lines, limits)
    body = _body(data, end + 4, fields, limits)
    if start[0][:4] == "SIP/":
        status, phrase = _status_line(start)
        return Response(status, fields, body, phrase, True)
    return Request(start[0], _request_line(start), fields, body, True)


def check_version(data: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise :class:`WireError` with 505 for a start line of another version of SIP, however malformed the rest is.

    The rules for the rest are those of version 2.0 (RFC 3261 sections 7.1 and 21.5.6).
    """
    line = data[: max(0, data.find(b"\r\n", 0, limits.start_line_bytes + 2))]
    if line[-8:] == b" SIP/2.0" or line[:8] == b"SIP/2.0 ":
        return
    for version in (line.partition(b" ")[0], line.rpartition(b" ")[2]):
        if version[:4].upper() == b"SIP/" and version.upper() != b"SIP/2.0":
            raise WireError("the version is not SIP/2.0", 505)


def _skip_empty_lines(data: bytes) -> bytes:
    """``data`` without the empty lines that may stand before a start line (section 7.5)."""
    rest = data.lstrip(b"\r\n")
    skipped = len(data) - len(rest)
    if data[:skipped] != b"\r\n" * (skipped // 2):
        raise WireError("a CR or LF stands by itself before the start line")
    return rest


def _split_lines(head: bytes, limits: Limits) -> list[str]:
    """The header block as unfolded lines without control bytes."""
    text = head.decode("utf-8", "surrogateescape")
    lines = text.split("\r\n")
    # What is left after taking out all text must be the line ends that the lines were split at.
    if len(head.translate(None, _TEXT)) != 2 * (len(lines) - 1):
        raise WireError("the header fields have a control byte, or a CR or LF by itself")
    if len(lines) > limits.header_lines:
        raise WireError("the header fields have too many lines", 513)
    if min(lines) < "!":  # a space or tab begins a line: it stands before all that begin with a name
        lines = _unfold(lines)
    if len(lines) > limits.header_fields + 1:
        raise WireError("the message has too many header fields", 513)
    if len(head) > limits.start_line_bytes and _size(lines[0]) > limits.start_line_bytes:
        raise WireError("the start line is too long", 414)
    if len(head) > limits.header_field_bytes and max(map(_size, lines)) > limits.header_field_bytes:
        raise WireError("a header field is too long", 513)
    return lines


def _size(line: str) -> int:
    return len(line.encode("utf-8", "surrogateescape"))


def _unfold(lines: list[str]) -> list[str]:
    """Join continuation lines with one space (section 7.3.1)."""
    unfolded: list[list[str]] = []
    for line in lines:
        if line[:1] not in (" ", "\t") or not unfolded:
            unfolded.append([line])
        elif len(unfolded) < 2:
            raise WireError("a line is folded into the start line")
        elif ":" not in unfolded[-1][0]:
            raise WireError("a line is folded between the name of a header field and its colon")
        else:
            unfolded[-1].append(line.strip(" \t"))
    return [" ".join(parts) for parts in unfolded]


def _parse_fields(lines: list[str], limits: Limits) -> Fields:
    fields: Fields = []
    canonical, listed = grammar.CANONICAL, grammar.LISTED
    lines_after_start = iter(lines)
    next(lines_after_start)
    for line in lines_after_start:
        written, separator, value = line.partition(": ")
        name = canonical.get(written) if separator else None
        if name is None:  # it is not in the usual form
            written, separator, value = line.partition(":")
            name = (separator and canonical.get(written)) or _name(written, separator)
        value = value.strip(" \t")
        if name in listed and ("," in value or not value):
            fields += [(name, part) for part in split_list(value, limits.header_fields)]
        else:
            fields.append((name, value))
    if len(fields) > limits.header_fields:
        raise WireError("the message has too many header fields", 513)
    return fields


def _name(written: str, colon: str) -> str:
    """The canonical form of a name that is not in the table as it is written."""
    name = written.rstrip(" \t")  # HCOLON allows space before the colon; the serialised form has none
    if not colon or not grammar.token(name):
        raise WireError("a header field has no name")
    return grammar.CANONICAL.get(name) or grammar.CANONICAL.get(name.lower()) or name


def _body(data: bytes, start: int, fields: Fields, limits: Limits) -> bytes:
    """The body; takes Content-Length, which belongs to the framing, out of ``fields``."""
    if fields and fields[-1][0] == "Content-Length":  # where most senders write it
        announced: str | None = fields.pop()[1]
    else:
        announced = _take_content_length(fields)
    if announced is None:
        if len(data) > limits.message_bytes:
            raise WireError("the body is too large", 413)
        return data[start:]
    length = parse_content_length(announced)
    if length > limits.message_bytes - start:
        raise WireError("the body is too large", 413)
    if length > len(data) - start:
        raise WireError("the body is shorter than Content-Length says")
    return data[start : start + length]


def _take_content_length(fields: Fields) -> str | None:
    """The first Content-Length, taken out; a second one stays, and the message is refused for it."""
    for number, (name, value) in enumerate(fields):
        if name == "Content-Length":
            del fields[number]
            return value
    return None


def _status_line(start: list[str]) -> tuple[int, str]:
    version, status, text = start
    if version != "SIP/2.0":
        raise WireError("the status line is malformed")
    if not (len(status) == 3 and status.isascii() and status.isdigit() and "1" <= status[0] <= "6"):
        raise WireError("the status is not a number from 100 to 699")
    return int(status), text


def _request_line(start: list[str]) -> Uri:
    method, uri, version = start
    if version != "SIP/2.0" and (not version.isascii() or version.upper() != "SIP/2.0"):
        raise WireError("the request line is malformed")
    if not grammar.token(method):
        raise WireError("the method is not a token")
    parsed = parse_uri(uri)
    if parsed.headers:
        raise WireError("a Request-URI has no header fields")  # section 19.1.1, table 1
    return parsed


def is_sip(start_line: bytes) -> bool:
    """Whether a start line is one of SIP, of any version and however malformed otherwise.

    Anything else belongs to another protocol and is not answered: an answer would help only an attacker, such as a
    web page that makes a browser send bytes of its choice to any port.
    """
    return b"SIP/" in (start_line[:4].upper(), start_line.rstrip(b" \t").rpartition(b" ")[2][:4].upper())


def salvage(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Fields | None:
    """The fields of a malformed request that an answer to it repeats (RFC 3261 section 8.2.6.2), as far as it has them.

    Each value is one line of text without control characters; it may be malformed otherwise. None where no answer
    may be sent: for a response, for ACK, for what is not SIP, and without Via and CSeq, by which a client finds
    its transaction (section 17.1.3).
    """
    lines = _salvaged_lines(data, limits)
    if lines[0][:4].upper() == b"SIP/" or lines[0][:4] == b"ACK " or not is_sip(lines[0]):
        return None
    fields = _salvaged_fields(lines, _REPEATED_BY_ANSWERS)
    names = {name for name, _ in fields}
    return fields if "Via" in names and "CSeq" in names else None


def salvage_response(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Response | None:
    """What a malformed response says of its transaction and its dialog: status, the fields that every message has,
    Contact and Record-Route. None where one that every message has, or the status, cannot be read.

    It is for ending what the response has set up, and not for forwarding: anything else, the body included, is left
    out, and of a field that stands twice the second one.
    """
    lines = _salvaged_lines(data, limits)
    start = [*lines[0].decode("ascii", "replace").split(" ", 2), "", ""]
    fields = _salvaged_fields(lines, _OF_DIALOGS)
    try:
        status, _ = _status_line(start[:3])
        via = [split_list(value, limits.header_fields)[0] for name, value in fields if name == "Via"][:1]
        routes = [pair for name, value in fields if name == "Record-Route" for pair in _addresses(name, value, limits)]
        contacts = [pair for name, value in fields if name == "Contact" for pair in _addresses(name, value, limits)]
        others = [pair for pair in fields if pair[0] not in _LISTS]
        head = [("Via", value) for value in via]
        return Response(status, [*head, *others, *routes, *contacts[:1]], b"", "", True)
    except WireError:
        return None


_REPEATED_BY_ANSWERS: Final = frozenset({"Via", "From", "To", "Call-ID", "CSeq"})
_LISTS: Final = frozenset({"Via", "Contact", "Record-Route"})
_OF_DIALOGS: Final = _REPEATED_BY_ANSWERS | _LISTS


def _salvaged_lines(data: bytes, limits: Limits) -> list[bytes]:
    """The start line and the header fields, as far as they go; folded lines are joined."""
    data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n")
    head = data[: end if end >= 0 else len(data)][: limits.header_block_bytes]
    return grammar.fold.sub(b" ", head).split(b"\r\n")[: limits.header_fields]


def _salvaged_fields(lines: list[bytes], wanted: frozenset[str]) -> Fields:
    """The fields with these names that are text; of one that may stand once, the first."""
    fields: Fields = []
    names: set[str] = set()
    for line in lines[1:]:
        if line.translate(None, _TEXT):
            continue
        written, _, value = line.decode("utf-8", "surrogateescape").partition(":")
        written = written.rstrip(" \t")
        name = grammar.CANONICAL.get(written) or grammar.CANONICAL.get(written.lower())
        if name in wanted and (name in _LISTS or name not in names):
            names.add(name)
            fields.append((name, value.strip(" \t")))
    return fields


def _addresses(name: str, value: str, limits: Limits) -> Fields:
    """The values of a list of addresses; none of one that cannot be read."""
    try:
        parts = split_list(value, limits.header_fields)
        for part in parts:
            _ = parse_name_addr(part).uri
    except WireError:
        return []
    return [(name, part) for part in parts]
