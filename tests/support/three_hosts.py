"""Two peers and the edge between them, each in a network namespace of its own."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support.namespaces import address, inside, ip, namespaces, veth

from edgesbc.base.address import Source
from edgesbc.kernel_relay.attached import AttachedRelay

TRAFFIC_CLASS = 0xB8
SLOTS = 8
A, B = Source("203.0.113.9", 4000), Source("10.0.0.9", 5000)
EDGE_A, EDGE_B = Source("203.0.113.1", 30_000), Source("10.0.0.1", 30_002)
A6, B6 = Source("2001:db8:1::9", 4000), Source("2001:db8:2::9", 5000)
EDGE_A6, EDGE_B6 = Source("2001:db8:1::1", 30_000), Source("2001:db8:2::1", 30_002)
DEADLINE = 20.0


class Hosts:
    """Peer A, the edge and peer B: three namespaces. ``pub`` and ``int`` are the devices of the edge."""

    def __init__(self, names: dict[str, str], public: str) -> None:
        self.a, self.edge, self.b = names["a"], names["edge"], names["b"]
        self.public_name = public
        self.public = inside(self.edge, lambda: socket.if_nametoindex(public))
        self.internal = inside(self.edge, lambda: socket.if_nametoindex("int0"))
        self.sockets: list[socket.socket] = []

    def attach(self, *devices: int) -> AttachedRelay:
        wanted = devices or (1, self.public, self.internal)
        return inside(self.edge, lambda: AttachedRelay(wanted, SLOTS, TRAFFIC_CLASS))

    def udp(self, namespace: str, at: Source, connected: Source | None = None) -> socket.socket:
        def bound() -> socket.socket:
            sock = socket.socket(socket.AF_INET6 if ":" in at.host else socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(at)
            if connected is not None:
                sock.connect(connected)
            sock.settimeout(DEADLINE)
            return sock

        sock = inside(namespace, bound)
        self.sockets.append(sock)
        return sock

    def wire(self, namespace: str) -> socket.socket:
        """A socket that sees what comes by the cable of a peer, and sends what it is given."""

        def opened() -> socket.socket:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
            sock.bind(("eth0", 0x0003))
            sock.settimeout(DEADLINE)
            return sock

        sock = inside(namespace, opened)
        self.sockets.append(sock)
        return sock

    def link_address(self, namespace: str, device: str) -> bytes:
        def of() -> bytes:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
                sock.bind((device, 0))
                found: bytes = sock.getsockname()[4]
                return found

        return inside(namespace, of)


@contextmanager
def three_hosts(kind: str = "veth") -> Iterator[Hosts]:
    """The public device of the edge is an end of a cable (``veth``), or a ``bridge`` or ``macvlan`` above it."""
    with namespaces("a", "edge", "b") as names:
        edge, public = names["edge"], "pub0"
        veth(edge, "pub0", names["a"], "eth0")
        veth(edge, "int0", names["b"], "eth0")
        if kind == "bridge":
            public = "br0"
            ip("-n", edge, "link", "add", public, "type", "bridge", "forward_delay", "0")
            ip("-n", edge, "link", "set", "pub0", "master", public)
            ip("-n", edge, "link", "set", public, "up")
        elif kind == "macvlan":
            public = "mac0"
            ip("-n", edge, "link", "add", public, "link", "pub0", "type", "macvlan", "mode", "bridge")
            # The device below has no address of its own, and is not to answer for that of the one above.
            ip("netns", "exec", edge, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/pub0/arp_ignore")
            ip("-n", edge, "link", "set", public, "up")
        address(edge, public, "203.0.113.1/24", "2001:db8:1::1/64")
        address(edge, "int0", "10.0.0.1/24", "2001:db8:2::1/64")
        address(names["a"], "eth0", "203.0.113.9/24", "2001:db8:1::9/64")
        address(names["b"], "eth0", "10.0.0.9/24", "2001:db8:2::9/64")
        found = Hosts(names, public)
        try:
            yield found
        finally:
            for sock in found.sockets:
                sock.close()


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true before the deadline."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            return False
        os.sched_yield()
    return True
