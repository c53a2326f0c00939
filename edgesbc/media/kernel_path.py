"""The path of packets through the kernel relay: which streams of the media plane take it.

A stream does once the relay has learned both peers, and as long as no offer is pending, nobody holds the call and no
peer is limited. RTCP, and whatever the kernel lets pass, still comes to the socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import Protocol

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source, family_of
from edgesbc.base.latch_mode import LatchMode
from edgesbc.kernel_relay.bpf_calls import KernelRefusal
from edgesbc.kernel_relay.flow_map import FlowMap
from edgesbc.kernel_relay.flows import KernelFlow
from edgesbc.kernel_relay.routes import DeviceRoute, RouteReader
from edgesbc.media.latch import MediaTarget

__all__ = ["KernelPath", "KernelShare", "RelayedPort"]


class KernelShare:
    """What the kernel relays of the packets of one port."""

    __slots__ = ("_before", "_map", "_octets", "_packets", "flow")

    def __init__(self) -> None:
        self.flow: KernelFlow | None = None
        """The flow from the peer, if it is in the kernel."""
        self._map: FlowMap | None = None
        self._before = (0, 0)
        self._packets = 0
        self._octets = 0

    @property
    def packets(self) -> int:
        """Packets of the peer that the kernel has relayed."""
        return self._packets + self._since()[0]

    @property
    def octets(self) -> int:
        """Octets of these packets."""
        return self._octets + self._since()[1]

    def begin(self, flow: KernelFlow, flow_map: FlowMap) -> None:
        """``flow`` is in the kernel from now on."""
        self.flow = flow
        self._map = flow_map
        self._before = flow_map.counters(flow.slot)[:2]

    def end(self) -> None:
        """The flow is not in the kernel any more."""
        packets, octets = self._since()
        self._packets += packets
        self._octets += octets
        self.flow = None

    def _since(self) -> tuple[int, int]:
        if self.flow is None or self._map is None:
            return 0, 0
        packets, octets = self._map.counters(self.flow.slot)[:2]
        return packets - self._before[0], octets - self._before[1]


class RelayedPort(Protocol):
    """A port of the relay, as media control knows it."""

    address: Source
    is_rtcp: bool
    direct: bool
    target: MediaTarget
    peer: Source | None
    share: KernelShare


class KernelPath:
    """Puts flows into the kernel relay and takes them out.

    ``devices`` are the numbers of those that have the program. What ``flow_map`` had before is removed: flows of a
    process that has died. ``routes`` says by which devices packets come and leave. Raises ``OSError``.
    """

    def __init__(self, flow_map: FlowMap, devices: Collection[int], routes: RouteReader) -> None:
        self._map = flow_map
        self._devices = frozenset(devices)
        self._routes = routes
        self._known_routes: dict[tuple[str, str], DeviceRoute | None] = {}
        self._unused: deque[int] = deque(range(flow_map.capacity))  # slots are used again as late as possible
        self._pairs: dict[RelayedPort, RelayedPort] = {}
        flow_map.clear()

    @property
    def flows(self) -> int:
        """Number of flows in the kernel."""
        return self._map.capacity - len(self._unused)

    @property
    def packets(self) -> int:
        """Packets that the kernel has relayed."""
        return self._map.packets

    def update(self, port: RelayedPort, other: RelayedPort) -> None:
        """What is known of two ports, which face the peers of one stream, has changed."""
        if _is_for_kernel(port) and _is_for_kernel(other):
            self._enter(port, other)
            self._enter(other, port)
        else:
            self.leave(port)
            self.leave(other)

    def leave(self, port: RelayedPort) -> None:
        """Packets of a port's peer come to its socket from now on. Raises :class:`KernelRefusal`."""
        flow = port.share.flow
        if flow is not None:
            self._map.remove(flow.source, flow.destination)
            port.share.end()
            self._unused.append(flow.slot)
            del self._pairs[port]

    def routes_changed(self) -> Iterable[None]:
        """Look up the routes of all flows again, a few of them with each step of the iterator."""
        self._known_routes.clear()
        for number, (port, other) in enumerate(list(self._pairs.items())):
            if self._pairs.get(port) is other:
                self._enter(port, other)
            if number % limits.KERNEL_ROUTES_AT_ONCE == 0:
                yield

    def close(self) -> None:
        """Take out all flows."""
        for port in list(self._pairs):
            self.leave(port)
        self._routes.close()

    def _enter(self, port: RelayedPort, other: RelayedPort) -> None:
        """Have the kernel relay what comes from the peer of ``port``, if it has the devices for it."""
        share = port.share
        before = share.flow
        flow = self._flow(port, other)
        if before is not None and (flow is None or flow.source != before.source):
            self.leave(port)
            before = None
        if flow is None or (before is None and not self._unused):
            return
        flow = attrs.evolve(flow, slot=self._unused[0] if before is None else before.slot)
        if flow == before:
            return
        try:
            self._map.put(flow)
        except KernelRefusal:  # the kernel has no memory for it: its packets come to the socket
            self.leave(port)
            return
        if before is None:
            self._unused.popleft()
            share.begin(flow, self._map)
            self._pairs[port] = other
        share.flow = flow

    def _flow(self, port: RelayedPort, other: RelayedPort) -> KernelFlow | None:
        """The flow from the peer of ``port``; None where its packets cannot take this path."""
        peer, other_peer = port.peer, other.peer
        if peer is None or other_peer is None or family_of(peer.host) != family_of(other_peer.host):
            return None
        there = self._route(other_peer.host, other.address.host)
        back = self._route(peer.host, port.address.host)
        if there is None or back is None or back.device not in self._devices:
            return None
        headers = 48 if ":" in peer.host else 28  # IP and UDP
        largest = min(there.mtu, headers + limits.MEDIA_PACKET_BYTES)
        ports = peer, port.address, other.address, other_peer
        return KernelFlow(*ports, back.device, there.device, 0, largest, port.target.is_rtp)

    def _route(self, destination: str, source: str) -> DeviceRoute | None:
        key = destination, source
        if key not in self._known_routes:
            if len(self._known_routes) >= limits.KERNEL_ADDRESSES:
                self._known_routes.clear()
            try:
                self._known_routes[key] = self._routes.route(destination, source)
            except OSError:
                return None  # a device that is gone, or no answer: its packets come to the socket
        return self._known_routes[key]


def _is_for_kernel(port: RelayedPort) -> bool:
    target = port.target
    if not port.direct or port.peer is None or port.is_rtcp or target.limited:
        return False
    if target.latch is LatchMode.STRICT:
        return True
    # A flow sends to where its peer sends from. User space has to see when the peer of a latch that roams was heard.
    return target.latch is LatchMode.SYMMETRIC_OFF and port.peer == target.send_to
