"""The opening handshake, row by row over RFC 6455 section 4.2, and the layer between its handshakes."""

from __future__ import annotations

import pytest
from support.handshake_rows import ROWS, Row
from support.websocket_frames import (
    ACCEPT,
    BINARY,
    CLOSE,
    KEY,
    PING,
    PONG,
    REQUEST,
    TEXT,
    close,
    frame,
    frames_of_server,
)

from edgesbc.base import limits
from edgesbc.streams.layer import StreamCounts
from edgesbc.streams.websocket import WebSocketLayer

PAGE = "https://phone.example.com"
HELLO = frame(TEXT, b"hello")


def response(output: bytes) -> tuple[int, dict[str, str]]:
    """Status and header fields of a response without a body."""
    head, blank, rest = output.partition(b"\r\n\r\n")
    assert blank, output
    assert not rest
    line, *fields = head.decode("ascii").split("\r\n")
    version, status, phrase = line.split(" ", 2)
    assert version == "HTTP/1.1"
    assert phrase
    return int(status), {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}


def receive(layer: WebSocketLayer, data: bytes, size: int) -> list[bytes]:
    return [message for at in range(0, len(data), size) for message in layer.receive(data[at : at + size])]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_each_request(row: Row) -> None:
    request = row.request
    for size in (len(request), 1, 7):
        counts = StreamCounts()
        layer = WebSocketLayer(counts)
        assert receive(layer, request, size) == []
        status, fields = response(layer.take_output())
        assert status == row.status
        assert layer.is_open == (status == 101)
        assert not layer.pending
        if status == 101:
            assert layer.end is None
            expected = {"upgrade": "websocket", "connection": "Upgrade"}
            assert fields == expected | {"sec-websocket-accept": ACCEPT, "sec-websocket-protocol": "sip"}
            assert layer.receive(HELLO) == [b"hello"]
        else:
            assert layer.end is not None
            assert layer.end.reason == row.reason
            assert layer.end.detail
            assert fields.pop("content-length") == "0"
            upgrade = {"sec-websocket-version": "13", "upgrade": "websocket", "connection": "Upgrade, close"}
            assert fields == (upgrade if status == 426 else {"connection": "close"})
            assert layer.receive(HELLO + REQUEST) == []
            assert layer.take_output() == b""
            layer.close()
            assert layer.take_output() == b"", "a WebSocket that was not opened has no Close frame"


def test_the_accept_value_is_made_of_the_key() -> None:
    """RFC 6455 section 4.1 gives a key with spare bits set."""
    for key, accept in (("AQIDBAUGBwgJCgsMDQ4PEC==", "OfS0wDaT5NoxF2gqm7Zj2YtetzM="), (KEY, ACCEPT)):
        layer = WebSocketLayer(StreamCounts())
        layer.receive(REQUEST.replace(KEY.encode(), key.encode()))
        assert response(layer.take_output())[1]["sec-websocket-accept"] == accept


@pytest.mark.parametrize(
    ("origins", "status"),
    [
        ((PAGE,), 101), (("https://other.example.com",), 101), ((), 403), ((f"{PAGE}/",), 403), ((PAGE.upper(),), 403),
        (("null",), 403), (("",), 403), ((f"{PAGE}:443",), 403), ((f"{PAGE}, {PAGE}",), 403), ((PAGE, PAGE), 403),
        ((PAGE, "https://other.example.com"), 403), ((f"{PAGE}\xe9",), 403), ((f"{PAGE}\r\n .evil.example",), 403),
    ],
)  # fmt: skip
def test_the_origin_is_one_of_the_list(origins: tuple[str, ...], status: int) -> None:
    layer = WebSocketLayer(StreamCounts(), (PAGE, "https://other.example.com"))
    layer.receive(Row("", "", more=tuple(f"Origin: {origin}" for origin in origins)).request)
    assert response(layer.take_output())[0] == status
    assert layer.end is None if status == 101 else layer.end is not None and layer.end.reason == "origin"


def test_what_is_no_websocket_at_all_is_400_whatever_its_origin() -> None:
    layer = WebSocketLayer(StreamCounts(), (PAGE,))
    layer.receive(b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n")
    assert response(layer.take_output())[0] == 400
    assert layer.end is not None
    assert layer.end.reason == "handshake"


@pytest.mark.parametrize(
    "begin", [b"\x16\x03\x01", b"SSH-2.0", b"POST /", b"OPTIONS sip:edge SIP/2.0", b"\0", b"\r", b"GE "]
)
def test_what_cannot_become_a_request_is_refused_with_the_byte_that_shows_it(begin: bytes) -> None:
    for size in (len(begin), 1):
        layer = WebSocketLayer(StreamCounts())
        assert receive(layer, begin, size) == []
        assert response(layer.take_output())[0] == 400
        assert layer.end is not None


@pytest.mark.parametrize("size", [1, 1000, limits.UPGRADE_BYTES - 1, limits.UPGRADE_BYTES, 2 * limits.UPGRADE_BYTES])
def test_the_largest_request(size: int) -> None:
    """Whether it is taken is the same in pieces of any size."""
    for surplus, status in ((0, 101), (1, 431)):
        padding = "x" * (limits.UPGRADE_BYTES + surplus - len(Row("", "", more=("X: ",)).request))
        request = Row("", "", more=(f"X: {padding}",)).request
        assert len(request) == limits.UPGRADE_BYTES + surplus
        layer = WebSocketLayer(StreamCounts())
        receive(layer, request, size)
        assert response(layer.take_output())[0] == status
        assert (layer.end is None) == (status == 101)


def test_a_request_that_does_not_end_is_refused_at_its_bound() -> None:
    layer = WebSocketLayer(StreamCounts())
    begin = REQUEST[:-2] + b"X: "
    layer.receive(begin + b"x" * (limits.UPGRADE_BYTES - len(begin) - 1))
    assert layer.end is None
    layer.receive(b"x")
    assert response(layer.take_output())[0] == 431


@pytest.mark.parametrize("cut", range(len(REQUEST) + len(HELLO) + 1))
def test_frames_may_come_with_the_request(cut: int) -> None:
    data = REQUEST + HELLO
    layer = WebSocketLayer(StreamCounts())
    assert layer.receive(data[:cut]) + layer.receive(data[cut:]) == [b"hello"]
    assert response(layer.take_output())[0] == 101


# --- after the opening handshake -----------------------------------------------------------------------------


def opened() -> WebSocketLayer:
    layer = WebSocketLayer(StreamCounts())
    layer.receive(REQUEST)
    layer.take_output()
    return layer


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_a_message_is_sent_as_one_frame_text_if_it_can_be(size: int) -> None:
    for message, opcode in ((b"a" * size, TEXT), (b"\xc3\xa9" * (size // 2), TEXT), (b"\xff" * size, BINARY)):
        assert frames_of_server(opened().send(message)) == [(opcode if message else TEXT, message)]


def test_close_comes_after_messages_and_pongs_and_ends_what_is_sent() -> None:
    layer = opened()
    assert layer.receive(HELLO + frame(PING, b"1") + close(4000) + HELLO) == [b"hello"]
    assert layer.end is not None
    assert layer.end.reason == ""
    assert frames_of_server(layer.send(b"answer")) == [(TEXT, b"answer")], "before the Close frame is written"
    assert frames_of_server(layer.take_output()) == [(PONG, b"1"), (CLOSE, (4000).to_bytes(2, "big"))]
    assert layer.send(b"answer") == layer.ping() == b""
    layer.close()
    assert layer.take_output() == b""


def test_after_a_close_of_our_own_messages_are_read_and_nothing_is_answered() -> None:
    """Section 5.5.1: the peer may send until it has the Close frame."""
    layer = opened()
    layer.close()
    layer.close()
    assert frames_of_server(layer.take_output()) == [(CLOSE, (1001).to_bytes(2, "big"))]
    assert layer.receive(HELLO + frame(PING, b"1")) == [b"hello"]
    assert layer.end is None
    assert layer.receive(close(1000)) == []
    assert layer.end is not None
    assert layer.end.reason == ""
    assert layer.take_output() == b""


@pytest.mark.parametrize(
    ("data", "pending"),
    [
        (b"", False), (HELLO, False), (HELLO[:1], True), (HELLO[:-1], True), (HELLO + HELLO[:2], True),
        (frame(TEXT, b"a", last=False), True), (frame(TEXT, b"", last=False), True), (frame(PING, b"1"), False),
        (frame(TEXT, b"a", last=False) + frame(0, b"b"), False), (frame(TEXT, b"a", last=False) + frame(PING), True),
    ],
)  # fmt: skip
def test_whether_a_message_is_pending(data: bytes, pending: bool) -> None:
    layer = opened()
    layer.receive(data)
    assert layer.pending == pending


def test_a_transport_that_ends_without_a_close_frame() -> None:
    for layer, reason in ((opened(), ""), (WebSocketLayer(StreamCounts()), "handshake")):
        layer.receive_end()
        assert layer.end is not None
        assert layer.end.reason == reason
        assert layer.receive(HELLO) == []


def test_counts() -> None:
    counts = StreamCounts()
    layer = WebSocketLayer(counts)
    fragments = frame(TEXT, b"a", last=False) + frame(0, b"b", last=False) + frame(0, b"c")
    layer.receive(REQUEST + HELLO + fragments + frame(PING) * 3 + frame(PONG) * 2 + close(1000) + close(1000))
    assert (counts.fragments, counts.pings, counts.pongs, counts.close_frames) == (3, 3, 2, 1)
