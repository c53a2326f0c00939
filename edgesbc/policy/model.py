"""The policy as frozen values, with defaults that make an empty file safe."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport, Zone, split_host_port
from edgesbc.base.latch_mode import LatchMode
from edgesbc.base.state_sockets import CONTROL_SOCKET
from edgesbc.base.validation import at_most, between, described, matching, one_of, prefixes
from edgesbc.dispatch.settings import SetSettings
from edgesbc.inventory.databases import DatabaseSettings
from edgesbc.kernel_relay.mode import KernelMode
from edgesbc.media.side_activity import OneWay
from edgesbc.ng.settings import RtpengineSettings
from edgesbc.policy.crossing_settings import BodySettings, HeaderSettings
from edgesbc.policy.structure import STRUCTURE
from edgesbc.routing.domains import DomainSettings
from edgesbc.routing.table import Route
from edgesbc.screen.pipeline import ScreenSettings
from edgesbc.screen.trunk import Trunk
from edgesbc.signalling.edge_contacts import RegisteredContact
from edgesbc.signalling.keep_alives import KeepAliveMethod, KeepAliveSettings
from edgesbc.signalling.registration_rules import RegistrationRules

__all__ = [
    "ANY_DEVICE", "CONTROL_SOCKET", "RESTART_SECTIONS", "BodySettings", "ChangeSettings", "CoreSettings",
    "EdgeSettings", "HeaderSettings", "ListenSettings", "MediaAddress", "MediaSettings", "ObserveSettings", "Policy",
    "PortRange", "RegistrationSettings", "default_state_dir",
]  # fmt: skip

ANY_DEVICE = "any"
"""The ``device`` of a listener that takes packets from every device."""

RESTART_SECTIONS = ("edge", "listen", "media", "observe")
"""Sections that a running edge does not change: a change there waits for a restart."""


def default_state_dir() -> Path:
    """``/var/lib/edgesbc`` for root, otherwise the user's own state directory (XDG base directories)."""
    if os.geteuid() == 0:
        return Path("/var/lib/edgesbc")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "edgesbc"


def _ping(_instance: Any, attribute: attrs.Attribute[Any], value: float | None) -> None:
    low, high = limits.PING_SECONDS_LEAST, limits.PING_SECONDS_MOST
    if value is not None and value != 0 and not low <= value <= high:
        raise ValueError(f"{attribute.name}: expected {low:g} to {high:g} seconds, or 0 for never, found {value!r}")


def literal_address(text: str) -> str:
    """``text`` as an IP address in its usual form. Raises ``ValueError`` that says what was expected."""
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        raise ValueError(f"expected a literal IP address, found {described(text)}") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, found {described(value)}")
    return value


def _bind(value: object) -> Source:
    host, port = split_host_port(_text(value))
    return Source(literal_address(host), port)


def _advertise(value: object) -> Source:
    source = split_host_port(_text(value), 0)
    if ":" not in source.host and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", source.host):
        raise ValueError(f"expected a host name or address with an optional port, found {described(value)}")
    return source


def _profiles(_instance: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    """Other profiles have a handshake that ends at the relay, or do not go over UDP (RFC 8866 section 8.2.2)."""
    for name in value:
        parts = name.upper().split("/")
        wellformed = re.fullmatch(r"[!-.0-~]{1,32}(/[!-.0-~]{1,32}){0,3}", name) is not None
        if not wellformed or parts[0] != "UDP" or not {"TLS", "DTLS", "TCP", "RTP"}.isdisjoint(parts):
            expected = 'profiles over UDP without a handshake, such as "UDP/BFCP"'
            raise ValueError(f"{attribute.name}: expected {expected}, found {described(name)}")


def _http(value: object) -> Source | None:
    if value == "":
        return None
    source = _bind(value)
    if not ip_address(source.host).is_loopback:
        raise ValueError(
            f"expected a loopback address such as 127.0.0.1:8080, found {value!r}: metrics and decisions ask"
            " for no password; put a proxy that does in front"
        )
    return source


def name_server(text: str) -> Source:
    """``ADDRESS[:PORT]`` of a name server. Raises ``ValueError`` that says what was expected."""
    host, port = split_host_port(text, 53)
    if not port or ip_address(literal_address(host)).is_multicast:
        raise ValueError(f"expected the address of a name server, with a port where it is not 53, found {text!r}")
    return Source(literal_address(host), port)


def _name_servers(_instance: Any, _attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for address in value:
        name_server(address)


def _media_addresses(value: object) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else [value]
    hosts = tuple(literal_address(_text(text)) for text in texts)
    for host in hosts:
        address = ip_address(host)
        if address.is_unspecified or address.is_multicast or (address.version == 6 and address.is_link_local):
            raise ValueError(f"expected the address that media is sent to, found {described(host)}")
    if not hosts or len({ip_address(host).version for host in hosts}) < len(hosts):
        raise ValueError(f"expected one address, or one of IPv4 and one of IPv6, found {', '.join(hosts) or 'none'}")
    return hosts


def _as_tuple(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _ports(value: object) -> PortRange:
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", _text(value))
    if match is None:
        raise ValueError(f'expected a range of ports such as "30000-39999", found {described(value)}')
    first, last = int(match[1]), int(match[2])
    if not 1024 <= first <= last <= 65535 or last - first < 7:
        raise ValueError(f"expected at least 8 ports between 1024 and 65535, found {described(value)}")
    return PortRange(first, last)


NAME = matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a name of letters, digits, dots and dashes")


@attrs.frozen
class EdgeSettings:
    """``[edge]``: this node."""

    name: str = attrs.field(default="edge", validator=NAME)
    """Its name in logs and metrics."""
    state_dir: Path = attrs.field(factory=default_state_dir)
    """Folder of the token key, the audit log, a self-signed certificate and the control socket; created if missing,
    readable by its owner only. Each running edge has its own."""
    planes: str = attrs.field(default="processes", validator=one_of("tasks", "processes"))
    """``tasks``: signalling and media in one process; ``processes``: in several, which a supervisor starts again."""
    grace: float = attrs.field(default=30.0, validator=between(0, 86_400, "seconds"))
    """Seconds from a stop until live calls are ended with a BYE to both sides."""
    server: str = attrs.field(default="", validator=matching(r"[\x20-\x7e]{0,64}", "up to 64 plain characters"))
    """Server and User-Agent in the edge's own messages; empty: none."""
    max_calls: int = attrs.field(default=limits.CALLS, validator=between(1, limits.CALLS_MOST))
    """Calls alive at once."""
    max_connections: int = attrs.field(default=limits.CONNECTIONS, validator=between(1, limits.CONNECTIONS_MOST))
    """Accepted connections at once; fewer where the process may have few descriptors."""
    resolvers: tuple[str, ...] = attrs.field(
        default=(), validator=[at_most(limits.NAME_SERVERS, "name servers"), _name_servers]
    )
    """Name servers for destinations, as ``ADDRESS[:PORT]``; empty: the system's."""

    @property
    def name_servers(self) -> list[Source]:
        return [name_server(text) for text in self.resolvers]


@attrs.frozen
class ListenSettings:
    """``[[listen]]``: one address that the edge listens on."""

    zone: Zone
    """``public``, the untrusted side, or ``core``, the private one."""
    transport: Transport
    bind: Source = attrs.field(metadata={STRUCTURE: _bind})
    """Literal address and port; port 0: any free one."""
    name: str = attrs.field(validator=NAME)
    """Its label in metrics, reasons and routes; ``public-udp-5060`` and the like when not given."""
    advertise: Source | None = attrs.field(default=None, metadata={STRUCTURE: _advertise})
    """Host name or address in Via and Contact, with an optional port; None: ``bind``."""
    certificate: Path | None = None
    """Folder with ``fullchain.pem`` and ``privkey.pem``; None: a self-signed certificate."""
    client_ca: Path | None = None
    """PEM file of the authorities that client certificates are verified with (trunks by ``tls_names``)."""
    origins: tuple[str, ...] = ()
    """Web pages, as ``https://host``, that may open a WebSocket here; empty: any."""
    proxy_protocol: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Addresses of balancers, which name the peer of each connection in a PROXY header, version 2."""
    device: str = attrs.field(
        default="", validator=matching(r"[!-.0-~]{0,15}", "the name of a network device, as eth0, or any")
    )
    """The network device by which its packets come and go; ``any``: every one; empty: every one, and at a core
    listener none that only public listeners have."""
    ping: float | None = attrs.field(default=None, validator=_ping)
    """Seconds of silence after which a WebSocket's peer is asked whether it is there; 0: never; None: 25."""
    idle_unregistered: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(between(1, limits.IDLE_SECONDS, "seconds"))
    )
    """Public side, connections: seconds of silence, keep-alives included, after which one ends whose peer is neither
    registered, a trunk nor in a call; None: 60."""
    icmp_from_routers: bool = False
    """Core side over UDP: whether an ICMP error that is not from the destination itself fails a request too."""

    @name.default
    def _default_name(self) -> str:
        return f"{self.zone}-{self.transport}-{self.bind.port}"

    @property
    def idle_unregistered_seconds(self) -> float:
        """``idle_unregistered`` with its default."""
        return limits.IDLE_UNREGISTERED_SECONDS if self.idle_unregistered is None else self.idle_unregistered

    @property
    def ping_seconds(self) -> float:
        """``ping`` with its default: shorter than the 30 s after which many a NAT or proxy forgets a connection."""
        if self.transport not in (Transport.WS, Transport.WSS):
            return 0.0
        return 25.0 if self.ping is None else self.ping


@attrs.frozen
class PortRange:
    """Ports from ``first`` to ``last``, both included."""

    first: int
    last: int


@attrs.frozen
class MediaAddress:
    """Addresses of the media relay on each side, at most one of each family. A wildcard means the address that this
    machine sends from."""

    public: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple, metadata={STRUCTURE: _media_addresses})
    core: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple, metadata={STRUCTURE: _media_addresses})

    def of(self, zone: Zone) -> tuple[str, ...]:
        return self.public if zone is Zone.PUBLIC else self.core


@attrs.frozen
class RegistrationSettings:
    """``[registrations]``: registered phones and browsers."""

    reconnect_wait: float = attrs.field(default=10.0, validator=between(0, limits.RECONNECT_SECONDS, "seconds"))
    """Seconds for which calls being set up, and requests inside a dialog, wait for the next connection of a registered
    device when its connection has closed; 0: they fail at once."""
    keep_alive: KeepAliveMethod = KeepAliveMethod.CRLF
    """What the edge sends to phones behind NAT that have registered over UDP, to keep the binding of the NAT."""
    keep_alive_interval: float = attrs.field(default=25.0, validator=between(10, 300, "seconds"))
    """Seconds between two of them."""
    contact: RegisteredContact = RegisteredContact.PATH
    """What registrars bind: the phone's Contact with Path, or a Contact of the edge."""
    gone_status: int = attrs.field(default=480, validator=one_of(430, 480))
    """The status for a request of the private side to a registered flow that is gone: 430 says that the flow failed
    (RFC 5626 section 5.3.1), 480 that the phone is not available."""
    ring_limit: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(between(1, limits.RING_SECONDS, "seconds"))
    )
    """Seconds that a call to a registered phone may ring. None: an hour."""
    call_limit: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(between(1, limits.CALL_SECONDS, "seconds"))
    )
    """Seconds that a call to a registered phone may last. None: as long as any call."""

    @property
    def rules(self) -> RegistrationRules:
        """The same for the signalling core."""
        keep_alive = KeepAliveSettings(self.keep_alive, self.keep_alive_interval)
        limit = self.ring_limit, self.call_limit
        return RegistrationRules(self.reconnect_wait, keep_alive, self.gone_status, self.contact, *limit)


@attrs.frozen
class MediaSettings:
    """``[media]``: the relay."""

    engine: str = attrs.field(default="builtin", validator=one_of("builtin", "rtpengine", "none"))
    """``builtin``, ``rtpengine``: those of :attr:`rtpengine`, or ``none``: SDP is not changed and media does not pass
    the edge."""
    ports: PortRange = attrs.field(default=PortRange(30000, 39999), metadata={STRUCTURE: _ports})
    address: MediaAddress = attrs.field(factory=MediaAddress)
    """Default: of each family that listeners of the zone have, the address of the first of them."""
    advertise: MediaAddress = attrs.field(factory=MediaAddress)
    """What descriptions show in place of these, behind a one-to-one NAT. Default: the addresses themselves."""
    timeout: float = attrs.field(default=60.0, validator=between(5, 3600, "seconds"))
    """Seconds without media packets after which a call is ended."""
    hold_timeout: float = attrs.field(
        default=float(limits.MEDIA_HOLD_SECONDS), validator=between(60, limits.CALL_SECONDS, "seconds")
    )
    """The same for a call on hold, which a refresh of the session (RFC 4028) keeps as well."""
    one_way: OneWay = OneWay.END
    """What happens to a call of which only one side sends."""
    one_way_timeout: float = attrs.field(
        default=float(limits.ONE_WAY_SECONDS), validator=between(60, limits.CALL_SECONDS, "seconds")
    )
    """Seconds for which a side may send no RTP, although it sends RTCP."""
    kernel: KernelMode = KernelMode.OFF
    """Whether the kernel relays packets of established calls before they come to a socket."""
    relays: int | None = attrs.field(default=None, validator=attrs.validators.optional(between(0, limits.RELAYS)))
    """Relay processes; 0: a thread of the media plane; None: half the cores, or 0 where the edge is one process."""
    rtpengine: tuple[RtpengineSettings, ...] = attrs.field(
        default=(), validator=at_most(limits.NG_ENGINES, "rtpengines")
    )
    """The rtpengines; without effect unless ``engine`` is ``rtpengine``."""
    latch: LatchMode = LatchMode.STRICT
    """Whether ports follow the source of a peer's packets; trunks and sets may say otherwise."""
    unknown_profiles: tuple[str, ...] = attrs.field(
        default=(), validator=[at_most(limits.MEDIA_PROFILES, "profiles"), _profiles]
    )
    """Profiles over UDP, as in ``m=``, whose datagrams are relayed although the edge does not know them."""


@attrs.frozen
class ObserveSettings:
    """``[observe]``: HTTP endpoints and logs."""

    http: Source | None = attrs.field(default=Source("127.0.0.1", 8080), metadata={STRUCTURE: _http})
    """Loopback address of ``/metrics``, ``/healthz``, ``/readyz`` and ``/why``; "" in the file, None here: off."""
    log: str = attrs.field(default="info", validator=one_of("debug", "info", "warning", "error"))
    max_series: int = attrs.field(default=limits.METRIC_SERIES, validator=between(2, limits.METRIC_SERIES_MOST))
    """Series of one metric; the others are added up in one."""


@attrs.frozen
class CoreSettings:
    """``[core]``: the private side."""

    allow: tuple[str, ...] = attrs.field(default=(), validator=[at_most(limits.CORE_PREFIXES, "prefixes"), prefixes])
    """Addresses and prefixes of which core listeners accept messages, besides those of destinations; empty: private,
    link-local and loopback addresses, and none at a listener with another address."""


def _percent_points(_instance: Any, _attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value <= 100:
        raise ValueError(f"expected more than 0 and at most 100 percent points, found {value!r}")


@attrs.frozen
class ChangeSettings:
    """``[change]``: the probation of a policy change."""

    settle: float = attrs.field(default=60.0, validator=between(0, limits.SETTLE_SECONDS, "seconds"))
    """Seconds of probation after a change, which are compared with as many before it; 0: no probation."""
    failure_rise: float = attrs.field(default=20.0, validator=_percent_points)
    """Percent points by which the share of failed call set-ups may rise; above it the change is reverted."""
    least_calls: int = attrs.field(default=20, validator=between(1, limits.CALLS, "calls"))
    """Call attempts after the change that are needed for a judgement."""


@attrs.frozen
class Policy:
    """A policy that was read and is consistent. ``file`` is its path, for messages."""

    edge: EdgeSettings
    listen: tuple[ListenSettings, ...]
    trunk: tuple[Trunk, ...]
    screen: ScreenSettings
    destinations: tuple[SetSettings, ...]
    route: tuple[Route, ...]
    media: MediaSettings
    observe: ObserveSettings
    change: ChangeSettings = attrs.field(factory=ChangeSettings)
    core: CoreSettings = attrs.field(factory=CoreSettings)
    domains: DomainSettings = attrs.field(factory=DomainSettings)
    headers: HeaderSettings = attrs.field(factory=HeaderSettings)
    bodies: BodySettings = attrs.field(factory=BodySettings)
    database: tuple[DatabaseSettings, ...] = ()
    registrations: RegistrationSettings = attrs.field(factory=RegistrationSettings)
    file: str = ""
    text: str = attrs.field(default="", eq=False, repr=False)
    """The text that was read."""
