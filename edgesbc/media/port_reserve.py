"""The media sections and ports that are in use, and the part of both that is kept for trunks and the private side.
Without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.media.latch import MediaInterface
from edgesbc.media.session import MediaSession, NoPorts, SideInterfaces

__all__ = ["SECTION_SOCKETS", "PortReserve"]

SECTION_SOCKETS: Final = 4
"""Sockets of a media section: RTP and RTCP on each side."""


class PortReserve:
    """Counts the streams and sockets of all sessions, and the pairs of ports at each address: sessions over one address
    family leave the reserve of the other alone, and do not use up their own.

    There are descriptors for ``max_streams`` media sections, or for twice as many without RTCP ports; None: for as many
    as there are ports.
    """

    __slots__ = ("_pairs", "_pairs_unreserved", "_sockets", "_sockets_unreserved", "_streams", "unreserved")

    def __init__(self, interfaces: Mapping[Zone, Sequence[MediaInterface]], max_streams: int | None) -> None:
        room = {interface.address: _pairs(interface) for of_zone in interfaces.values() for interface in of_zone}
        self._pairs = dict.fromkeys(room, 0)
        self._pairs_unreserved = {address: _without_reserve(pairs) for address, pairs in room.items()}
        most = _most_streams(interfaces)
        self._streams = 0
        self._sockets = 0
        self._sockets_unreserved = SECTION_SOCKETS * _without_reserve(most if max_streams is None else max_streams)
        self.unreserved = _without_reserve(most)
        """Media sections that may be open at once without the reserve of ports."""

    def count(self, session: MediaSession) -> None:
        """Take note of the streams that a session has now."""
        before, streams = session.counted, tuple(session.streams)
        self._streams += len(streams) - len(before)
        for stream in before:
            for interface in stream.interfaces:
                self._pairs[interface.address] -= 1
        for stream in streams:
            for interface in stream.interfaces:
                self._pairs[interface.address] += 1
        session.counted = streams
        self._sockets -= session.counted_sockets
        session.counted_sockets = sum(stream.sockets for stream in streams)
        self._sockets += session.counted_sockets

    def check(self, session: MediaSession, wanted: Iterable[SideInterfaces], wanted_sockets: int) -> None:
        """Raise :class:`NoPorts` where ``session`` would have the streams ``wanted``, by their interfaces, with so many
        sockets, and there would be more than before and the reserve would be used."""
        after = list(wanted)
        streams = self._streams - len(session.counted) + len(after)
        pairs = dict(self._pairs)
        for stream in session.counted:
            for interface in stream.interfaces:
                pairs[interface.address] -= 1
        for interfaces in after:
            for interface in interfaces:
                pairs[interface.address] += 1
        sockets = self._sockets - session.counted_sockets + wanted_sockets
        if (
            streams > max(self.unreserved, self._streams)
            or sockets > max(self._sockets_unreserved, self._sockets)
            or any(pairs[address] > max(most, self._pairs[address]) for address, most in self._pairs_unreserved.items())
        ):
            raise NoPorts("the media ports that are left are kept for trunks")


def _without_reserve(number: int) -> int:
    return number - int(number * limits.MEDIA_RESERVED_SHARE)


def _pairs(interface: MediaInterface) -> int:
    first, last = interface.ports
    return (last - first + 1) // 2


def _most_streams(interfaces: Mapping[Zone, Sequence[MediaInterface]]) -> int:
    """How many media sections the port ranges have room for: each takes a pair of ports in both zones, and interfaces
    on one address share their ports."""
    room = {interface.address: _pairs(interface) for of_zone in interfaces.values() for interface in of_zone}
    of_zones = [sum(_pairs(interface) for interface in of_zone) for of_zone in interfaces.values()]
    return min(*of_zones, sum(room.values()) // len(of_zones))
