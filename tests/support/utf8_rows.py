"""Bytes that are UTF-8, and bytes that are not, of each kind that a decoder may get wrong (RFC 3629)."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["INVALID", "VALID"]

# The first and the last code point of each length, and those beside the surrogates.
BOUNDARIES = (0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFD, 0xFFFF, 0x10000, 0x10FFFF)
WORD = "\u03ba\u1f79\u03c3\u03bc\u03b5"
"""Greek, of characters of two and three bytes."""
NONCHARACTERS = (0xFDD0, 0xFDEF, *(plane << 16 | low for plane in range(17) for low in (0xFFFE, 0xFFFF)))


def _valid() -> Iterator[tuple[str, bytes]]:
    yield "nothing", b""
    yield "ASCII", b"INVITE sip:alice@example.com SIP/2.0\r\n"
    yield "a byte order mark", b"\xef\xbb\xbftext"
    yield "letters with accents", "D\u00e9j\u00e0 vu, stra\u00dfe, \u0141\u00f3d\u017a".encode()
    yield "Chinese", "\u4f60\u597d\uff0c\u4e16\u754c".encode()
    yield "four bytes a character", "\U0001f600\U0001d11e\U00020000".encode()
    yield "a combining mark alone", "\u0301".encode()
    for point in BOUNDARIES:
        yield f"U+{point:04X}", chr(point).encode()
        yield f"U+{point:04X} between letters", b"a" + chr(point).encode() + b"z"
    yield "all boundaries", "".join(map(chr, BOUNDARIES)).encode()
    yield "the specials", "".join(map(chr, range(0xFFF9, 0x10000))).encode()
    for end in range(1, len(WORD) + 1):
        yield f"the first {end} characters of a word", WORD[:end].encode()
    for begin in range(0, len(NONCHARACTERS), 20):
        yield f"noncharacters from {begin}", "".join(map(chr, NONCHARACTERS[begin : begin + 20])).encode()


def encoded(point: int, size: int) -> bytes:
    """``point`` in ``size`` bytes by the scheme of RFC 2279, whether or not RFC 3629 allows it."""
    tail = bytes(0x80 | point >> 6 * at & 0x3F for at in range(size - 2, -1, -1))
    return bytes((0xFF00 >> size & 0xFF | point >> 6 * (size - 1),)) + tail


def _is_whole(end: int) -> bool:
    """Whether the word has a character that ends after so many bytes."""
    return any(len(WORD[:count].encode()) == end for count in range(len(WORD) + 1))


def _invalid() -> Iterator[tuple[str, bytes]]:
    for count in range(1, 8):
        yield f"{count} continuation bytes", b"\x80\xbf"[:1] * count if count % 2 else b"\xbf" * count
    yield "every continuation byte", bytes(range(0x80, 0xC0))
    for lead, size in ((0xC2, 2), (0xDF, 2), (0xE0, 3), (0xEF, 3), (0xF0, 4), (0xF4, 4)):
        yield f"the lead byte {lead:02x} and a space", bytes((lead, 0x20))
        yield f"the lead byte {lead:02x} twice", bytes((lead, lead))
        for missing in range(1, size):
            whole = chr({0xC2: 0x80, 0xDF: 0x7FF, 0xE0: 0x800, 0xEF: 0xFFFD, 0xF0: 0x10000, 0xF4: 0x10FFFF}[lead])
            yield f"{lead:02x} with {missing} bytes missing", whole.encode()[: size - missing]
            yield f"{lead:02x} with {missing} bytes missing, and a letter", whole.encode()[: size - missing] + b"a"
    yield "every sequence without its last byte", b"\xc2\xe0\xa0\xf0\x90\x80\xdf\xef\xbf\xf4\x8f\xbf"
    for first, end in ((0xC0, 0xE0), (0xE0, 0xF0), (0xF0, 0xF8), (0xF8, 0xFC), (0xFC, 0xFE)):
        lonely = b"".join(bytes((byte, 0x20)) for byte in range(first, end))
        yield f"lead bytes from {first:02x} to {end - 1:02x}, each with a space", lonely
        for byte in range(first, end):
            yield f"a letter, the lead byte {byte:02x} and a letter", bytes((0x61, byte, 0x7A))
    for end in range(1, len(WORD.encode())):
        if not _is_whole(end):
            yield f"the first {end} bytes of a word", WORD.encode()[:end]
    yield "the bytes that are never used, one after the other", b"\xfe\xfe\xff\xff"
    for byte in (0xC0, 0xC1, *range(0xF5, 0x100)):
        yield f"the byte {byte:02x}, which is never used", bytes((byte,))
        yield f"the byte {byte:02x} with continuation bytes", bytes((byte, 0x80, 0x80, 0x80))
    for point, size in (
        (0x2F, 2), (0x2F, 3), (0x2F, 4), (0x2F, 5), (0x2F, 6), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6),
        (0x7F, 2), (0x7FF, 3), (0xFFFF, 4), (0x1FFFFF, 5), (0x3FFFFFF, 6),
    ):  # fmt: skip
        yield f"U+{point:04X} in {size} bytes, more than it needs", encoded(point, size)
    for point in (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF):
        yield f"the surrogate U+{point:04X}", encoded(point, 3)
    for first in (0xD800, 0xDB7F, 0xDB80, 0xDBFF):
        for second in (0xDC00, 0xDFFF):
            yield f"the surrogates U+{first:04X} U+{second:04X}", encoded(first, 3) + encoded(second, 3)
    for point, size in ((0x110000, 4), (0x1FFFFF, 4), (0x200000, 5), (0x3FFFFFF, 5), (0x4000000, 6), (0x7FFFFFFF, 6)):
        yield f"U+{point:X}, beyond the last code point", encoded(point, size)
    yield "Latin-1", "Se\u00f1or Mu\u00f1oz".encode("latin-1")
    yield "UTF-16", "\u03ba".encode("utf-16-be") + b"\xd8\x00"
    yield "a good text, one wrong byte, a good text", "\u03ba\u1f79\u03c3".encode() + b"\xff" + b"more"


VALID = dict(_valid())
INVALID = dict(_invalid())
