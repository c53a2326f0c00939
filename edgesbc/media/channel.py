"""One media socket that faces one peer.

User space checks the source of each packet until the latch is locked; then the socket is connected and the kernel
drops packets of other sources.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.base.counts import Counts
from edgesbc.media.latch import Latch, MediaTarget

__all__ = ["Channel", "drop_reason", "is_media"]

_LIBC = ctypes.CDLL(None, use_errno=True)
_AF_UNSPEC_ADDRESS = ctypes.create_string_buffer(16)  # struct sockaddr with sa_family 0


def _disconnect(sock: socket.socket) -> None:
    """Dissolve a UDP socket's association and keep its port; Python's own connect() cannot pass AF_UNSPEC."""
    if _LIBC.connect(sock.fileno(), _AF_UNSPEC_ADDRESS, 16) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Channel:
    """One socket: the RTP or the RTCP port that faces one peer. ``drops`` counts packets not relayed, by reason;
    ``clock`` gives seconds."""

    __slots__ = (
        "_clock", "_credit", "_drops", "forward", "is_rtcp", "kernel_filtered", "latch", "opposite", "packets",
        "receive", "rtcp_packets", "sock",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, is_rtcp: bool, drops: Counts, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.sock = sock
        self.is_rtcp = is_rtcp
        self.latch = Latch()
        self.receive = sock.recv
        self.kernel_filtered = False
        """Whether no packet needs its source checked: the socket is connected, and its queue was once empty since."""
        self.opposite: Channel | None = None
        """The channel that faces the other side of the session."""
        self.forward: Callable[[bytes], int] = self._drop_without_destination
        """Sends a packet of this channel's peer to the peer of :attr:`opposite`."""
        self.packets = 0
        """Packets that came from the peer."""
        self.rtcp_packets = 0
        """Of these, RTCP."""
        self._drops = drops
        self._credit = 0
        """Bytes that may be sent to the peer while the target is limited: those that came from it."""

    def join(self, opposite: Channel) -> None:
        """Relay what comes in here to the peer of ``opposite``."""
        self.opposite = opposite
        self.forward = opposite.sender()

    def sender(self) -> Callable[[bytes], int]:
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
        if self.latch.set_target(target):
            self.kernel_filtered = False
            _disconnect(self.sock)
        self._update_opposite()

    def _update_opposite(self) -> None:
        if self.opposite is not None:
            self.opposite.forward = self.sender()

    def _send_to(self, data: bytes) -> int:
        """Send to a peer that the socket is not connected to."""
        address = self.latch.destination
        return self.sock.sendto(data, address) if address is not None else self._drop_without_destination(data)

    def _send_limited(self, data: bytes) -> int:
        peer = self.latch.peer
        if peer is None or len(data) > self._credit:
            self._drops.add("limited")
            return 0
        sent = self.sock.sendto(data, peer)
        self._credit -= len(data)
        return sent

    def _drop_without_destination(self, data: bytes) -> int:
        self._drops.add("no-destination")
        return 0

    def drain_checked(self, budget: int) -> int:
        """Take up to ``budget`` packets and check the source of each; returns how many were taken.

        This goes on after the lock until the queue was once empty, because connect() does not remove packets of
        other sources that were queued before it. It goes on for good while the peer is at another port than the
        signalled one, which may take its place.
        """
        latch = self.latch
        if latch.peer is not None and not latch.firm:
            budget = min(budget, 1)  # the next poll reports further ones, which is cheaper than a failing recvfrom()
        now = self._clock() if latch.peer is None else 0.0  # without a use once the latch is locked
        for taken in range(budget):
            try:
                data, address = self.sock.recvfrom(limits.MEDIA_PACKET_BYTES + 1)
            except BlockingIOError:
                self.kernel_filtered = latch.firm and not self.is_rtcp and not latch.target.limited
                return taken
            except OSError:
                self.drop("refused")
                continue
            if not (_is_rtcp(data) if self.is_rtcp else is_media(data)):
                self.drop("invalid")
                continue
            peer = latch.peer
            if address != peer:
                if not latch.admit(Source(address[0], address[1]), now):
                    self.drop("source")
                    continue
                if latch.peer is not peer:
                    self._lock(address)
            self.relay(data)
        return budget

    def _lock(self, address: tuple[str, int]) -> None:
        if self.latch.firm:
            try:
                self.sock.connect(address)
            except OSError:
                self.latch.unlock()
                self.drop("refused")
        self._update_opposite()

    def relay(self, data: bytes) -> None:
        """Count a packet of the peer and pass it on."""
        self.packets += 1
        if 192 <= data[1] <= 223:
            self.rtcp_packets += 1
        if self.latch.target.limited:
            self._credit += len(data)
        try:
            self.forward(data)
        except OSError as error:
            self.forward_again(data, error)

    def forward_again(self, data: bytes, error: OSError) -> None:
        """Send a packet once more, if ``error`` is the ICMP error of an earlier one; otherwise count it as not relayed.

        The kernel reports such an error once, in place of the next packet. It may be forged (RFC 5927): with one for
        each packet, whoever knows the addresses and ports could silence a call.
        """
        if error.errno == errno.ECONNREFUSED:
            try:
                self.forward(data)
            except OSError as second:
                error = second
            else:
                return
        self.drop(drop_reason(error))

    def drop(self, reason: str) -> None:
        """Count a packet that is not relayed."""
        self._drops.add(reason)


def drop_reason(error: OSError) -> str:
    """Why the kernel did not send a packet: ``refused`` (port unreachable), ``full`` (a queue) or ``unreachable``."""
    if error.errno == errno.ECONNREFUSED:
        return "refused"
    return "full" if error.errno in (errno.EAGAIN, errno.ENOBUFS) else "unreachable"


def is_media(data: bytes) -> bool:
    """Whether it looks like RTP, or like RTCP on the same port (RFC 3550 section 5.1, RFC 5761 section 4)."""
    size = len(data)
    if size < 8 or size > limits.MEDIA_PACKET_BYTES or data[0] >> 6 != 2:
        return False
    return size >= 12 or _is_rtcp(data)


def _is_rtcp(data: bytes) -> bool:
    """Whether the first packet of a compound is whole (RFC 3550 section 6.1 and appendix A.2)."""
    size = len(data)
    if size < 8 or size > limits.MEDIA_PACKET_BYTES or data[0] >> 6 != 2 or not 192 <= data[1] <= 223:
        return False
    return (int.from_bytes(data[2:4]) + 1) * 4 <= size
