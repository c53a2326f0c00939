"""Multipart bodies: what is read, what is written again, and what is refused because it can be read in two ways."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.multipart import media_type_of, parse_multipart

MIXED = "multipart/mixed;boundary=x"
BODY = (
    b"--x\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n\r\n"
    b"--x\r\nContent-Type: application/ISUP; version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n\r\n"
    b"\x01\x00\r\n\xff--x\r\n--x--\r\n"
)


def test_parts_and_their_fields_are_read() -> None:
    multipart = parse_multipart(MIXED, BODY)
    sdp, isup = multipart.parts
    assert (multipart.subtype, multipart.boundary) == ("mixed", b"x")
    assert (sdp.media_type, sdp.content, sdp.disposition, sdp.required) == ("application/sdp", b"v=0\r\n", "", False)
    assert (isup.media_type, isup.content) == ("application/isup", b"\x01\x00\r\n\xff--x")
    assert (isup.disposition, isup.required) == ("signal", False)


@pytest.mark.parametrize("body", [BODY, BODY[:-2]], ids=["line end", "no line end"])
def test_a_body_is_written_byte_for_byte(body: bytes) -> None:
    assert bytes(parse_multipart(MIXED, body)) == body


def test_what_is_outside_the_boundaries_is_left_out_and_space_behind_them_too() -> None:
    spaced = b"for old readers\r\n" + BODY.replace(b"--x\r\nContent", b"--x \t\r\nContent") + b"more"
    assert bytes(parse_multipart(MIXED, spaced)) == BODY


def test_another_content_has_its_own_length() -> None:
    sdp, isup = parse_multipart(MIXED, BODY).parts
    assert sdp.with_content(b"longer\r\n") == b"Content-Type: application/sdp\r\nContent-Length: 8\r\n\r\nlonger\r\n"
    assert isup.with_content(b"!") == isup.head + b"!"


@pytest.mark.parametrize("content_type", [
    'multipart/mixed; boundary="x"', "Multipart / Mixed ;BOUNDARY=x", "multipart/mixed;a=b;boundary=x;c",
])  # fmt: skip
def test_spellings_of_the_content_type(content_type: str) -> None:
    assert len(parse_multipart(content_type, BODY).parts) == 2


def test_a_multipart_body_inside_another_one() -> None:
    inner = b"--y\r\n\r\none\r\n--y\r\n\r\ntwo\r\n--y--"
    body = b"--x\r\nContent-Type: multipart/alternative;boundary=y\r\n\r\n" + inner + b"\r\n--x\r\n\r\n\r\n--x--\r\n"
    multipart = parse_multipart(MIXED, body)
    assert [part.content for part in multipart.leaves()] == [b"one", b"two", b""]
    assert bytes(multipart) == body


def test_required_handling_and_encodings() -> None:
    head = b"Content-Disposition: Session ;Handling=REQUIRED\r\nContent-Transfer-Encoding: Base64\r\n\r\n"
    (part,) = parse_multipart(MIXED, b"--x\r\n" + head + b"djA=\r\n--x--").parts
    assert (part.disposition, part.required, part.encoded) == ("session", True, True)


def one(head: bytes, content: bytes = b"v=0") -> bytes:
    return b"--x\r\n" + head + b"\r\n" + content + b"\r\n--x--\r\n"


MALFORMED = {
    "no boundary": ("multipart/mixed", BODY),
    "an empty boundary": ('multipart/mixed;boundary=""', BODY),
    "a boundary of 71 characters": (f"multipart/mixed;boundary={'x' * 71}", BODY),
    "a quoted pair in the boundary": ('multipart/mixed;boundary="\\x"', BODY),
    "two boundaries": ("multipart/mixed;boundary=x;boundary=y", BODY),
    "a boundary in pieces (RFC 2231)": ("multipart/mixed;boundary=x;boundary*0=y", BODY),
    "another type": ("text/plain;boundary=x", BODY),
    "a comment": ("multipart/mixed(x);boundary=x", BODY),
    "nothing": (MIXED, b""),
    "no boundary in the body": (MIXED, b"v=0\r\n"),
    "no part": (MIXED, b"--x--\r\n"),
    "no end": (MIXED, BODY[:-9] + b"\r\n"),
    "another boundary behind the end": (MIXED, BODY + b"\r\n--x\r\n\r\nv=0"),
    "a boundary that goes on": (MIXED, one(b"", b"v=0\r\n--xy\r\n\r\n")),
    "an end that goes on": (MIXED, one(b"", b"v=0\r\n--x--y\r\n\r\n")),
    "LF in front of a boundary": (MIXED, one(b"", b"a\n--x\r\n\r\nv=0")),
    "CR in front of a boundary": (MIXED, one(b"", b"a\r--x\r\n\r\nv=0")),
    "LF behind a boundary": (MIXED, one(b"", b"a\r\n--x\n\nv=0")),
    "boundaries that share a line end": (MIXED, b"--x\r\n--x--\r\n"),
    "no blank line": (MIXED, b"--x\r\nContent-Type: text/plain\r\n--x--\r\n"),
    "LF in a field": (MIXED, one(b"A: b\nContent-Type: application/sdp\r\n")),
    "CR in a field": (MIXED, one(b"A: b\rContent-Type: application/sdp\r\n")),
    "NUL in a field": (MIXED, one(b"A: \0\r\n")),
    "a folded first line": (MIXED, one(b" Content-Type: application/sdp\r\n")),
    "a line that is no field": (MIXED, one(b"Content-Type application/sdp\r\n")),
    "a name that is no token": (MIXED, one(b"Content\xa0Type: application/sdp\r\n")),
    "two types": (MIXED, one(b"Content-Type: text/plain\r\ncontent-type: application/sdp\r\n")),
    "a compact type": (MIXED, one(b"Content-Type: text/plain\r\nc: application/sdp\r\n")),
    "a type with a comment": (MIXED, one(b"Content-Type: application/sdp (x)\r\n")),
    "a list of types": (MIXED, one(b"Content-Type: application/sdp, text/plain\r\n")),
    "a wrong length": (MIXED, one(b"Content-Length: 4\r\n")),
    "a length that is no number": (MIXED, one(b"Content-Length: +3\r\n")),
    "a malformed disposition": (MIXED, one(b"Content-Disposition: ;handling=required\r\n")),
    "an encoded multipart body": (MIXED, one(
        b"Content-Type: multipart/mixed;boundary=y\r\nContent-Transfer-Encoding: base64\r\n", b"--y\r\n\r\n\r\n--y--",
    )),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_what_can_be_read_in_no_way_or_in_two_is_refused(case: str) -> None:
    content_type, body = MALFORMED[case]
    with pytest.raises(WireError) as caught:
        parse_multipart(content_type, body)
    assert caught.value.status_hint == 400
    assert len(caught.value.reason) > 10


def test_the_number_of_parts_is_bounded() -> None:
    part = b"--x\r\n\r\na\r\n"
    assert len(parse_multipart(MIXED, part * limits.BODY_PARTS + b"--x--").parts) == limits.BODY_PARTS
    for count in (limits.BODY_PARTS + 1, 5_000):
        with pytest.raises(WireError, match="too many parts"):
            parse_multipart(MIXED, part * count + b"--x--")
    inner = b"--y\r\n\r\na\r\n" * 9 + b"--y--"
    nested = b"--x\r\nContent-Type: multipart/mixed;boundary=y\r\n\r\n" + inner + b"\r\n"
    with pytest.raises(WireError, match="too many parts"):
        parse_multipart(MIXED, nested * 2 + b"--x--")


def test_nesting_is_bounded() -> None:
    body = b"v=0"
    for depth in range(limits.BODY_DEPTH + 1):
        boundary = b"b%d" % depth
        head = b"Content-Type: multipart/mixed;boundary=b%d\r\n" % (depth - 1) if depth else b""
        body = b"--" + boundary + b"\r\n" + head + b"\r\n" + body + b"\r\n--" + boundary + b"--"
        content_type = f"multipart/mixed;boundary=b{depth}"
        if depth < limits.BODY_DEPTH:
            assert parse_multipart(content_type, body).leaves()[0].content == b"v=0"
    with pytest.raises(WireError, match="nested too deep"):
        parse_multipart(content_type, body)


def test_the_head_of_a_part_is_bounded() -> None:
    fits = b"A: " + b"b" * (limits.PART_HEAD_BYTES - 9) + b"\r\n"
    assert parse_multipart(MIXED, one(fits)).parts[0].content == b"v=0"
    with pytest.raises(WireError, match="too many header fields"):
        parse_multipart(MIXED, one(b"A: b\r\n" + fits))


@pytest.mark.parametrize(("text", "media_type"), [
    ("Application / SDP ;x=y", "application/sdp"), ("text/plain", "text/plain"), ("", ""), ("sdp", ""),
    ("application/sdp x", ""), ("application/sdp(x)", ""), ("application/sdp,text/plain", ""),
])  # fmt: skip
def test_media_types(text: str, media_type: str) -> None:
    assert media_type_of(text) == media_type
