"""Messages on a stream: the same ones however the stream is cut, and none after a broken one."""

from __future__ import annotations

import contextlib
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sip import hostile, messages, request, response

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.framing import PING, StreamFramer
from edgesbc.sip.parse import parse_message


def framed(pieces: list[bytes]) -> tuple[list[bytes], WireError | None]:
    """The messages of a stream that arrives in these pieces, up to a break."""
    framer = StreamFramer()
    messages: list[bytes] = []
    for piece in pieces:
        try:
            messages += framer.receive(piece)
        except WireError as error:
            return messages, error
    return messages, None


def broken(data: bytes) -> WireError:
    framer = StreamFramer()
    with pytest.raises(WireError) as caught:
        framer.receive(data)
    assert framer.broken == data[: limits.HEADER_BLOCK_BYTES]
    return caught.value


@st.composite
def cut(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    stream = draw(streams)
    ends = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=8)) | {0, len(stream)})
    return stream, [stream[start:end] for start, end in pairwise(ends)]


STREAMS = 30
"""Examples of streams of up to four messages, each of which is slow to draw; ``fuzz`` tries many more by mutation."""

_streams = st.lists(st.one_of(messages(), st.sampled_from([b"\r\n", PING])), max_size=4)


@settings(max_examples=STREAMS)
@given(cut(_streams.map(b"".join)))
def test_a_stream_cut_anywhere_gives_the_same_messages(cut: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = cut
    whole, error = framed([stream])
    assert error is None
    assert framed(pieces) == (whole, None)
    for message in whole:
        if message != PING:
            parse_message(message)


@settings(max_examples=STREAMS)
@given(cut(st.lists(st.one_of(messages(), hostile), max_size=4).map(b"".join)))
def test_a_broken_stream_breaks_however_it_is_cut(cut: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = cut
    whole, error = framed([stream])
    messages, cut_error = framed(pieces)
    if error is None:
        assert (messages, cut_error) == (whole, None)
    else:
        assert cut_error is not None
        assert cut_error.reason == error.reason
        assert b"".join(messages) in stream or PING in messages


def test_every_cut_of_two_messages_and_a_ping() -> None:
    first, second = request(body=b"\r\n\r\nINVITE"), response()
    stream = b"\r\n" + first + PING + second
    for at in range(len(stream) + 1):
        assert framed([stream[:at], stream[at:]]) == ([first, PING, second], None)
    assert framed([bytes([byte]) for byte in stream]) == ([first, PING, second], None)


def test_a_pong_is_discarded_and_a_ping_is_returned() -> None:
    assert framed([b"\r\n"]) == ([], None)
    assert framed([PING, PING]) == ([PING, PING], None)
    assert framed([b"\r\n", b"\r\n"]) == ([PING], None)


def test_pending_is_a_message_that_has_begun() -> None:
    framer = StreamFramer()
    assert not framer.pending
    framer.receive(b"\r\n")
    assert not framer.pending
    framer.receive(request()[:20])
    assert framer.pending
    framer.receive(request()[20:])
    assert not framer.pending


def test_a_body_that_looks_like_a_message_is_no_message() -> None:
    outer = request("MESSAGE", body=request("BYE"))
    assert framed([outer + outer]) == ([outer, outer], None)


@pytest.mark.parametrize(
    "field", ["l:2", "L : 2", "CONTENT-LENGTH: 2 ", "content-length \t:\t2", "Content-Length:\r\n 2"]
)
def test_content_length_is_found_however_it_is_written(field: str) -> None:
    message = request(length=f"{field}\r\n", body=b"ab")
    assert framed([message + message]) == ([message, message], None)
    assert parse_message(message).body == b"ab"


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        ("", "needs Content-Length"),
        ("X: a\r\n Content-Length: 0\r\n", "needs Content-Length"),
        ("XContent-Length: 0\r\n", "needs Content-Length"),
        ("X: a\nContent-Length: 0\r\n", "needs Content-Length"),
        ("Content-Length 0\r\n", "needs Content-Length"),
        ("Content-Length: 0\r\nl: 0\r\n", "twice"),
        ("l : 0\r\nCONTENT-LENGTH\t: 5\r\n", "twice"),
        ("Content-Length: -1\r\n", "not a number"),
        ("Content-Length: \r\n", "not a number"),
        ("Content-Length: 1, 1\r\n", "not a number"),
        ("Content-Length: 1\r\n 0\r\n", "not a number"),
        ("Content-Length: 1\r0\r\n", "not a number"),
        ("Content-Length: 1\nX: 0\r\n", "not a number"),
        ("Content-Length: \xb2\r\n", "not a number"),
        ("Content-Length: 99999999999\r\n", "not a number"),
    ],
)
def test_a_length_that_two_readers_would_read_differently_breaks_the_stream(length: str, reason: str) -> None:
    assert reason in broken(request(length=length) + request("BYE")).reason


@pytest.mark.parametrize("start", [b"\r", b"\rINVITE", b"\r\n\rX", b"\r\r\n\r\n"])
def test_a_cr_by_itself_breaks_the_stream(start: bytes) -> None:
    _, error = framed([start + request()])
    assert error is not None


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\n", b"POST /SIP/2.0 HTTP/1.1\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"EHLO a\r\n", b"SIP\r\n",
        b"\x16\x03\x01", b"\x80", b"\0", b"\n", b"\t",
    ],
)  # fmt: skip
def test_another_protocol_breaks_the_stream_as_soon_as_it_shows(start: bytes) -> None:
    """The framer does not wait for its end, and does not look for SIP inside it."""
    assert broken(start).reason == "the stream does not speak SIP"
    messages, error = framed([request(), start, request()])
    assert error is not None
    assert messages == [request()]


@pytest.mark.parametrize("line", ["INVITE sip:a@b SIP/2.0 ", "INVITE sip:a@b sip/3.0", "INVITE  a SIP/7", "SIP/7.0 x"])
def test_sip_however_malformed_or_new_is_framed(line: str) -> None:
    message = request().replace(b"INVITE sip:100@192.0.2.1 SIP/2.0", line.encode())
    assert framed([message + message]) == ([message, message], None)


def test_after_a_break_no_message_is_returned() -> None:
    framer = StreamFramer()
    with contextlib.suppress(WireError):
        framer.receive(request(length=""))
    with pytest.raises(WireError):
        framer.receive(request())


# --- bounds (those that a datagram has, too: test_bounds.py) ----------------------------------------------


def sized(block: int) -> bytes:
    """A message whose header block (without the blank line) has exactly so many bytes."""
    rest = block - (len(request(extra="Z: \r\n")) - 4)
    return request(extra="Z: " + "a" * rest + "\r\n")


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_the_longest_header_block_passes_however_it_is_cut(at: int) -> None:
    message = sized(limits.HEADER_BLOCK_BYTES)
    assert framed([message[:-at], message[-at:]]) == ([message], None)


def test_broken_is_no_longer_than_a_header_block() -> None:
    assert broken(sized(limits.HEADER_BLOCK_BYTES + 1)).status_hint == 513


def test_header_fields_that_do_not_end_break_the_stream_in_time() -> None:
    framer = StreamFramer()
    assert framer.receive(b"a" * (limits.HEADER_BLOCK_BYTES + 3)) == []
    with pytest.raises(WireError) as caught:
        framer.receive(b"a")
    assert caught.value.status_hint == 513


@pytest.mark.parametrize("length", [65_536, 4_294_967_295])
def test_a_content_length_over_the_bound_breaks_the_stream_before_the_body_arrives(length: int) -> None:
    assert broken(request(length=f"Content-Length: {length}\r\n")).status_hint == 413


def test_no_memory_is_allocated_for_a_body_that_has_not_arrived() -> None:
    begun = request(length="Content-Length: 60000\r\n", body=b"0123456789")
    framer = StreamFramer()
    tracemalloc.start()
    try:
        assert framer.receive(begun) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert framer.pending
    assert peak < 60_000 / 10


@pytest.mark.parametrize(
    "length", ["", "Content-Length: x\r\n", "Content-Length: 1\r\n" * 2, "Content-Length: 9999999\r\n"]
)
def test_a_stream_that_breaks_in_another_version_says_so(length: str) -> None:
    assert broken(request(length=length).replace(b" SIP/2.0\r\n", b" SIP/3.0\r\n", 1)).status_hint == 505


def test_a_message_of_another_version_breaks_no_stream() -> None:
    data = request().replace(b" SIP/2.0\r\n", b" SIP/3.0\r\n", 1)
    assert StreamFramer().receive(data + request()) == [data, request()]


@pytest.mark.parametrize("first", [b"\r", b"\n", b"\xff", b""])
def test_the_reason_does_not_depend_on_how_the_start_line_arrives(first: bytes) -> None:
    """A stream that breaks at its first byte breaks so, also where the line behind it names another version."""
    stream = first + b"OPTIONS sip:a SIP/3.0\r\n\r\n"
    errors = [framed(pieces)[1] for pieces in ([stream], [bytes([byte]) for byte in stream])]
    assert len({(error.reason, error.status_hint) for error in errors if error is not None}) == 1
    assert errors[0] is not None
    assert errors[0].status_hint == (400 if first else 505)
