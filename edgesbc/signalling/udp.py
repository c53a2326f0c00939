"""A UDP listener: datagrams in batches to the brain, datagrams out, and who the kernel is to drop."""

from __future__ import annotations

import socket
from collections.abc import Callable

import trio

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Zone
from edgesbc.lanes.attach import Penalties

__all__ = ["UdpListener"]

Receive = Callable[[Flow, bytes, float], None]
Unreachable = Callable[[Listener, Source, float], None]


class UdpListener:
    """One socket. ``receive`` and ``unreachable`` take what it hears, in the listener's own task."""

    __slots__ = ("_receive", "_sock", "_unreachable", "listener", "penalties", "unsent")

    def __init__(self, listener: Listener, sock: socket.socket, receive: Receive, unreachable: Unreachable) -> None:
        self.listener = listener
        self._sock = sock
        self._receive = receive
        self._unreachable = unreachable
        self.penalties = Penalties(sock) if listener.zone is Zone.PUBLIC else None
        self.unsent = 0  # datagrams that the kernel did not take

    def send(self, peer: Source, data: bytes) -> None:
        """Send one datagram; what the kernel does not take now is lost, as datagrams may be."""
        try:
            self._sock.sendto(data, peer)
        except OSError:
            self.unsent += 1

    async def run(self) -> None:
        """Hear datagrams until cancelled; up to a batch of them between two checkpoints."""
        sock, listener, receive = self._sock, self.listener, self._receive
        recvfrom, size = sock.recvfrom, limits.MESSAGE_BYTES
        with sock:
            while True:
                await trio.lowlevel.wait_readable(sock)
                now = trio.current_time()
                for _ in range(limits.UDP_BATCH):
                    try:
                        data, address = recvfrom(size)
                    except BlockingIOError:
                        break
                    except OSError:
                        # An earlier datagram came back (ICMP); which, is in the error queue.
                        self._hear_errors(now)
                        continue
                    receive(Flow(listener, Source(address[0], address[1])), data, now)
                if self.penalties is not None and self.penalties.due is not None and self.penalties.due <= now:
                    self.penalties.apply(now)

    def _hear_errors(self, now: float) -> None:
        """Take the ICMP errors that the kernel has matched to what this socket sent."""
        peers: set[Source] = set()
        for _ in range(limits.UDP_BATCH):
            try:
                _, _, _, address = self._sock.recvmsg(1, 0, socket.MSG_ERRQUEUE)
            except OSError:
                break
            if address:
                peers.add(Source(address[0], address[1]))
        for peer in peers:
            self._unreachable(self.listener, peer, now)
