"""The header of the PROXY protocol, version 2, whole and in pieces, and what is none."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.streams.proxy_protocol import ProxyHeaderError, ProxyHeaderReader

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def header(command: int, kind: int, body: bytes) -> bytes:
    return SIGNATURE + bytes((command, kind)) + len(body).to_bytes(2, "big") + body


def addresses(source: str, port: int, family: int = socket.AF_INET) -> bytes:
    edge = "192.0.2.1" if family == socket.AF_INET else "2001:db8::1"
    return (
        socket.inet_pton(family, source) + socket.inet_pton(family, edge) + port.to_bytes(2, "big") + b"\x13\xc5"
    )  # fmt: skip


def read(data: bytes, most: int = 4096) -> tuple[ProxyHeaderReader, bytes]:
    """Read a header by pieces of at most ``most`` bytes: the reader, and what follows."""
    reader = ProxyHeaderReader()
    while reader.needed:
        piece, data = data[: min(reader.needed, most)], data[min(reader.needed, most) :]
        if not piece:
            break
        reader.receive(piece)
    return reader, data


FOUR = header(0x21, 0x11, addresses("198.51.100.7", 40_000))
SIX = header(0x21, 0x21, addresses("2001:db8::7", 40_001, socket.AF_INET6))


@pytest.mark.parametrize("most", [1, 5, 16, 4096])
@pytest.mark.parametrize(
    ("data", "source"),
    [
        (FOUR, Source("198.51.100.7", 40_000)),
        (SIX, Source("2001:db8::7", 40_001)),
        (header(0x21, 0x21, addresses("::ffff:198.51.100.7", 9, socket.AF_INET6)), Source("198.51.100.7", 9)),
        (header(0x21, 0x11, addresses("198.51.100.7", 1) + b"\x04\0\x03abc"), Source("198.51.100.7", 1)),  # a TLV
        (header(0x20, 0x00, b""), None),
        (header(0x20, 0x11, addresses("198.51.100.7", 40_000)), None),
    ],
    ids=["IPv4", "IPv6", "IPv4-mapped", "with an extension", "local", "local with addresses"],
)
def test_a_header_names_the_peer(data: bytes, source: Source | None, most: int) -> None:
    reader, rest = read(data + b"OPTIONS", most)
    assert (reader.needed, reader.source, rest) == (0, source, b"OPTIONS")


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 5061\r\n", b"OPTIONS sip:a SIP/2.0\r\n", b"\x16\x03\x01\x02\x00",
        header(0x11, 0x11, addresses("198.51.100.7", 1)), header(0x22, 0x11, addresses("198.51.100.7", 1)),
        header(0x21, 0x12, addresses("198.51.100.7", 1)), header(0x21, 0x31, bytes(216)), header(0x21, 0x00, b""),
        header(0x21, 0x11, addresses("198.51.100.7", 1)[:-1]), header(0x21, 0x21, addresses("198.51.100.7", 1)),
        SIGNATURE + b"\x21\x11" + (limits.PROXY_HEADER_BYTES + 1).to_bytes(2, "big"),
    ],
    ids=[
        "version 1", "SIP", "TLS", "another version", "another command", "UDP", "Unix", "unspecified", "too short",
        "too short for IPv6", "too long",
    ],
)  # fmt: skip
def test_what_is_no_such_header_is_an_error(data: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        read(data)


@given(st.binary(max_size=80), st.integers(1, 20))
def test_any_bytes_are_a_header_or_an_error(data: bytes, most: int) -> None:
    for begin in (b"", SIGNATURE, FOUR[:20]):
        try:
            reader, _ = read(begin + data, most)
        except ProxyHeaderError:
            continue
        assert reader.needed or reader.source is None or 0 <= reader.source.port <= 65_535
