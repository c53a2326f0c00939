"""A model of the program of the kernel relay, which computes each packet anew; and packets to try it with.

Packets are those of Ethernet as the program sees them.
"""

from __future__ import annotations

import ipaddress
import struct

import attrs

from edgesbc.base.address import Source
from edgesbc.kernel_relay.flows import KernelFlow

LINK = 14
NEXT, REDIRECT = -1, 7


@attrs.define
class ModelCounters:
    packets: int = 0
    octets: int = 0
    expected: int = 0
    latest: tuple[int, int] | None = None
    """SSRC and highest sequence number."""


class RelayModel:
    """What the program has to do with packets that come in by one device."""

    def __init__(self, flows: list[KernelFlow], device: int, traffic_class: int) -> None:
        self.flows = {(flow.source, flow.destination): flow for flow in flows}
        self.counters = {flow.slot: ModelCounters() for flow in flows}
        self.device = device
        self.traffic_class = traffic_class

    def relay(self, packet: bytes) -> tuple[int, bytes]:
        """The result, and the packet afterwards; its checksums are right if they were."""
        ether_type = int.from_bytes(packet[12:14])
        if packet[:6] != bytes(6) or ether_type not in (0x0800, 0x86DD):
            return NEXT, packet
        version, header = (4, 20) if ether_type == 0x0800 else (6, 40)
        data = packet[LINK:]
        if len(data) < header + 8 + 12 or data[0] >> 4 != version:
            return NEXT, packet
        if version == 4:
            total, protocol, ttl = int.from_bytes(data[2:4]), data[9], data[8]
            whole = data[0] & 0xF == 5 and not int.from_bytes(data[6:8]) & 0x3FFF
            source, destination = data[12:16], data[16:20]
        else:
            total, protocol, ttl = int.from_bytes(data[4:6]) + 40, data[6], data[7]
            whole = data[46:48] != b"\0\0"
            source, destination = data[8:24], data[24:40]
        if not whole or protocol != 17 or ttl <= 1 or not header + 20 <= total <= len(data):
            return NEXT, packet
        source_port, destination_port, udp_length, checksum = struct.unpack("!HHHH", data[header : header + 8])
        if udp_length != total - header:
            return NEXT, packet
        flow = self.flows.get((_source(source, source_port), _source(destination, destination_port)))
        payload = data[header + 8 : total]
        if flow is None or flow.in_device != self.device or total > flow.largest:
            return NEXT, packet
        if flow.is_rtp and (payload[0] >> 6 != 2 or 192 <= payload[1] <= 223):
            return NEXT, packet
        self.count(flow, payload)
        old = data[:total]
        return REDIRECT, packet[:LINK] + self._translated(old, header, flow, checksum, payload)

    def _translated(self, old: bytes, header: int, flow: KernelFlow, checksum: int, payload: bytes) -> bytes:
        new_addresses = _packed(flow.new_source) + _packed(flow.new_destination)
        ports = struct.pack("!HH", flow.new_source.port, flow.new_destination.port)
        new = bytearray(old)
        if header == 20:
            new[1] = self.traffic_class | old[1] & 3
            new[8] -= 1
            new[12:20] = new_addresses
            new[10:12] = updated(old[10:12], old[:10] + old[12:20], bytes(new[:10]) + bytes(new[12:20]))
            old_addresses = old[12:20]
        else:
            word = int.from_bytes(old[:4]) & ~0x0FC00000 | self.traffic_class << 20
            new[:4] = word.to_bytes(4)
            new[7] -= 1
            new[8:40] = new_addresses
            old_addresses = old[8:40]
        new[header : header + 4] = ports
        if checksum:
            before, after = old_addresses + old[header : header + 4], new_addresses + ports
            new[header + 6 : header + 8] = updated(old[header + 6 : header + 8], before, after, never_zero=True)
        assert bytes(new[header + 8 :]) == payload
        return bytes(new)

    def count(self, flow: KernelFlow, payload: bytes) -> None:
        counters = self.counters[flow.slot]
        counters.packets += 1
        counters.octets += len(payload)
        if not flow.is_rtp:
            return
        sequence, ssrc = int.from_bytes(payload[2:4]), int.from_bytes(payload[8:12])
        step = 1
        if counters.latest is not None and counters.latest[0] == ssrc:
            ahead = (sequence - counters.latest[1]) % 65_536
            if ahead > 65_536 - 100:
                return
            step = ahead if ahead < 3000 else 1
        counters.expected += step
        counters.latest = ssrc, sequence


def updated(checksum: bytes, old: bytes, new: bytes, never_zero: bool = False) -> bytes:
    """RFC 1624 equation 3."""
    total = int.from_bytes(checksum) ^ 0xFFFF
    for at in range(0, len(old), 2):
        total += (int.from_bytes(old[at : at + 2]) ^ 0xFFFF) + int.from_bytes(new[at : at + 2])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ((total ^ 0xFFFF) or (0xFFFF if never_zero else 0)).to_bytes(2)


def internet_sum(data: bytes) -> int:
    """The sum of RFC 1071; 0xFFFF over data with a right checksum."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def udp_packet(
    source: Source,
    destination: Source,
    payload: bytes,
    ttl: int = 64,
    traffic_class: int = 0,
    with_checksum: bool = True,
    fragment: int = 0,
    options: bytes = b"",
    protocol: int = 17,
) -> bytes:
    """A packet from ``lo``, with right checksums."""
    one, two = _packed(source), _packed(destination)
    udp = struct.pack("!HHHH", source.port, destination.port, 8 + len(payload), 0)
    pseudo = one + two + struct.pack("!II", 8 + len(payload), 17)
    if with_checksum:
        udp = udp[:6] + ((internet_sum(pseudo + udp + payload) ^ 0xFFFF) or 0xFFFF).to_bytes(2)
    if len(one) == 16:
        first = 6 << 28 | traffic_class << 20 | 0xABCDE
        head = struct.pack("!IHBB", first, len(options) + 8 + len(payload), protocol, ttl)
        return bytes(12) + b"\x86\xdd" + head + one + two + options + udp + payload
    length = 20 + len(options) + 8 + len(payload)
    first = 0x45 + len(options) // 4
    head = (
        struct.pack("!BBHHHBBH", first, traffic_class, length, 4711, fragment, ttl, protocol, 0) + one + two + options
    )
    head = head[:10] + (internet_sum(head) ^ 0xFFFF).to_bytes(2) + head[12:]
    return bytes(12) + b"\x08\x00" + head + udp + payload


def rtp(sequence: int = 1, ssrc: int = 0x11223344, size: int = 172, first: bytes = b"\x80\x00") -> bytes:
    """A packet of RTP (RFC 3550 section 5.1)."""
    return (
        first
        + struct.pack("!HII", sequence & 0xFFFF, 160 * sequence & 0xFFFFFFFF, ssrc)
        + bytes(range(160))[: size - 12]
    )


def checksums_are_right(packet: bytes) -> bool:
    """Whether those of IP and UDP are; a UDP checksum of 0 is right over IPv4."""
    data = packet[LINK:]
    header = 20 if data[0] >> 4 == 4 else 40
    addresses = data[12:20] if header == 20 else data[8:40]
    udp = data[header:]
    pseudo = addresses + struct.pack("!II", len(udp), 17)
    if header == 20:
        if internet_sum(data[:20]) != 0xFFFF:
            return False
        if udp[6:8] == b"\0\0":
            return True
    return internet_sum(pseudo + udp) == 0xFFFF


def _packed(source: Source) -> bytes:
    return ipaddress.ip_address(source.host).packed


def _source(packed: bytes, port: int) -> Source:
    return Source(str(ipaddress.ip_address(packed)), port)
