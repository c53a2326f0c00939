"""The relay's sockets and its inner epoll: packets from one leg go out on the other. Knows no calls, no SDP.

One task serves every port. trio waits for the epoll's own descriptor, and a plain loop drains it, because a
task for each port costs twice as much a packet. A leg whose peer is known has a connected socket: the kernel
then drops every other source, and neither address nor object is made for a packet.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Mapping

import trio

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.base.counts import Counts
from edgesbc.media.batching import BatchingPolicy
from edgesbc.media.channel import Channel, drop_reason, is_media
from edgesbc.media.latch import MediaInterface, MediaTarget
from edgesbc.media.ports import PortPool
from edgesbc.media.session import MediaPorts, MediaTraffic, NoPorts

__all__ = ["PortPair", "Relay"]

_EXPEDITED = 46 << 2  # DSCP EF in the traffic class, as for all interactive audio (RFC 4594 section 4.1)


class PortPair:
    """An RTP and an RTCP channel on neighbouring ports; see :class:`edgesbc.media.session.MediaPorts`."""

    __slots__ = ("_number", "_relay", "interface", "rtcp", "rtp")

    def __init__(self, relay: Relay, interface: MediaInterface, port: int, rtp: Channel, rtcp: Channel) -> None:
        self._relay = relay
        self._number = port
        self.interface = interface
        self.rtp = rtp
        self.rtcp = rtcp

    @property
    def port(self) -> int:
        return self._number

    @property
    def peer(self) -> Source | None:
        return self.rtp.latch.destination

    @property
    def traffic(self) -> MediaTraffic:
        rtp, rtcp = self.rtp, self.rtcp
        return MediaTraffic(rtp.packets + rtcp.packets, rtp.octets + rtcp.octets, rtp.errors + rtcp.errors)

    def set_aim(self, rtp: MediaTarget, rtcp: MediaTarget) -> None:
        self.rtp.set_aim(rtp)
        self.rtcp.set_aim(rtcp)

    def join(self, other: MediaPorts) -> None:
        if not isinstance(other, PortPair):
            raise TypeError("pairs of one relay are joined with each other")
        for near, far in ((self.rtp, other.rtp), (self.rtcp, other.rtcp)):
            near.join(far)
            far.join(near)

    def close(self) -> None:
        self._relay.close_pair(self)


class Relay:
    """Every media socket of the plane, and the loop that serves them.

    ``clock`` gives seconds on a monotonic clock, ``random`` floats in [0, 1).
    """

    def __init__(
        self, interfaces: Mapping[str, MediaInterface], clock: Callable[[], float], random: Callable[[], float]
    ) -> None:
        self._interfaces = dict(interfaces)
        self._clock = clock
        self._epoll = select.epoll()
        self._channels: dict[int, Channel] = {}
        self._open: set[Source] = set()
        # two interfaces on one address share its ports
        self._pools = {i.address: PortPool(*i.ports, random=random) for i in interfaces.values()}
        self._closed_packets = 0
        self.drops = Counts()
        """Packets not relayed, by reason: invalid, source, no-destination, refused, full, unreachable."""

    @property
    def ports_in_use(self) -> int:
        """Number of open ports, RTP and RTCP."""
        return len(self._channels)

    @property
    def packets(self) -> int:
        """Packets received from peers since the start."""
        return self._closed_packets + sum(channel.packets for channel in self._channels.values())

    def open(self, interface: str) -> PortPair:
        """Bind a pair of ports on the interface of that name. Raises :class:`NoPorts`."""
        if self._epoll.closed:
            raise NoPorts("the media plane is shut down")
        chosen = self._interfaces[interface]
        pool = self._pools[chosen.address]
        for _ in range(limits.MEDIA_PORT_TRIES):
            port = pool.take(self._clock())
            if port is None:
                raise NoPorts(f"no port is free on interface {interface}")
            try:
                rtp = _bind(chosen.address, port)
            except OSError as error:
                pool.give_back(port, self._clock())
                _only_busy(error)
                continue
            try:
                rtcp = _bind(chosen.address, port + 1)
            except OSError as error:
                rtp.close()
                pool.give_back(port, self._clock())
                _only_busy(error)
                continue
            return PortPair(self, chosen, port, self._serve(rtp, False), self._serve(rtcp, True))
        raise NoPorts(f"other programs hold the ports of interface {interface}")

    def holds(self, address: Source) -> bool:
        """Whether one of the open ports has that address."""
        return address in self._open

    def _serve(self, sock: socket.socket, is_rtcp: bool) -> Channel:
        channel = Channel(sock, is_rtcp, self.drops)
        self._channels[sock.fileno()] = channel
        self._open.add(_name_of(sock))
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        return channel

    def close_pair(self, pair: PortPair) -> None:
        """Close the sockets of a pair and let its ports rest; a second time does nothing."""
        if pair.rtp.sock.fileno() < 0:
            return
        for channel in (pair.rtp, pair.rtcp):
            self._closed_packets += channel.packets
            del self._channels[channel.sock.fileno()]
            self._open.discard(_name_of(channel.sock))
            channel.sock.close()  # which takes it out of the epoll as well
        self._pools[pair.interface.address].give_back(pair.port, self._clock())

    def turn(self) -> int:
        """Relay what is waiting, up to a bound; returns the number of packets looked at."""
        poll, channels = self._epoll.poll, self._channels
        largest = limits.MEDIA_PACKET_BYTES
        done = 0
        while done < limits.MEDIA_TURN_PACKETS:
            events = poll(0, limits.MEDIA_POLL_EVENTS)
            if not events:
                break
            for fd, _ in events:
                channel = channels[fd]
                if not channel.fast:
                    done += channel.drain_checked(limits.MEDIA_LEARN_PACKETS) or 1
                    continue
                done += 1
                # One packet an event: the next poll tells of more, cheaper than asking each socket in vain.
                try:
                    data = channel.receive(largest + 1)
                except OSError:
                    channel.fail("refused")
                    continue
                size = len(data)
                if not (12 <= size <= largest and data[0] & 0xC0 == 0x80) and not is_media(data):
                    channel.fail("invalid")
                    continue
                channel.packets += 1
                channel.octets += size
                try:
                    channel.forward(data)
                except OSError as error:
                    channel.fail(drop_reason(error))
        return done

    async def run(self) -> None:
        """Relay until cancelled."""
        pace = BatchingPolicy(self._clock())
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            # what is slept for is packets in the kernel, which set no Event
            while pace.gather(self.turn(), self._clock()):  # noqa: ASYNC110
                await trio.sleep(limits.MEDIA_GATHER_SECONDS)

    def close(self) -> None:
        """Close every socket. The relay is of no use afterwards."""
        for channel in self._channels.values():
            channel.sock.close()
        self._channels.clear()
        self._open.clear()
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


def _name_of(sock: socket.socket) -> Source:
    name = sock.getsockname()
    return Source(name[0], name[1])


def _only_busy(error: OSError) -> None:
    """Go on only where another program holds the port."""
    if error.errno != errno.EADDRINUSE:
        raise NoPorts(f"a media port cannot be opened: {os.strerror(error.errno or 0)}") from error
