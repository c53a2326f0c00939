"""Prefixes of IP addresses: maps and sets of them, and the prefixes of an address that are counted and banned."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Generic, TypeVar

__all__ = [
    "PREFIX_LENGTHS",
    "PrefixMap",
    "PrefixSet",
    "address_number",
    "enclosing_prefixes",
    "network_key",
    "normal_address",
    "prefix_keys",
    "source_key",
]

PREFIX_LENGTHS: Final = {4: (24,), 6: (64, 48)}
"""Lengths of the prefixes that can be banned, by IP version, narrowest first: what a provider gives to one customer
(RFC 6177)."""

_Value = TypeVar("_Value")


class PrefixMap(Generic[_Value]):
    """Values by prefix; an address has the value of the longest prefix that contains it.

    Results are cached for ``cache_size`` addresses, since most look-ups are for a busy peer. A full cache is dropped as
    a whole, so that attackers can neither make it grow nor make it slow to shrink.
    """

    __slots__ = ("_by_length", "_cache", "_cache_size")

    def __init__(self, cache_size: int = 4096) -> None:
        self._by_length: dict[tuple[int, int], dict[int, _Value]] = {}
        """By IP version and the number of bits after the prefix, longest prefixes first: values by the prefix as a
        number."""
        self._cache_size = cache_size
        self._cache: dict[str, _Value | None] = {}

    def __bool__(self) -> bool:
        return bool(self._by_length)

    def put(self, prefix: str, value: _Value) -> None:
        """Set the value of ``prefix``. Raises ``ValueError`` where it is neither a prefix nor an address."""
        version, shift, number = network_key(prefix)
        self._by_length.setdefault((version, shift), {})[number] = value
        self._by_length = dict(sorted(self._by_length.items(), key=lambda entry: entry[0][1]))
        self._cache.clear()

    def remove(self, prefix: str) -> None:
        """Remove the value of exactly ``prefix``, if it has one."""
        version, shift, number = network_key(prefix)
        of_length = self._by_length.get((version, shift), {})
        if of_length.pop(number, None) is not None:
            self._cache.clear()
            if not of_length:
                del self._by_length[version, shift]

    def get(self, host: str) -> _Value | None:
        """The value for a literal address; None where no prefix contains it, and for names."""
        if not self._by_length:
            return None
        try:
            return self._cache[host]
        except KeyError:
            pass
        value = self._look_up(host)
        if len(self._cache) >= self._cache_size:
            self._cache.clear()
        self._cache[host] = value
        return value

    def _look_up(self, host: str) -> _Value | None:
        try:
            version, number = address_number(host)
        except ValueError:
            return None
        for (of_version, shift), values in self._by_length.items():
            if of_version == version and (value := values.get(number >> shift)) is not None:
                return value
        return None


class PrefixSet:
    """A set of prefixes, with one dict look-up for each prefix length; see :class:`PrefixMap`. Raises ``ValueError``
    for a text that is no prefix."""

    __slots__ = ("_map",)

    def __init__(self, prefixes: Iterable[str] = (), cache_size: int = 4096) -> None:
        self._map: PrefixMap[bool] = PrefixMap(cache_size)
        for text in prefixes:
            self._map.put(text, True)

    def __contains__(self, host: str) -> bool:
        """Whether the literal address ``host`` is in one of the prefixes; a name never is."""
        return self._map.get(host) is not None

    def __bool__(self) -> bool:
        return bool(self._map)


def address_number(host: str) -> tuple[int, int]:
    """IP version of a literal address, and the address as a number. Raises ``ValueError`` for anything else.

    IPv4 is read without ``ipaddress``, which takes several times as long: too long for a flood from ever new sources.
    """
    if ":" in host:
        address = ipaddress.ip_address(host.partition("%")[0])
        return address.version, int(address)
    a, b, c, d = host.split(".")
    octets = int(a), int(b), int(c), int(d)
    if max(octets) > 255 or min(octets) < 0 or not host.isascii():
        raise ValueError(f"{host!r} is not an IPv4 address")
    return 4, octets[0] << 24 | octets[1] << 16 | octets[2] << 8 | octets[3]


@lru_cache(8192)
def normal_address(host: str) -> str:
    """A literal address in its normal form (RFC 5952). Raises ``ValueError`` for anything else.

    The addresses of a call are looked at again and again while it is set up.
    """
    return str(ipaddress.ip_address(host))


def network_key(prefix: str) -> tuple[int, int, int]:
    """IP version, bits after the prefix, and the prefix as a number. Raises ``ValueError``."""
    network = ipaddress.ip_network(prefix, strict=False)
    shift = network.max_prefixlen - network.prefixlen
    return network.version, shift, int(network.network_address) >> shift


@lru_cache(4096)
def enclosing_prefixes(host: str) -> tuple[str, ...]:
    """The prefixes of :data:`PREFIX_LENGTHS` that contain a literal address, narrowest first; none for a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ()
    return tuple(
        str(ipaddress.ip_network((address, length), strict=False)) for length in PREFIX_LENGTHS[address.version]
    )


def source_key(host: str) -> str:
    """The key by which a literal address is counted: an IPv4 address itself, and the /64 of an IPv6 address, since a
    host may use any address of its /64 (RFC 7421)."""
    return prefix_keys(host)[0] if ":" in host else host


def prefix_keys(host: str) -> tuple[str, ...]:
    """The prefixes of :func:`enclosing_prefixes` as keys of a table, for a literal address as the kernel writes it. It
    takes a tenth of the time; the keys are not in the usual form of a prefix."""
    if ":" not in host:
        return (host[: host.rfind(".")],)
    head, gap, tail = host.partition("::")
    groups = head.split(":") if head else []
    if gap:
        rest = tail.split(":") if tail else []
        width = 8 if "." not in tail else 7
        groups += ["0"] * (width - len(groups) - len(rest)) + rest
    return (":".join(groups[:4]), ":".join(groups[:3]))
