"""A media plane without sockets: ports that note what they are told. Not a target."""

from __future__ import annotations

from typing import Final

from edgesbc.base.address import Source
from edgesbc.media.latch import NOWHERE, MediaTarget, build_interfaces
from edgesbc.media.session import MediaPorts, MediaTraffic, NoPorts

__all__ = ["CORE", "INTERFACES", "PORTS", "PUBLIC", "RecordedPair", "RecordedPorts"]

PUBLIC: Final = "203.0.113.10"
CORE: Final = "10.0.0.1"
PORTS: Final = (30_000, 30_019)
INTERFACES: Final = build_interfaces({"public": PUBLIC, "core": CORE}, PORTS, denied=["10.0.0.0/8"])
"""Of each, ten pairs of ports: few enough to run out."""


class RecordedPair:
    """See :class:`edgesbc.media.session.MediaPorts`."""

    def __init__(self, ports: RecordedPorts, interface: str, port: int) -> None:
        self._ports = ports
        self._number = port
        self.interface = interface
        self.rtp = self.rtcp = NOWHERE
        self.other: MediaPorts | None = None
        self.packets = 0

    @property
    def port(self) -> int:
        return self._number

    @property
    def peer(self) -> Source | None:
        return self.rtp.target

    @property
    def traffic(self) -> MediaTraffic:
        return MediaTraffic(self.packets, self.packets * 172, 0)

    def set_aim(self, rtp: MediaTarget, rtcp: MediaTarget) -> None:
        assert self in self._ports.open_pairs, "a closed port is aimed"
        self.rtp, self.rtcp = rtp, rtcp

    def join(self, other: MediaPorts) -> None:
        assert isinstance(other, RecordedPair)
        self.other, other.other = other, self

    def close(self) -> None:
        assert self in self._ports.open_pairs, "a port is closed twice"
        self._ports.open_pairs.remove(self)


class RecordedPorts:
    """See :class:`edgesbc.media.session.PortSource`. The lowest free port is taken, without a rest."""

    def __init__(self) -> None:
        self.open_pairs: list[RecordedPair] = []
        self.opened = 0

    def open(self, interface: str) -> RecordedPair:
        taken = {pair.port for pair in self.open_pairs if pair.interface == interface}
        port = next((port for port in range(*PORTS, 2) if port not in taken), None)
        if port is None:
            raise NoPorts("no port is free")
        self.open_pairs.append(RecordedPair(self, interface, port))
        self.opened += 1
        return self.open_pairs[-1]

    def holds(self, address: Source) -> bool:
        return any(
            address in (Source(INTERFACES[pair.interface].address, pair.port + n) for n in (0, 1))
            for pair in self.open_pairs
        )
