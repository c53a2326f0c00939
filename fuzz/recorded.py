"""Media ports without sockets, which record their targets, for the fuzz targets of the media plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgesbc.base.address import Source, Zone
from edgesbc.media.latch import NO_TARGET, MediaInterface, MediaTarget, build_interfaces
from edgesbc.media.session import NoPorts

__all__ = ["CORE", "CORE6", "INTERFACES", "PORTS", "PUBLIC", "PUBLIC6", "RecordedPair", "RecordedPorts"]

PUBLIC: Final = "203.0.113.10"
CORE: Final = "10.0.0.1"
PUBLIC6: Final = "2001:db8::10"
CORE6: Final = "fd00:10::1"
PORTS: Final = (30_000, 30_019)
INTERFACES: Final = build_interfaces(
    {Zone.PUBLIC: (PUBLIC, PUBLIC6), Zone.CORE: (CORE, CORE6)}, PORTS, denied=["10.0.0.0/8", "fd00:10::/32"]
)
"""Each interface has ten pairs of ports, few enough to run out."""


class RecordedPair:
    """See :class:`edgesbc.media.session.MediaPorts`."""

    def __init__(self, ports: RecordedPorts, interface: MediaInterface, port: int) -> None:
        self._ports = ports
        self._port = port
        self._packets = 0
        self.direct = False
        self.sockets = 2
        self.interface = interface
        self.rtp = self.rtcp = NO_TARGET
        self.other: RecordedPair | None = None
        self.on_reports: Callable[[bytes, float], None] | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def packets(self) -> int:
        return self._packets

    @property
    def rtp_packets(self) -> int:
        return self._packets // 2

    @property
    def octets(self) -> int:
        return 172 * self._packets

    def arrive(self, packets: int) -> None:
        """Count packets from the peer."""
        self._packets += packets

    def watch_reports(self, receiver: Callable[[bytes, float], None] | None) -> None:
        self.on_reports = receiver

    def set_direct(self, direct: bool) -> None:
        self.direct = direct

    def share_rtcp(self, shared: bool) -> None:
        self.sockets = 1 if shared else 2

    def set_targets(self, rtp: MediaTarget, rtcp: MediaTarget) -> None:
        assert self in self._ports.open_pairs, "a closed port gets a target"
        self.rtp, self.rtcp = rtp, rtcp

    def reopen(self) -> None:
        assert self in self._ports.open_pairs, "the peer of a closed port is learned"

    def close(self) -> None:
        assert self in self._ports.open_pairs, "a port is closed twice"
        self._ports.open_pairs.remove(self)


class RecordedPorts:
    """See :class:`edgesbc.media.session.PortSource`. Takes the lowest free port at once."""

    def __init__(self) -> None:
        self.open_pairs: list[RecordedPair] = []
        self.opened = 0

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
        taken = {pair.port for pair in self.open_pairs if pair.interface == interface}
        wanted = (port,) if port else range(*PORTS, 2)
        free = next((port for port in wanted if port not in taken), None)
        if free is None:
            raise NoPorts("no port is free")
        self.open_pairs.append(RecordedPair(self, interface, free))
        self.opened += 1
        return self.open_pairs[-1]

    def holds(self, address: Source) -> bool:
        return any(
            address in (Source(pair.interface.address, pair.port + n) for n in (0, 1)) for pair in self.open_pairs
        )
