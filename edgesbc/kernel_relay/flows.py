"""Flows of the kernel relay, and how they stand in its maps. Without I/O.

A flow is one direction of a stream: what comes from one peer to the port of the relay that faces it, and leaves by the
port that faces the other peer. Addresses and ports stand in the maps as in a packet, numbers in the byte order of the
machine.
"""

from __future__ import annotations

import ipaddress
import struct
from functools import lru_cache
from typing import Final, NamedTuple

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source

__all__ = [
    "COUNTED", "COUNTER_BYTES", "KEY_BYTES", "VALUE_BYTES", "FlowCounters", "KernelFlow", "flow_key", "flow_value",
    "read_counters",
]  # fmt: skip

# The first number of a key is the IP version: an IPv6 packet cannot have the key of an IPv4 flow.
_KEY: Final = struct.Struct("=I4s16s16s")
_VALUE: Final = struct.Struct("=IIIIIII4s16s16s")
_COUNTERS: Final = struct.Struct("=QQQQQ24x")
_PORTS: Final = struct.Struct("!HH")

KEY_BYTES: Final = _KEY.size
VALUE_BYTES: Final = _VALUE.size
COUNTER_BYTES: Final = _COUNTERS.size

IS_RTP: Final = 1
"""Flag of a value: only what looks like RTP is relayed."""
COUNTED: Final = 1 << 16
"""Flag of the latest packet: there was one."""


@attrs.frozen
class KernelFlow:
    """Packets from ``source`` to ``destination`` become packets from ``new_source`` to ``new_destination``; all four
    are of one address family."""

    source: Source
    destination: Source
    new_source: Source
    new_destination: Source
    in_device: int
    """Number of the network device that packets of ``source`` come by. What comes by another one goes to the stack,
    which may know that no such packet can come from there (RFC 3704)."""
    out_device: int
    """Number of the network device by which packets leave."""
    slot: int
    """Place of the counters."""
    largest: int = 1500
    """Bytes of the largest packet, from the IP header on, that ``out_device`` takes. Others go to the stack."""
    is_rtp: bool = True
    """Whether packets that do not look like RTP go to the stack, as RTCP, STUN and DTLS do (RFC 7983); otherwise all
    packets of 12 octets and more are relayed."""


class FlowCounters(NamedTuple):
    """What the program has counted in one slot. The numbers never go back: a flow that gets a slot which another one
    had goes on from there."""

    packets: int
    octets: int
    """Octets of these packets, from the first one of RTP on."""
    last_arrival: int
    """When the last one came: nanoseconds of CLOCK_MONOTONIC, exact to a few milliseconds; 0 for none."""
    expected: int
    """Packets that should have come by the sequence numbers of RTP (RFC 3550 appendix A.3)."""
    latest: int
    """0 before the first packet of RTP; then the SSRC in the upper 32 bits, ``COUNTED``, and the highest sequence
    number so far in the lower 16 bits."""


def flow_key(source: Source, destination: Source) -> bytes:
    """The key of the flow from ``source`` to ``destination``. Raises :class:`ValueError` for what is no address."""
    one, two = _packed(source.host), _packed(destination.host)
    if len(one) != len(two):
        raise ValueError(f"expected two addresses of one family, found {source.host} and {destination.host}")
    return _KEY.pack(4 if len(one) == 4 else 6, _PORTS.pack(source.port, destination.port), one, two)


def flow_value(flow: KernelFlow) -> bytes:
    """What the map has for a flow. Raises :class:`ValueError` for addresses of several families."""
    old = _packed(flow.source.host) + _packed(flow.destination.host)
    new_source, new_destination = _packed(flow.new_source.host), _packed(flow.new_destination.host)
    if not len(old) == 2 * len(new_source) == 2 * len(new_destination):
        raise ValueError("expected four addresses of one family")
    old_ports = _PORTS.pack(flow.source.port, flow.destination.port)
    new_ports = _PORTS.pack(flow.new_source.port, flow.new_destination.port)
    return _VALUE.pack(
        flow.in_device,
        flow.out_device,
        flow.slot,
        flow.largest,
        IS_RTP if flow.is_rtp else 0,
        sum_difference(old, new_source + new_destination),
        sum_difference(old_ports, new_ports),
        new_ports,
        new_source,
        new_destination,
    )


def read_counters(memory: memoryview | bytes, slot: int) -> FlowCounters:
    """The counters of a slot."""
    return FlowCounters(*_COUNTERS.unpack_from(memory, slot * COUNTER_BYTES))


def sum_difference(old: bytes, new: bytes) -> int:
    """By how much the sum of a checksum grows where ``new`` takes the place of ``old`` (RFC 1624), in 16 bits and in
    the byte order of the machine. Both have the same, even length."""
    halves = struct.Struct(f"={len(old) // 2}H")
    total: int = sum(half ^ 0xFFFF for half in halves.unpack(old)) + sum(halves.unpack(new))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@lru_cache(limits.KERNEL_ADDRESSES)
def _packed(host: str) -> bytes:
    packed: bytes = ipaddress.ip_address(host).packed
    return packed
