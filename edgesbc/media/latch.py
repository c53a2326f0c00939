"""Which source may send to a port and where the port sends: address rules and the latch. Without I/O.

The rule (CVE-2017-14099, "RTP bleed"): a port learns its peer only from an address that signalling named. The first
packet from there and from the signalled port fixes the peer, and from then on the port receives from that peer and
sends to it only. Behind an address there may be many hosts (NAT). Another port of it is taken only where the signalled
one is silent, because a NAT has given the peer another one, and only until a packet from the signalled port comes.
A repeated description lets the peer be learned again, and the mode ``roaming`` (:class:`LatchMode`) silence too.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone, family_of
from edgesbc.base.errors import WireError
from edgesbc.base.latch_mode import LatchMode
from edgesbc.base.prefixes import PrefixSet, normal_address
from edgesbc.media.interfaces import NO_TARGET, MediaInterface, MediaTarget

__all__ = [
    "FAMILY_NAMES",
    "NO_TARGET",
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
# "This network", multicast, reserved with broadcast, and IPv6 prefixes that embed an IPv4 address.
_NEVER = PrefixSet(
    [
        "0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "ff00::/8",
        "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32",  # NAT64 (RFC 6052, RFC 8215), 6to4, Teredo
    ]
)  # fmt: skip
FAMILY_NAMES: Final = {"IP4": "IPv4", "IP6": "IPv6"}
_IPV4_EMBEDDED = PrefixSet(["::/96", "::ffff:0:0/96", "::ffff:0:0:0/96"])


class AddressScope(enum.Enum):
    """How far an address reaches."""

    LOOPBACK = "loopback"
    PRIVATE = "private"
    GLOBAL = "global"
    NEVER = "never"
    """Media is never sent there: unspecified, multicast, broadcast, reserved, or IPv4 mapped into IPv6."""


@lru_cache(8192)
def scope_of(host: str) -> AddressScope:
    """The scope of a literal address; a name, a zone id or anything else is :attr:`AddressScope.NEVER`."""
    if "%" in host:
        return AddressScope.NEVER
    try:
        host = normal_address(host)
    except ValueError:
        return AddressScope.NEVER
    if host in _LOOPBACK:
        return AddressScope.LOOPBACK
    if host in _NEVER or host in _IPV4_EMBEDDED:
        return AddressScope.NEVER
    return AddressScope.PRIVATE if host in _PRIVATE else AddressScope.GLOBAL


def judge_target(interface: MediaInterface, host: str, port: int, received_from: str = "") -> MediaTarget:
    """The target for the address and port that a description on ``interface`` names.

    ``received_from`` is the IP address that its SIP message came from, or "". A private address that differs from
    it stands for a NAT: the port then learns only from ``received_from``, and sends nothing before a packet came
    from there. An address of the private side stands for none, although the peer's network may have the same. Raises
    :class:`WireError` with ``status_hint`` 488 for an address that media must never be sent to.
    """
    host = _literal(host)
    received_from = _literal(received_from) if received_from else host
    if family_of(received_from) != family_of(host):
        _check_reachable_without_source(interface, host, received_from)
        received_from = host
    if _is_beyond_nat(interface, host, received_from):
        # It is no target: nothing is sent to it, whoever has it here.
        _check_family_and_port(interface, host, port)
        _check_address(interface, received_from, limits.MEDIA_PORT_LOWEST)
        return MediaTarget(Source(host, port), None, frozenset({received_from}))
    _check_address(interface, host, port)
    signalled = Source(host, port)
    send_to: Source | None = signalled
    if scope_of(host) is not AddressScope.PRIVATE:
        return MediaTarget(signalled, send_to, frozenset({host}))
    if not interface.trusted and scope_of(interface.advertise) is AddressScope.GLOBAL:
        send_to = None  # a private address of a public peer would be one of our own networks here
    if received_from == host:
        return MediaTarget(signalled, send_to, frozenset({host}))
    _check_address(interface, received_from, limits.MEDIA_PORT_LOWEST)
    if scope_of(received_from) is not AddressScope.PRIVATE:
        return MediaTarget(signalled, None, frozenset({received_from}))
    # Both are private: two machines of one site, or a site behind a NAT. The first packet may come from either.
    return MediaTarget(signalled, send_to, frozenset({host, received_from}))


def build_interfaces(
    addresses: Mapping[Zone, str | Sequence[str]],
    ports: tuple[int, int],
    advertise: Mapping[Zone, str | Sequence[str]] | None = None,
    denied: Iterable[str] = (),
    inside: Callable[[str], bool] | None = None,
) -> dict[Zone, tuple[MediaInterface, ...]]:
    """The interfaces by zone, one of each family that it has an address of. Only those of the core are trusted, and
    the public ones refuse the core's addresses.

    ``ports`` are the first and last port of the range on each, ``advertise`` the addresses that a zone shows to peers
    in place of those of the same family. ``denied`` are prefixes that descriptions from the public zone may not name,
    and ``inside`` says of an address whether it is one. Raises :class:`ValueError` for an address that media cannot be
    bound to, and for two of one family in a zone.
    """
    own = {zone: _normal(texts) for zone, texts in addresses.items()}
    shown = {zone: _normal(texts) for zone, texts in (advertise or {}).items()}
    everywhere = frozenset(host for of_zones in (own, shown) for hosts in of_zones.values() for host in hosts)
    prefixes = PrefixSet(denied)
    interfaces: dict[Zone, tuple[MediaInterface, ...]] = {}
    for zone, hosts in own.items():
        if len({family_of(host) for host in hosts}) != len(hosts):
            raise ValueError(f"expected one media address of each family for the {zone} side, found {', '.join(hosts)}")
        trusted = zone is Zone.CORE
        for address in hosts:
            if scope_of(address) is AddressScope.NEVER:
                raise ValueError(f"media cannot be bound to {address}: name one address of this machine")
            family = family_of(address)
            advertised = next((host for host in shown.get(zone, ()) if family_of(host) == family), address)
            interface = MediaInterface(
                zone=zone,
                address=address,
                advertise=advertised,
                ports=ports,
                trusted=trusted,
                refused=frozenset() if trusted else everywhere - {address, advertised},
                denied=PrefixSet() if trusted else prefixes,
                inside=None if trusted else inside,
            )
            interfaces[zone] = (*interfaces.get(zone, ()), interface)
    return interfaces


def _normal(texts: str | Sequence[str]) -> list[str]:
    return [normal_address(text) for text in ([texts] if isinstance(texts, str) else texts)]


def _literal(host: str) -> str:
    try:
        return normal_address(host)
    except ValueError:
        raise WireError("the media address is not a literal IP address", 488) from None


def _is_beyond_nat(interface: MediaInterface, host: str, received_from: str) -> bool:
    """Whether ``host`` is a private address that only the peer's own network has: its messages have another source."""
    if interface.trusted or received_from == host or scope_of(host) is not AddressScope.PRIVATE:
        return False
    if _is_inside(interface, host):
        return False
    return AddressScope.GLOBAL in (scope_of(interface.advertise), scope_of(received_from))


def _is_inside(interface: MediaInterface, host: str) -> bool:
    if host in interface.refused or host in interface.denied:
        return True
    return interface.inside is not None and interface.inside(host)


def _check_address(interface: MediaInterface, host: str, port: int) -> None:
    """Raise :class:`WireError` with 488 for an address, in its normal form, that media must never be sent to."""
    scope = scope_of(host)
    if scope is AddressScope.NEVER:
        raise WireError("the media address is unspecified, multicast, broadcast or mapped", 488)
    _check_family_and_port(interface, host, port)
    if scope is AddressScope.LOOPBACK:
        # On loopback, peers share our address and may have any port; open ports of the relay are refused in any case.
        if scope_of(interface.advertise) is not AddressScope.LOOPBACK:
            raise WireError("the media address is this machine's loopback", 488)
        if host in interface.refused:
            raise WireError("the media address belongs to the inside", 488)
        return
    if _is_inside(interface, host):
        raise WireError("the media address belongs to the inside", 488)
    # On the private side, a proxy that sends a call out again names the port of the call that came in, and a server may
    # run on this machine. What a public peer names here is a service of the edge.
    if host in (interface.address, interface.advertise) and not interface.trusted:
        raise WireError("the media address is the relay itself", 488)


def _check_reachable_without_source(interface: MediaInterface, host: str, received_from: str) -> None:
    """Raise :class:`WireError` with 488 for a private address behind a NAT whose messages come over the other family:
    nothing says which address of this family the NAT has."""
    is_private = scope_of(host) is AddressScope.PRIVATE and not _is_inside(interface, host)
    beyond_nat = AddressScope.GLOBAL in (scope_of(interface.advertise), scope_of(received_from))
    if is_private and beyond_nat and not interface.trusted:
        raise WireError("the media address is private and its SIP message came over the other address family", 488)


def _check_family_and_port(interface: MediaInterface, host: str, port: int) -> None:
    if family_of(host) != interface.family:
        expected, found = FAMILY_NAMES[interface.family], FAMILY_NAMES[family_of(host)]
        raise WireError(f"expected a media address of {expected}, found one of {found}", 488)
    if not interface.trusted and port < limits.MEDIA_PORT_LOWEST:
        raise WireError(f"a media port below {limits.MEDIA_PORT_LOWEST}", 488)


class Latch:
    """The latch of one port: from which source it receives, and where packets for the peer go. ``silence`` is how long
    the peer has to be silent, in the mode ``roaming``, until another port of its address may take its place (seconds).
    """

    __slots__ = (
        "_last_locked", "_moves", "_other_since", "_silence", "_stale_budget", "_stale_source", "firm", "heard", "open",
        "peer", "target",
    )  # fmt: skip

    def __init__(self, silence: float = limits.MEDIA_ROAM_SECONDS) -> None:
        self._silence = silence
        self.target = NO_TARGET
        self.peer: Source | None = None
        """The source that the latch is locked to."""
        self.firm = False
        """Whether the peer is at the signalled port, so that no other source can take its place, and what is sent goes
        there."""
        self.open = False
        """Whether the peer is learned again, and :attr:`peer` is the one of before until then."""
        self.heard = 0.0
        """When the last packet of the peer came, in the mode ``roaming`` (seconds)."""
        self._moves = 0  # since the last description
        self._other_since: float | None = None  # when the first packet from another port of an expected address came
        self._last_locked: tuple[MediaTarget, Source | None] = (NO_TARGET, None)
        self._stale_source: Source | None = None
        self._stale_budget = 0

    @property
    def destination(self) -> Source | None:
        """Where packets for this peer go: to the source that the latch is locked to, before that as signalled; in the
        mode ``symmetric-off`` always as signalled."""
        if self.target.latch is LatchMode.SYMMETRIC_OFF:
            return self.target.send_to
        return self.peer or self.target.send_to

    @property
    def roams(self) -> bool:
        """Whether silence lets another port of the peer's address take its place."""
        return self.target.latch is LatchMode.ROAMING

    def set_target(self, target: MediaTarget) -> bool:
        """Take over what signalling says now; returns whether the latch was unlocked by it.

        The same target again changes nothing (see :meth:`reopen`). After a change, packets of the previous peer may
        still be under way; ``MEDIA_STALE_PACKETS`` of them are ignored, so that they do not lock the latch to an
        address that was just left.
        """
        if target == self.target:
            self.target = target  # it may be limited no longer
            return False
        if self.peer is not None:  # a target that never locked has no packets under way
            self._last_locked = (self.target, self.peer)
        self._stale_source = self._last_locked[1] if self._last_locked[0] != target else None
        self._stale_budget = limits.MEDIA_STALE_PACKETS
        self.target = target
        unlocked = self.peer is not None
        self.unlock()
        return unlocked

    def reopen(self) -> bool:
        """Learn the peer again, because its description was repeated; returns whether one was known.

        The known peer goes on to be sent to. It keeps its place with its next packet; without one, another source takes
        it by the rules for the first.
        """
        self._moves = 0
        if self.peer is None:
            return False
        self.open = True
        self.firm = False
        self._other_since = None
        return True

    def restore(self, peer: Source, firm: bool, now: float) -> None:
        """Take over the peer that a latch with the same target had learned, at ``now`` (seconds)."""
        self.peer = peer
        self.firm = firm
        self.heard = now

    def unlock(self) -> None:
        """Forget the peer; the next packet from an expected address may lock the latch again."""
        self.peer = None
        self.firm = False
        self.open = False
        self._moves = 0
        self._other_since = None

    def admit(self, source: Source, now: float) -> bool:
        """Whether a packet from ``source`` may be relayed, at ``now`` (seconds). It may lock the latch, or move it.

        The signalled port locks it at once and for good. Any other port of an expected address locks it after
        ``MEDIA_SIGNALLED_SECONDS`` in which packets came from such ports only, and the signalled port takes it back.
        """
        target, peer = self.target, self.peer
        if source == peer:
            self._lock(source, now)
            return True
        if self.firm or source.host not in target.learn_from:
            return False
        if self._is_at_signalled_port(source):
            # Where two addresses are expected, a port of that number at the other one does not take the place.
            is_taken = peer is not None and not self.open and self._is_at_signalled_port(peer)
            if self._is_stale(source) or is_taken:
                return False
            self._lock(source, now)
            return True
        if peer is not None and not self.open:
            return self._may_move(peer, source, now)
        if self._is_stale(source):
            return False
        if self._other_since is None:
            self._other_since = now
        if (target, source) != self._last_locked and now - self._other_since < limits.MEDIA_SIGNALLED_SECONDS:
            return False
        self._lock(source, now)
        return True

    def _lock(self, source: Source, now: float) -> None:
        target = self.target
        self.heard = now
        self.open = False
        if source != self.peer:
            self.peer = source
        if target.latch is LatchMode.STRICT:
            self.firm = self._is_at_signalled_port(source)
        else:
            self.firm = target.latch is LatchMode.SYMMETRIC_OFF and source == target.send_to

    def _is_at_signalled_port(self, source: Source) -> bool:
        signalled = self.target.signalled
        return signalled is not None and source.port == signalled.port

    def _may_move(self, peer: Source, source: Source, now: float) -> bool:
        """Whether the latch, which is locked to ``peer``, moves to ``source``: another port of the same address, after
        silence, and not too often."""
        if self.target.latch is not LatchMode.ROAMING or source.host != peer.host:
            return False
        if now - self.heard < self._silence or self._moves >= limits.MEDIA_ROAMS:
            return False
        self._moves += 1
        self._lock(source, now)
        return True

    def _is_stale(self, source: Source) -> bool:
        """Whether a packet is one of the former peer that may have been under way when the target changed."""
        if source != self._stale_source or source == self.target.send_to or self._stale_budget <= 0:
            return False
        self._stale_budget -= 1
        return True
