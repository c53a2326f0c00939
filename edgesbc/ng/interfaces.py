"""The relay's interfaces by name, as `edgesbc media --interface` and rtpengine write them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Zone, family_of
from edgesbc.base.prefixes import PrefixSet
from edgesbc.media.latch import AddressScope, MediaInterface, scope_of

__all__ = ["NamedInterface", "interfaces_by_name", "interfaces_by_zone", "parse_interface"]

_DEFAULT_NAME = "default"


@attrs.frozen
class NamedInterface:
    """``NAME/ADDRESS[!ADVERTISED]``."""

    name: str
    address: str
    """The literal address that ports are bound to."""
    advertise: str
    """The address that descriptions show."""


def parse_interface(text: str) -> NamedInterface:
    """``[NAME/]ADDRESS[!ADVERTISED]``; without a name it is called ``default``. Raises ``ValueError`` that says what
    was expected."""
    name, slash, rest = text.rpartition("/")
    address, mark, advertised = rest.partition("!")
    try:
        own = str(ipaddress.ip_address(address.strip("[]")))
        shown = str(ipaddress.ip_address(advertised.strip("[]"))) if mark else own
    except ValueError:
        raise ValueError(f"expected NAME/ADDRESS or NAME/ADDRESS!ADVERTISED, found {text!r}") from None
    if slash and not (name and name.isascii() and name.isprintable() and " " not in name and len(name) <= 64):
        raise ValueError(f"expected a name of up to 64 plain characters before the address, found {text!r}")
    for host in (own, shown):
        if scope_of(host) is AddressScope.NEVER:
            raise ValueError(f"expected one address of this machine, found {host}: media cannot be received there")
    if family_of(own) != family_of(shown):
        raise ValueError(f"expected two addresses of one family, found {own} and {shown}")
    return NamedInterface(name or _DEFAULT_NAME, own, shown)


def interfaces_by_name(
    named: Iterable[NamedInterface],
    ports: tuple[int, int],
    private: Iterable[str] = (),
    denied: Iterable[str] = (),
) -> dict[str, tuple[MediaInterface, ...]]:
    """The interfaces of each name, in order: one, or one of each address family.

    Peers at those called ``private`` are servers of the operator's own, which may use any address and port; those
    at the others may not name an address of the relay or of the prefixes ``denied``. Raises ``ValueError``.
    """
    listed, trusted = list(named), set(private)
    names = {one.name for one in listed}
    prefixes = PrefixSet(denied)
    if not listed or len(names) > limits.NG_INTERFACES:
        raise ValueError(f"expected 1 to {limits.NG_INTERFACES} names of interfaces, found {len(names)}")
    if unknown := sorted(trusted - names):
        raise ValueError(f"no interface is called {unknown[0]!r}; there are {', '.join(sorted(names))}")
    everywhere = frozenset(one.address for one in listed)
    interfaces: dict[str, tuple[MediaInterface, ...]] = {}
    for one in listed:
        known = interfaces.get(one.name, ())
        if any(interface.family == family_of(one.address) for interface in known):
            raise ValueError(f"expected one address of each family for the interface {one.name}, found two")
        is_private = one.name in trusted
        interface = MediaInterface(
            zone=Zone.CORE if is_private else Zone.PUBLIC,
            address=one.address,
            advertise=one.advertise,
            ports=ports,
            trusted=is_private,
            refused=frozenset() if is_private else everywhere - {one.address},
            denied=PrefixSet() if is_private else prefixes,
            name=one.name,
        )
        interfaces[one.name] = (*known, interface)
    return interfaces


def interfaces_by_zone(
    interfaces: Mapping[str, Sequence[MediaInterface]],
) -> dict[Zone, tuple[MediaInterface, ...]]:
    """The same as the media plane has them. A zone without an interface has those of the other one, which no command
    names there."""
    everything = tuple(interface for of_name in interfaces.values() for interface in of_name)
    zones = {zone: tuple(one for one in everything if one.zone is zone) for zone in Zone}
    return {zone: of_zone or everything for zone, of_zone in zones.items()}
