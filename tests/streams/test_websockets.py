"""Differences with websockets, another implementation of RFC 6455. Those that are meant are listed here, with the
section that decides."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.handshake_rows import ROWS as REQUESTS
from support.websocket_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, REQUEST, TEXT, close, frame
from support.websocket_readings import Reading, any_frames, by_edge, is_closed_within_message, refusal
from support.websocket_rows import ROWS
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from edgesbc.base import limits
from edgesbc.streams.layer import StreamCounts
from edgesbc.streams.websocket import WebSocketLayer

LENGTH = "a length in more bytes than it needs, or a negative one"
CONTROL = "a control frame in fragments or of more than 125 bytes"
NOT_TEXT = "a text that is not UTF-8"
WITHOUT_END = "too many frames without a whole message"
DIFFERENCES = {
    LENGTH: "5.2: as few bytes as can be MUST be used, and the first bit of 8 MUST be 0; websockets reads others",
    CONTROL: "5.5: it MUST NOT be; websockets waits for the whole header, and reads a short one with a long length",
    NOT_TEXT: "8.1: it fails the connection, in websockets when the application receives it, after frames behind it",
    WITHOUT_END: "10.4: a limit of the edge; websockets has none",
}
"""By what the edge refuses."""
CLOSE_INSIDE = "5.4: control frames may come in the middle of a message; websockets answers Close with 1002 there"
WRONG_TWICE = "7.4.1 and 8.1: neither the status code nor the reason may be sent; each names another one of them"


def by_websockets(data: bytes) -> Reading:
    protocol = ServerProtocol(state=State.OPEN, max_size=limits.MESSAGE_BYTES)
    protocol.receive_data(data)
    messages: list[bytes] = []
    pings: list[bytes] = []
    begun = b""
    is_text = False
    for event in protocol.events_received():
        if event.opcode in (TEXT, BINARY, CONTINUATION):
            is_text = is_text if event.opcode == CONTINUATION else event.opcode == TEXT
            begun += bytes(event.data)
            if event.fin:
                if is_text and not _is_utf8(begun):
                    return Reading(messages, pings, 1007, True)
                messages.append(begun)
                begun = b""
        elif event.opcode == PING:
            pings.append(bytes(event.data))
    sent = protocol.close_sent
    if sent is None:
        return Reading(messages, pings, 0, False)
    return Reading(messages, pings, 1000 if sent.code == 1005 else int(sent.code), protocol.parser_exc is not None)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def difference(data: bytes) -> str:
    """Why the two read the bytes differently; empty if they do not. A difference that is not listed is an error."""
    edge, other = by_edge(data), by_websockets(data)
    if edge == other:
        return ""
    if is_closed_within_message(data) and other == edge._replace(code=1002, is_refusal=True):
        return CLOSE_INSIDE
    if edge.code == 1002 and other == edge._replace(code=1007):
        return WRONG_TWICE
    reason = DIFFERENCES[refusal(data)]
    assert edge.messages == other.messages[: len(edge.messages)]
    assert edge.pings == other.pings[: len(edge.pings)]
    return reason


@pytest.mark.parametrize("group", ROWS)
def test_the_rows_are_read_as_by_websockets(group: str) -> None:
    for row in ROWS[group]:
        difference(row.sent)


def test_every_difference_that_is_listed_exists() -> None:
    found = {difference(row.sent) for group in ROWS for row in ROWS[group]}
    assert found == {"", CLOSE_INSIDE, WRONG_TWICE, *DIFFERENCES.values()}


@given(any_frames())
@settings(max_examples=400, deadline=None)
@example(close(1014))
@example(frame(TEXT, b"a", last=False) + frame(PING, b"b") + close(1000))
@example(frame(TEXT, b"\xc3", last=False) + frame(PING) + frame(CONTINUATION, b"\x28") + frame(PONG))
@example(frame(CLOSE, b"\x03\xe8", wide=8))
def test_any_frames_are_read_as_by_websockets(data: bytes) -> None:
    difference(data)


@given(st.lists(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode)), max_size=10))
def test_what_is_sent_is_read_by_the_client_of_websockets(messages: list[bytes]) -> None:
    layer = WebSocketLayer(StreamCounts())
    layer.receive(REQUEST)
    layer.take_output()
    data = b"".join(layer.send(message) + layer.ping() for message in messages)
    layer.close(4001)
    client = ClientProtocol(parse_uri("ws://edge/"), state=State.OPEN)
    client.receive_data(data + layer.take_output())
    read = client.events_received()
    assert [bytes(event.data) for event in read if event.opcode in (TEXT, BINARY)] == messages
    assert [event.opcode for event in read if event.opcode not in (TEXT, BINARY)] == [PING] * len(messages) + [CLOSE]
    assert client.close_rcvd is not None
    assert client.close_rcvd.code == 4001


# --- the opening handshake -----------------------------------------------------------------------------------

TAKEN_BY_WEBSOCKETS_ALONE = {
    # RFC 9112 section 3.2: a request of HTTP/1.1 without Host, or with two, gets 400.
    *("no Host", "an empty Host", "two Hosts", "two different Hosts"),
    # RFC 9112 section 3: there is a target between two single spaces.
    "no target",
    # RFC 6455 section 9.1: the names and parameters of extensions are ASCII. It drops the field.
    "an extension that is not ASCII",
}
TAKEN_BY_THE_EDGE_ALONE = {
    # RFC 9110 section 7.8: Upgrade is a list, of which the server takes one.
    *("Upgrade with another protocol", "two Upgrades"),
    # RFC 9112 section 5.2: a server may read a folded field as one line.
    "folded fields",
}


def websockets_accepts(request: bytes) -> bool:
    """Whether the server of websockets takes a request, and agrees to the subprotocol."""
    protocol = ServerProtocol(subprotocols=[Subprotocol("sip")])
    protocol.receive_data(request)
    for event in protocol.events_received():
        if isinstance(event, Request):
            response = protocol.accept(event)
            return response.status_code == 101 and response.headers.get("Sec-WebSocket-Protocol") == "sip"
    return False


def test_the_requests_that_open_a_websocket_are_those_of_websockets() -> None:
    by_websockets = {row.name for row in REQUESTS if websockets_accepts(row.request)}
    by_edge = {row.name for row in REQUESTS if row.status == 101}
    assert by_websockets - by_edge == TAKEN_BY_WEBSOCKETS_ALONE
    assert by_edge - by_websockets == TAKEN_BY_THE_EDGE_ALONE


def test_a_client_by_websockets_opens_a_websocket() -> None:
    """Compression, which it offers, is not agreed."""
    client = ClientProtocol(
        parse_uri("ws://edge/"),
        subprotocols=[Subprotocol("chat"), Subprotocol("sip")],
        extensions=[ClientPerMessageDeflateFactory()],
    )
    client.send_request(client.connect())
    layer = WebSocketLayer(StreamCounts())
    (request,) = client.data_to_send()
    assert b"permessage-deflate" in request
    layer.receive(request)
    client.receive_data(layer.take_output())
    assert (client.state, client.subprotocol, client.extensions) == (State.OPEN, "sip", [])
    client.send_text(b"hel", fin=False)
    client.send_continuation(b"lo", fin=True)
    assert layer.receive(b"".join(client.data_to_send())) == [b"hello"]
