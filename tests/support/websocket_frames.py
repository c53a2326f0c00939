"""A WebSocket client's bytes, made by hand: the opening request, frames right and wrong, and what a server's say."""

from __future__ import annotations

from typing import Final

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

MASK: Final = b"\x37\xfa\x21\x3d"  # the example of RFC 6455 section 5.7
KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455 section 1.3
ACCEPT: Final = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # and its answer

REQUEST: Final = (
    "GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
).encode()


def masked(content: bytes, mask: bytes = MASK) -> bytes:
    """``content`` with the mask, octet by octet as RFC 6455 section 5.3 has it."""
    return bytes(octet ^ mask[at & 3] for at, octet in enumerate(content))


def head(opcode: int, size: int, *, last: bool = True, reserved: int = 0, wide: int = 0, mask: bytes = MASK) -> bytes:
    """The begin of a frame, up to and with its mask. ``wide`` is the octets of the extended length: 0 for as many as
    are needed. Without ``mask`` the frame is not masked."""
    wide = wide or (0 if size < 126 else 2 if size < 65_536 else 8)
    marker = {0: size, 2: 126, 8: 127}[wide]
    extended = size.to_bytes(wide, "big") if wide else b""
    return bytes((last << 7 | reserved << 4 | opcode, (0x80 if mask else 0) | marker)) + extended + mask


def frame(
    opcode: int,
    content: bytes = b"",
    *,
    last: bool = True,
    reserved: int = 0,
    wide: int = 0,
    mask: bytes = MASK,
) -> bytes:
    """A client's frame with ``content``; the rest as of :func:`head`."""
    begin = head(opcode, len(content), last=last, reserved=reserved, wide=wide, mask=mask)
    return begin + (masked(content, mask) if mask else content)


def fragments(opcode: int, *parts: bytes) -> bytes:
    """One message in as many frames as it has parts."""
    ends = len(parts) - 1
    return b"".join(
        frame(CONTINUATION if number else opcode, part, last=number == ends) for number, part in enumerate(parts)
    )


def close(code: int, reason: bytes = b"") -> bytes:
    """A client's Close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def frames_of_server(data: bytes) -> list[tuple[int, bytes]]:
    """Opcode and content of a server's frames, which are whole, final, without mask and no longer than they need be."""
    frames = []
    while data:
        opcode, size, start = data[0] & 15, data[1], 2
        assert data[0] == 0x80 | opcode, "final, and no reserved bit"
        assert size < 128, "no mask"
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
            assert size > (125 if start == 4 else 65_535), "the shortest length"
        assert len(data) >= start + size, "whole"
        frames.append((opcode, data[start : start + size]))
        data = data[start + size :]
    return frames
