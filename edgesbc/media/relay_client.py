"""Media control's end of the link to one relay: its channels, and the commands that it has not taken yet.

Nothing here waits for the relay. A relay that is started again gets all that it has to know: the same sockets, their
targets and the peers that were learned.
"""

from __future__ import annotations

import array
import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.kernel_path import KernelPath, KernelShare
from edgesbc.media.latch import NO_TARGET, MediaTarget
from edgesbc.relay.counters import RelayCounters
from edgesbc.relay.messages import CommandBatch, CommandWriter, read_events

__all__ = ["RelayChannel", "RelayClient", "RelayFault", "ReportsReceiver"]

_LARGEST_EVENTS: Final = 2 * limits.RELAY_BATCH_BYTES
_LATER: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETOOMANYREFS})
"""Errors after which the same datagram can be sent later."""


class RelayFault(Exception):
    """An internal error within a relay, which cost a packet or a channel."""


ReportsReceiver = Callable[[bytes, float], None]
"""Called with an RTCP packet, and with the time at which it was received, in seconds on a clock of its own."""


class RelayChannel:
    """What media control knows of one channel: a port that faces one peer."""

    __slots__ = (
        "_before", "_counters", "address", "direct", "firm", "generation", "is_rtcp", "joined", "number", "on_reports",
        "peer", "share", "sock", "target",
    )  # fmt: skip

    def __init__(
        self, number: int, sock: socket.socket, address: Source, is_rtcp: bool, counters: RelayCounters
    ) -> None:
        self._counters = counters
        self._before = counters.packets[number], counters.rtcp_packets[number], counters.octets[number]
        self.number = number
        self.sock: socket.socket | None = sock
        """None where it was handed over, or closed."""
        self.address = address
        self.is_rtcp = is_rtcp
        self.target = NO_TARGET
        self.generation = 0
        """Number of the target, by which the peer that was learned for it is told from those of targets before."""
        self.peer: Source | None = None
        """The peer, once the relay has said that it was learned."""
        self.firm = False
        """Whether the peer is at the signalled port."""
        self.joined: RelayChannel | None = None
        self.on_reports: ReportsReceiver | None = None
        """Called with copies of RTCP packets from the peer."""
        self.direct = False
        """Whether nothing of the call is open that would keep the kernel from relaying its packets."""
        self.share = KernelShare()

    @property
    def packets(self) -> int:
        """Packets that came from the peer."""
        return int(self._counters.packets[self.number] - self._before[0]) + self.share.packets

    @property
    def rtcp_packets(self) -> int:
        """Of these, RTCP."""
        return int(self._counters.rtcp_packets[self.number] - self._before[1])

    @property
    def octets(self) -> int:
        """Octets of these packets."""
        return int(self._counters.octets[self.number] - self._before[2]) + self.share.octets


class RelayClient:
    """The channels of one relay, and the commands for it.

    ``counters`` is memory that the relay writes. To a process, sockets are sent, and kept for the next one; in a thread
    they are moved to ``handed_over``. ``failed`` is called for an internal error of the relay. ``on_blocked`` is called
    when commands wait because the link is full: :meth:`flush` is to be called again then. ``kernel`` is the path of
    packets through the kernel, if there is one.
    """

    def __init__(
        self,
        counters: RelayCounters,
        failed: Callable[[Exception], None],
        handed_over: deque[socket.socket] | None = None,
    ) -> None:
        self.counters = counters
        self.kernel: KernelPath | None = None
        self.moves = 0
        """How often the peer of a channel whose latch roams has got another port."""
        self._failed = failed
        self._handed_over = handed_over
        self.on_blocked: Callable[[], None] = lambda: None
        self._end: socket.socket | None = None
        self._channels: dict[int, RelayChannel] = {}
        self._closed: deque[int] = deque()  # numbers of closed channels, which are used again as late as possible
        self._unused = 0
        self._generation = 0
        self._writer = CommandWriter()
        self._new: list[socket.socket] = []  # sockets of the commands in the writer
        self._waiting: deque[tuple[CommandBatch, list[socket.socket]]] = deque()
        self._close_later: list[socket.socket] = []

    @property
    def channels(self) -> int:
        """Number of open channels."""
        return len(self._channels)

    @property
    def waits(self) -> bool:
        """Whether the link had no room for some commands."""
        return bool(self._waiting)

    # --- commands ----------------------------------------------------------------------------------------

    def open(self, sock: socket.socket, is_rtcp: bool, address: Source) -> RelayChannel:
        """Have the relay serve ``sock``, which is bound to ``address``. Its counters have room for as many channels as
        there are ports."""
        if self._unused < self.counters.capacity:
            number = self._unused
            self._unused += 1
        else:
            number = self._closed.popleft()
        channel = RelayChannel(number, sock, address, is_rtcp, self.counters)
        self._channels[number] = channel
        if self._handed_over is not None or self._end is not None:
            self._write_open(channel, False)
        return channel

    def set_target(self, channel: RelayChannel, target: MediaTarget) -> None:
        """What signalling says about the peer of a channel; the same again changes nothing."""
        if target != channel.target:
            self._forget_peer(channel)
        elif target.limited == channel.target.limited:
            return
        channel.target = target
        self._writer.set_target(channel.number, channel.generation, target)
        self._update_kernel(channel)

    def reopen(self, channel: RelayChannel) -> None:
        """Learn the peer of a channel again, because its description was repeated. No packet takes the way through the
        kernel until the relay has learned it."""
        if channel.target.learn_from:
            self._forget_peer(channel)
            self._update_kernel(channel)
            self._writer.reopen(channel.number, channel.generation)

    def _forget_peer(self, channel: RelayChannel) -> None:
        """What the relay has told of the peer, or has sent off to tell, counts no more."""
        self._generation = (self._generation + 1) & 0xFFFF_FFFF
        channel.generation = self._generation
        channel.peer = None
        channel.firm = False

    def set_direct(self, channel: RelayChannel, direct: bool) -> None:
        """Whether the kernel may relay the packets of a channel, where it can."""
        if direct != channel.direct:
            channel.direct = direct
            self._update_kernel(channel)

    def _update_kernel(self, channel: RelayChannel) -> None:
        if self.kernel is not None and channel.joined is not None:
            self.kernel.update(channel, channel.joined)

    def join(self, channel: RelayChannel, other: RelayChannel) -> None:
        """Relay between two channels, both ways."""
        channel.joined, other.joined = other, channel
        self._writer.join(channel.number, other.number)

    def close(self, channel: RelayChannel) -> None:
        """Close a channel; a second time does nothing."""
        if self._channels.get(channel.number) is not channel:
            return
        del self._channels[channel.number]
        self._closed.append(channel.number)
        if channel.joined is not None:
            if self.kernel is not None:
                self.kernel.leave(channel)
                self.kernel.leave(channel.joined)
            channel.joined.joined = None
        channel.on_reports = None
        if channel.sock is not None:
            if channel.sock in self._new or self._waiting:
                self._close_later.append(channel.sock)  # it is still to be sent
            else:
                channel.sock.close()
            channel.sock = None
        self._writer.close_channel(channel.number)

    def ping(self, value: int) -> None:
        """Have the relay write ``value`` to its counters."""
        self._writer.ping(value)

    def _write_open(self, channel: RelayChannel, restored: bool) -> None:
        sock = channel.sock
        if sock is None:
            return  # it is closed
        self._writer.open_channel(channel.number, channel.is_rtcp, sock.family == socket.AF_INET6, restored)
        self._new.append(sock)
        if self._handed_over is not None:
            channel.sock = None

    # --- the link ----------------------------------------------------------------------------------------

    def attach(self, end: socket.socket) -> None:
        """Serve the link by ``end``, whose other end a new relay has. It gets all channels."""
        self._end = end
        if self._handed_over is not None:
            self.flush()
            return
        self._writer.take()
        for channel in self._channels.values():
            self._write_open(channel, True)
        for channel in self._channels.values():
            self._writer.set_target(channel.number, channel.generation, channel.target)
            if channel.peer is not None:
                self._writer.restore_peer(channel.number, channel.generation, channel.peer, channel.firm)
        for channel in self._channels.values():
            if channel.joined is not None and channel.number < channel.joined.number:
                self._writer.join(channel.number, channel.joined.number)
        self.flush()

    def detach(self) -> None:
        """The relay at the other end has ended: what waits for it is void."""
        end, self._end = self._end, None
        self._writer.take()
        if self._handed_over is not None:  # nobody else has those that were not handed over
            self._close_later += self._new
            for _, sockets in self._waiting:
                self._close_later += sockets
        self._new.clear()
        self._waiting.clear()
        self._close_unsent()
        if end is not None:
            end.close()

    def flush(self) -> None:
        """Send the commands as far as the link has room, and no further."""
        at = 0
        for batch in self._writer.take():
            self._waiting.append((batch, self._new[at : at + batch.opens]))
            at += batch.opens
        self._new.clear()
        end = self._end
        if end is None:
            if self._handed_over is None:
                self._waiting.clear()  # the next relay gets the channels themselves
            self._close_unsent()
            return
        try:
            while self._waiting:
                batch, sockets = self._waiting[0]
                self._send(end, batch.data, sockets)
                self._waiting.popleft()
        except OSError as error:
            if error.errno in _LATER and len(self._waiting) <= limits.RELAY_QUEUE:
                self.on_blocked()
            elif self._handed_over is None:
                end.shutdown(socket.SHUT_RDWR)  # it is started again; :meth:`receive` says that it has ended
            return
        self._close_unsent()

    def _send(self, end: socket.socket, data: bytes, sockets: list[socket.socket]) -> None:
        if self._handed_over is None:
            if sockets:
                descriptors = array.array("i", [sock.fileno() for sock in sockets])
                end.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
            else:
                end.send(data)
            return
        self._handed_over.extend(sockets)  # before the commands that take them
        try:
            end.send(data)
        except OSError:
            for _ in sockets:
                self._handed_over.pop()
            raise

    def _close_unsent(self) -> None:
        for sock in self._close_later:
            sock.close()
        self._close_later.clear()

    # --- events ------------------------------------------------------------------------------------------

    def receive(self) -> bool:
        """Take the events that have come; False where the relay has ended."""
        end = self._end
        while end is not None:
            try:
                data = end.recv(_LARGEST_EVENTS)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            read_events(data, self)
        return False

    def latched(self, number: int, generation: int, peer: Source, firm: bool) -> None:
        """The relay has learned a peer."""
        channel = self._channels.get(number)
        if channel is not None and channel.generation == generation:
            if channel.target.latch is LatchMode.ROAMING and channel.peer not in (None, peer):
                self.moves += 1
            channel.peer = peer
            channel.firm = firm
            self._update_kernel(channel)

    def reports(self, number: int, received: float, data: bytes) -> None:
        """The relay has relayed an RTCP packet of the channel's peer."""
        channel = self._channels.get(number)
        if channel is not None and channel.on_reports is not None:
            channel.on_reports(data, received)

    def fault(self, text: str) -> None:
        """An internal error in the relay."""
        self._failed(RelayFault(text))

    def close_all(self) -> None:
        """Close every channel and the link."""
        for channel in list(self._channels.values()):
            self.close(channel)
        self.detach()
