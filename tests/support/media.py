"""Commands to the media plane with session descriptions as text, and a table of media sessions without sockets."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgesbc.base.address import Source, Zone
from edgesbc.media.commands import Answer, Consent, Delete, MediaCommand, MediaError, MediaReply, Offer
from edgesbc.media.latch import NO_TARGET, MediaInterface, MediaTarget, build_interfaces
from edgesbc.media.ports import PortPool
from edgesbc.media.session import NoPorts
from edgesbc.media.session_table import SessionTable
from edgesbc.sdp.session import SessionDescription, parse_session

__all__ = ["CORE", "PUBLIC", "RecordedPair", "RecordedPorts", "TableHarness", "answer", "offer", "sdp"]

PUBLIC, CORE = "203.0.113.10", "10.0.0.1"
_ADDRESSES = {Zone.PUBLIC: PUBLIC, Zone.CORE: CORE}


def offer(
    session_id: str,
    offerer: str,
    sdp: str,
    zone: Zone = Zone.PUBLIC,
    answerer: str = "",
    received_from: str = "",
    consent: Consent = Consent.ANY,
    reserved: bool = True,
    answerer_family: str = "",
) -> Offer:
    """An offer from ``zone`` for the other zone."""
    zones = zone, zone.other
    return Offer(session_id, offerer, answerer, sdp.encode(), *zones, received_from, consent, reserved, answerer_family)


def answer(
    session_id: str, offerer: str, answerer: str, sdp: str, received_from: str = "", final: bool = True
) -> Answer:
    return Answer(session_id, offerer, answerer, sdp.encode(), received_from, final=final)


def sdp(host: str, port: int = 4000, lines: str = "", audio: str = "", more: str = "") -> str:
    """A description with one audio section; ``lines`` are of the session level, ``audio`` of the section, ``more``
    further sections."""
    family = "IP6" if ":" in host else "IP4"
    return (
        f"v=0\r\no=- 5 6 IN {family} {host}\r\ns=-\r\nc=IN {family} {host}\r\nt=0 0\r\n{lines}"
        f"m=audio {port} RTP/AVP 0 8\r\n{audio}{more}"
    )


class RecordedPair:
    """A pair of ports without sockets, which records its targets."""

    def __init__(self, source: RecordedPorts, interface: MediaInterface, port: int) -> None:
        self.source = source
        self.interface = interface
        self.zone = interface.zone
        self.port = port
        self.rtp = self.rtcp = NO_TARGET
        self.other: RecordedPair | None = None
        self.packets = 0
        self.octets = 0
        self.direct = False
        self.reopened = 0
        self.sockets = 2
        self.rtcp_packets = 0
        self.on_reports: Callable[[bytes, float], None] | None = None

    @property
    def rtp_packets(self) -> int:
        return self.packets - self.rtcp_packets

    def set_direct(self, direct: bool) -> None:
        self.direct = direct

    def share_rtcp(self, shared: bool) -> None:
        self.sockets = 1 if shared else 2

    def set_targets(self, rtp: MediaTarget, rtcp: MediaTarget) -> None:
        self.rtp, self.rtcp = rtp, rtcp

    def reopen(self) -> None:
        self.reopened += 1

    def watch_reports(self, receiver: Callable[[bytes, float], None] | None) -> None:
        self.on_reports = receiver

    def close(self) -> None:
        del self.source.open_pairs[self.zone, self.port]


class RecordedPorts:
    """Opens recorded pairs; the ranges end at the port ``last``."""

    def __init__(self, last: int = 30999) -> None:
        self.pools = {zone: PortPool(30000, last, random.Random(7).random) for zone in Zone}
        self.open_pairs: dict[tuple[Zone, int], RecordedPair] = {}

    def open(
        self, interfaces: tuple[MediaInterface, MediaInterface], ports: tuple[int, int] = (0, 0)
    ) -> tuple[RecordedPair, RecordedPair]:
        one = self._open(interfaces[0], ports[0])
        try:
            two = self._open(interfaces[1], ports[1])
        except NoPorts:
            one.close()
            raise
        one.other, two.other = two, one
        return one, two

    def _open(self, interface: MediaInterface, port: int) -> RecordedPair:
        zone = interface.zone
        if port:
            if not self.pools[zone].take_port(port):
                raise NoPorts("the port is not free")
        else:
            taken = self.pools[zone].take(0.0)
            if taken is None:
                raise NoPorts("no port is free")
            port = taken
        pair = self.open_pairs[zone, port] = RecordedPair(self, interface, port)
        return pair

    def holds(self, address: Source) -> bool:
        return any((pair.interface.address, pair.port) == address for pair in self.open_pairs.values())


class TableHarness:
    """A table of media sessions over recorded ports. ``addresses`` are those of the relay in each zone."""

    def __init__(
        self,
        last: int = 30999,
        addresses: Mapping[Zone, str | Sequence[str]] = _ADDRESSES,
        ports: tuple[int, int] = (30000, 39999),
        **options: Any,
    ) -> None:
        self.ports = RecordedPorts(last)
        self.table = SessionTable(self.ports, build_interfaces(addresses, ports), **options)

    def ok(self, command: Offer | Answer, now: float = 0.0) -> SessionDescription:
        """Carry the command out; return the description for the other side."""
        reply = self.table.receive(command, now)
        assert isinstance(reply, MediaReply), reply
        return parse_session(reply.sdp)

    def refused(self, command: MediaCommand, status: int) -> None:
        before = (len(self.table), sorted(self.ports.open_pairs.items(), key=str))
        reply = self.table.receive(command, 0.0)
        assert isinstance(reply, MediaError), reply
        assert reply.status == status, reply
        assert (len(self.table), sorted(self.ports.open_pairs.items(), key=str)) == before

    def delete(self, session_id: str, tag: str) -> None:
        assert self.table.receive(Delete(session_id, tag), 0.0) is None

    def facing(self, zone: Zone, description: SessionDescription, section: int = 0) -> RecordedPair:
        """The pair that the receiver of a description sends a section's media to."""
        return self.ports.open_pairs[zone, description.media[section].port]

    def targets(self) -> dict[tuple[Zone, int], tuple[MediaTarget, MediaTarget]]:
        """The targets of RTP and RTCP of each open pair."""
        return {where: (pair.rtp, pair.rtcp) for where, pair in self.ports.open_pairs.items()}
