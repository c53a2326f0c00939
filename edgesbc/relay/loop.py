"""The loop of a relay: packets from one leg of a stream go out on the other.

One epoll has all channels and the link to media control. A channel whose peer is known has a connected socket: the
kernel then drops every other source, and a packet costs one ``recv_into`` of a buffer that all packets share and one
``send`` on the socket of the other leg, without an address and without an object.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.media.latch import MediaTarget
from edgesbc.relay.channel import Channel, PacketBuffer, is_media
from edgesbc.relay.counters import INTERNAL, INVALID, REFUSED, RelayCounters
from edgesbc.relay.link import LinkClosed, RelayLink
from edgesbc.relay.messages import fault_event, latched_event, read_commands, reports_event

__all__ = ["RelayLoop"]


class RelayLoop:
    """Channels, and the loop that serves them: :meth:`run`, or :meth:`turn` again and again.

    Commands come by ``link``, and events go back by it, at most every ``limits.RELAY_EVENT_SECONDS``. ``clock`` gives
    seconds. It serves its channels until the link ends. Raises ``OSError`` where the kernel has no epoll for it.
    """

    def __init__(self, link: RelayLink, counters: RelayCounters, clock: Callable[[], float]) -> None:
        self._link = link
        self._counters = counters
        self._clock = clock
        self._epoll = select.epoll()
        self._buffer = PacketBuffer()
        self._by_descriptor: dict[int, Channel] = {}
        self._by_number: dict[int, Channel] = {}
        self._latched: dict[int, Channel] = {}  # those that an event has to tell of
        self._unwatched: dict[int, Channel] = {}
        self._reports: dict[int, tuple[float, bytes]] = {}  # RTCP packets that an event has to carry, by the channel
        self._fault = ""
        self._events_due = -1.0
        self.ended = False
        """Whether the link has ended."""
        self._epoll.register(link.fileno(), select.EPOLLIN)

    # --- packets -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Relay until the link ends; then every channel is closed."""
        while not self.ended:
            self.turn(-1.0)
        self.close()

    def turn(self, timeout: float) -> int:
        """Wait up to ``timeout`` seconds (-1: any time) until something comes, and serve all of it: commands, and a
        packet of each channel that has one. Returns how many packets were taken, relayed or not.

        A channel that knows no peer yet, and is flooded, has several packets taken, but all together
        ``limits.MEDIA_TURN_PACKETS`` and one of each at most: commands do not wait for long.
        """
        if self._events_due >= 0.0:
            timeout = self._send_due_events(timeout)
        events = self._epoll.poll(timeout, limits.MEDIA_POLL_EVENTS)
        if len(events) >= limits.MEDIA_POLL_EVENTS:
            self.carry_out_commands()  # more may be ready than the poll reports
        channels, counters, buffer = self._by_descriptor, self._counters, self._buffer
        memory, views, largest = buffer.memory, buffer.views, limits.MEDIA_PACKET_BYTES
        taken = 0
        for descriptor, _ in events:
            channel = channels.get(descriptor)
            if channel is None:  # the link, or a channel that a command has closed meanwhile
                self.carry_out_commands()
                continue
            try:
                if not channel.kernel_filtered:
                    left = max(1, limits.MEDIA_TURN_PACKETS - taken)
                    taken += channel.drain_checked(min(limits.MEDIA_LEARN_PACKETS, left)) or 1
                    continue
                taken += 1
                # One packet an event: the next poll reports further ones, which is cheaper than a failing recv_into().
                try:
                    size = channel.receive_into(memory)
                except BlockingIOError:
                    continue  # the packet had a wrong checksum
                except OSError:
                    channel.drop(REFUSED)
                    continue
                if not (12 <= size <= largest and memory[0] & 0xC0 == 0x80) and not is_media(views[size]):
                    channel.drop(INVALID)
                    continue
                channel.packets += 1
                channel.octets += size
                counters.packets[channel.slot] = channel.packets
                counters.octets[channel.slot] = channel.octets
                if 192 <= memory[1] <= 223:  # RTCP on the port of RTP (RFC 5761 section 4)
                    channel.rtcp_packets += 1
                    counters.rtcp_packets[channel.slot] = channel.rtcp_packets
                    self._note_reports(channel, views[size])
                try:
                    channel.forward(views[size])
                except OSError as refusal:
                    channel.forward_again(views[size], refusal)
            except Exception as error:  # noqa: BLE001 - the boundary between one packet and all others
                taken += 1
                channel.drop(INTERNAL)
                self.report(error)
        return taken

    # --- commands ----------------------------------------------------------------------------------------

    def carry_out_commands(self) -> None:
        """Carry out the commands that have come."""
        for _ in range(limits.RELAY_BATCHES):
            try:
                data = self._link.receive()
            except LinkClosed:
                self.ended = True
                return
            if not data:
                return
            try:
                read_commands(data, self)
            except Exception as error:  # noqa: BLE001 - what cannot be carried out costs no other channel
                self.report(error)

    def open_channel(self, number: int, is_rtcp: bool, ipv6: bool, restored: bool) -> None:
        """See :class:`edgesbc.relay.messages.CommandReceiver`, as for all commands."""
        sock = self._link.take_socket(ipv6)
        if sock is None:
            self.report(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
            return
        noted = self._note_latched, self._note_reports
        channel = Channel(sock, is_rtcp, number, self._counters, self._buffer, self._clock, *noted)
        self.close_channel(number)
        self._by_number[number] = channel
        self._by_descriptor[sock.fileno()] = channel
        try:
            if restored:
                channel.disconnect()
        except OSError as error:
            self.report(error)
        self._watch(channel)

    def _watch(self, channel: Channel) -> None:
        try:
            self._epoll.register(channel.sock.fileno(), select.EPOLLIN)
        except OSError as error:  # the kernel has no memory, or no watch for this user any more: try again later
            self._unwatched[channel.slot] = channel
            self.report(error)

    def set_target(self, number: int, generation: int, target: MediaTarget) -> None:
        channel = self._by_number.get(number)
        if channel is not None:
            channel.generation = generation
            try:
                channel.set_target(target)
            except OSError as error:
                self.report(error)

    def restore_peer(self, number: int, generation: int, peer: Source, firm: bool) -> None:
        channel = self._by_number.get(number)
        if channel is not None:
            channel.generation = generation
            try:
                channel.restore_peer(peer, firm)
            except OSError as error:
                self.report(error)

    def reopen(self, number: int, generation: int) -> None:
        channel = self._by_number.get(number)
        if channel is not None:
            channel.generation = generation
            try:
                channel.reopen()
            except OSError as error:
                self.report(error)

    def join(self, number: int, other: int) -> None:
        one, two = self._by_number.get(number), self._by_number.get(other)
        if one is not None and two is not None:
            one.join(two)
            two.join(one)

    def close_channel(self, number: int) -> None:
        channel = self._by_number.pop(number, None)
        if channel is not None:
            self._latched.pop(number, None)
            self._reports.pop(number, None)
            self._unwatched.pop(number, None)
            descriptor = channel.sock.fileno()
            del self._by_descriptor[descriptor]
            if self._link.shares_files:  # otherwise the kernel unregisters it with its only descriptor
                try:
                    self._epoll.unregister(descriptor)
                except OSError:
                    pass  # the kernel did not take it in
            channel.close()

    def ping(self, value: int) -> None:
        self._counters.ping = value

    # --- events ------------------------------------------------------------------------------------------

    def _note_latched(self, channel: Channel) -> None:
        self._latched[channel.slot] = channel
        self._plan_events()

    def _note_reports(self, channel: Channel, data: memoryview) -> None:
        """Keep a copy of an RTCP packet for media control, of one for each channel."""
        if channel.slot not in self._reports and len(self._reports) < limits.RELAY_REPORTS:
            self._reports[channel.slot] = self._clock(), bytes(data)
            self._plan_events()

    def report(self, error: Exception) -> None:
        """Tell media control of an internal error, of one at a time."""
        if not self._fault:
            self._fault = f"{type(error).__name__}: {error}"
            self._plan_events()

    def _plan_events(self) -> None:
        if self._events_due < 0.0:
            self._events_due = self._clock() + limits.RELAY_EVENT_SECONDS

    def _send_due_events(self, timeout: float) -> float:
        """Send the events if it is time to; returns how long to wait for packets at most."""
        left = self._events_due - self._clock()
        if left > 0.0:
            return left if timeout < 0.0 else min(timeout, left)
        self._events_due = -1.0
        unwatched, self._unwatched = self._unwatched, {}
        for channel in unwatched.values():
            self._watch(channel)
        if self._send_events() and not self._unwatched:
            return timeout
        self._plan_events()
        return limits.RELAY_EVENT_SECONDS if timeout < 0.0 else min(timeout, limits.RELAY_EVENT_SECONDS)

    def _send_events(self) -> bool:
        """Send the events that wait; whether the link took them all."""
        while self._fault or self._latched or self._reports:
            data = fault_event(self._fault) if self._fault else b""
            numbers = []
            for number, channel in self._latched.items():
                if len(data) >= limits.RELAY_BATCH_BYTES:
                    break
                numbers.append(number)
                peer = channel.latch.peer
                if peer is not None:
                    data += latched_event(number, channel.generation, peer, channel.latch.firm)
            copied = []
            for number, (received, reports) in self._reports.items():
                if len(data) >= limits.RELAY_BATCH_BYTES:
                    break
                copied.append(number)
                data += reports_event(number, received, reports)
            if data and not self._link.send(data):
                return False
            self._fault = ""
            for number in copied:
                del self._reports[number]
            for number in numbers:
                del self._latched[number]
        return True

    # --- its end -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close every channel and the link."""
        for channel in self._by_number.values():
            channel.close()
        self._by_number.clear()
        self._by_descriptor.clear()
        self._latched.clear()
        self._reports.clear()
        self._epoll.close()
        self._link.close()
