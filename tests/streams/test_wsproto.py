"""Differences with wsproto, another implementation of RFC 6455. Those that are meant are listed here."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.handshake_rows import ROWS
from support.websocket_frames import (
    CONTINUATION,
    PING,
    REQUEST,
    TEXT,
    close,
    frame,
)
from support.websocket_readings import Reading, any_frames, by_edge, contents
from wsproto import WSConnection
from wsproto.connection import CLIENT, SERVER, Connection, ConnectionState, ConnectionType
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    Request,
    TextMessage,
)
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from edgesbc.streams.layer import StreamCounts
from edgesbc.streams.websocket import WebSocketLayer


def by_wsproto(data: bytes) -> Reading:
    connection = Connection(SERVER)
    connection.receive_data(data)
    messages: list[bytes] = []
    pings: list[bytes] = []
    begun = b""
    for event in connection.events():
        if isinstance(event, Message):
            begun += event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
            if event.message_finished:
                messages.append(begun)
                begun = b""
        elif isinstance(event, Ping):
            pings.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            code = 1000 if event.code == 1005 else int(event.code)  # 1005: the client has sent none
            return Reading(messages, pings, code, connection.state is not ConnectionState.REMOTE_CLOSING)
    return Reading(messages, pings, 0, False)


# --- frames --------------------------------------------------------------------------------------------------

pieces = st.lists(contents, min_size=1, max_size=4)


def events() -> st.SearchStrategy[list[Event]]:
    """What a client sends by wsproto, message by message."""

    def message(kind: type[TextMessage] | type[BytesMessage], parts: list[str] | list[bytes]) -> list[Event]:
        ends = len(parts) - 1
        return [kind(data=part, message_finished=number == ends) for number, part in enumerate(parts)]  # type: ignore[arg-type]

    texts = st.lists(st.text(max_size=50), min_size=1, max_size=4).map(lambda parts: message(TextMessage, parts))
    binaries = pieces.map(lambda parts: message(BytesMessage, parts))
    controls = st.binary(max_size=125).flatmap(lambda data: st.sampled_from([[Ping(data)], [Pong(data)]]))
    codes = st.sampled_from([1000, 1001, 1003, 1007, 1008, 1011, 3000, 4999])
    ends = st.one_of(
        st.just([]), st.builds(lambda code, why: [CloseConnection(code, why)], codes, st.text(max_size=30))
    )
    groups = st.lists(st.one_of(texts, binaries, controls), max_size=8)
    return st.builds(lambda groups, end: [event for group in (*groups, end) for event in group], groups, ends)


@given(events(), st.integers(1, 40))
def test_what_a_client_sends_by_wsproto_is_read_as_it_was_sent(events: list[Event], size: int) -> None:
    client = Connection(CLIENT)
    data = b"".join(client.send(event) for event in events)
    messages: list[bytes] = []
    begun = b""
    code = 0
    for event in events:
        if isinstance(event, Message):
            begun += event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
            if event.message_finished:
                messages.append(begun)
                begun = b""
        elif isinstance(event, CloseConnection):
            code = int(event.code)
    expected = Reading(messages, [event.payload for event in events if isinstance(event, Ping)], code, False)
    assert by_edge(data) == by_edge(data, size) == by_wsproto(data) == expected


def known_difference(data: bytes) -> bool:
    """wsproto does not know status code 1014, which IANA has registered since RFC 6455."""
    edge, other = by_edge(data), by_wsproto(data)
    return edge == Reading(other.messages, other.pings, 1014, False) and other.code == 1002


@given(any_frames(), st.integers(1, 40))
@settings(max_examples=400, deadline=None)
@example(close(1014), 1)
@example(frame(TEXT, b"\xc3", last=False) + frame(PING) + frame(CONTINUATION, b"\x28", last=False) + frame(PING), 1)
@example(frame(TEXT, b"\xed\xa0", last=False) + frame(PING), 1)
def test_any_frames_are_read_as_by_the_server_of_wsproto(data: bytes, size: int) -> None:
    assert by_edge(data) == by_edge(data, size)
    assert by_edge(data) == by_wsproto(data) or known_difference(data)


@pytest.mark.parametrize("code", [*range(990, 1030), 1999, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 0, 65_535])
def test_the_codes_that_a_close_frame_may_have(code: int) -> None:
    assert by_edge(close(code)) == by_wsproto(close(code)) or code == 1014


@given(st.lists(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode)), max_size=10))
def test_what_is_sent_is_read_by_the_client_of_wsproto(messages: list[bytes]) -> None:
    layer = WebSocketLayer(StreamCounts())
    layer.receive(REQUEST)
    layer.take_output()
    data = b"".join(layer.send(message) + layer.ping() for message in messages)
    layer.close(4001)
    client = Connection(CLIENT)
    client.receive_data(data + layer.take_output())
    read = list(client.events())
    texts = [
        event.data.encode() if isinstance(event, TextMessage) else event.data
        for event in read
        if isinstance(event, Message)
    ]
    assert texts == messages
    assert [event.payload for event in read if isinstance(event, Ping)] == [b""] * len(messages)
    assert isinstance(read[-1], CloseConnection)
    assert read[-1].code == 4001


# --- the opening handshake -----------------------------------------------------------------------------------

TAKEN_BY_WSPROTO_ALONE = {
    # It does not look at the version of HTTP, nor at the value of Host.
    *("the version HTTP/1.0", "the version HTTP/0.9", "the version HTTP/2.0", "an empty Host"),
    # It takes any key: of two, the last one, and answers with both.
    *("an empty key", "two keys", "two keys in one field", "a key of 15 bytes", "a key of 17 bytes"),
    *("a key of 18 bytes", "a key without padding", "a key in the alphabet for URLs", "a key with a space inside"),
    *("a key in quotes", "a key that is not ASCII", "a folded key"),
    # RFC 6455 section 11.3.5: the version does not appear more than once.
    "the version twice",
    # It reads a body, and frames after it.
    *("a body", "a body in chunks"),
    # RFC 9112 section 2.2 lets a recipient take LF alone for the end of a line.
    *("LF alone at the end of a line", "a blank line of two LF inside"),
}
TAKEN_BY_THE_EDGE_ALONE = {
    # These fields are lists, which may be divided among several fields (RFC 9110 section 5.3).
    *("Upgrade with another protocol", "two Connections, the option in the first"),
}


def wsproto_accepts(request: bytes) -> bool:
    """Whether wsproto takes a request, and it offers the subprotocol."""
    handshake = H11Handshake(ConnectionType.SERVER)
    with contextlib.suppress(RemoteProtocolError, UnicodeError):
        handshake.receive_data(request)
        for event in handshake.events():
            return isinstance(event, Request) and "sip" in event.subprotocols
    return False


def test_the_requests_that_open_a_websocket_are_those_of_wsproto() -> None:
    taken_by_wsproto = {row.name for row in ROWS if wsproto_accepts(row.request)}
    taken_by_edge = {row.name for row in ROWS if row.status == 101}
    assert taken_by_wsproto - taken_by_edge == TAKEN_BY_WSPROTO_ALONE
    assert taken_by_edge - taken_by_wsproto == TAKEN_BY_THE_EDGE_ALONE


def test_a_client_by_wsproto_opens_a_websocket() -> None:
    client = WSConnection(CLIENT)
    layer = WebSocketLayer(StreamCounts())
    layer.receive(client.send(Request(host="edge", target="/", subprotocols=["chat", "sip"])))
    client.receive_data(layer.take_output())
    (event,) = client.events()
    assert isinstance(event, AcceptConnection)
    assert event.subprotocol == "sip"
    assert layer.receive(client.send(TextMessage(data="hello"))) == [b"hello"]
