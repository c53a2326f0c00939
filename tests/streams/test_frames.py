"""What a client's frames become, row by row, however the bytes of them come (RFC 6455)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest
from support.websocket_frames import CLOSE, PONG, REQUEST, frames_of_server
from support.websocket_rows import ROWS

from edgesbc.base import limits
from edgesbc.streams.layer import StreamCounts
from edgesbc.streams.websocket import WebSocketLayer

SMALL = 160
"""Rows of up to as many bytes are cut at every point; longer ones near their begin and their end."""


class Outcome(NamedTuple):
    messages: tuple[bytes, ...]
    pongs: tuple[bytes, ...]
    code: int


def opened() -> WebSocketLayer:
    layer = WebSocketLayer(StreamCounts())
    assert layer.receive(REQUEST) == []
    assert layer.take_output().startswith(b"HTTP/1.1 101 ")
    return layer


def outcome(layer: WebSocketLayer, pieces: Iterable[bytes]) -> Outcome:
    """What the layer makes of the pieces; its Close frame is the last one, and stands where it has ended."""
    messages: list[bytes] = []
    output = b""
    for piece in pieces:
        messages += layer.receive(piece)
        output += layer.take_output()
    frames = frames_of_server(output)
    code = 0
    if layer.end is not None:
        opcode, content = frames.pop()
        assert opcode == CLOSE
        assert len(content) == 2
        code = int.from_bytes(content, "big")
    assert {opcode for opcode, _ in frames} <= {PONG}
    return Outcome(tuple(messages), tuple(content for _, content in frames), code)


def cuts(size: int) -> Iterator[int]:
    """Where a row is cut in two."""
    if size <= SMALL:
        yield from range(1, size)
    elif size < limits.MESSAGE_BYTES:
        yield from (*range(1, 20), 125, 126, 127, 128, 129, *range(size - 20, size))
    else:
        yield from (1, 9, 14)


@pytest.mark.parametrize("group", ROWS)
def test_each_row_whole_and_in_pieces(group: str) -> None:
    for row in ROWS[group]:
        expected = Outcome(row.messages, row.pongs, row.code)
        sent = row.sent
        assert outcome(opened(), [sent]) == expected, row.name
        assert outcome(opened(), (sent[at : at + 1] for at in range(len(sent)))) == expected, (
            f"{row.name}, byte by byte"
        )
        for at in cuts(len(sent)):
            assert outcome(opened(), (sent[:at], sent[at:])) == expected, f"{row.name}, cut at {at}"
        for size in (3, 1000, 16_384) if len(sent) < limits.MESSAGE_BYTES else (1000,):
            pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
            assert outcome(opened(), pieces) == expected, f"{row.name}, {size} bytes at a time"
