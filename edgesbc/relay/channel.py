"""One media socket that faces one peer.

User space checks the source of each packet until the latch is locked; then the socket is connected and the kernel
drops packets of other sources. Packets stand in one buffer that all channels of a loop share.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.media.latch import Latch, MediaTarget
from edgesbc.relay.counters import (
    FULL,
    INVALID,
    LIMITED,
    NO_DESTINATION,
    REFUSED,
    SOURCE,
    UNREACHABLE,
    RelayCounters,
)

__all__ = ["Channel", "PacketBuffer", "drop_reason", "is_media", "is_udptl"]

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_AF_UNSPEC_ADDRESS: Final = ctypes.create_string_buffer(16)  # struct sockaddr with sa_family 0


class PacketBuffer:
    """The buffer that every packet is received into, and views of its beginning by their length: a packet needs no
    object of its own."""

    __slots__ = ("memory", "views")

    def __init__(self) -> None:
        # One more byte than a packet may have, so that a larger one is noticed.
        self.memory = bytearray(limits.MEDIA_PACKET_BYTES + 1)
        whole = memoryview(self.memory)
        self.views = [whole[:size] for size in range(len(self.memory) + 1)]


class Channel:
    """One socket: the RTP or the RTCP port that faces one peer. ``slot`` is the place of its numbers in ``counters``,
    ``clock`` gives seconds. ``on_latched`` is called when the latch has learned a peer or another port of it,
    ``on_rtcp`` with each RTCP packet of the peer."""

    __slots__ = (
        "_buffer", "_clock", "_counters", "_credit", "_on_latched", "_on_rtcp", "forward", "generation", "is_rtcp",
        "kernel_filtered", "latch", "octets", "opposite", "packets", "receive_into", "rtcp_packets", "slot", "sock",
    )  # fmt: skip

    def __init__(
        self,
        sock: socket.socket,
        is_rtcp: bool,
        slot: int,
        counters: RelayCounters,
        buffer: PacketBuffer,
        clock: Callable[[], float],
        on_latched: Callable[[Channel], None],
        on_rtcp: Callable[[Channel, memoryview], None],
    ) -> None:
        self._clock = clock
        self._counters = counters
        self._buffer = buffer
        self._on_latched = on_latched
        self._on_rtcp = on_rtcp
        self.sock = sock
        self.is_rtcp = is_rtcp
        self.slot = slot
        self.generation = 0
        """Number of the target, which media control has given it."""
        self.latch = Latch(limits.MEDIA_ROAM_RTCP_SECONDS if is_rtcp else limits.MEDIA_ROAM_SECONDS)
        self.receive_into: Callable[[bytearray], int] = sock.recv_into
        self.kernel_filtered = False
        """Whether no packet needs its source checked: the socket is connected, and its queue was once empty since."""
        self.opposite: Channel | None = None
        """The channel that faces the other side of the session."""
        self.forward: Callable[[memoryview], int] = self._drop_without_destination
        """Sends a packet of this channel's peer to the peer of :attr:`opposite`."""
        self.packets = int(counters.packets[slot])
        """Packets that came from the peer, as :class:`RelayCounters` has them."""
        self.rtcp_packets = int(counters.rtcp_packets[slot])
        self.octets = int(counters.octets[slot])
        self._credit = 0
        """Bytes that may be sent to the peer while the target is limited: those that came from it."""

    def join(self, opposite: Channel) -> None:
        """Relay what comes in here to the peer of ``opposite``."""
        self.opposite = opposite
        self.forward = opposite.sender()

    def close(self) -> None:
        """Close the socket. The channel refers to no other one afterwards, nor to itself."""
        if self.opposite is not None:
            self.opposite.part()
        self.opposite = None
        self.forward = _closed
        self.sock.close()

    def part(self) -> None:
        """There is no channel any more that faces the other side."""
        self.opposite = None
        self.forward = self._drop_without_destination

    def sender(self) -> Callable[[memoryview], int]:
        """The function that sends a packet to this channel's peer, as the latch is now."""
        if self.latch.target.limited:
            return self._send_limited
        if self.latch.firm:
            return self.sock.send
        return self._send_to if self.latch.destination is not None else self._drop_without_destination

    def set_target(self, target: MediaTarget) -> None:
        """Take over what signalling says about the peer. Raises ``OSError`` where the kernel refuses."""
        if target != self.latch.target:
            self._credit = 0
        if target.limited:
            self.kernel_filtered = False  # so that :meth:`relay` sees each packet
        unlocked = self.latch.set_target(target)
        self.update_opposite()
        if unlocked:
            self.disconnect()

    def reopen(self) -> None:
        """Learn the peer again; see :meth:`Latch.reopen`. Raises ``OSError`` where the kernel refuses."""
        was_firm = self.latch.firm
        if self.latch.reopen() and was_firm:
            self.update_opposite()
            self.disconnect()

    def restore_peer(self, peer: Source, firm: bool) -> None:
        """Go on with the peer that another relay had learned. Raises ``OSError`` where the kernel refuses."""
        self.latch.restore(peer, firm, self._clock())
        if firm:
            self.sock.connect(peer)
        self.update_opposite()

    def disconnect(self) -> None:
        """Dissolve the socket's association and keep its port; Python's own connect() cannot pass AF_UNSPEC."""
        self.kernel_filtered = False
        if _LIBC.connect(self.sock.fileno(), _AF_UNSPEC_ADDRESS, 16) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def update_opposite(self) -> None:
        """The channel that faces the other side sends by :meth:`sender` from now on."""
        if self.opposite is not None:
            self.opposite.forward = self.sender()

    def _send_to(self, data: memoryview) -> int:
        """Send to a peer that the socket is not connected to."""
        address = self.latch.destination
        return self.sock.sendto(data, address) if address is not None else self._drop_without_destination(data)

    def _send_limited(self, data: memoryview) -> int:
        latch = self.latch
        address = latch.destination
        if latch.peer is None or address is None or len(data) > self._credit:
            self.drop(LIMITED)
            return 0
        sent = self.sock.sendto(data, address)
        self._credit -= len(data)
        return sent

    def _drop_without_destination(self, data: memoryview) -> int:
        self.drop(NO_DESTINATION)
        return 0

    def drain_checked(self, budget: int) -> int:
        """Take up to ``budget`` packets and check the source of each; returns how many were taken.

        This goes on after the lock until the queue was once empty, because connect() does not remove packets of
        other sources that were queued before it. It goes on for good while another source may take the peer's place:
        the signalled port, or, where the latch roams, any port of its address.
        """
        latch, buffer = self.latch, self._buffer
        asks = latch.open or latch.roams  # whether the latch wants to know of each packet of the peer
        now = self._clock() if asks or latch.peer is None else 0.0  # without a use once the latch is locked
        if latch.peer is not None and not latch.firm:
            budget = min(budget, 1)  # the next poll reports further ones, which is cheaper than a failing recvfrom()
        for taken in range(budget):
            try:
                size, address = self.sock.recvfrom_into(buffer.memory)
            except BlockingIOError:
                self.kernel_filtered = latch.firm and not (self.is_rtcp or latch.target.limited) and latch.target.is_rtp
                return taken
            except OSError:
                self.drop(REFUSED)
                continue
            data = buffer.views[size]
            if not self._is_expected(data):
                self.drop(INVALID)
                continue
            peer = latch.peer
            if asks or address != peer:
                was_open = latch.open
                if not latch.admit(Source(address[0], address[1]), now):
                    self.drop(SOURCE)
                    continue
                if was_open or latch.peer is not peer:
                    self._lock(address)
            self.relay(data)
        return budget

    def _is_expected(self, data: memoryview) -> bool:
        if self.is_rtcp:
            return _is_rtcp(data)
        target = self.latch.target
        if target.opaque:
            return 0 < len(data) <= limits.MEDIA_PACKET_BYTES
        return is_udptl(data) if target.udptl else is_media(data)

    def _lock(self, address: Any) -> None:
        """The latch has taken the source ``address``, which has four parts in IPv6."""
        if self.latch.firm:
            try:
                self.sock.connect(address)
            except OSError:
                self.latch.unlock()
                self.drop(REFUSED)
        self.update_opposite()
        if self.latch.peer is not None:
            self._on_latched(self)

    def relay(self, data: memoryview) -> None:
        """Count a packet of the peer and pass it on."""
        counters, slot = self._counters, self.slot
        self.packets += 1
        self.octets += len(data)
        counters.packets[slot] = self.packets
        counters.octets[slot] = self.octets
        if self.latch.target.is_rtp and 192 <= data[1] <= 223:
            self.rtcp_packets += 1
            counters.rtcp_packets[slot] = self.rtcp_packets
            self._on_rtcp(self, data)
        if self.latch.target.limited:
            self._credit += len(data)
        try:
            self.forward(data)
        except OSError as error:
            self.forward_again(data, error)

    def forward_again(self, data: memoryview, error: OSError) -> None:
        """Send a packet once more, if ``error`` is the ICMP error of an earlier one; otherwise count it as not relayed.

        The kernel reports such an error once, in place of the next packet. It may be forged (RFC 5927): with one for
        each packet, whoever knows the addresses and ports could silence a call.
        """
        last = error
        if error.errno == errno.ECONNREFUSED:
            try:
                self.forward(data)
            except OSError as second:
                last = second
            else:
                return
        self.drop(drop_reason(last))

    def drop(self, reason: int) -> None:
        """Count a packet that is not relayed; ``reason`` is a place in ``DROP_REASONS``."""
        self._counters.drops[reason] += 1


def _closed(data: memoryview) -> int:
    return 0


def drop_reason(error: OSError) -> int:
    """Why the kernel did not send a packet: ``REFUSED`` (port unreachable), ``FULL`` (a queue) or ``UNREACHABLE``."""
    if error.errno == errno.ECONNREFUSED:
        return REFUSED
    return FULL if error.errno in (errno.EAGAIN, errno.ENOBUFS) else UNREACHABLE


def is_media(data: memoryview) -> bool:
    """Whether it looks like RTP, or like RTCP on the same port (RFC 3550 section 5.1, RFC 5761 section 4)."""
    size = len(data)
    if size < 8 or size > limits.MEDIA_PACKET_BYTES or data[0] >> 6 != 2:
        return False
    return size >= 12 or _is_rtcp(data)


def is_udptl(data: memoryview) -> bool:
    """Whether it may be UDPTL: a sequence number, a primary packet and how errors are corrected (ITU-T T.38 9.1)."""
    return 5 <= len(data) <= limits.MEDIA_PACKET_BYTES


def _is_rtcp(data: memoryview) -> bool:
    """Whether the first packet of a compound is whole (RFC 3550 section 6.1 and appendix A.2)."""
    size = len(data)
    if size < 8 or size > limits.MEDIA_PACKET_BYTES or data[0] >> 6 != 2 or not 192 <= data[1] <= 223:
        return False
    return ((data[2] << 8 | data[3]) + 1) * 4 <= size
