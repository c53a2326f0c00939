"""Prefixes of addresses: which hold an address, and which an address stands in. No sockets, no names."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Generic, TypeVar

__all__ = [
    "PREFIX_LENGTHS",
    "PrefixMap",
    "PrefixSet",
    "enclosing",
    "network_key",
    "number_of",
    "prefix_keys",
    "source_key",
]

PREFIX_LENGTHS: Final = {4: (24,), 6: (64, 48)}
"""What one customer of a provider is given (RFC 6177), by IP version, narrowest first: all that penalties know of."""

_Value = TypeVar("_Value")


class PrefixMap(Generic[_Value]):
    """A value for each of some prefixes; an address has that of the longest prefix it stands in.

    Answers are kept for ``remember`` addresses, since a busy peer asks again and again; they are dropped
    as a whole when there are as many, so that strangers can neither grow them nor make them slow to shrink.
    """

    __slots__ = ("_by_length", "_remember", "_remembered")

    def __init__(self, remember: int = 4096) -> None:
        self._by_length: dict[tuple[int, int], dict[int, _Value]] = {}
        """By IP version and the bits after the prefix, longest prefixes first: values by the prefix as a number."""
        self._remember = remember
        self._remembered: dict[str, _Value | None] = {}

    def __bool__(self) -> bool:
        return bool(self._by_length)

    def put(self, prefix: str, value: _Value) -> None:
        """Give ``prefix`` a value. Raises ``ValueError`` for what is no prefix or address."""
        version, shift, number = network_key(prefix)
        self._by_length.setdefault((version, shift), {})[number] = value
        self._by_length = dict(sorted(self._by_length.items(), key=lambda entry: entry[0][1]))
        self._remembered.clear()

    def drop(self, prefix: str) -> None:
        """Take the value of exactly ``prefix`` away, if it has one."""
        version, shift, number = network_key(prefix)
        of_length = self._by_length.get((version, shift), {})
        if of_length.pop(number, None) is not None:
            self._remembered.clear()
            if not of_length:
                del self._by_length[version, shift]

    def get(self, host: str) -> _Value | None:
        """The value for a literal address; None where no prefix holds it, and for names."""
        if not self._by_length:
            return None
        try:
            return self._remembered[host]
        except KeyError:
            pass
        value = self._look_up(host)
        if len(self._remembered) >= self._remember:
            self._remembered.clear()
        self._remembered[host] = value
        return value

    def _look_up(self, host: str) -> _Value | None:
        try:
            version, number = number_of(host)
        except ValueError:
            return None
        for (of_version, shift), values in self._by_length.items():
            if of_version == version and (value := values.get(number >> shift)) is not None:
                return value
        return None


class PrefixSet:
    """Some prefixes, in one dict look-up a prefix length; see :class:`PrefixMap`. Raises ``ValueError`` for what is
    none."""

    __slots__ = ("_map",)

    def __init__(self, prefixes: Iterable[str] = (), remember: int = 4096) -> None:
        self._map: PrefixMap[bool] = PrefixMap(remember)
        for text in prefixes:
            self._map.put(text, True)

    def __contains__(self, host: str) -> bool:
        """Whether the literal address ``host`` is in one of the prefixes; a name never is."""
        return self._map.get(host) is not None

    def __bool__(self) -> bool:
        return bool(self._map)


def number_of(host: str) -> tuple[int, int]:
    """IP version and number of a literal address; ``ipaddress`` takes several times as long, too much for a flood of
    sources never seen before. Raises ``ValueError`` for what is not an address."""
    if ":" in host:
        address = ipaddress.ip_address(host.partition("%")[0])
        return address.version, int(address)
    a, b, c, d = host.split(".")
    octets = int(a), int(b), int(c), int(d)
    if max(octets) > 255 or min(octets) < 0 or not host.isascii():
        raise ValueError(f"{host!r} is not an IPv4 address")
    return 4, octets[0] << 24 | octets[1] << 16 | octets[2] << 8 | octets[3]


def network_key(prefix: str) -> tuple[int, int, int]:
    """IP version, bits after the prefix, and the prefix as a number. Raises ``ValueError``."""
    network = ipaddress.ip_network(prefix, strict=False)
    shift = network.max_prefixlen - network.prefixlen
    return network.version, shift, int(network.network_address) >> shift


@lru_cache(4096)
def enclosing(host: str) -> tuple[str, ...]:
    """The prefixes of :data:`PREFIX_LENGTHS` that a literal address stands in, narrowest first; none for a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ()
    return tuple(
        str(ipaddress.ip_network((address, length), strict=False)) for length in PREFIX_LENGTHS[address.version]
    )


def source_key(host: str) -> str:
    """What whoever has a literal address has at the least, as a key of a table: an IPv4 address, or of an IPv6 address
    the /64, each address of which is as good to it as any other (RFC 7421)."""
    return prefix_keys(host)[0] if ":" in host else host


def prefix_keys(host: str) -> tuple[str, ...]:
    """The same prefixes as keys of a table, for a literal address as the kernel writes it: a tenth of the time of
    :func:`enclosing`, and not for show."""
    if ":" not in host:
        return (host[: host.rfind(".")],)
    head, gap, tail = host.partition("::")
    groups = head.split(":") if head else []
    if gap:
        rest = tail.split(":") if tail else []
        width = 8 if "." not in tail else 7
        groups += ["0"] * (width - len(groups) - len(rest)) + rest
    return (":".join(groups[:4]), ":".join(groups[:3]))
