"""Fuzz target: two media ports of a session, each with a peer, and the packets that arrive on them.

The bytes are steps: packets, new targets, and turns of the relay (``_Steps``).

For any input:

- only packets that look like RTP or RTCP are relayed, and on the port for RTCP only RTCP (RFC 3550, RFC 5761);
- a port receives from and sends to the peer that a simple model of the latch expects: a new target unlocks it, the
  first packet from the signalled port of an address of the target locks it, and then only a new or repeated description
  changes it; another port of the address locks it after a time, until the signalled one speaks; in the mode ``roaming``
  another port of a silent peer takes its place, and in ``symmetric-off`` the signalled port is sent to;
- where the kernel alone filters sources, it filters as the model does.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from typing import Any, Final

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.latch import NO_TARGET, MediaTarget
from edgesbc.relay.channel import Channel, PacketBuffer
from edgesbc.relay.counters import RelayCounters

HOSTS: Final = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
SOURCES: Final = tuple(Source(host, port) for host in HOSTS for port in (4000, 4001, 4002, 4003))
TARGETS: Final = (
    NO_TARGET,
    *(MediaTarget(source, source, frozenset({source.host})) for source in SOURCES[:10]),
    MediaTarget(SOURCES[0], None, frozenset({HOSTS[1]})),  # behind a NAT
    MediaTarget(SOURCES[1], None, frozenset({HOSTS[1]})),
    MediaTarget(SOURCES[0], SOURCES[0], frozenset(HOSTS[:2])),  # two private addresses
    MediaTarget(SOURCES[5], SOURCES[5], frozenset(HOSTS[:2])),
    MediaTarget(SOURCES[0], SOURCES[0], frozenset()),
    *(
        MediaTarget(SOURCES[0], send_to, frozenset(hosts), latch=mode)
        for mode in (LatchMode.ROAMING, LatchMode.SYMMETRIC_OFF)
        for send_to, hosts in ((SOURCES[0], HOSTS[:1]), (SOURCES[0], HOSTS[:2]))
    ),
    MediaTarget(SOURCES[0], None, frozenset({HOSTS[1]}), latch=LatchMode.ROAMING),
)
_REOPEN = 31
_MOST_PACKETS = 1_000


class Port(socket.socket):
    """A UDP socket that is connected and disconnected in the kernel, but has its packets in lists."""

    def __init__(self) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)
        self.queue: deque[tuple[bytes, Source]] = deque()
        self.sent: list[tuple[bytes, Source]] = []
        self.refuses = False

    def peer(self) -> Source | None:
        try:
            return Source(*self.getpeername())
        except OSError:
            return None

    def arrive(self, data: bytes, source: Source) -> None:
        """Queue a packet as the kernel does: a connected socket gets none of another source; queued ones stay."""
        if self.peer() in (None, source):
            self.queue.append((data, source))

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Source]:
        if not self.queue:
            raise BlockingIOError
        data, source = self.queue.popleft()
        data = data[: len(buffer)]
        buffer[: len(data)] = data
        return len(data), source

    def connect(self, address: Any) -> None:
        if self.refuses:
            raise ConnectionRefusedError
        super().connect(address)

    def send(self, data: Any, flags: int = 0) -> int:
        peer = self.peer()
        assert peer is not None, "sent by a socket without a peer"
        self.sent.append((bytes(data), peer))
        return len(data)

    def sendto(self, data: Any, address: Any) -> int:  # type: ignore[override]  # flags are never given
        self.sent.append((bytes(data), address))
        return len(data)


class Model:
    """The expected latch, computed from its whole history: the peers of each target, and late packets."""

    def __init__(self, is_rtcp: bool = False) -> None:
        self.silence = limits.MEDIA_ROAM_RTCP_SECONDS if is_rtcp else limits.MEDIA_ROAM_SECONDS
        self.past: list[tuple[MediaTarget, Source]] = []
        self.target = NO_TARGET
        self.locked: Source | None = None
        self.since: float | None = None
        self.late = 0
        self.moves = 0
        self.heard = 0.0
        self.open = False

    def set_target(self, target: MediaTarget) -> None:
        if target == self.target:
            return
        if self.locked is not None:
            self.past.append((self.target, self.locked))
        self.target, self.late = target, 0
        self.unlock()

    def unlock(self) -> None:
        self.locked, self.since, self.moves, self.open = None, None, 0, False

    def reopen(self) -> None:
        self.moves = 0
        if self.locked is not None:
            self.open, self.since = True, None

    def destination(self) -> Source | None:
        if self.target.latch is LatchMode.SYMMETRIC_OFF:
            return self.target.send_to
        return self.locked or self.target.send_to

    def is_firm(self) -> bool:
        """Whether the kernel is to drop packets of every other source."""
        if self.open or not self.is_signalled(self.locked) or self.target.latch is LatchMode.ROAMING:
            return False
        return self.target.latch is LatchMode.STRICT or self.locked == self.target.send_to

    def stale_source(self) -> Source | None:
        """The peer of the last locked target if that was another target: its packets may be late."""
        if not self.past or self.past[-1][0] == self.target or self.past[-1][1] == self.target.send_to:
            return None
        return self.past[-1][1]

    def is_signalled(self, source: Source | None) -> bool:
        """Whether ``source`` has the port that signalling named."""
        signalled = self.target.signalled
        return source is not None and signalled is not None and source.port == signalled.port

    def admits(self, source: Source, now: float) -> bool:
        if source != self.locked and not self._takes_the_place(source, now):
            return False
        self.locked, self.heard, self.open = source, now, False
        return True

    def _takes_the_place(self, source: Source, now: float) -> bool:
        """Whether another source than the known one becomes the peer."""
        if source.host not in self.target.learn_from or self.is_firm():
            return False
        if self.locked is not None and not self.open:
            return self._may_move(source, now)
        if self._is_late(source):
            return False
        if self.is_signalled(source):
            return True
        self.since = now if self.since is None else self.since
        known = bool(self.past) and self.past[-1] == (self.target, source)
        return known or now - self.since >= limits.MEDIA_SIGNALLED_SECONDS

    def _may_move(self, source: Source, now: float) -> bool:
        if self.is_signalled(source):
            return not self._is_late(source) and not self.is_signalled(self.locked)
        if self.target.latch is not LatchMode.ROAMING or self.locked is None or source.host != self.locked.host:
            return False
        if self.moves >= limits.MEDIA_ROAMS or now - self.heard < self.silence:
            return False
        self.moves += 1
        return True

    def _is_late(self, source: Source) -> bool:
        if source != self.stale_source() or self.late >= limits.MEDIA_STALE_PACKETS:
            return False
        self.late += 1
        return True


def looks_like_media(data: bytes, only_rtcp: bool) -> bool:
    if not 8 <= len(data) <= limits.MEDIA_PACKET_BYTES:
        return False
    first, kind, words = struct.unpack_from("!BBH", data)
    if not 0x80 <= first <= 0xBF:
        return False
    rtcp = 192 <= kind <= 223 and 4 * words + 4 <= len(data)
    return rtcp or (len(data) >= 12 and not only_rtcp)


_PORTS = (Port(), Port())
_COUNTERS = RelayCounters(memoryview(bytearray(RelayCounters.size(len(_PORTS)))), len(_PORTS))
_BUFFER = PacketBuffer()


def check(data: bytes) -> None:
    steps = _Steps(data)
    while steps.more():
        steps.step()


class _Steps:
    """The steps of an input: one byte gives port, kind and amount; the bytes of the step follow."""

    def __init__(self, data: bytes) -> None:
        self._data = data[1:]
        self._now = 0.0
        is_rtcp = data[:1] == b"\x01"
        self._channels = self._new_channels(is_rtcp)
        for port, channel in zip(_PORTS, self._channels, strict=True):
            port.queue.clear()
            port.sent.clear()
            port.refuses = False
            if port.peer() is not None:
                channel.latch.peer = port.peer()
                channel.latch.firm = True
                channel.latch.target = TARGETS[1]
                channel.set_target(NO_TARGET)  # disconnects a socket that the last input left connected
            assert port.peer() is None
        one, opposite = self._channels = self._new_channels(is_rtcp)
        one.join(opposite)
        opposite.join(one)
        self._models = [Model(is_rtcp), Model(is_rtcp)]
        self._is_rtcp = is_rtcp
        self._packets = 0

    def _new_channels(self, is_rtcp: bool) -> list[Channel]:
        return [
            Channel(port, is_rtcp, slot, _COUNTERS, _BUFFER, lambda: self._now, lambda channel: None, lambda *_: None)
            for slot, port in enumerate(_PORTS)
        ]

    def more(self) -> bool:
        return bool(self._data) and self._packets < _MOST_PACKETS

    def _take(self, count: int) -> bytes:
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def _byte(self) -> int:
        return (self._take(1) or b"\0")[0]

    def step(self) -> None:
        header = self._byte()
        side, kind, amount = header & 1, header >> 1 & 3, header >> 3
        if kind == 0:
            self._set_target(side, amount)
        elif kind == 1:
            self._arrive(side, self._take(amount), 1)
        elif kind == 2:
            times = self._byte()
            self._arrive(side, bytes((0x80, 200, 0, 1)) + bytes(8 + amount), times)
        else:
            self._relay(side, amount)

    def _set_target(self, side: int, number: int) -> None:
        if number == _REOPEN:
            self._channels[side].reopen()
            self._models[side].reopen()
        else:
            target = TARGETS[number % len(TARGETS)]
            self._channels[side].set_target(target)
            self._models[side].set_target(target)
        self._compare_with_models()

    def _arrive(self, side: int, packet: bytes, times: int) -> None:
        selector = self._byte()
        if selector & 128:
            packet += bytes(limits.MEDIA_PACKET_BYTES - len(packet) + (selector >> 4 & 1))
        for _ in range(times):
            _PORTS[side].arrive(packet, SOURCES[selector % len(SOURCES)])
        self._packets += times

    def _relay(self, side: int, amount: int) -> None:
        """Have the relay and the model process the same packets."""
        port, opposite = _PORTS[side], _PORTS[1 - side]
        channel, model, other = self._channels[side], self._models[side], self._models[1 - side]
        self._now += amount / 100
        port.refuses = amount == 31
        queued = list(port.queue)
        before = channel.packets
        taken = channel.drain_checked(min(amount, limits.MEDIA_LEARN_PACKETS))
        relayed = []
        for packet, source in queued[:taken]:
            if not looks_like_media(packet, self._is_rtcp):
                continue
            was_firm = model.is_firm()
            if model.admits(source, self._now):
                relayed.append(packet)
                if port.refuses and model.is_firm() and not was_firm:
                    model.unlock()
        destination = other.destination()
        assert channel.packets - before == len(relayed)
        assert opposite.sent == ([] if destination is None else [(packet, destination) for packet in relayed])
        opposite.sent.clear()
        port.refuses = False
        self._compare_with_models()

    def _compare_with_models(self) -> None:
        for port, channel, model in zip(_PORTS, self._channels, self._models, strict=True):
            assert channel.latch.peer == model.locked
            assert channel.latch.destination == model.destination()
            assert port.peer() == (model.locked if model.is_firm() else None)
            if channel.kernel_filtered:
                assert all(source == model.locked for _, source in port.queue)
