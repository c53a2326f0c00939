"""ICMP errors that a test forges, on loopback."""

from __future__ import annotations

import socket
import struct

from edgesbc.base.address import Source

__all__ = ["icmp"]


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def icmp(offender: str, source: Source, destination: Source, payload: bytes, code: int = 3) -> None:
    """Send an error from ``offender`` that quotes a datagram from ``source`` to ``destination``; needs CAP_NET_RAW."""
    udp = struct.pack("!HHHH", source.port, destination.port, 8 + len(payload), 0)
    addresses = socket.inet_aton(source.host) + socket.inet_aton(destination.host)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    body = ip + udp + payload
    head = struct.pack("!BBHI", 3, code, 0, 0)
    head = struct.pack("!BBHI", 3, code, checksum(head + body), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.bind((offender, 0))
        raw.sendto(head + body, (source.host, 0))
