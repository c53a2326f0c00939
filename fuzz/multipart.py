"""Fuzz target: a multipart body.

The first line is the value of Content-Type, what follows is the body.

For any input:

- :func:`parse_multipart` returns the parts or raises WireError, and nothing else;
- what it returns can be written and parsed again, and is then the same, byte for byte;
- a lenient reader, which ends lines with CR or LF and begins parts at any line with the boundary, finds as many parts;
- parts, nesting and heads are bounded;
- of a part, other content is written with a Content-Length that is right, or none.
"""

from __future__ import annotations

import re

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.multipart import Multipart, parse_multipart


def check(data: bytes) -> None:
    first, _, body = data.partition(b"\n")
    content_type = first.decode("utf-8", "surrogateescape").strip("\r")
    try:
        multipart = parse_multipart(content_type, body)
    except WireError:
        return
    written = bytes(multipart)
    again = parse_multipart(content_type, written)
    assert bytes(again) == written
    assert [bytes(part) for part in again.leaves()] == [bytes(part) for part in multipart.leaves()]
    assert 1 <= len(multipart.leaves()) <= limits.BODY_PARTS
    check_level(multipart, body, limits.BODY_DEPTH)
    for part in multipart.leaves():
        other = part.with_content(b"twelve bytes")
        lengths = re.findall(rb"(?:^|\n)content-length[ \t]*:[ \t]*(\d+)", other, re.IGNORECASE)
        assert lengths in ([], [b"12"])
        assert other.endswith(b"\r\n\r\ntwelve bytes") or other == b"\r\ntwelve bytes"


def check_level(multipart: Multipart, body: bytes, depth: int) -> None:
    assert depth > 0
    lines = re.split(rb"[\r\n]", body)
    found = sum(line.startswith(b"--" + multipart.boundary) for line in lines)
    assert found == len(multipart.parts) + 1
    for part in multipart.parts:
        assert len(part.head) <= limits.PART_HEAD_BYTES + 4
        if part.parts is not None:
            check_level(part.parts, part.content, depth - 1)
