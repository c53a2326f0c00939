"""Captures for tests: packets and frames of every layer, and the two file formats."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import ip_address

ETHERNET, RAW, NULL, LOOP, COOKED, COOKED_2 = 1, 101, 0, 108, 113, 276
UDP, TCP = 17, 6
SYN, FIN, RST, ACK = 2, 1, 4, 16
T0 = 1_700_000_000
"""When captures begin, in seconds since 1970."""

Timed = tuple[float, bytes]
"""Seconds from the beginning, and a frame."""


def ip(
    source: str, destination: str, protocol: int, body: bytes, fragment: tuple[int, int, bool] | None = None
) -> bytes:
    """An IP packet; ``fragment`` is identification, offset in bytes and whether more follow. Checksums stay 0."""
    a, b = ip_address(source), ip_address(destination)
    if a.version == 4:
        number, offset, more = fragment or (0, 0, False)
        flags = offset // 8 | more << 13
        return (
            struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), number, flags, 64, protocol, 0)
            + a.packed
            + b.packed
            + body
        )
    if fragment is not None:
        number, offset, more = fragment
        body = struct.pack(">BBHI", protocol, 0, offset | more, number) + body
        protocol = 44
    return struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + a.packed + b.packed + body


def udp_body(from_port: int, to_port: int, payload: bytes) -> bytes:
    return struct.pack(">HHHH", from_port, to_port, 8 + len(payload), 0) + payload


def udp(source: tuple[str, int], destination: tuple[str, int], payload: bytes) -> bytes:
    """An IP packet with a datagram."""
    return ip(source[0], destination[0], UDP, udp_body(source[1], destination[1], payload))


def tcp(
    source: tuple[str, int], destination: tuple[str, int], sequence: int, payload: bytes = b"", flags: int = ACK
) -> bytes:
    """An IP packet with a segment."""
    head = struct.pack(">HHIIBBHHH", source[1], destination[1], sequence % (1 << 32), 0, 5 << 4, flags, 65535, 0, 0)
    return ip(source[0], destination[0], TCP, head + payload)


def frame(packet: bytes, link: int = ETHERNET, vlans: int = 0, sent: bool = False) -> bytes:
    """An IP packet in a frame of a link type; ``sent`` is the direction in cooked captures."""
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    if link == ETHERNET:
        tags = b"".join(struct.pack(">HH", 0x8100, 100 + n) for n in range(vlans))
        padding = bytes(max(0, 46 - len(packet)))
        return bytes(12) + tags + struct.pack(">H", kind) + packet + padding
    if link == COOKED:
        return struct.pack(">HHH8sH", 4 if sent else 0, 1, 6, bytes(8), kind) + packet
    if link == COOKED_2:
        return struct.pack(">HHIHBB8s", kind, 0, 1, 1, 4 if sent else 0, 6, bytes(8)) + packet
    if link == NULL:
        return struct.pack("<I", 2 if kind == 0x0800 else 30) + packet
    if link == LOOP:
        return struct.pack(">I", 2 if kind == 0x0800 else 24) + packet
    return packet


def pcap(frames: Iterable[Timed], link: int = ETHERNET, order: str = "<", nanoseconds: bool = False) -> bytes:
    """A pcap file."""
    magic, unit = (0xA1B23C4D, 10**9) if nanoseconds else (0xA1B2C3D4, 10**6)
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)]
    for at, data in frames:
        ticks = T0 * unit + round(at * unit)
        out.append(struct.pack(order + "IIII", ticks // unit, ticks % unit, len(data), len(data)) + data)
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int = ETHERNET, order: str = "<", options: bytes = b"") -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, 262144) + options, order)


def packet_block(at: float, data: bytes, number: int = 0, order: str = "<", unit: int = 10**6) -> bytes:
    ticks = T0 * unit + round(at * unit)
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data, order)


def pcapng(frames: Iterable[Timed], link: int = ETHERNET, order: str = "<") -> bytes:
    """A pcapng file of one section with one interface."""
    return section(order) + interface(link, order) + b"".join(packet_block(at, data, 0, order) for at, data in frames)
