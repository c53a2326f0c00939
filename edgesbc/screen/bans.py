"""A ban as a value: its target and scope, its reason, whether the evidence is proven, and when it ends."""

from __future__ import annotations

import enum

from edgesbc.base.address import Listener, Source
from edgesbc.base.prefixes import enclosing_prefixes
from edgesbc.base.reasons import Reason

__all__ = ["ANY_PORT", "Ban", "BanKey", "BanScope", "keys_of"]

ANY_PORT = -1

BanKey = tuple[bool, str, int]
"""Whether the transport is a stream, the address or prefix, and the port or ANY_PORT."""


class BanScope(enum.IntEnum):
    """How many sources a ban covers, from narrowest to widest."""

    FLOW = 0
    """One address and port."""
    ADDRESS = 1
    PREFIX = 2
    """A /24 or a /64, which a provider gives to one customer."""
    SITE = 3
    """A /48, an IPv6 site of many /64."""

    @property
    def word(self) -> str:
        """The name in lower case, for logs and tables."""
        return self.name.lower()


def keys_of(stream: bool, source: Source) -> list[BanKey]:
    """The keys under which ``source`` can be banned, by :class:`BanScope`; IPv4 has no site."""
    host = source[0]
    wide = [(stream, prefix, ANY_PORT) for prefix in enclosing_prefixes(host)]
    return [(stream, host, source[1]), (stream, host, ANY_PORT), *wide]


class Ban:
    """A ban on the datagrams or on the streams of a flow, an address or a prefix.

    ``proven``: the source of the offence cannot have been forged. Times are seconds on the plane's clock. ``hits``
    counts the messages dropped under the ban in user space, ``last`` is the time of the last one, ``renewed_hits``
    their number at the last renewal; what the kernel drops is not counted. ``offence`` is the number of the offence,
    counted for its address from 1. ``kernel_listener`` is the listener whose kernel filter has the ban, if any.
    """

    __slots__ = (
        "hits", "kernel_listener", "key", "last", "offence", "proven", "reason", "renewed_hits", "scope", "since",
        "ttl", "until",
    )  # fmt: skip

    def __init__(
        self, key: BanKey, scope: BanScope, proven: bool, reason: Reason, now: float, ttl: float, offence: int = 1
    ) -> None:
        self.key = key
        self.scope = scope
        self.proven = proven
        self.reason = reason
        self.since = now
        self.ttl = ttl
        self.until = now + ttl
        self.offence = offence
        self.hits = 0
        self.last = now
        self.renewed_hits = 0
        self.kernel_listener: Listener | None = None

    @property
    def stream(self) -> bool:
        return self.key[0]

    @property
    def target(self) -> str:
        """``192.0.2.1:5060``, ``192.0.2.1`` or ``192.0.2.0/24``."""
        _, host, port = self.key
        return host if port == ANY_PORT else str(Source(host, port))

    @property
    def wider(self) -> str | None:
        """The prefix of the next scope, in which this ban is counted: of a stream's address its /24 or /64, of its /64
        the /48. None where there is none."""
        if not self.stream or self.scope not in (BanScope.ADDRESS, BanScope.PREFIX):
            return None
        prefixes = enclosing_prefixes(self.key[1].partition("/")[0])
        return prefixes[self.scope - BanScope.ADDRESS] if self.scope <= len(prefixes) else None

    @property
    def source(self) -> Source:
        """The address, with port 0 for all of its ports. Not for a ban on a prefix."""
        _, host, port = self.key
        return Source(host, 0 if port == ANY_PORT else port)

    def __repr__(self) -> str:
        return f"<{self.target} {'streams' if self.stream else 'udp'} {self.reason.code} until {self.until:.0f}>"
