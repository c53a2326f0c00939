"""The relay's sockets and its inner epoll: packets from one side of a session go out on the other.

One task serves every port. trio waits for the epoll's own descriptor, and a plain loop drains it, because a
task for each port costs twice as much a packet. A port whose peer is known has a connected socket: the kernel
then drops every other source, and neither address nor object is made for a packet.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Mapping, Sequence

import trio

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.base.counts import Counts
from edgesbc.media.batching import BatchingPolicy
from edgesbc.media.channel import Channel, is_media
from edgesbc.media.latch import MediaInterface, MediaTarget
from edgesbc.media.ports import PortPool
from edgesbc.media.session import MediaPorts, NoPorts

__all__ = ["PortPair", "Relay"]

_EXPEDITED = 46 << 2  # DSCP EF in the traffic class, as for all interactive audio (RFC 4594 section 4.1)


class PortPair:
    """An RTP and an RTCP channel on neighbouring ports; see :class:`edgesbc.media.session.MediaPorts`."""

    __slots__ = ("_port", "_relay", "interface", "rtcp", "rtp")

    def __init__(self, relay: Relay, interface: MediaInterface, port: int, rtp: Channel, rtcp: Channel) -> None:
        self._relay = relay
        self._port = port
        self.interface = interface
        self.rtp = rtp
        self.rtcp = rtcp

    @property
    def port(self) -> int:
        return self._port

    @property
    def packets(self) -> int:
        return self.rtp.packets + self.rtcp.packets

    @property
    def rtp_packets(self) -> int:
        return self.rtp.packets - self.rtp.rtcp_packets

    def set_targets(self, rtp: MediaTarget, rtcp: MediaTarget) -> None:
        self.rtp.set_target(rtp)
        self.rtcp.set_target(rtcp)

    def join(self, other: MediaPorts) -> None:
        if not isinstance(other, PortPair):
            raise TypeError("pairs of one relay are joined with each other")
        for one, opposite in ((self.rtp, other.rtp), (self.rtcp, other.rtcp)):
            one.join(opposite)
            opposite.join(one)

    def close(self) -> None:
        self._relay.close_pair(self)


class Relay:
    """Every media socket of the plane, and the loop that serves them.

    ``clock`` gives seconds on a monotonic clock, ``random`` floats in [0, 1). ``failed`` is called with
    ("media packet", exception) for an internal error, which costs the packet. Raises :class:`ValueError` for a range
    without a pair of ports.
    """

    def __init__(
        self,
        interfaces: Mapping[Zone, Sequence[MediaInterface]],
        clock: Callable[[], float],
        random: Callable[[], float],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._failed = failed
        self._clock = clock
        self._epoll = select.epoll()
        self._channels: dict[int, Channel] = {}
        self._open_addresses: set[Source] = set()
        # two interfaces on one address share its ports
        self._pools = {i.address: PortPool(*i.ports, random=random) for of in interfaces.values() for i in of}
        self._closed_packets = 0
        self.drops = Counts()
        """Packets not relayed, by reason: invalid, source, no-destination, limited, refused, full, unreachable,
        internal."""

    @property
    def ports_in_use(self) -> int:
        """Number of open ports, RTP and RTCP."""
        return len(self._channels)

    @property
    def packets(self) -> int:
        """Packets received from peers since the start."""
        return self._closed_packets + sum(channel.packets for channel in self._channels.values())

    def open(self, interface: MediaInterface, port: int = 0) -> PortPair:
        """Bind a pair of ports on that interface, with the RTP port ``port`` unless that is 0. Raises
        :class:`NoPorts`."""
        if self._epoll.closed:
            raise NoPorts("the media plane is shut down")
        zone = interface.zone
        pool = self._pools[interface.address]
        wanted = port
        for _ in range(1 if wanted else limits.MEDIA_PORT_TRIES):
            if wanted:
                if not pool.take_port(wanted):
                    raise NoPorts(f"the media port {wanted} of the {zone} side is in use or not of the range")
            else:
                taken = pool.take(self._clock())
                if taken is None:
                    raise NoPorts(f"no media port is free on the {zone} side")
                port = taken
            try:
                rtp = _bind(interface.address, port)
            except OSError as error:
                pool.give_back(port, self._clock())
                _raise_unless_in_use(error)
                continue
            try:
                rtcp = _bind(interface.address, port + 1)
            except OSError as error:
                rtp.close()
                pool.give_back(port, self._clock())
                _raise_unless_in_use(error)
                continue
            try:
                for sock in (rtp, rtcp):
                    self._epoll.register(sock.fileno(), select.EPOLLIN)
            except OSError as error:  # the kernel has no memory, or no watch for this user any more
                for sock in (rtp, rtcp):
                    sock.close()  # which takes it out of the epoll as well
                pool.give_back(port, self._clock())
                raise NoPorts(f"a media port cannot be opened: {os.strerror(error.errno or 0)}") from error
            return PortPair(self, interface, port, self._serve(rtp, False), self._serve(rtcp, True))
        raise NoPorts(f"other programs hold the media ports of the {zone} side")

    def holds(self, address: Source) -> bool:
        """Whether one of the open ports has that address."""
        return address in self._open_addresses

    def _serve(self, sock: socket.socket, is_rtcp: bool) -> Channel:
        channel = Channel(sock, is_rtcp, self.drops, self._clock)
        self._channels[sock.fileno()] = channel
        self._open_addresses.add(_address_of(sock))
        return channel

    def close_pair(self, pair: PortPair) -> None:
        """Close the sockets of a pair and let its ports rest; a second time does nothing."""
        if pair.rtp.sock.fileno() < 0:
            return
        for channel in (pair.rtp, pair.rtcp):
            self._closed_packets += channel.packets
            del self._channels[channel.sock.fileno()]
            self._open_addresses.discard(_address_of(channel.sock))
            channel.sock.close()  # which takes it out of the epoll as well
        self._pools[pair.interface.address].give_back(pair.port, self._clock())

    def turn(self) -> int:
        """Relay the packets that are queued, up to about ``MEDIA_TURN_PACKETS``; returns how many were taken."""
        poll, channels = self._epoll.poll, self._channels
        largest = limits.MEDIA_PACKET_BYTES
        taken = 0
        while taken < limits.MEDIA_TURN_PACKETS:
            events = poll(0, limits.MEDIA_POLL_EVENTS)
            if not events:
                break
            for fd, _ in events:
                channel = channels[fd]
                try:
                    if not channel.kernel_filtered:
                        # Of a hundred such ports that are flooded, each would have a whole batch in this turn.
                        left = max(1, limits.MEDIA_TURN_PACKETS - taken)
                        taken += channel.drain_checked(min(limits.MEDIA_LEARN_PACKETS, left)) or 1
                        continue
                    taken += 1
                    # One packet an event: the next poll reports further ones, which is cheaper than a failing recv().
                    try:
                        data = channel.receive(largest + 1)
                    except OSError:
                        channel.drop("refused")
                        continue
                    if not (12 <= len(data) <= largest and data[0] & 0xC0 == 0x80) and not is_media(data):
                        channel.drop("invalid")
                        continue
                    channel.packets += 1
                    if 192 <= data[1] <= 223:  # RTCP on the port of RTP (RFC 5761 section 4)
                        channel.rtcp_packets += 1
                    try:
                        channel.forward(data)
                    except OSError as error:
                        channel.forward_again(data, error)
                except Exception as error:  # noqa: BLE001 - the boundary between one packet and all others
                    taken += 1
                    channel.drop("internal")
                    self._failed("media packet", error)
        return taken

    async def run(self) -> None:
        """Relay until cancelled."""
        batching = BatchingPolicy(self._clock())
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            # The packets that gather meanwhile are in the kernel, which sets no Event.
            while batching.should_gather(self.turn(), self._clock()):  # noqa: ASYNC110
                await trio.sleep(limits.MEDIA_GATHER_SECONDS)

    def close(self) -> None:
        """Close every socket; :meth:`open` raises :class:`NoPorts` afterwards."""
        for channel in self._channels.values():
            channel.sock.close()
        self._channels.clear()
        self._open_addresses.clear()
        self._epoll.close()


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _EXPEDITED)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _EXPEDITED)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _address_of(sock: socket.socket) -> Source:
    name = sock.getsockname()
    return Source(name[0], name[1])


def _raise_unless_in_use(error: OSError) -> None:
    """Raise :class:`NoPorts` for any error but that another program holds the port."""
    if error.errno != errno.EADDRINUSE:
        raise NoPorts(f"a media port cannot be opened: {os.strerror(error.errno or 0)}") from error
