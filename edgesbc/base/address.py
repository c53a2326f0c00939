"""Transports, zones, sources, listeners and flows: where messages come from and go to. Sockets are in ``transport``."""

from __future__ import annotations

import enum
import ipaddress
from typing import NamedTuple, TypeAlias

__all__ = [
    "CallHolder",
    "Flow",
    "FlowKey",
    "Listener",
    "Source",
    "SourceKey",
    "Transport",
    "Zone",
    "family_of",
    "host_port",
    "split_host_port",
]

FlowKey: TypeAlias = tuple[int, str, int, int]
"""What names a flow in a table: number of the listener, host and port of the peer, number of the connection (0 for
UDP). Two flows are equal where their keys are."""

SourceKey: TypeAlias = FlowKey | str
"""What requests are counted by: the key of a flow that has proven its address, or the host alone where it may be
forged."""

CallHolder: TypeAlias = int | str
"""What calls are counted by: an account as a number, or as text where they may be forged, or an address."""


class Transport(enum.StrEnum):
    """A SIP transport, by the name used in URIs and policies (RFC 3261 section 19.1.1, RFC 7118)."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    WS = "ws"
    WSS = "wss"

    @property
    def reliable(self) -> bool:
        """Whether the transport itself retransmits (RFC 3261 section 17)."""
        return self is not Transport.UDP

    @property
    def secure(self) -> bool:
        return self is Transport.TLS or self is Transport.WSS

    @property
    def default_port(self) -> int:
        """Port of a URI or Via without one (RFC 3261 section 19.1.2, RFC 7118 section 5.1)."""
        return _DEFAULT_PORTS[self]


_DEFAULT_PORTS = {
    Transport.UDP: 5060,
    Transport.TCP: 5060,
    Transport.TLS: 5061,
    Transport.WS: 80,
    Transport.WSS: 443,
}


class Zone(enum.StrEnum):
    """The side of the edge a listener belongs to."""

    PUBLIC = "public"
    CORE = "core"

    @property
    def other(self) -> Zone:
        return Zone.CORE if self is Zone.PUBLIC else Zone.PUBLIC


class Source(NamedTuple):
    """A peer's address as the kernel saw it: a literal IP address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return host_port(self.host, self.port)


class Listener:
    """One listening address of the edge, with its socket's real port.

    ``host`` and ``port`` are what the socket is bound to; ``advertise_host`` and ``advertise_port`` go into Via and
    Contact. ``id`` is its position in the policy, small and stable.
    """

    __slots__ = ("advertise_host", "advertise_port", "host", "id", "name", "port", "transport", "zone")

    def __init__(
        self,
        id: int,
        name: str,
        zone: Zone,
        transport: Transport,
        host: str,
        port: int,
        advertise_host: str = "",
        advertise_port: int = 0,
    ) -> None:
        self.id = id
        self.name = name
        self.zone = zone
        self.transport = transport
        self.host = host
        self.port = port
        self.advertise_host = advertise_host or host
        self.advertise_port = advertise_port or port

    def __repr__(self) -> str:
        return f"Listener({self.name!r}, {self.zone}, {self.transport}, {host_port(self.host, self.port)})"


class Flow:
    """A flow (RFC 5626 section 3): a listener and a peer's address over UDP, or one connection.

    ``serial`` is 0 for UDP, where listener and peer address identify the flow, and otherwise the number of the
    connection, never used again in a process. ``names`` are the DNS names of the peer's verified client
    certificate.
    """

    __slots__ = ("key", "listener", "names", "peer", "serial")

    def __init__(self, listener: Listener, peer: Source, serial: int = 0, names: tuple[str, ...] = ()) -> None:
        self.listener = listener
        self.peer = peer
        self.serial = serial
        self.names = names
        self.key: FlowKey = (listener.id, peer[0], peer[1], serial)

    @property
    def reliable(self) -> bool:
        return self.serial != 0

    @property
    def sender(self) -> tuple[int, str, int, int] | tuple[Zone, str]:
        """Whom requests by this flow come from: over UDP the address and port; of a connection, which may be replaced
        by another one, the address."""
        return self.key if not self.serial else (self.listener.zone, self.peer[0])

    def same_peer(self, other: Flow) -> bool:
        """Whether ``other`` has the same listener and IP address, by whatever port or connection."""
        return self.listener is other.listener and self.peer[0] == other.peer[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flow) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Flow({self.listener.name} {self.peer}{f' #{self.serial}' if self.serial else ''})"


def host_port(host: str, port: int) -> str:
    """``host:port`` with the brackets that an IPv6 address needs (RFC 3261 section 25.1 *hostport*)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def family_of(host: str) -> str:
    """The family of a literal address as ``c=`` writes it (RFC 8866 section 5.7): ``IP4`` or ``IP6``."""
    return "IP6" if ":" in host else "IP4"


def split_host_port(text: str, default_port: int | None = None) -> Source:
    """``1.2.3.4:5060`` or ``[2001:db8::1]:5060`` as a :class:`Source`; the host is not looked up.

    Raises ``ValueError`` that says what was found and what was expected.
    """
    host, colon, port = text.rpartition(":")
    if text.startswith("[") and text.endswith("]"):
        host, colon, port = text, "", ""
    if not colon or (":" in host and not host.startswith("[")):
        host, port = text, ""
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif ":" in host:
        raise ValueError(f"an IPv6 address stands in brackets, as in [2001:db8::1]:5060; found {text!r}")
    if not host:
        raise ValueError(f"expected HOST:PORT, found {text!r}")
    if not port:
        if default_port is None:
            raise ValueError(f"expected HOST:PORT, found {text!r}")
        return Source(host, default_port)
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f"expected a port from 0 to 65535, found {port!r}")
    return Source(host, int(port))
