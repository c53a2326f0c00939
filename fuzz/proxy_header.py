"""Fuzz target: the header of the PROXY protocol, version 2, that a balancer sends first.

For any input:

- :class:`ProxyHeaderReader` raises ProxyHeaderError and nothing else;
- whole or in pieces, it reads the same bytes with the same outcome; those that follow the header are not taken;
- it takes the 16 bytes of the fixed part and those that it announces, within the bound;
- a header is refused if a reading of section 2.2 of the protocol's text refuses it, and gives the same address;
- the address has one text, and IPv4 in IPv6 is IPv4.
"""

from __future__ import annotations

import ipaddress
import socket
import struct

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.streams.proxy_protocol import ProxyHeaderError, ProxyHeaderReader

__all__ = ["check"]

_SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
_UNFINISHED, _REFUSED, _LOCAL = "unfinished", "refused", "local"
_MAPPED = bytes(10) + b"\xff\xff"

Outcome = Source | str


def check(data: bytes) -> None:
    outcome, size = read_header(data, len(data))
    for pieces in (1, 5, 16):
        assert read_header(data, pieces)[0] == outcome
    expected = expected_outcome(data)
    assert outcome == expected
    if outcome in (_UNFINISHED, _REFUSED):
        return
    assert size == 16 + int.from_bytes(data[14:16], "big")
    assert size <= 16 + limits.PROXY_HEADER_BYTES


def read_header(data: bytes, most: int) -> tuple[Outcome, int]:
    """What comes of the bytes if at most ``most`` arrive at a time, and how many of them are taken."""
    reader = ProxyHeaderReader()
    at = 0
    while reader.needed:
        piece = data[at : at + min(most, reader.needed)]
        if not piece:
            return _UNFINISHED, at
        at += len(piece)
        try:
            reader.receive(piece)
        except ProxyHeaderError:
            return _REFUSED, at
        assert 0 <= reader.needed <= max(16, limits.PROXY_HEADER_BYTES)
    return reader.source or _LOCAL, at


def expected_outcome(data: bytes) -> Outcome:
    """What comes of them by a reading of the whole."""
    if data[:12] != _SIGNATURE[: len(data)]:
        return _REFUSED
    if len(data) < 16:
        return _UNFINISHED
    version_and_command, family, size = struct.unpack("!BBH", data[12:16])
    if size > limits.PROXY_HEADER_BYTES:
        return _REFUSED
    if len(data) < 16 + size:
        return _UNFINISHED
    if version_and_command == 0x20:
        return _LOCAL
    content = data[16 : 16 + size]
    if version_and_command != 0x21 or family not in (0x11, 0x21) or size < (12 if family == 0x11 else 36):
        return _REFUSED
    if family == 0x11:
        address, port = content[:4], content[8:10]
    else:
        address, port = content[:16], content[32:34]
    if address.startswith(_MAPPED) and len(address) == 16:
        address = address[12:]
    host = socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
    host = str(ipaddress.ip_address(host))  # the C library writes the last 32 bits of ::/96 in another way
    return Source(host, int.from_bytes(port, "big"))
