"""The program of the kernel relay. Without I/O.

It runs for each packet that comes in by a network device, before the IP stack. A packet of a flow in the map gets the
addresses and ports that the map says, and leaves. Every other packet goes on to the programs that follow and to the
stack, unchanged; so does one of a flow that the program is not sure of: with a VLAN tag, a fragment, with IP options or
extension headers, with a TTL that is used up, too large for the next link, merged by the device, or no RTP.

Checksums are updated (RFC 1624) and not computed anew, so that a packet with a wrong one arrives with a wrong one.
"""

from __future__ import annotations

import sys
from typing import Final

from edgesbc.kernel_relay.assembler import BYTE, DOUBLE, HALF, WORD, EbpfAssembler, EbpfInstruction
from edgesbc.kernel_relay.flows import COUNTED, IS_RTP

__all__ = ["DROP", "ETHERNET_HEADER", "NEXT", "REDIRECT", "relay_program"]

NEXT: Final = -1  # TCX_NEXT
DROP: Final = 2  # TCX_DROP
REDIRECT: Final = 7  # TCX_REDIRECT
"""Results of the program (linux/bpf.h)."""

ETHERNET_HEADER: Final = 14
"""Bytes in front of the IP header on Ethernet, and on ``lo``. A device without such a header has 0."""

# Functions of the kernel (enum bpf_func_id of linux/bpf.h).
_MAP_LOOKUP: Final = 1
_STORE_BYTES: Final = 9
_L4_CHECKSUM: Final = 11
_CHANGE_TAIL: Final = 38
_PULL_DATA: Final = 39
_CHANGE_HEAD: Final = 43
_REDIRECT_NEIGHBOUR: Final = 152
_COARSE_TIME: Final = 160

# struct __sk_buff
_LENGTH, _PACKET_TYPE, _PROTOCOL, _TAGGED, _DEVICE = 0, 4, 16, 20, 40
_DATA, _DATA_END, _MERGED_SIZE = 76, 80, 176

# The value of a flow, as ``flows`` packs it.
_IN_DEVICE, _OUT_DEVICE, _SLOT, _LARGEST, _FLAGS, _ADDRESS_DIFFERENCE, _PORT_DIFFERENCE = range(0, 28, 4)
_NEW_PORTS, _NEW_SOURCE, _NEW_DESTINATION = 28, 32, 48

_PACKETS, _OCTETS, _LAST_ARRIVAL, _EXPECTED, _LATEST = range(0, 40, 8)
"""The counters of a slot, as ``flows`` reads them."""

_PSEUDO_HEADER, _KEEP_ZERO, _IS_IPV6 = 0x10, 0x20, 0x80
"""BPF_F_PSEUDO_HDR, BPF_F_MARK_MANGLED_0 (a UDP checksum of 0 says that there is none: RFC 768), BPF_F_IPV6."""

_UDP: Final = 17
_UDP_HEADER: Final = 8
_RTP_HEADER: Final = 12
_IPV4_WITHOUT_OPTIONS: Final = 0x45
_FRAGMENT: Final = 0x3FFF  # more fragments, or an offset (RFC 791 section 3.1)
_LEAST_TTL: Final = 2
_FIRST_RTCP, _RTCP_TYPES = 192, 32  # RFC 5761 section 4
_DROPOUT, _MISORDER = 3000, 100  # RFC 3550 appendix A.1

# Registers: 1 to 5 are used between two calls.
_CONTEXT, _PACKET, _SIZE, _FLOW, _FRAME = 6, 7, 8, 9, 10
"""``_SIZE`` is the length from the IP header on; ``_PACKET`` points to the packet and later to the counters."""

# The stack, below the frame pointer.
_KEY: Final = -40
_HEADER: Final = -88  # the new IP header, and the ports after it
_RTP: Final = -96  # the first four octets of RTP, and its SSRC
_COUNTERS: Final = -104
_NUMBER: Final = -108


def relay_program(link_header: int, flows: int, counters: int, traffic_class: int) -> tuple[EbpfInstruction, ...]:
    """The program for devices with ``link_header`` bytes in front of the IP header: ``ETHERNET_HEADER`` or 0.

    ``flows`` and ``counters`` are descriptors of the maps. Relayed packets get the differentiated services of
    ``traffic_class`` (RFC 2474), and keep their ECN bits.
    """
    asm = EbpfAssembler()
    asm.compute_with("mov", _CONTEXT, 1)
    # A packet to another host, which a bridge or a sniffer sees; one with a tag; several that the device has merged.
    for field in (_PACKET_TYPE, _TAGGED, _MERGED_SIZE):
        asm.load(WORD, 1, _CONTEXT, field)
        asm.jump_if(1, "!=", 0, "next")
    asm.load(WORD, 1, _CONTEXT, _PROTOCOL)
    asm.jump_if(1, "==", _network(0x0800), "IPv4")
    asm.jump_if(1, "!=", _network(0x86DD), "next")
    _Ipv6Path(asm, link_header, flows, counters, traffic_class).put()
    asm.label("IPv4")
    _Ipv4Path(asm, link_header, flows, counters, traffic_class).put()
    asm.label("next")
    asm.compute("mov", 0, NEXT)
    asm.leave()
    asm.label("drop")
    asm.compute("mov", 0, DROP)
    asm.leave()
    return asm.program()


class _Path:
    """The part of the program for one IP version."""

    header = 0
    """Bytes of the IP header."""
    name = ""

    def __init__(self, asm: EbpfAssembler, link_header: int, flows: int, counters: int, traffic_class: int) -> None:
        self.asm = asm
        self.link = link_header
        self.udp = link_header + self.header
        self.traffic_class = traffic_class & 0xFC
        self._flows = flows
        self._counters = counters

    def put(self) -> None:
        self._read_headers()
        self.check_ip_header()
        self._check_lengths()
        self._keep_rtp_header()
        self._find_flow()
        self._check_flow()
        self._find_counters()
        self.build_header()
        self._trim()
        self._write_header()
        self.update_checksum()
        self._count()
        self._count_sequence()
        self._send()

    def check_ip_header(self) -> None:
        """Go on with a packet that is one UDP datagram; its length goes to ``_SIZE``, its addresses to the key."""
        raise NotImplementedError

    def build_header(self) -> None:
        """Put the new IP header and the new ports on the stack."""
        raise NotImplementedError

    def update_checksum(self) -> None:
        """Update the UDP checksum of a packet whose header is written."""
        raise NotImplementedError

    # --- is it a packet of a flow? ------------------------------------------------------------------------

    def _read_headers(self) -> None:
        """Have all headers in one piece; a packet that is too short for them goes on."""
        asm, needed = self.asm, self.udp + _UDP_HEADER + _RTP_HEADER
        self._load_packet(needed)
        asm.jump_if_with(1, "<=", 2, f"{self.name} linear")
        asm.compute_with("mov", 1, _CONTEXT)
        asm.compute("mov", 2, needed)
        asm.call(_PULL_DATA)
        asm.jump_if(0, "!=", 0, "next")
        self._load_packet(needed)
        asm.jump_if_with(1, ">", 2, "next")
        asm.label(f"{self.name} linear")

    def _load_packet(self, needed: int) -> None:
        asm = self.asm
        asm.load(WORD, _PACKET, _CONTEXT, _DATA)
        asm.load(WORD, 2, _CONTEXT, _DATA_END)
        asm.compute_with("mov", 1, _PACKET)
        asm.compute("add", 1, needed)

    def _check_lengths(self) -> None:
        """The lengths of IP and UDP agree, and the packet is not cut off."""
        asm = self.asm
        asm.jump_if(_SIZE, "<", self.header + _UDP_HEADER + _RTP_HEADER, "next")
        asm.load(HALF, 1, _PACKET, self.udp + 4)
        asm.network_order(16, 1)
        asm.compute("add", 1, self.header)
        asm.jump_if_with(1, "!=", _SIZE, "next")
        asm.load(WORD, 1, _CONTEXT, _LENGTH)
        asm.compute_with("mov", 2, _SIZE)
        asm.compute("add", 2, self.link)
        asm.jump_if_with(2, ">", 1, "next")

    def _keep_rtp_header(self) -> None:
        asm = self.asm
        for offset, place in ((0, _RTP), (8, _RTP + 4)):
            asm.load(WORD, 1, _PACKET, self.udp + _UDP_HEADER + offset)
            asm.store(WORD, _FRAME, place, 1)

    def _find_flow(self) -> None:
        asm = self.asm
        asm.load(WORD, 1, _PACKET, self.udp)  # both ports
        asm.store(WORD, _FRAME, _KEY + 4, 1)
        self._look_up(self._flows, _KEY)
        asm.compute_with("mov", _FLOW, 0)

    def _find_counters(self) -> None:
        asm = self.asm
        asm.load(WORD, 1, _FLOW, _SLOT)
        asm.store(WORD, _FRAME, _NUMBER, 1)
        self._look_up(self._counters, _NUMBER)
        asm.store(DOUBLE, _FRAME, _COUNTERS, 0)

    def _look_up(self, map_descriptor: int, key: int) -> None:
        asm = self.asm
        asm.load_map(1, map_descriptor)
        asm.compute_with("mov", 2, _FRAME)
        asm.compute("add", 2, key)
        asm.call(_MAP_LOOKUP)
        asm.jump_if(0, "==", 0, "next")

    def _check_flow(self) -> None:
        asm = self.asm
        asm.load(WORD, 1, _CONTEXT, _DEVICE)
        asm.load(WORD, 2, _FLOW, _IN_DEVICE)
        asm.jump_if_with(1, "!=", 2, "next")
        asm.load(WORD, 1, _FLOW, _LARGEST)
        asm.jump_if_with(_SIZE, ">", 1, "next")
        asm.load(WORD, 1, _FLOW, _FLAGS)
        asm.compute("and", 1, IS_RTP)
        asm.jump_if(1, "==", 0, f"{self.name} fits")
        asm.load(BYTE, 1, _FRAME, _RTP)  # 128 to 191: neither STUN nor DTLS (RFC 7983)
        asm.compute("and", 1, 0xC0)
        asm.jump_if(1, "!=", 0x80, "next")
        asm.load(BYTE, 1, _FRAME, _RTP + 1)
        asm.compute("sub", 1, _FIRST_RTCP)
        asm.jump_if(1, "<", _RTCP_TYPES, "next")
        asm.label(f"{self.name} fits")

    # --- the new packet -----------------------------------------------------------------------------------

    def copy(self, base: int, offset: int, place: int, words: int) -> None:
        """Copy words to the stack."""
        for at in range(0, 4 * words, 4):
            self.asm.load(WORD, 1, base, offset + at)
            self.asm.store(WORD, _FRAME, place + at, 1)

    def _trim(self) -> None:
        """Cut off what Ethernet has added to reach its least length."""
        asm = self.asm
        asm.load(WORD, 1, _CONTEXT, _LENGTH)
        asm.compute_with("mov", 2, _SIZE)
        asm.compute("add", 2, self.link)
        asm.jump_if_with(1, "==", 2, f"{self.name} trimmed")
        asm.compute_with("mov", 1, _CONTEXT)
        asm.compute("mov", 3, 0)
        asm.call(_CHANGE_TAIL)
        asm.jump_if(0, "!=", 0, "next")
        asm.label(f"{self.name} trimmed")

    def _write_header(self) -> None:
        """Nothing is changed where this fails, for want of memory. What fails after it costs the packet."""
        asm = self.asm
        asm.compute_with("mov", 1, _CONTEXT)
        asm.compute("mov", 2, self.link)
        asm.compute_with("mov", 3, _FRAME)
        asm.compute("add", 3, _HEADER)
        asm.compute("mov", 4, self.header + 4)
        asm.compute("mov", 5, 0)
        asm.call(_STORE_BYTES)
        asm.jump_if(0, "!=", 0, "next")

    def add_to_checksum(self, difference: int, flags: int) -> None:
        """Add a difference to the UDP checksum, whoever computes it: the sender, or a device (CHECKSUM_PARTIAL)."""
        asm = self.asm
        asm.compute_with("mov", 1, _CONTEXT)
        asm.compute("mov", 2, self.udp + 6)
        asm.compute("mov", 3, 0)
        asm.load(WORD, 4, _FLOW, difference)
        asm.compute("mov", 5, flags | _KEEP_ZERO)
        asm.call(_L4_CHECKSUM)

    # --- counters, and the way out -------------------------------------------------------------------------

    def _count(self) -> None:
        asm = self.asm
        asm.load(DOUBLE, _PACKET, _FRAME, _COUNTERS)
        asm.compute("mov", 1, 1)
        asm.atomic_add(_PACKET, _PACKETS, 1)
        asm.compute_with("mov", 1, _SIZE)
        asm.compute("sub", 1, self.header + _UDP_HEADER)
        asm.atomic_add(_PACKET, _OCTETS, 1)
        asm.call(_COARSE_TIME)
        asm.store(DOUBLE, _PACKET, _LAST_ARRIVAL, 0)

    def _count_sequence(self) -> None:
        """RFC 3550 appendix A.1, without its count of cycles: the expected packets are added up instead."""
        asm, name = self.asm, self.name
        asm.load(WORD, 1, _FLOW, _FLAGS)
        asm.compute("and", 1, IS_RTP)
        asm.jump_if(1, "==", 0, f"{name} counted")
        asm.load(DOUBLE, 1, _PACKET, _LATEST)
        asm.load(WORD, 2, _FRAME, _RTP + 4)
        asm.network_order(32, 2)
        asm.load(HALF, 3, _FRAME, _RTP + 2)
        asm.network_order(16, 3)
        asm.compute_with("mov", 5, 3)
        asm.compute_with("sub", 5, 1)
        asm.compute("and", 5, 0xFFFF)
        asm.jump_if(1, "==", 0, f"{name} restart")  # the first packet
        asm.compute("rsh", 1, 32)
        asm.jump_if_with(1, "!=", 2, f"{name} restart")
        asm.jump_if(5, "<", _DROPOUT, f"{name} forward")
        asm.jump_if(5, ">", 0x10000 - _MISORDER, f"{name} counted")  # it comes late
        asm.label(f"{name} restart")  # another SSRC, or a jump
        asm.compute("mov", 5, 1)
        asm.label(f"{name} forward")
        asm.load(DOUBLE, 1, _PACKET, _EXPECTED)
        asm.compute_with("add", 1, 5)
        asm.store(DOUBLE, _PACKET, _EXPECTED, 1)
        asm.compute("lsh", 2, 32)
        asm.compute_with("or", 2, 3)
        asm.compute("or", 2, COUNTED)
        asm.store(DOUBLE, _PACKET, _LATEST, 2)
        asm.label(f"{name} counted")

    def _send(self) -> None:
        asm = self.asm
        if self.link == 0:  # the kernel redirects only what has the header of a link
            asm.compute_with("mov", 1, _CONTEXT)
            asm.compute("mov", 2, ETHERNET_HEADER)
            asm.compute("mov", 3, 0)
            asm.call(_CHANGE_HEAD)
            asm.jump_if(0, "!=", 0, "drop")
        asm.load(WORD, 1, _FLOW, _OUT_DEVICE)
        for argument in (2, 3, 4):  # no next hop: the kernel finds it, and its link address
            asm.compute("mov", argument, 0)
        asm.call(_REDIRECT_NEIGHBOUR)
        asm.leave()


class _Ipv4Path(_Path):
    """RFC 791 section 3.1."""

    header = 20
    name = "IPv4"

    def check_ip_header(self) -> None:
        asm, ip = self.asm, self.link
        asm.load(BYTE, 1, _PACKET, ip)
        asm.jump_if(1, "!=", _IPV4_WITHOUT_OPTIONS, "next")
        asm.load(HALF, 1, _PACKET, ip + 6)
        asm.jump_if(1, "&", _network(_FRAGMENT), "next")
        asm.load(BYTE, 1, _PACKET, ip + 8)
        asm.jump_if(1, "<", _LEAST_TTL, "next")
        asm.load(BYTE, 1, _PACKET, ip + 9)
        asm.jump_if(1, "!=", _UDP, "next")
        asm.load(HALF, _SIZE, _PACKET, ip + 2)
        asm.network_order(16, _SIZE)
        asm.store_value(WORD, _FRAME, _KEY, 4)
        for place in (_KEY + 8, _KEY + 24):
            for rest in (4, 8, 12):
                asm.store_value(WORD, _FRAME, place + rest, 0)
        self.copy(_PACKET, ip + 12, _KEY + 8, 1)
        self.copy(_PACKET, ip + 16, _KEY + 24, 1)

    def build_header(self) -> None:
        asm, ip = self.asm, self.link
        self.copy(_PACKET, ip, _HEADER, 3)
        asm.load(BYTE, 1, _FRAME, _HEADER + 1)
        asm.compute("and", 1, 0x03)
        asm.compute("or", 1, self.traffic_class)
        asm.store(BYTE, _FRAME, _HEADER + 1, 1)
        asm.load(BYTE, 1, _FRAME, _HEADER + 8)
        asm.compute("sub", 1, 1)
        asm.store(BYTE, _FRAME, _HEADER + 8, 1)
        self.copy(_FLOW, _NEW_SOURCE, _HEADER + 12, 1)
        self.copy(_FLOW, _NEW_DESTINATION, _HEADER + 16, 1)
        self.copy(_FLOW, _NEW_PORTS, _HEADER + 20, 1)
        self._update_header_checksum()

    def _update_header_checksum(self) -> None:
        asm = self.asm
        asm.load(HALF, 1, _FRAME, _HEADER + 10)
        asm.compute("xor", 1, 0xFFFF)
        for changed in (0, 8):  # those with the traffic class and with the TTL
            asm.load(HALF, 2, _PACKET, self.link + changed)
            asm.compute("xor", 2, 0xFFFF)
            asm.compute_with("add", 1, 2)
            asm.load(HALF, 2, _FRAME, _HEADER + changed)
            asm.compute_with("add", 1, 2)
        asm.load(WORD, 2, _FLOW, _ADDRESS_DIFFERENCE)
        asm.compute_with("add", 1, 2)
        for _ in range(2):
            asm.compute_with("mov", 2, 1)
            asm.compute("rsh", 2, 16)
            asm.compute("and", 1, 0xFFFF)
            asm.compute_with("add", 1, 2)
        asm.compute("xor", 1, 0xFFFF)
        asm.store(HALF, _FRAME, _HEADER + 10, 1)

    def update_checksum(self) -> None:
        for difference, flags in ((_ADDRESS_DIFFERENCE, _PSEUDO_HEADER), (_PORT_DIFFERENCE, 0)):
            self.add_to_checksum(difference, flags)
            self.asm.jump_if(0, "!=", 0, "drop")


class _Ipv6Path(_Path):
    """RFC 8200 section 3."""

    header = 40
    name = "IPv6"

    def check_ip_header(self) -> None:
        asm, ip = self.asm, self.link
        asm.load(BYTE, 1, _PACKET, ip)
        asm.compute("rsh", 1, 4)
        asm.jump_if(1, "!=", 6, "next")
        asm.load(BYTE, 1, _PACKET, ip + 6)  # with an extension header it is another one
        asm.jump_if(1, "!=", _UDP, "next")
        asm.load(BYTE, 1, _PACKET, ip + 7)
        asm.jump_if(1, "<", _LEAST_TTL, "next")
        asm.load(HALF, 1, _PACKET, self.udp + 6)
        asm.jump_if(1, "==", 0, "next")  # no UDP checksum: the stack drops it (RFC 8200 section 8.1)
        asm.load(HALF, _SIZE, _PACKET, ip + 4)
        asm.network_order(16, _SIZE)
        asm.compute("add", _SIZE, self.header)
        asm.store_value(WORD, _FRAME, _KEY, 6)
        self.copy(_PACKET, ip + 8, _KEY + 8, 8)

    def build_header(self) -> None:
        asm, ip, traffic_class = self.asm, self.link, self.traffic_class
        self.copy(_PACKET, ip, _HEADER, 2)
        asm.store_value(BYTE, _FRAME, _HEADER, 0x60 | traffic_class >> 4)
        asm.load(BYTE, 1, _FRAME, _HEADER + 1)
        asm.compute("and", 1, 0x3F)  # ECN, and the beginning of the flow label
        asm.compute("or", 1, (traffic_class & 0x0F) << 4)
        asm.store(BYTE, _FRAME, _HEADER + 1, 1)
        asm.load(BYTE, 1, _FRAME, _HEADER + 7)
        asm.compute("sub", 1, 1)
        asm.store(BYTE, _FRAME, _HEADER + 7, 1)
        self.copy(_FLOW, _NEW_SOURCE, _HEADER + 8, 4)
        self.copy(_FLOW, _NEW_DESTINATION, _HEADER + 24, 4)
        self.copy(_FLOW, _NEW_PORTS, _HEADER + 40, 1)

    def update_checksum(self) -> None:
        asm = self.asm
        self.add_to_checksum(_ADDRESS_DIFFERENCE, _PSEUDO_HEADER | _IS_IPV6)
        asm.jump_if(0, "==", 0, "IPv6 addresses")
        self.add_to_checksum(_ADDRESS_DIFFERENCE, _PSEUDO_HEADER)  # Linux before 6.16 does not know the flag
        asm.jump_if(0, "!=", 0, "drop")
        asm.label("IPv6 addresses")
        self.add_to_checksum(_PORT_DIFFERENCE, 0)
        asm.jump_if(0, "!=", 0, "drop")


def _network(value: int) -> int:
    """16 bits in network order, as the machine reads them from a packet."""
    return int.from_bytes(value.to_bytes(2, "big"), sys.byteorder)
