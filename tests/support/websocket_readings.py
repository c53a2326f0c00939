"""What the edge reads from a client's frames, and frames of any kind, for comparisons with other implementations."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st
from support.utf8_rows import INVALID, VALID
from support.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    REQUEST,
    TEXT,
    frame,
    frames_of_server,
)

from edgesbc.streams.layer import StreamCounts
from edgesbc.streams.websocket import WebSocketLayer

__all__ = ["Reading", "any_frames", "by_edge", "contents", "is_closed_within_message", "refusal"]


class Reading(NamedTuple):
    """What a server reads: ``code`` is that of the Close frame that it answers with, 0 where it sends none."""

    messages: list[bytes]
    pings: list[bytes]
    code: int
    is_refusal: bool


def _received(data: bytes, size: int) -> tuple[WebSocketLayer, list[bytes]]:
    layer = WebSocketLayer(StreamCounts())
    layer.receive(REQUEST)
    layer.take_output()
    return layer, [message for at in range(0, len(data), size) for message in layer.receive(data[at : at + size])]


def by_edge(data: bytes, size: int = 0) -> Reading:
    """What the layer reads, with ``size`` bytes at a time."""
    layer, messages = _received(data, size or len(data) or 1)
    frames = frames_of_server(layer.take_output())
    codes = [int.from_bytes(content, "big") for opcode, content in frames if opcode == CLOSE]
    pongs = [content for opcode, content in frames if opcode == PONG]
    return Reading(messages, pongs, codes[0] if codes else 0, layer.end is not None and layer.end.reason != "")


def refusal(data: bytes) -> str:
    """How the client has broken the protocol, in the words of the layer; empty if it has not."""
    layer, _ = _received(data, len(data) or 1)
    return layer.end.detail if layer.end is not None and layer.end.reason else ""


def is_closed_within_message(data: bytes) -> bool:
    """Whether the client closes in the middle of a message in fragments."""
    layer, _ = _received(data, len(data) or 1)
    return layer.ended and layer.pending


contents = st.one_of(
    st.binary(max_size=12),
    st.text(max_size=12).map(str.encode),
    st.sampled_from([*VALID.values(), *INVALID.values()]),
    st.sampled_from([b"x" * size for size in (125, 126, 127, 300)]),
)
opcodes = st.one_of(st.sampled_from([CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG]), st.integers(0, 15))
rarely = st.integers(0, 19).map(lambda number: number == 0)


@st.composite
def any_frames(draw: st.DrawFn) -> bytes:
    """Whole frames: most of them right, some not."""
    data = b""
    is_open = False  # whether a message has begun
    for _ in range(draw(st.integers(0, 10))):
        opcode, content, last = draw(opcodes), draw(contents), draw(st.booleans())
        if not draw(rarely):
            if opcode >= CLOSE:
                opcode, content, last = max(opcode, PING) if opcode != CLOSE else CLOSE, content[:125], True
                opcode = min(opcode, PONG)
                if opcode == CLOSE and not draw(rarely):
                    content = draw(st.sampled_from([b"", b"\x03\xe8", b"\x0b\xb8why"]))
            else:
                opcode = CONTINUATION if is_open else draw(st.sampled_from([TEXT, BINARY]))
            is_open = is_open if opcode >= CLOSE else not last
        reserved = draw(st.integers(1, 7)) if draw(rarely) else 0
        wide = draw(st.sampled_from([2, 8])) if draw(rarely) else 0
        mask = b"" if draw(rarely) else draw(st.binary(min_size=4, max_size=4))
        data += frame(opcode, content, last=last, reserved=reserved, wide=wide, mask=mask)
    return data
