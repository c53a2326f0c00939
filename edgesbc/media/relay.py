"""The ports of all sessions: media control opens them, and relays serve them."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.base.counts import Counts
from edgesbc.media.kernel_path import KernelPath
from edgesbc.media.latch import NO_TARGET, MediaInterface, MediaTarget
from edgesbc.media.ports import PortPool
from edgesbc.media.relay_client import RelayChannel, RelayClient, ReportsReceiver
from edgesbc.media.session import NoPorts, SideInterfaces

__all__ = ["EXPEDITED", "PortPair", "Relay", "RelayPorts", "relay_capacity"]

EXPEDITED: Final = 46 << 2
"""DSCP EF in the traffic class, as for all interactive audio (RFC 4594 section 4.1)."""
_DATAGRAMS: Final = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class Relay(Protocol):
    """A relay that runs, in a thread or a process."""

    @property
    def client(self) -> RelayClient:
        """Its channels."""

    def start(self) -> None:
        """Start what can be started at once."""

    async def run(self) -> None:
        """Serve the link to it until cancelled."""

    def close(self) -> None:
        """End it and close its channels."""


class PortPair:
    """An RTP channel and, on the next port, an RTCP channel; see :class:`edgesbc.media.session.MediaPorts`."""

    __slots__ = (
        "_client", "_other", "_ports", "_receiver", "_rtcp_octets", "_rtcp_packets", "_rtcp_target", "closed",
        "interface", "port", "rtcp", "rtp",
    )  # fmt: skip

    def __init__(
        self, ports: RelayPorts, client: RelayClient, interface: MediaInterface, port: int,
        rtp: RelayChannel, rtcp: RelayChannel,
    ) -> None:  # fmt: skip
        self._ports = ports
        self._client = client
        self._other: PortPair | None = None
        self._receiver: ReportsReceiver | None = None
        self._rtcp_target = NO_TARGET
        self._rtcp_packets = 0  # of RTCP channels that were closed
        self._rtcp_octets = 0
        self.closed = False
        self.interface = interface
        self.port = port
        self.rtp = rtp
        self.rtcp: RelayChannel | None = rtcp
        """None while RTCP shares the RTP port."""

    @property
    def packets(self) -> int:
        return self.rtp.packets + self._rtcp_packets + (0 if self.rtcp is None else self.rtcp.packets)

    @property
    def rtp_packets(self) -> int:
        return self.rtp.packets - self.rtp.rtcp_packets

    @property
    def octets(self) -> int:
        return self.rtp.octets + self._rtcp_octets + (0 if self.rtcp is None else self.rtcp.octets)

    @property
    def sockets(self) -> int:
        return 1 if self.rtcp is None else 2

    def set_targets(self, rtp: MediaTarget, rtcp: MediaTarget) -> None:
        self._client.set_target(self.rtp, rtp)
        self._rtcp_target = rtcp
        if self.rtcp is not None:
            self._client.set_target(self.rtcp, rtcp)

    def reopen(self) -> None:
        for channel in (self.rtp, self.rtcp):
            if channel is not None:
                self._client.reopen(channel)

    def set_direct(self, direct: bool) -> None:
        self._client.set_direct(self.rtp, direct)

    def join(self, other: PortPair) -> None:
        """Relay between this pair and ``other``, which is of the same relay, both ways."""
        self._other, other._other = other, self
        self._client.join(self.rtp, other.rtp)
        self._join_rtcp()

    def _join_rtcp(self) -> None:
        other = self._other
        if other is not None and self.rtcp is not None and other.rtcp is not None:
            self._client.join(self.rtcp, other.rtcp)

    def share_rtcp(self, shared: bool) -> None:
        rtcp = self.rtcp
        if shared and rtcp is not None:
            self._rtcp_packets += rtcp.packets
            self._rtcp_octets += rtcp.octets
            self.rtcp = None
            self._client.close(rtcp)
            self._ports.release_rtcp(self)
        elif not shared and rtcp is None and not self.closed:
            self.rtcp = self._ports.open_rtcp(self, self._client)
            self.rtcp.on_reports = self._receiver
            self._client.set_target(self.rtcp, self._rtcp_target)
            self._join_rtcp()

    def watch_reports(self, receiver: ReportsReceiver | None) -> None:
        self._receiver = self.rtp.on_reports = receiver
        if self.rtcp is not None:
            self.rtcp.on_reports = receiver

    def close(self) -> None:
        self._client.close(self.rtp)
        if self.rtcp is not None:
            self._client.close(self.rtcp)
        other, self._other = self._other, None
        if other is not None:
            other._other = None
        self._ports.let_rest(self)


class RelayPorts:
    """Every media port of the plane; ``relays`` share them, and both legs of a stream are at one relay.

    ``clock`` gives seconds on a monotonic clock, ``random`` floats in [0, 1). ``kernel`` is the path of packets through
    the kernel, if there is one. Commands reach the relays by :meth:`flush`. Raises :class:`ValueError` for a range
    without a pair of ports.
    """

    def __init__(
        self,
        interfaces: Mapping[Zone, Sequence[MediaInterface]],
        relays: Sequence[Relay],
        clock: Callable[[], float],
        random: Callable[[], float],
        kernel: KernelPath | None = None,
    ) -> None:
        self._relays = relays
        self._clients = [relay.client for relay in relays]
        self._kernel = kernel
        for client in self._clients:
            client.kernel = kernel
        self._clock = clock
        self._open_addresses: set[Source] = set()
        # two interfaces on one address share its ports
        self._pools = {i.address: PortPool(*i.ports, random=random) for of in interfaces.values() for i in of}
        self._shut_down = False

    @property
    def ports_in_use(self) -> int:
        """Number of open ports, RTP and RTCP."""
        return sum(client.channels for client in self._clients)

    @property
    def packets(self) -> int:
        """Packets received from peers since the start."""
        return sum(self.paths.values())

    @property
    def paths(self) -> Counts:
        """The same by their path: through the ``kernel`` alone, or by ``user`` space."""
        by_user = sum(sum(client.counters.packets) for client in self._clients)
        return Counts({("kernel",): 0 if self._kernel is None else self._kernel.packets, ("user",): by_user})

    @property
    def moves(self) -> int:
        """How often the peer of a port whose latch roams has got another port."""
        return sum(client.moves for client in self._clients)

    @property
    def drops(self) -> Counts:
        """Packets not relayed so far, by reason: one of ``DROP_REASONS``."""
        counts = Counts()
        for client in self._clients:
            for reason, number in client.counters.drops_by_reason():
                if number:
                    counts.add(reason, by=number)
        return counts

    def open(self, interfaces: SideInterfaces, ports: tuple[int, int] = (0, 0)) -> tuple[PortPair, PortPair]:
        """Bind a pair of ports on each interface, joined with each other; ``ports`` are the RTP ports, 0 for any.
        Raises :class:`NoPorts`."""
        if self._shut_down:
            raise NoPorts("the media plane is shut down")
        client = min(self._clients, key=_load)
        first = self._open_pair(client, interfaces[0], ports[0])
        try:
            second = self._open_pair(client, interfaces[1], ports[1])
        except NoPorts:
            first.close()
            raise
        first.join(second)
        return first, second

    def _open_pair(self, client: RelayClient, interface: MediaInterface, wanted: int) -> PortPair:
        zone, address = interface.zone, interface.address
        pool = self._pools[address]
        for _ in range(1 if wanted else limits.MEDIA_PORT_TRIES):
            if wanted:
                if not pool.take_port(wanted):
                    raise NoPorts(f"the media port {wanted} of the {zone} side is in use or not of the range")
                port = wanted
            else:
                taken = pool.take(self._clock())
                if taken is None:
                    raise NoPorts(f"no media port is free on the {zone} side")
                port = taken
            sockets: list[socket.socket] = []
            try:
                sockets.append(_bind(address, port))
                sockets.append(_bind(address, port + 1))
            except OSError as error:
                for sock in sockets:
                    sock.close()
                pool.give_back(port, self._clock())
                _raise_unless_in_use(error)
                continue
            addresses = Source(address, port), Source(address, port + 1)
            rtp, rtcp = client.open(sockets[0], False, addresses[0]), client.open(sockets[1], True, addresses[1])
            self._open_addresses.update(addresses)
            return PortPair(self, client, interface, port, rtp, rtcp)
        raise NoPorts(f"other programs hold the media ports of the {zone} side")

    def holds(self, address: Source) -> bool:
        """Whether one of the open ports has that address."""
        return address in self._open_addresses

    def open_rtcp(self, pair: PortPair, client: RelayClient) -> RelayChannel:
        """Bind the RTCP port of a pair again. Raises :class:`NoPorts`, also where another program has it by now."""
        address, port = pair.interface.address, pair.port + 1
        if self._shut_down:
            raise NoPorts("the media plane is shut down")
        try:
            sock = _bind(address, port)
        except OSError as error:
            raise NoPorts(f"a media port cannot be opened: {os.strerror(error.errno or 0)}") from error
        self._open_addresses.add(Source(address, port))
        return client.open(sock, True, Source(address, port))

    def release_rtcp(self, pair: PortPair) -> None:
        """The RTCP port of a pair was closed; no other pair gets it before this one is closed."""
        self._open_addresses.discard(Source(pair.interface.address, pair.port + 1))

    def let_rest(self, pair: PortPair) -> None:
        """Let the ports of a pair rest that was closed; a second time does nothing."""
        if pair.closed:
            return
        pair.closed = True
        address = pair.interface.address
        self._open_addresses -= {Source(address, pair.port), Source(address, pair.port + 1)}
        self._pools[address].give_back(pair.port, self._clock())

    def flush(self) -> None:
        """Have the relays carry out what has changed."""
        for client in self._clients:
            client.flush()

    def close(self) -> None:
        """End the relays and close every socket; :meth:`open` raises :class:`NoPorts` afterwards."""
        self._shut_down = True
        for relay in self._relays:
            relay.close()
        self._open_addresses.clear()


def relay_capacity(interfaces: Mapping[Zone, Sequence[MediaInterface]]) -> int:
    """How many channels a relay may have: as many as there are ports."""
    ranges = {interface.address: interface.ports for of_zone in interfaces.values() for interface in of_zone}
    return sum(last - first + 1 for first, last in ranges.values())


def _load(client: RelayClient) -> int:
    return client.channels


def _bind(address: str, port: int) -> socket.socket:
    """A socket that does not block, with one system call for each thing that differs from what the kernel gives."""
    if ":" in address:
        sock = socket.socket(socket.AF_INET6, _DATAGRAMS, socket.IPPROTO_UDP)
        level, option = socket.IPPROTO_IPV6, socket.IPV6_TCLASS
    else:
        sock = socket.socket(socket.AF_INET, _DATAGRAMS, socket.IPPROTO_UDP)
        level, option = socket.IPPROTO_IP, socket.IP_TOS
    try:
        sock.setsockopt(level, option, EXPEDITED)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _raise_unless_in_use(error: OSError) -> None:
    """Raise :class:`NoPorts` for any error but that another program holds the port."""
    if error.errno != errno.EADDRINUSE:
        raise NoPorts(f"a media port cannot be opened: {os.strerror(error.errno or 0)}") from error
