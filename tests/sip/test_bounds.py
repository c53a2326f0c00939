"""Each bound of a message on the wire, hit and passed by one, in a datagram and on a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import pytest
from support.sip import VIA, request

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.framing import StreamFramer
from edgesbc.sip.limits import Limits
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message

Read = Callable[[bytes], Request | Response]


def from_stream(data: bytes) -> Request | Response:
    """Parse ``data`` as one message of a stream."""
    (message,) = StreamFramer().receive(data)
    return parse_message(message)


both = pytest.mark.parametrize("read", [parse_message, from_stream], ids=["datagram", "stream"])


def with_line(line: bytes) -> bytes:
    return request(extra="Z: z\r\n").replace(b"Z: z", line)


def message(size: int) -> bytes:
    """``size`` bytes in all, most of them body."""
    body = b"a" * (size - len(request(length="Content-Length: 65000\r\n")))
    return request(body=body)


def start_line(size: int) -> bytes:
    rest = size - len("INVITE sip: SIP/2.0")
    return request(uri="sip:" + "a" * rest)


def start_line_of_response(size: int) -> bytes:
    """The reason phrase is in UTF-8, of which every letter takes two bytes here."""
    words = "é" * ((size - len("SIP/2.0 200 ")) // 2) + "a" * (size % 2)
    return request().replace(b"INVITE sip:100@192.0.2.1 SIP/2.0", f"SIP/2.0 200 {words}".encode(), 1)


def header_block(size: int) -> bytes:
    lines = b"Y: " + b"a" * 8000 + b"\r\n"
    rest = size - (len(with_line(lines * 4 + b"Z: ")) - 4)
    return with_line(lines * 4 + b"Z: " + b"a" * rest)


def header_field(size: int) -> bytes:
    return with_line(b"Z: " + b"a" * (size - 3))


def header_field_in_utf8(size: int) -> bytes:
    return with_line(b"Z: " + "é".encode() * ((size - 3) // 2) + b"a" * ((size - 3) % 2))


def folded_header_field(size: int) -> bytes:
    """Each fold becomes one space."""
    pieces = (size - 4) // 100
    return with_line(b"Z: a" + (b"\r\n \t " + b"a" * 99) * pieces + b"a" * (size - 4 - pieces * 100))


def header_fields(count: int) -> bytes:
    """A request with ``count`` header fields, of which every request has seven."""
    return with_line(b"\r\n".join([b"Z: z"] * (count - 7)))


def values(count: int) -> bytes:
    return with_line(b"Contact: " + b",".join([b"<sip:a>"] * (count - 7)))


def params(count: int) -> str:
    return "".join(f";p{n}=1" for n in range(count))


def parameters_of_via(count: int) -> bytes:
    return request(via=VIA + params(count - 2))


def parameters_with_space(count: int) -> bytes:
    return request(to="<sip:100@192.0.2.1>" + params(count).replace(";", " ; "))


def parameters_of_from(count: int) -> bytes:
    return request(from_="<sip:alice@example.org>;tag=a" + params(count - 1))


def parameters_of_uri(count: int) -> bytes:
    return request(uri="sip:100@192.0.2.1" + params(count))


def header_lines(count: int) -> bytes:
    """A message of ``count`` lines before the blank one, most of which continue a header field."""
    head, blank, rest = request().partition(b"\r\n\r\n")
    lines = head.count(b"\r\n") + 2
    return head + b"\r\nZ: a" + b"\r\n a" * (count - lines) + blank + rest


BOUNDS: list[tuple[Callable[[int], bytes], int, int]] = [
    (message, limits.MESSAGE_BYTES, 413),
    (start_line, limits.START_LINE_BYTES, 414),
    (start_line_of_response, limits.START_LINE_BYTES, 414),
    (header_block, limits.HEADER_BLOCK_BYTES, 513),
    (header_field, limits.HEADER_FIELD_BYTES, 513),
    (header_field_in_utf8, limits.HEADER_FIELD_BYTES, 513),
    (folded_header_field, limits.HEADER_FIELD_BYTES, 513),
    (header_fields, limits.HEADER_FIELDS, 513),
    (values, limits.HEADER_FIELDS, 513),
    (header_lines, limits.HEADER_LINES, 513),
    (parameters_of_via, limits.PARAMETERS, 513),
    (parameters_with_space, limits.PARAMETERS, 513),
    (parameters_of_from, limits.PARAMETERS, 513),
    (parameters_of_uri, limits.PARAMETERS, 414),
]


@both
@pytest.mark.parametrize(("write", "most", "status"), BOUNDS, ids=[write.__name__ for write, _, _ in BOUNDS])
def test_a_bound_is_exact(read: Read, write: Callable[[int], bytes], most: int, status: int) -> None:
    read(write(most))
    with pytest.raises(WireError) as caught:
        read(write(most + 1))
    assert caught.value.status_hint == status


def test_the_messages_of_this_file_have_the_given_size() -> None:
    assert len(message(limits.MESSAGE_BYTES)) == limits.MESSAGE_BYTES
    assert len(start_line(2048).partition(b"\r\n")[0]) == 2048
    assert len(start_line_of_response(2047).partition(b"\r\n")[0]) == 2047
    assert len(header_block(32_500).partition(b"\r\n\r\n")[0]) == 32_500
    assert parse_message(folded_header_field(1000)).get("Z") == "a" + (" " + "a" * 99) * 9 + "a" * 96
    assert len(parse_message(header_fields(20)).fields) == len(parse_message(values(20)).fields) == 19


@both
def test_a_content_length_over_the_bound_is_refused_before_the_body_arrives(read: Read) -> None:
    with pytest.raises(WireError) as caught:
        read(request(length="Content-Length: 65535\r\n"))
    assert caught.value.status_hint == 413


@both
def test_header_fields_that_do_not_end_are_refused(read: Read) -> None:
    with pytest.raises(WireError) as caught:
        read(request()[:-4] + b"\r\nZ: " + b"a" * limits.HEADER_BLOCK_BYTES)
    assert caught.value.status_hint == 513


def test_a_datagram_without_content_length_has_the_same_bound() -> None:
    rest = limits.MESSAGE_BYTES - len(request(length=""))
    assert len(parse_message(request(length="", body=b"a" * rest)).body) == rest
    with pytest.raises(WireError) as caught:
        parse_message(request(length="", body=b"a" * (rest + 1)))
    assert caught.value.status_hint == 413


@pytest.mark.parametrize("stream", [False, True], ids=["datagram", "stream"])
@pytest.mark.parametrize(
    ("write", "field", "most", "status"),
    [
        (message, "message_bytes", 50_000, 413), (message, "message_bytes", 70_000, 413),
        (start_line, "start_line_bytes", 100, 414), (start_line_of_response, "start_line_bytes", 3_000, 414),
        (header_block, "header_block_bytes", 32_700, 513), (header_block, "header_block_bytes", 40_000, 513),
        (header_field, "header_field_bytes", 100, 513), (header_field, "header_field_bytes", 9_000, 513),
        (header_fields, "header_fields", 20, 513), (header_fields, "header_fields", 300, 513),
        (values, "header_fields", 20, 513), (values, "header_fields", 300, 513),
        (header_lines, "header_lines", 20, 513), (header_lines, "header_lines", 2_000, 513),
    ],
)  # fmt: skip
def test_a_program_can_set_bounds(
    stream: bool, write: Callable[[int], bytes], field: str, most: int, status: int
) -> None:
    bounds = replace(Limits(message_bytes=100_000), **{field: most})

    def read(data: bytes) -> Request | Response:
        return parse_message(StreamFramer(bounds).receive(data)[0] if stream else data, bounds)

    read(write(most))
    with pytest.raises(WireError) as caught:
        read(write(most + 1))
    assert caught.value.status_hint == status


def test_limits_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Limits().header_fields = 1  # type: ignore[misc] - what is shown to fail
    assert Limits() == Limits(header_fields=limits.HEADER_FIELDS)
