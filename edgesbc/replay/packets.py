"""Dissection of a captured frame: link layer, IPv4 or IPv6, to the UDP datagram, TCP segment or IP fragment in it."""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import IPv6Address

from edgesbc.base.address import Source

__all__ = ["Fragment", "NotReadable", "Packet", "dissect", "transport"]

UDP, TCP = 17, 6
_IPV4, _IPV6 = 0x0800, 0x86DD
_TAGS = frozenset({0x8100, 0x88A8, 0x9100})  # IEEE 802.1Q, 802.1ad, and the older 0x9100 for the latter
# LINKTYPE_ numbers of libpcap.
_NULL, _ETHERNET, _LOOP, _COOKED, _COOKED_2 = 0, 1, 108, 113, 276
_RAW = frozenset({12, 14, 101, 228, 229})
_EXTENSIONS = frozenset({0, 43, 60, 135})  # IPv6: hop-by-hop, routing, destination options, mobility
_FRAGMENT, _AUTHENTICATION = 44, 51
_MOST_EXTENSIONS = 8
_CUT_OFF, _CUT_SHORT = "cut off before its addresses and ports", "cut by the capture's snap length"
_OUTGOING = 4  # packet type of Linux cooked captures: sent by the capturing machine


class NotReadable(ValueError):
    """A frame without usable UDP or TCP. The text is the reason, one of a fixed set; frames are counted by it."""


class Packet:
    """A UDP datagram or TCP segment.

    ``outgoing`` is whether the capturing machine sent it; None if the capture does not have that.
    """

    __slots__ = ("destination", "fin", "outgoing", "payload", "reset", "sequence", "source", "stream", "syn")

    def __init__(self, stream: bool, source: Source, destination: Source, payload: bytes) -> None:
        self.stream = stream
        self.source = source
        self.destination = destination
        self.payload = payload
        self.sequence = 0
        self.syn = self.fin = self.reset = False
        self.outgoing: bool | None = None


class Fragment:
    """A fragment of an IP packet: the packet's key, the offset in it, and whether more fragments follow."""

    __slots__ = ("data", "key", "more", "offset", "outgoing")

    def __init__(self, key: tuple[bytes, bytes, int, int], offset: int, more: bool, data: bytes) -> None:
        self.key = key
        """Source and destination address, identification, protocol."""
        self.offset = offset
        self.more = more
        self.data = data
        self.outgoing: bool | None = None


def dissect(link: int, data: bytes) -> Packet | Fragment:
    """The packet or fragment in a frame of link type ``link``. Raises :class:`NotReadable`."""
    try:
        kind, start, outgoing = _network(link, data)
        content = _ipv4(data, start) if kind == _IPV4 else _ipv6(data, start)
    except (struct.error, IndexError):
        raise NotReadable(_CUT_OFF) from None
    content.outgoing = outgoing
    return content


def _network(link: int, data: bytes) -> tuple[int, int, bool | None]:
    """The EtherType of IP in the frame, its offset, and ``outgoing`` (see :class:`Packet`)."""
    outgoing: bool | None = None
    if link == _ETHERNET:
        kind, start = struct.unpack_from(">H", data, 12)[0], 14
    elif link == _COOKED:
        outgoing = data[1] == _OUTGOING
        kind, start = struct.unpack_from(">H", data, 14)[0], 16
    elif link == _COOKED_2:
        outgoing = data[10] == _OUTGOING
        kind, start = struct.unpack_from(">H", data)[0], 20
    elif link in (_NULL, _LOOP) or link in _RAW:
        start = 0 if link in _RAW else 4  # numbers of address families differ between systems
        kind = {4: _IPV4, 6: _IPV6}.get(data[start] >> 4, 0)
    else:
        raise NotReadable("of a link type that is not read")
    while kind in _TAGS:
        kind = struct.unpack_from(">H", data, start + 2)[0]
        start += 4
    if kind not in (_IPV4, _IPV6):
        raise NotReadable("not IP")
    return kind, start, outgoing


def _ipv4(data: bytes, start: int) -> Packet | Fragment:
    """RFC 791."""
    first, total, identification, flags = struct.unpack_from(">BxHHH", data, start)
    protocol = data[start + 9]
    source, destination = data[start + 12 : start + 16], data[start + 16 : start + 20]
    head = (first & 15) * 4
    if first >> 4 != 4 or head < 20:
        raise NotReadable("not IP")
    if start + head > len(data):
        raise NotReadable(_CUT_OFF)
    # A length of 0: with segmentation offload the network card fills it in after the capture.
    end = start + total if total else len(data)
    body = data[start + head : end]
    if end > len(data):
        raise NotReadable(_CUT_SHORT)
    offset, more = (flags & 0x1FFF) * 8, bool(flags & 0x2000)
    if offset or more:
        return Fragment((source, destination, identification, protocol), offset, more, body)
    return transport(protocol, source, destination, body)


def _ipv6(data: bytes, start: int) -> Packet | Fragment:
    """RFC 8200, with its extension headers."""
    first, length, kind = struct.unpack_from(">IHB", data, start)
    if first >> 28 != 6:
        raise NotReadable("not IP")
    source, destination = data[start + 8 : start + 24], data[start + 24 : start + 40]
    at = start + 40
    if at > len(data):
        raise NotReadable(_CUT_OFF)
    end = at + length if length else len(data)
    if end > len(data):
        raise NotReadable(_CUT_SHORT)
    for _ in range(_MOST_EXTENSIONS):
        if kind in _EXTENSIONS:
            kind, at = data[at], at + 8 + data[at + 1] * 8
        elif kind == _AUTHENTICATION:
            kind, at = data[at], at + 8 + data[at + 1] * 4
        elif kind == _FRAGMENT:
            following, offset_field, identification = struct.unpack_from(">BxHI", data, at)
            body = data[at + 8 : end]
            if not offset_field & 0xFFF9:  # the whole packet in one fragment (RFC 6946)
                kind, at = following, at + 8
                continue
            return Fragment(
                (source, destination, identification, following), offset_field & 0xFFF8, bool(offset_field & 1), body
            )
        else:
            break
    return transport(kind, source, destination, data[at:end])


def transport(protocol: int, source: bytes, destination: bytes, body: bytes) -> Packet:
    """The datagram or segment in the body of a whole IP packet. Raises :class:`NotReadable`."""
    try:
        if protocol == UDP:
            from_port, to_port, length = struct.unpack_from(">HHH", body)
            if length > len(body):
                raise NotReadable(_CUT_SHORT)
            payload = body[8:length] if length >= 8 else body[8:]
            return Packet(False, Source(_text(source), from_port), Source(_text(destination), to_port), payload)
        if protocol == TCP:
            from_port, to_port, sequence, _, offset, flags = struct.unpack_from(">HHIIBB", body)
            payload = body[(offset >> 4) * 4 :]
            packet = Packet(True, Source(_text(source), from_port), Source(_text(destination), to_port), payload)
            packet.sequence = sequence
            packet.fin, packet.reset = bool(flags & 1), bool(flags & 4)
            packet.syn = bool(flags & 2)
            return packet
    except struct.error:
        raise NotReadable(_CUT_OFF) from None
    raise NotReadable("neither UDP nor TCP")


@lru_cache(maxsize=4096)
def _text(address: bytes) -> str:
    """The address in the kernel's text form, which the rest of the program uses as a key."""
    if len(address) == 4:
        return "{}.{}.{}.{}".format(*address)
    return str(IPv6Address(address))
