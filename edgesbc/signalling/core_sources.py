"""CoreSources: the addresses from which core listeners accept messages. The private side is trusted with routing and
asserted identities, so an address on it is no proof by itself: a packet from outside may reach it (RFC 1122 section
3.3.4.2 calls a host that takes one *weak*)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgesbc.base import limits
from edgesbc.base.address import Listener, Source, Transport, Zone
from edgesbc.base.prefixes import PrefixSet
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.member import Member

__all__ = ["PRIVATE", "CoreRules", "CoreSources", "is_private"]

PRIVATE = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "fc00::/7", "fe80::/10",
    "::1/128",
)  # fmt: skip
"""Prefixes of private networks, links and this machine (RFC 1918, RFC 3927, RFC 4193, RFC 4291)."""

_PRIVATE_SET = PrefixSet(PRIVATE)
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def is_private(host: str) -> bool:
    """Whether a listener bound to ``host`` is on a private network: its address is private, or a wildcard."""
    return host in _WILDCARDS or host in _PRIVATE_SET


class CoreRules:
    """What a policy says about the private side. ``allow`` are prefixes; without any, a listener with a private address
    accepts private addresses, and any other accepts members alone. ``sets`` are the destination sets whose members are
    on the private side; None: all."""

    __slots__ = ("allow", "sets")

    def __init__(self, allow: Iterable[str] = (), sets: Iterable[str] | None = None) -> None:
        self.allow = tuple(allow)
        self.sets = None if sets is None else frozenset(sets)


class CoreSources:
    """Judges the sources of core listeners. Members count as soon as the dispatcher has their address."""

    __slots__ = (
        "_advertised",
        "_allowed",
        "_dispatcher",
        "_hosts",
        "_leaving",
        "_listeners",
        "_members",
        "_own",
        "_own_sources",
        "_prefixes",
        "_rules",
        "_version",
    )

    def __init__(self, listeners: Sequence[Listener], dispatcher: Dispatcher, rules: CoreRules) -> None:
        self._listeners = tuple(listener for listener in listeners if listener.zone is Zone.CORE)
        self._dispatcher = dispatcher
        self._members: frozenset[str] = frozenset()
        self._leaving: tuple[Member, ...] = ()
        self._version = -1
        self._prefixes: dict[int, PrefixSet] = {}
        """By the id of the listener."""
        self._hosts = frozenset(listener.host for listener in listeners if listener.host not in _WILDCARDS)
        self._advertised = frozenset(listener.advertise_host for listener in listeners if listener.zone is Zone.PUBLIC)
        self._own = frozenset(listener.advertise_host for listener in self._listeners)
        self._own_sources = frozenset(
            Source(host, listener.port)
            for listener in self._listeners
            if listener.transport is Transport.UDP
            for host in (listener.host, listener.advertise_host)
        )
        self._allowed = PrefixSet()
        self._rules = rules
        self.adopt(rules)

    def adopt(self, rules: CoreRules) -> None:
        """Judge by other rules from the next message on."""
        self._rules = rules
        self._version = -1
        self._allowed = PrefixSet(rules.allow, limits.REMEMBERED_ADDRESSES)
        self._prefixes = {
            listener.id: PrefixSet(
                rules.allow or (PRIVATE if is_private(listener.host) else ()), limits.REMEMBERED_ADDRESSES
            )
            for listener in self._listeners
        }

    def admits(self, listener: Listener, host: str) -> bool:
        """Whether a core listener accepts messages from ``host``. It is asked for every datagram; of a member, it costs
        one look-up."""
        if self._is_member(host):
            return True
        prefixes = self._prefixes.get(listener.id)
        return prefixes is None or host in prefixes

    def is_own(self, source: Source) -> bool:
        """Whether datagrams from ``source`` are the edge's own, which a dialog past a server inside has it send to
        itself. The kernel drops those that come in from a network with an address of this machine, and lets no other
        program use the port."""
        return source in self._own_sources

    def is_inside(self, host: str) -> bool:
        """Whether ``host`` is a member of the private side, of a prefix that the policy allows there, or a listener.

        It is asked for the addresses in session descriptions of public peers. Private addresses in general are not
        inside: phones behind a NAT have them too.
        """
        return host in self._hosts or host in self._allowed or self._is_member(host)

    @property
    def hosts(self) -> frozenset[str]:
        """The addresses for which :meth:`is_inside` is True, besides those in prefixes."""
        self._look_up_members()
        return self._hosts | self._members | {member.target.host for member in self._leaving if member.load}

    @property
    def allowed(self) -> tuple[str, ...]:
        """The prefixes that the policy allows on the private side."""
        return self._rules.allow

    def hides(self, host: str) -> bool:
        """Whether ``host`` is of no use outside: an address of the private side, any private address, or the name of a
        destination. It is asked for URIs that the private side names to public peers."""
        if host in self._advertised:
            return False
        if host in _PRIVATE_SET or host in self._own or self.is_inside(host):
            return True
        return any(host == name.host for name in self._dispatcher.names())

    def _is_member(self, host: str) -> bool:
        """Whether it is the address of a member, or of one that was removed and has calls: these go on."""
        self._look_up_members()
        if host in self._members:
            return True
        return any(member.load and member.target.host == host for member in self._leaving)

    def _look_up_members(self) -> None:
        if self._version != self._dispatcher.members_version:
            self._version = self._dispatcher.members_version
            self._members = self._dispatcher.hosts(self._rules.sets)
            self._leaving = self._dispatcher.leaving(self._rules.sets)
