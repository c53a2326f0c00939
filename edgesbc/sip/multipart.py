"""Multipart bodies: several bodies in one message (RFC 2046 section 5.1, RFC 5621).

A body that two programs may read in two ways is malformed here: a boundary that begins another line, a line that ends
with CR or LF alone where a boundary or a field stands, a field or parameter that stands twice, a compact name, a
Content-Length that is wrong. Otherwise parts are kept byte for byte, and written as they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.headers import parse_params
from edgesbc.sip.memo import memoized

__all__ = ["Multipart", "Part", "disposition_of", "media_type_of", "parse_multipart"]

_TOKEN: Final = r"[A-Za-z0-9.!%*_+`'~-]{1,127}+"
# m-type SLASH m-subtype (RFC 3261 section 25.1); space may stand about the slash, comments may not.
_media_type = re.compile(rf"[ \t]*+({_TOKEN})[ \t]*+/[ \t]*+({_TOKEN})[ \t]*+(;.*+)?", re.DOTALL).fullmatch
_disposition = re.compile(rf"[ \t]*+({_TOKEN})[ \t]*+(;.*+)?", re.DOTALL).fullmatch
# RFC 2046 section 5.1.1: boundary := 0*69<bchars> bcharsnospace
_boundary = re.compile(r"[A-Za-z0-9'()+_,./:=? -]{0,69}[A-Za-z0-9'()+_,./:=?-]").fullmatch
_end_of_delimiter = re.compile(rb"[ \t]*+\r\n").match
_end_of_close = re.compile(rb"--[ \t]*+(?:\r\n|\Z)").match
_field_name = re.compile(rb"[A-Za-z0-9.!%*_+`'~-]++[ \t]*+\Z").match
_ONCE: Final = frozenset({
    "content-type", "content-disposition", "content-length", "content-transfer-encoding", "content-encoding",
    "content-id",
})  # fmt: skip
_COMPACT: Final = frozenset({"c", "e", "l"})
# Encodings in which the content is as it was written (RFC 2045 section 6.2).
_PLAIN: Final = frozenset({"", "7bit", "8bit", "binary"})


class Part:
    """One part of a multipart body.

    ``head`` are its header fields with the blank line behind them, ``content`` what follows. ``media_type`` is
    TYPE/SUBTYPE in lower case, "" where the part does not say it. ``disposition`` is in lower case, "" by default, and
    ``required`` whether its handling is said to be (RFC 3261 section 20.11). ``encoded``: the content is written in
    an encoding, such as base64. ``parts`` are those of a multipart body in it, None for any other content.
    """

    __slots__ = ("content", "disposition", "encoded", "head", "media_type", "parts", "required")

    def __init__(
        self,
        head: bytes,
        content: bytes,
        media_type: str,
        disposition: str,
        required: bool,
        encoded: bool,
        parts: Multipart | None,
    ) -> None:
        self.head: Final = head
        self.content: Final = content
        self.media_type: Final = media_type
        self.disposition: Final = disposition
        self.required: Final = required
        self.encoded: Final = encoded
        self.parts: Final = parts

    def __bytes__(self) -> bytes:
        return self.head + self.content

    def with_content(self, content: bytes) -> bytes:
        """The part as it is written with another content; its Content-Length, if it has one, is right."""
        if b"content-length" not in self.head.lower():
            return self.head + content
        lines = _unfolded(self.head)
        kept = [line for line in lines if line.partition(b":")[0].rstrip().lower() != b"content-length"]
        return b"".join(line + b"\r\n" for line in kept) + b"Content-Length: %d\r\n\r\n" % len(content) + content


class Multipart:
    """A multipart body: ``subtype`` in lower case, as "mixed", its ``boundary`` and its parts.

    What stands before the first boundary and behind the last one is for nobody (RFC 2046 section 5.1.1), and is not
    kept.
    """

    __slots__ = ("_end", "boundary", "parts", "subtype")

    def __init__(self, subtype: str, boundary: bytes, parts: Iterable[Part], end: bytes = b"\r\n") -> None:
        """``end`` is the line end behind the last boundary, b"" where there is none."""
        self.subtype: Final = subtype
        self.boundary: Final = boundary
        self.parts: Final = tuple(parts)
        self._end: Final = end

    def __bytes__(self) -> bytes:
        return self.written([bytes(part) for part in self.parts])

    def written(self, parts: Iterable[bytes]) -> bytes:
        """The body with these parts, each with its header fields."""
        delimiter = b"--" + self.boundary
        return b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts) + delimiter + b"--" + self._end

    def leaves(self) -> list[Part]:
        """All parts that are no multipart bodies themselves, in their order."""
        found: list[Part] = []
        for part in self.parts:
            found += [part] if part.parts is None else part.parts.leaves()
        return found


@memoized
def media_type_of(content_type: str) -> str:
    """TYPE/SUBTYPE in lower case of a Content-Type value; "" where it has none that can be read in one way."""
    match = _media_type(content_type)
    return f"{match[1]}/{match[2]}".lower() if match is not None else ""


def parse_multipart(content_type: str, body: bytes) -> Multipart:
    """The parts of ``body``, whose Content-Type value is ``content_type``: multipart with any subtype.

    There are ``limits.BODY_PARTS`` parts at most in all, and ``limits.BODY_DEPTH`` multipart bodies inside each other.
    Raises :class:`WireError` where it is malformed, or has more.
    """
    multipart = _parse(content_type, body, limits.BODY_DEPTH)
    if len(multipart.leaves()) > limits.BODY_PARTS:
        raise WireError("a multipart body has too many parts", 513)
    return multipart


def _parse(content_type: str, body: bytes, depth: int) -> Multipart:
    match = _media_type(content_type)
    if match is None or match[1].lower() != "multipart":
        raise WireError("the Content-Type of a multipart body is malformed")
    if not depth:
        raise WireError("multipart bodies are nested too deep", 513)
    boundary = _boundary_of(match[3] or "")
    pieces, end = _split(body, boundary)
    return Multipart(match[2].lower(), boundary, [_part(piece, depth) for piece in pieces], end)


def _boundary_of(params: str) -> bytes:
    boundary = None
    for name, value in parse_params(params) if params else ():
        if name == "boundary":
            boundary = value
        elif name.startswith("boundary"):
            raise WireError(f"a multipart body has a parameter beside its boundary: found {name}")  # RFC 2231
    if boundary is not None and boundary[:1] == '"':
        boundary = boundary[1:-1]
    if boundary is None or not _boundary(boundary):
        raise WireError("a multipart body has no boundary, or a malformed one")
    return boundary.encode("ascii")


def _split(body: bytes, boundary: bytes) -> tuple[list[bytes], bytes]:
    """What stands between the boundaries, and the line end behind the last one."""
    delimiter = b"--" + boundary
    if b"\r" + delimiter in body:
        raise WireError("a boundary stands behind a CR without LF")
    pieces = (b"\r\n" + body).split(b"\n" + delimiter, limits.BODY_PARTS + 2)
    if len(pieces) > limits.BODY_PARTS + 2:
        raise WireError("a multipart body has too many parts", 513)
    if len(pieces) < 3:
        raise WireError("a multipart body has no part, or no end")
    close = _end_of_close(pieces[-1])
    if close is None:
        raise WireError("a multipart body has no end, or a line that begins with its boundary")
    if not all(piece.endswith(b"\r") for piece in pieces[:-1]):
        raise WireError("a boundary stands behind a LF without CR")
    contents = []
    for piece in pieces[1:-1]:
        match = _end_of_delimiter(piece)
        # The CR that ends the piece is of the next boundary's line.
        if match is None or match.end() > len(piece) - 1:
            raise WireError("a line of a multipart body begins with its boundary, and goes on")
        contents.append(piece[match.end() : -1])
    return contents, b"\r\n" if close[0].endswith(b"\n") else b""


def _part(piece: bytes, depth: int) -> Part:
    head, content = _cut(piece)
    fields = _fields_of(head)
    content_type = fields.get("content-type", "")
    media_type = media_type_of(content_type)
    if content_type and not media_type:
        raise WireError("the Content-Type of a part is malformed")
    length = fields.get("content-length")
    if length is not None and (len(length) > 10 or not length.isdecimal() or int(length) != len(content)):
        raise WireError("the Content-Length of a part is wrong")
    disposition, required = disposition_of(fields.get("content-disposition", ""))
    transfer, coding = fields.get("content-transfer-encoding", ""), fields.get("content-encoding", "")
    encoded = transfer.lower() not in _PLAIN or coding.lower() not in ("", "identity")
    parts = None
    if media_type.startswith("multipart/"):
        if encoded:
            raise WireError("a multipart body stands inside another one in an encoding")
        parts = _parse(content_type, content, depth - 1)
    return Part(head, content, media_type, disposition, required, encoded, parts)


def _cut(piece: bytes) -> tuple[bytes, bytes]:
    """The header fields of a part with the blank line behind them, and its content."""
    if piece.startswith(b"\r\n"):
        return piece[:2], piece[2:]
    end = piece.find(b"\r\n\r\n", 0, limits.PART_HEAD_BYTES)
    if end < 0:
        raise WireError("a part has no blank line, or too many header fields in front of it")
    return piece[: end + 4], piece[end + 4 :]


def _unfolded(head: bytes) -> list[bytes]:
    return re.sub(rb"\r\n[ \t]++", b" ", head).split(b"\r\n")[:-2]


def _fields_of(head: bytes) -> dict[str, str]:
    """The header fields of a part by name in lower case; those that may stand twice have their last value."""
    bare = head.replace(b"\r\n", b"")
    if b"\r" in bare or b"\n" in bare or b"\0" in bare or head[:1] in (b" ", b"\t"):
        raise WireError("a header field of a part has a CR, LF or NUL by itself, or begins with space")
    fields: dict[str, str] = {}
    for line in _unfolded(head) if head != b"\r\n" else ():
        written, colon, value = line.partition(b":")
        if not colon or not _field_name(written):
            raise WireError("a header field of a part is malformed")
        name = written.decode("ascii").rstrip().lower()
        if name in _COMPACT:
            raise WireError(f"a header field of a part has a compact name: found {name}")
        if name in _ONCE and name in fields:
            raise WireError(f"a header field of a part stands twice: found {name}")
        fields[name] = value.decode("utf-8", "surrogateescape").strip(" \t")
    return fields


def disposition_of(value: str) -> tuple[str, bool]:
    """The disposition type of a Content-Disposition value in lower case, and whether it says that its handling is
    required (RFC 3261 section 20.11). Raises :class:`WireError`."""
    if not value:
        return "", False
    match = _disposition(value)
    if match is None:
        raise WireError("Content-Disposition is malformed")
    required = False
    for name, handling in parse_params(match[2]) if match[2] else ():
        required = required or (name == "handling" and handling is not None and handling.lower() == "required")
    return match[1].lower(), required
