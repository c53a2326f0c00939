"""Who may send to a leg and where the leg sends: address judgement and the strict latch. No sockets.

The rule (CVE-2017-14099, "RTP bleed"): a leg learns only from an address that signalling named, the first
packet from there fixes the port, and from then on nothing else is heard or sent to.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.base.errors import WireError
from edgesbc.base.prefixes import PrefixSet

__all__ = [
    "NOWHERE",
    "AddressScope",
    "Latch",
    "MediaInterface",
    "MediaTarget",
    "build_interfaces",
    "judge_target",
    "scope_of",
]

_PRIVATE = PrefixSet(
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"]
)
_LOOPBACK = PrefixSet(["127.0.0.0/8", "::1/128"])
# "this network", multicast, reserved with broadcast; and IPv6 that only hides an IPv4 address inside
_NEVER = PrefixSet(["0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "ff00::/8", "64:ff9b::/96", "2002::/16"])
_IPV4_INSIDE = PrefixSet(["::/96", "::ffff:0:0/96"])


class AddressScope(enum.Enum):
    """How far an address reaches."""

    LOOPBACK = "loopback"
    PRIVATE = "private"
    GLOBAL = "global"
    NEVER = "never"
    """No media goes there: unspecified, multicast, broadcast, reserved, or IPv4 mapped into IPv6."""


def scope_of(host: str) -> AddressScope:
    """The scope of a literal address; a name, a zone id or anything else is :attr:`AddressScope.NEVER`."""
    if "%" in host:
        return AddressScope.NEVER
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        return AddressScope.NEVER
    if host in _LOOPBACK:
        return AddressScope.LOOPBACK
    if host in _NEVER or host in _IPV4_INSIDE:
        return AddressScope.NEVER
    return AddressScope.PRIVATE if host in _PRIVATE else AddressScope.GLOBAL


@attrs.frozen
class MediaInterface:
    """One side of the relay."""

    name: str
    address: str
    """The literal address that ports are bound to."""
    advertise: str
    """The address that peers are told, where a one-to-one NAT stands in front."""
    ports: tuple[int, int]
    """First and last port of the range."""
    trusted: bool = False
    """Whether peers are our own servers, which may use any port and any private address."""
    refused: frozenset[str] = frozenset()
    """Addresses of the other interfaces: media for them would go round inside."""
    denied: PrefixSet = attrs.field(factory=PrefixSet, eq=False)
    """Prefixes that no description of this side may name: the networks of the inside."""


@attrs.frozen
class MediaTarget:
    """What signalling says about a leg's peer."""

    signalled: Source | None
    """What the description names, even where nothing is ever sent to it: another one is another peer."""
    target: Source | None
    """Where to send until the peer is learned; None: send nothing before that."""
    learn: frozenset[str]
    """The addresses whose first packet is believed."""


NOWHERE: Final = MediaTarget(None, None, frozenset())
"""A leg on hold or without an answer: hears nobody, sends nowhere."""


def judge_target(interface: MediaInterface, host: str, port: int, received: str = "") -> MediaTarget:
    """Judge the address and port that a description on ``interface`` names, and say what to do with it.

    ``received`` is the address that its SIP message came from, if signalling gave it. A private address
    that the sender cannot be reached at stands for a NAT: then only ``received`` is learned from, and
    nothing is sent before it has shown itself. Raises :class:`WireError` with ``status_hint`` 488 for an
    address that media must never go to.
    """
    host = _judge(interface, host, port)
    signalled = Source(host, port)
    target: Source | None = signalled
    if scope_of(host) is not AddressScope.PRIVATE:
        return MediaTarget(signalled, target, frozenset({host}))
    if not interface.trusted and scope_of(interface.address) is AddressScope.GLOBAL:
        target = None  # a stranger's private address, seen from the internet, is some network of ours
    received = _literal(received) if received else host
    if received == host:
        return MediaTarget(signalled, target, frozenset({host}))
    _judge(interface, received, limits.MEDIA_PORT_LOWEST)
    if scope_of(received) is not AddressScope.PRIVATE:
        return MediaTarget(signalled, None, frozenset({received}))
    # both private: another machine of the same site, or a site behind another's NAT. Either may show itself.
    return MediaTarget(signalled, target, frozenset({host, received}))


def build_interfaces(
    addresses: Mapping[str, str],
    ports: tuple[int, int],
    advertise: Mapping[str, str] | None = None,
    denied: Iterable[str] = (),
) -> dict[str, MediaInterface]:
    """The interfaces by name, each refusing the others' addresses; the one called ``core`` is trusted.

    ``denied`` are prefixes that descriptions of untrusted sides may not name. Raises ``ValueError`` for
    an address that is not a literal one that media can be bound to.
    """
    built: dict[str, MediaInterface] = {}
    prefixes = PrefixSet(denied)
    for name, text in addresses.items():
        address = str(ipaddress.ip_address(text))
        if scope_of(address) is AddressScope.NEVER:
            raise ValueError(f"media cannot be bound to {address}: name one address of this machine")
        trusted = name == "core"
        others = {other for other in addresses.values() if other != address}
        told = (advertise or {}).get(name, address)
        built[name] = MediaInterface(
            name=name,
            address=address,
            advertise=told,
            ports=ports,
            trusted=trusted,
            refused=frozenset() if trusted else frozenset(others),
            denied=PrefixSet() if trusted else prefixes,
        )
    return built


def _literal(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise WireError("the media address is not a literal IP address", 488) from None


def _judge(interface: MediaInterface, host: str, port: int) -> str:
    host = _literal(host)
    scope = scope_of(host)
    if scope is AddressScope.NEVER:
        raise WireError("the media address is unspecified, multicast, broadcast or mapped", 488)
    if (":" in host) != (":" in interface.address):
        raise WireError("the media address is of a family that the interface does not have", 488)
    own = scope_of(interface.address)
    if scope is AddressScope.LOOPBACK and own is not AddressScope.LOOPBACK:
        raise WireError("the media address is this machine's loopback", 488)
    if host in interface.refused or host in interface.denied:
        raise WireError("the media address belongs to the inside", 488)
    low, high = interface.ports
    # On loopback peers share our address and any port may be theirs; open ports are refused in any case.
    ours = scope is not AddressScope.LOOPBACK and host in (interface.address, interface.advertise)
    if ours and low <= port <= high:
        raise WireError("the media address is the relay itself", 488)
    if not interface.trusted and port < limits.MEDIA_PORT_LOWEST:
        raise WireError(f"a media port below {limits.MEDIA_PORT_LOWEST}", 488)
    return host


class Latch:
    """The strict latch of one port: which source is believed, and where packets for the peer go."""

    __slots__ = ("_before", "_patience", "_stale", "aim", "peer")

    def __init__(self) -> None:
        self.aim = NOWHERE
        self.peer: Source | None = None
        self._before: tuple[MediaTarget, Source | None] = (NOWHERE, None)
        self._stale: Source | None = None
        self._patience = 0

    @property
    def destination(self) -> Source | None:
        """Where packets for this peer go: where it showed itself, before that where signalling said."""
        return self.peer or self.aim.target

    def set_aim(self, aim: MediaTarget) -> bool:
        """Take over what signalling says now; whether a learned peer had to be forgotten for it.

        The same aim again, as after a refreshed or repeated description, changes nothing. After a change,
        packets still under way from the peer of before must not lock the latch on what has just been left.
        """
        if aim == self.aim:
            return False
        if self.peer is not None:  # an aim at which nobody showed up leaves nothing under way
            self._before = (self.aim, self.peer)
        self._stale = self._before[1] if self._before[0] != aim else None
        self._patience = limits.MEDIA_STALE_PACKETS
        self.aim = aim
        forgotten = self.peer is not None
        self.peer = None
        return forgotten

    def admit(self, source: Source) -> bool:
        """Whether a packet from ``source`` may be relayed; the first one from a right address locks."""
        if self.peer is not None:
            return source == self.peer
        if source.host not in self.aim.learn:
            return False
        if source == self._stale and source != self.aim.target and self._patience > 0:
            self._patience -= 1
            return False
        self.peer = source
        return True
