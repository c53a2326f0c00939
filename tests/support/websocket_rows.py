"""What a WebSocket client may send after the opening handshake, and what a server makes of it: RFC 6455, row by row.

Text encodings are in :mod:`support.utf8_rows`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from support.utf8_rows import INVALID, VALID
from support.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close,
    fragments,
    frame,
    head,
)

from edgesbc.base import limits

__all__ = ["ROWS", "Row"]


class Row(NamedTuple):
    """``code`` is the status code of the server's Close frame; 0: it sends none, and the WebSocket stays open."""

    name: str
    section: str
    sent: bytes
    messages: tuple[bytes, ...] = ()
    pongs: tuple[bytes, ...] = ()
    code: int = 0


KINDS = {"text": TEXT, "binary": BINARY}
MOST = limits.MESSAGE_BYTES
GOOD = frame(TEXT, b"good")
PROBE = frame(PING, b"probe")  # answered by a server that still reads
BYTES = bytes(range(256))


def patterned(size: int) -> bytes:
    """ASCII, so that it may be a text; its period is not one of the mask."""
    return (b"abcdefghijklm" * (size // 13 + 1))[:size]


def framing() -> Iterator[Row]:
    for kind, opcode in KINDS.items():
        for size in (0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 255, 256, 1000, 16_384, 65_534, 65_535):
            content = patterned(size)
            yield Row(f"{kind} of {size} bytes", "5.2", frame(opcode, content), (content,))
        for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1", b"\x80\0\0\0", b"abcd"):
            yield Row(f"{kind} with mask {mask.hex()}", "5.3", frame(opcode, b"hello!", mask=mask), (b"hello!",))
        yield Row(f"{kind} without mask", "5.1", frame(opcode, b"hello", mask=b""), code=1002)
        yield Row(f"empty {kind} without mask", "5.1", frame(opcode, mask=b""), code=1002)
        for size, wide in ((0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65_535, 8)):
            sent = frame(opcode, patterned(size), wide=wide)
            yield Row(f"{kind} of {size} bytes with its length in {wide} bytes", "5.2", sent, code=1002)
        yield Row(f"{kind} with a negative length", "5.2", head(opcode, 1 << 63), code=1002)
        yield Row(f"{kind} with the largest number as length", "5.2", head(opcode, (1 << 64) - 1), code=1002)
    yield Row("binary of every byte", "5.6", frame(BINARY, BYTES), (BYTES,))
    messages = tuple(b"message %d" % number for number in range(50))
    yield Row("fifty texts", "5.4", b"".join(frame(TEXT, message) for message in messages), messages)
    yield Row("text and binary in turn", "5.6", (GOOD + frame(BINARY, b"\xff")) * 3, (b"good", b"\xff") * 3)
    yield Row("a good text and one without mask", "5.1", GOOD + frame(TEXT, mask=b"") + GOOD, (b"good",), code=1002)
    masks = b"".join(frame(TEXT, b"same", mask=bytes((number, 7, 255 - number, 99))) for number in range(8))
    yield Row("each frame with a mask of its own", "5.3", masks, (b"same",) * 8)


def pings() -> Iterator[Row]:
    for content in (b"", b"x", b"hello", b"\0\xff\xfe\xfd\xfc\xfb", b"\xce\xba\xe1\xbd", b"x" * 124, b"x" * 125):
        name = f"of {len(content)} bytes, {content[:6]!r}"
        yield Row(f"ping {name}", "5.5.2", frame(PING, content), pongs=(content,))
        yield Row(f"pong that nothing asked for, {name}", "5.5.3", frame(PONG, content) + PROBE, pongs=(b"probe",))
    for opcode, name in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        yield Row(f"{name} of 126 bytes", "5.5", frame(opcode, b"\x03\xe8" + b"x" * 124), code=1002)
        yield Row(f"{name} that announces 65,536 bytes", "5.5", head(opcode, 65_536), code=1002)
        for wide in (2, 8):
            sent = frame(opcode, b"\x03\xe8", wide=wide)
            yield Row(f"{name} with its length in {wide} bytes", "5.5", sent, code=1002)
        yield Row(f"{name} without mask", "5.1", frame(opcode, b"\x03\xe8", mask=b""), code=1002)
        sent = frame(opcode, b"\x03\xe8", last=False)
        yield Row(f"{name} that is not final", "5.5", sent + frame(CONTINUATION, b""), code=1002)
    numbers = tuple(b"%d" % number for number in range(100))
    yield Row("a hundred pings", "5.5.3", b"".join(frame(PING, number) for number in numbers), pongs=numbers)
    yield Row("ping between two texts", "5.5.2", GOOD + PROBE + GOOD, (b"good",) * 2, (b"probe",))
    yield Row("ping and pong in turn", "5.5.3", (frame(PONG, b"no") + PROBE) * 5, pongs=(b"probe",) * 5)


def reserved_bits() -> Iterator[Row]:
    for bits in range(1, 8):
        for opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            name = f"reserved bits {bits:03b} in opcode {opcode}"
            yield Row(name, "5.2", frame(opcode, b"\x03\xe8", reserved=bits), code=1002)
        yield Row(f"reserved bits {bits:03b}, empty", "5.2", frame(TEXT, reserved=bits), code=1002)
        sent = GOOD + PROBE + frame(TEXT, b"bad", reserved=bits) + GOOD
        yield Row(f"reserved bits {bits:03b} after a text", "5.2", sent, (b"good",), (b"probe",), 1002)
        sent = frame(TEXT, b"a", last=False) + frame(CONTINUATION, b"b", reserved=bits)
        yield Row(f"reserved bits {bits:03b} in a last fragment", "5.2", sent, code=1002)


def opcodes() -> Iterator[Row]:
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield Row(f"opcode {opcode}", "5.2", frame(opcode, b"content"), code=1002)
        yield Row(f"opcode {opcode}, empty", "5.2", frame(opcode), code=1002)
        yield Row(f"opcode {opcode}, not final", "5.2", frame(opcode, b"content", last=False), code=1002)
        sent = GOOD + PROBE + frame(opcode, b"content") + GOOD
        yield Row(f"opcode {opcode} after a text", "5.2", sent, (b"good",), (b"probe",), 1002)
        sent = frame(TEXT, b"a", last=False) + frame(opcode, b"b") + frame(CONTINUATION, b"c")
        yield Row(f"opcode {opcode} between fragments", "5.2", sent, code=1002)


def fragmentation() -> Iterator[Row]:
    for kind, opcode in KINDS.items():
        begin, end = frame(opcode, b"be", last=False), frame(CONTINUATION, b"end")
        part = frame(CONTINUATION, b"-", last=False)
        yield Row(f"{kind} in two fragments", "5.4", begin + end, (b"beend",))
        yield Row(f"{kind} in five fragments", "5.4", begin + part * 3 + end, (b"be---end",))
        yield Row(f"{kind} with a ping inside", "5.4", begin + PROBE + end, (b"beend",), (b"probe",))
        sent = begin + PROBE + part + PROBE + frame(PONG, b"x") + part + PROBE + end
        yield Row(f"{kind} with pings and a pong inside", "5.4", sent, (b"be--end",), (b"probe",) * 3)
        for count in (1, 2, 3):
            name = f"{kind} in {count + 1} fragments, all empty"
            yield Row(name, "5.4", fragments(opcode, *[b""] * (count + 1)), (b"",))
        yield Row(f"{kind} with an empty first fragment", "5.4", fragments(opcode, b"", b"x"), (b"x",))
        yield Row(f"{kind} with an empty last fragment", "5.4", fragments(opcode, b"x", b""), (b"x",))
        yield Row(f"{kind} with empty fragments around one", "5.4", fragments(opcode, b"", b"x", b""), (b"x",))
        yield Row(f"{kind} with empty fragments inside", "5.4", fragments(opcode, b"x", b"", b"", b"y"), (b"xy",))
        yield Row(f"two {kind}s in fragments", "5.4", (begin + part + end) * 2, (b"be-end",) * 2)
        for other in KINDS.values():
            for last in (True, False):
                inner = frame(other, b"in", last=last)
                name = f"{kind} with opcode {other} inside, {'final' if last else 'not final'}"
                yield Row(name, "5.4", begin + PROBE + inner + end, (), (b"probe",), 1002)
        yield Row(f"{kind} with a close inside", "5.4", begin + close(1000) + end, code=1000)
        yield Row(f"{kind} that goes on after its end", "5.4", begin + end + end, (b"beend",), code=1002)
        sent = begin + end + part + frame(opcode, b"more")
        yield Row(f"{kind} that begins to go on after its end", "5.4", sent, (b"beend",), code=1002)
        for last in (True, False):
            sent = (frame(CONTINUATION, b"no", last=last) + begin + end) * 2
            name = f"{kind} in fragments after a continuation of nothing, {'final' if last else 'not final'}"
            yield Row(name, "5.4", sent, code=1002)
        yield Row(f"{kind} whose continuation has no mask", "5.1", begin + frame(0, b"x", mask=b""), code=1002)
        sent = fragments(opcode, *(b"%d" % (number % 10) for number in range(300)))
        yield Row(f"{kind} in three hundred fragments", "5.4", sent, (b"0123456789" * 30,))
    for last in (True, False):
        for content in (b"", b"content"):
            sent = frame(CONTINUATION, content, last=last)
            name = f"continuation {content!r} of nothing, {'final' if last else 'not final'}"
            yield Row(name, "5.4", sent, code=1002)
            yield Row(f"{name}, after a text", "5.4", GOOD + sent + GOOD, (b"good",), code=1002)
    yield Row("a message that does not end", "5.4", frame(TEXT, b"a", last=False) + PROBE, pongs=(b"probe",))


def texts() -> Iterator[Row]:
    for name, content in VALID.items():
        yield Row(f"text: {name}", "8.1", frame(TEXT, content), (content,))
        characters = [character.encode() for character in content.decode()] or [b""]
        yield Row(f"text in fragments of a character: {name}", "8.1", fragments(TEXT, *characters), (content,))
        pieces = [content[at : at + 1] for at in range(len(content))] or [b""]
        yield Row(f"text in fragments of a byte: {name}", "8.1", fragments(TEXT, *pieces), (content,))
        sent = b"".join(frame(TEXT if not at else 0, piece, last=False) + PROBE for at, piece in enumerate(pieces))
        sent += frame(CONTINUATION)
        yield Row(f"text with pings inside: {name}", "8.1", sent, (content,), (b"probe",) * len(pieces))
        yield Row(f"binary: {name}", "5.6", frame(BINARY, content), (content,))
    for name, content in INVALID.items():
        yield Row(f"text, not UTF-8: {name}", "8.1", frame(TEXT, content) + GOOD, code=1007)
        yield Row(
            f"text, not UTF-8, after a good one: {name}", "8.1", GOOD + frame(TEXT, content), (b"good",), code=1007
        )
        pieces = [content[at : at + 1] for at in range(len(content))]
        sent = fragments(TEXT, b"begin", *pieces, b"end") + GOOD
        yield Row(f"text, not UTF-8, in fragments of a byte: {name}", "8.1", sent, code=1007)
        yield Row(f"binary that is not UTF-8: {name}", "5.6", frame(BINARY, content), (content,))
        sent = fragments(BINARY, *pieces)
        yield Row(f"binary that is not UTF-8, in fragments: {name}", "5.6", sent, (content,))
        yield Row(f"ping that is not UTF-8: {name}", "5.5.2", frame(PING, content), pongs=(content,))
    # What can never become UTF-8 is refused before the message ends.
    for content in (b"\xff", b"good\x80", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90", b"\xf8"):
        sent = frame(TEXT, content, last=False)
        yield Row(f"first fragment that is never UTF-8: {content.hex()}", "8.1", sent, code=1007)
        sent = frame(TEXT, b"begin", last=False) + frame(CONTINUATION, content, last=False)
        yield Row(f"second fragment that is never UTF-8: {content.hex()}", "8.1", sent, code=1007)
    # A frame is decoded once it is whole; section 8.1 does not say when.
    yield Row("a frame that is not whole, and never UTF-8", "8.1", frame(TEXT, b"\xff\xff")[:-1])
    begun = frame(TEXT, b"\xe2", last=False)
    yield Row("a character that a fragment cuts, and a ping", "8.1", begun + PROBE, pongs=(b"probe",))
    yield Row("a character that does not end", "8.1", begun + frame(CONTINUATION, b"\x82"), code=1007)
    yield Row("a character whose last fragment is empty", "8.1", begun + frame(CONTINUATION), code=1007)
    sent = begun + close(1000) + frame(CONTINUATION, b"\xff")
    yield Row("a close in the middle of a character", "5.5.1", sent, code=1000)
    sent = fragments(TEXT, b"\xe2\x82", b"\xac") + fragments(TEXT, b"\xac", b"x")
    yield Row("a character, and then the end of one", "8.1", sent, ("\u20ac".encode(),), code=1007)
    sent = fragments(BINARY, b"\xe2", b"\x82") + fragments(TEXT, b"\xac", b"x")
    yield Row("a binary does not begin a character of a text", "8.1", sent, (b"\xe2\x82",), code=1007)


def closing() -> Iterator[Row]:
    yield Row("close without a code", "5.5.1", frame(CLOSE) + GOOD, code=1000)
    yield Row("close of one byte", "5.5.1", frame(CLOSE, b"\x03"), code=1002)
    yield Row("text, ping, close", "5.5.1", GOOD + PROBE + close(1000), (b"good",), (b"probe",), 1000)
    large = patterned(16_384)
    sent = frame(BINARY, large) + GOOD + close(1000) + PROBE
    yield Row("a large message, a text, close, and a ping", "5.5.1", sent, (large, b"good"), code=1000)
    yield Row("close, and a text", "5.5.1", close(1000) + GOOD, code=1000)
    yield Row("close, and a ping", "5.5.1", close(1000) + PROBE, code=1000)
    yield Row("close, and a close", "5.5.1", close(1000) + close(1001), code=1000)
    yield Row("close, and a broken frame", "5.5.1", close(1000) + b"\xff\xff\xff\xff\xff\xff", code=1000)
    valid = (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3001, 3999, 4000, 4001, 4999)
    for code in valid:
        yield Row(f"close with {code}", "7.4", close(code), code=code)
        yield Row(f"close with {code} and a reason", "7.4", close(code, b"a reason"), code=code)
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65_535):
        yield Row(f"close with {code}", "7.4", close(code), code=1002)
        yield Row(f"close with {code} and a reason", "7.4", close(code, b"a reason"), code=1002)
    yield Row("close with the longest reason", "5.5.1", close(1000, b"x" * 123), code=1000)
    yield Row("close with a reason of 124 bytes", "5.5", close(1000, b"x" * 124), code=1002)
    yield Row("close with a reason of 4-byte characters", "5.5.1", close(4000, "\U0001f600".encode() * 30), code=4000)
    for name, content in VALID.items():
        yield Row(f"close with a reason: {name}", "5.5.1", close(1001, content[:123]), code=1001)
    for name, content in INVALID.items():
        yield Row(f"close with a reason that is not UTF-8: {name}", "8.1", close(1000, content), code=1007)
    yield Row("close with a wrong code and a wrong reason", "7.4", close(1005, b"\xff"), code=1002)


def sizes() -> Iterator[Row]:
    for kind, opcode in KINDS.items():
        whole = patterned(MOST)
        for size in (64, 256, 1024, 1300, 4096, 16_384, 65_534):
            pieces = [whole[at : at + size] for at in range(0, MOST, size)]
            yield Row(f"{kind} of the most bytes, in fragments of {size}", "10.4", fragments(opcode, *pieces), (whole,))
        for size in (MOST + 1, 1 << 20, 1 << 32, (1 << 63) - 1):
            yield Row(f"{kind} that announces {size} bytes", "10.4", head(opcode, size), code=1009)
            yield Row(
                f"{kind} that announces {size} bytes, in fragments", "10.4", head(opcode, size, last=False), code=1009
            )
        sent = fragments(opcode, whole, b"") + PROBE
        yield Row(f"{kind} of the most bytes, and an empty fragment", "10.4", sent, (whole,), (b"probe",))
        yield Row(f"{kind} of the most bytes, and one more", "10.4", fragments(opcode, whole, b"x"), code=1009)
        sent = frame(opcode, b"x", last=False) + head(CONTINUATION, MOST)
        yield Row(f"{kind} whose second fragment announces too many bytes", "10.4", sent, code=1009)
        yield Row(f"three {kind}s of the most bytes", "10.4", frame(opcode, whole) * 3, (whole,) * 3)
        for size, count in ((0, 1000), (16, 1000), (64, 1000), (256, 200), (1024, 50), (4096, 20)):
            contents = tuple(patterned(size) for _ in range(count))
            sent = b"".join(frame(opcode, content) for content in contents)
            yield Row(f"{count} {kind}s of {size} bytes", "5.4", sent, contents)
        begin = frame(opcode, b"", last=False)
        empty = frame(CONTINUATION, last=False)
        allowed = begin + empty * (limits.WEBSOCKET_FRAMES - 2)
        yield Row(f"{kind} in as many fragments as allowed", "10.4", allowed + frame(CONTINUATION), (b"",))
        yield Row(f"{kind} in one more", "10.4", allowed + empty + frame(CONTINUATION), code=1008)
        sent = begin + empty * (limits.WEBSOCKET_FRAMES // 2) + PROBE * (limits.WEBSOCKET_FRAMES // 2)
        pongs = (b"probe",) * (limits.WEBSOCKET_FRAMES // 2 - 1)
        yield Row(f"{kind} in fragments and pings without end", "10.4", sent, pongs=pongs, code=1008)
    emoji = "\U0001f600".encode() * (MOST // 4)
    yield Row("text of the most characters of 4 bytes", "10.4", frame(TEXT, emoji), (emoji,))
    yield Row("text of one character more", "10.4", head(TEXT, len(emoji) + 4), code=1009)
    # A peer may send a bounded number of pings until it sends a message.
    count, content = limits.WEBSOCKET_FRAMES, b"x" * 125
    for opcode, answers in ((PING, (content,)), (PONG, ())):
        sent = frame(opcode, content)
        name = f"opcode {opcode} of 125 bytes"
        yield Row(f"{name}, as often as allowed", "10.4", sent * count + PROBE[:1], pongs=answers * count)
        yield Row(f"{name}, once more", "10.4", sent * (count + 1), pongs=answers * count, code=1008)
        yield Row(
            f"{name}, between messages",
            "10.4",
            (sent * (count - 1) + GOOD) * 2,
            (b"good",) * 2,
            answers * (2 * count - 2),
        )


GROUPS = {
    "framing": framing, "pings": pings, "reserved bits": reserved_bits, "opcodes": opcodes,
    "fragmentation": fragmentation, "texts": texts, "closing": closing, "sizes": sizes,
}  # fmt: skip
ROWS: dict[str, tuple[Row, ...]] = {group: tuple(rows()) for group, rows in GROUPS.items()}
"""The rows of each group."""
