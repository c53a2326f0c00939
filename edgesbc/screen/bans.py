"""A ban as a value: who, how widely, for what, on whose word and until when. Decides nothing."""

from __future__ import annotations

import enum

from edgesbc.base.address import Listener, Source
from edgesbc.base.prefixes import enclosing
from edgesbc.base.reasons import Reason

__all__ = ["ANY_PORT", "Ban", "BanKey", "BanScope", "keys_of"]

ANY_PORT = -1

BanKey = tuple[bool, str, int]
"""Whether the transport is a stream, the address or prefix, and the port or ANY_PORT."""


class BanScope(enum.IntEnum):
    """How widely a ban reaches, from narrowest to widest."""

    FLOW = 0
    """One address and port."""
    ADDRESS = 1
    PREFIX = 2
    """What one customer of a provider is given: a /24 or a /64."""
    SITE = 3
    """An IPv6 site of many such, a /48."""

    @property
    def word(self) -> str:
        """In lower case, for people."""
        return self.name.lower()


def keys_of(stream: bool, source: Source) -> list[BanKey]:
    """The keys under which ``source`` can be banned, by :class:`BanScope`; IPv4 has no site."""
    host = source[0]
    wide = [(stream, prefix, ANY_PORT) for prefix in enclosing(host)]
    return [(stream, host, source[1]), (stream, host, ANY_PORT), *wide]


class Ban:
    """A penalty on datagrams or on streams of a flow, an address or a prefix.

    ``proven`` is whether what it stands for could not have been forged. Times are seconds on the plane's
    clock. ``hits`` counts what was dropped under it in user space, ``last`` is when; what the kernel drops
    is not among them. ``offence`` is the how-manieth of its address it is. ``told`` is the listener whose
    kernel filter was told of it, if one was.
    """

    __slots__ = (
        "hits", "key", "last", "marked", "offence", "proven", "reason", "scope", "since", "told", "ttl", "until",
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
        self.marked = 0
        self.told: Listener | None = None

    @property
    def stream(self) -> bool:
        return self.key[0]

    @property
    def who(self) -> str:
        """``192.0.2.1:5060``, ``192.0.2.1`` or ``192.0.2.0/24``."""
        _, host, port = self.key
        return host if port == ANY_PORT else str(Source(host, port))

    @property
    def wider(self) -> str | None:
        """The prefix whose bans count this one: of a stream's address its /24 or /64, of its /64 the /48."""
        if not self.stream or self.scope not in (BanScope.ADDRESS, BanScope.PREFIX):
            return None
        prefixes = enclosing(self.key[1].partition("/")[0])
        return prefixes[self.scope - BanScope.ADDRESS] if self.scope <= len(prefixes) else None

    @property
    def source(self) -> Source:
        """The address, with port 0 for all of its ports. Not for a prefix."""
        _, host, port = self.key
        return Source(host, 0 if port == ANY_PORT else port)

    def __repr__(self) -> str:
        return f"<{self.who} {'streams' if self.stream else 'udp'} {self.reason.code} until {self.until:.0f}>"
