"""What a source has proven, kept per flow and thus per transport. Punishes nobody: see ``penalties``."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Zone
from edgesbc.base.prefixes import PrefixMap, enclosing
from edgesbc.base.validation import listed_address, listed_addresses, optional, positive

__all__ = ["Standing", "Standings", "Trunk"]


class Standing(enum.IntEnum):
    """What a source has proven, from weakest to strongest."""

    UNPROVEN = 0
    """A datagram came; its source may be forged."""
    REACHABLE = 1
    """It answered what only the true address can answer: a handshake, or a branch or token of ours."""
    REGISTERED = 2
    """An upstream accepted its credentials on this flow."""
    TRUNK = 3
    """The policy lists its address, or a name of its verified client certificate."""


def _bounded(instance: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    if len(value) > limits.TRUNK_ADDRESSES:
        raise ValueError(f"{attribute.name}: expected at most {limits.TRUNK_ADDRESSES} addresses, found {len(value)}")


@attrs.frozen
class Trunk:
    """A carrier or another peer that the operator names.

    ``addresses`` are prefixes, addresses, or addresses with a port. The port is the *source* port: a
    trunk that connects over TCP or TLS from changing ports is listed by its address or by ``tls_names``,
    the DNS names of its verified client certificate.
    """

    name: str
    addresses: tuple[str, ...] = attrs.field(default=(), validator=[_bounded, listed_addresses])
    tls_names: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    """Listeners by name at which it is a trunk, and a stranger elsewhere; none: all public ones."""
    max_calls: int | None = attrs.field(default=None, validator=optional(positive))
    """Calls from the trunk alive at once; None: no bound of its own."""
    max_cps: float | None = attrs.field(default=None, validator=optional(positive))
    """New calls a second from the trunk; None: no bound of its own."""


class Standings:
    """The standing of every flow: of trunks by the policy, of others by proof that runs out.

    Streams are reachable by their handshake. The table of reachable UDP flows forgets the one proven
    longest ago when it is full; the table of registered flows turns newcomers away. Neither can be
    filled by packets with forged sources, since each entry takes a proof.
    """

    __slots__ = (
        "_accounts", "_apart", "_bound", "_by_address", "_by_name", "_by_prefix", "_by_source", "_flows_of", "_listed",
        "_proven_at", "_reachable", "_registered", "_streams_within", "_swept", "_trunk_hosts", "follower",
        "trunks", "version",
    )  # fmt: skip

    def __init__(self, trunks: Iterable[Trunk] = ()) -> None:
        self.trunks = {trunk.name: trunk for trunk in trunks}
        self.follower: Standings | None = None
        """Those of a policy that is judged beside this one: they get the same proofs."""
        self._by_source: dict[tuple[str, int], str] = {}
        self._by_name: dict[str, str] = {}
        self._by_address: dict[str, str] = {}
        """Whole IPv4 addresses, as they are mostly listed: apart, since a look at prefixes costs more."""
        self._by_prefix: PrefixMap[str] = PrefixMap(limits.REMEMBERED_ADDRESSES)
        self._reachable: dict[tuple[int, str, int, int], float] = {}
        self._registered: dict[tuple[int, str, int, int], float] = {}
        self._accounts: dict[tuple[int, str, int, int], tuple[tuple[int, float], ...]] = {}
        """What registered flows are registered as, and until when: a phone with two lines may sign off one."""
        self._flows_of: dict[int, dict[tuple[int, str, int, int], None]] = {}
        """The UDP flows that are registered as an account, in the order of their last registration."""
        self._apart: dict[tuple[int, str, int, int], float] = {}
        """Registered UDP flows that flood, or in whose name somebody does, and until when they have no lane."""
        self._proven_at: dict[str, int] = {}
        """How many proven UDP flows there are at an address."""
        self._streams_within: dict[str, int] = {}
        """How many registered connections, by address and by prefix."""
        self._swept = float("-inf")
        self._listed: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network | Source, str]] = []
        """What trunks are listed as, with their names."""
        self._bound = {trunk.name: frozenset(trunk.listeners) for trunk in self.trunks.values() if trunk.listeners}
        self.version = 0
        """Grows when :meth:`trusted` would give others, but for those whose time is up."""
        for trunk in reversed(self.trunks.values()):  # of two that list the same, the first counts
            self._list(trunk)
        self._listed.reverse()
        self._trunk_hosts = {host for host, _ in self._by_source}

    def _list(self, trunk: Trunk) -> None:
        for text in reversed(trunk.addresses):
            listed = listed_address(text)
            self._listed.append((listed, trunk.name))
            if isinstance(listed, Source):
                self._by_source[listed.host, listed.port] = trunk.name
            elif listed.version == 4 and listed.prefixlen == 32:
                self._by_address[str(listed.network_address)] = trunk.name
            else:
                self._by_prefix.put(str(listed), trunk.name)
        for name in trunk.tls_names:
            self._by_name[name.lower().rstrip(".")] = trunk.name

    def of(self, flow: Flow, now: float) -> Standing:
        """The standing of ``flow``. The private side is trusted: its flows stand as trunks do."""
        if flow.listener.zone is Zone.CORE or (self.trunks and self.trunk(flow) is not None):
            return Standing.TRUNK
        key = flow.key
        if self._registered and self._registered.get(key, now) > now:
            return Standing.REGISTERED
        if flow.serial or self._reachable.get(key, now) > now:
            return Standing.REACHABLE
        return Standing.UNPROVEN

    def trunk(self, flow: Flow) -> str | None:
        """The name of the trunk that ``flow`` belongs to: by address and port, then the longest prefix,
        then the certificate's names."""
        if flow.listener.zone is Zone.CORE:
            return None
        name = self._by_source.get(flow.peer)
        if name is None:
            host = flow.peer[0]
            name = self._by_address.get(host)
            if name is None and self._by_prefix:
                name = self._by_prefix.get(host)
        if name is None and flow.names and self._by_name:
            name = next((self._by_name[n] for n in map(str.lower, flow.names) if n in self._by_name), None)
        return name if name is None or self._is_at(name, flow.listener) else None

    def _is_at(self, trunk: str, listener: Listener) -> bool:
        bound = self._bound.get(trunk) if self._bound else None
        return bound is None or listener.name in bound

    def prove(
        self, flow: Flow, standing: Standing, now: float, ttl: float = limits.REACHABLE_SECONDS, account: int = 0
    ) -> bool:
        """Note that ``flow`` has proven to be REACHABLE or REGISTERED, for ``ttl`` seconds from now.

        ``account`` tells apart what it is registered as; of several, the one that lasts longest counts.
        False where the table is full of others that are worth as much.
        """
        if flow.listener.zone is Zone.CORE:
            return False
        if self.follower is not None:
            self.follower.prove(flow, standing, now, ttl, account)
        if standing is Standing.REACHABLE:
            if not flow.serial:
                self._enter(self._reachable, flow, now + ttl)
                if len(self._reachable) > limits.REACHABLE_FLOWS:
                    self._leave(self._reachable, next(iter(self._reachable)))
            return True
        if standing is not Standing.REGISTERED:
            raise ValueError("a trunk is what the policy lists; nothing else proves one")
        if flow.key not in self._registered and len(self._registered) >= limits.REGISTERED_FLOWS:
            self._forget_old(now)
            if len(self._registered) >= limits.REGISTERED_FLOWS:
                return False
        if not flow.serial and self._registered.get(flow.key, now) <= now:
            self.version += 1
        if not flow.serial:
            self._hold_account(flow.key, account)
        before = self._accounts.get(flow.key, ())
        others = [each for each in before if each[0] != account and each[1] > now][1 - limits.ACCOUNTS_OF_FLOW :]
        accounts = self._accounts[flow.key] = (*others, (account, now + ttl))
        for each in before:
            if each[0] != account and each not in others:
                self._let_go(flow.key, each[0])
        self._enter(self._registered, flow, max(until for _, until in accounts))
        return True

    def _hold_account(self, key: tuple[int, str, int, int], account: int) -> None:
        """An account's UDP flows are bounded, its oldest giving way: with accepted credentials, in datagrams whose
        source is forged, one account could otherwise fill the table."""
        flows = self._flows_of.setdefault(account, {})
        flows.pop(key, None)
        flows[key] = None
        if len(flows) > limits.FLOWS_OF_ACCOUNT:
            self._leave(self._registered, next(iter(flows)))
            self.version += 1

    def _let_go(self, key: tuple[int, str, int, int], account: int) -> None:
        flows = self._flows_of.get(account)
        if flows is not None and key in flows:
            del flows[key]
            if not flows:
                del self._flows_of[account]

    def _forget_old(self, now: float) -> None:
        """Make room in the full table: of the first, at once, and of all whose time is up, once in a while. One that
        lasts for hours may stand before thousands that did not."""
        oldest = next(iter(self._registered))
        if self._registered[oldest] <= now:
            self._leave(self._registered, oldest)
        elif now - self._swept >= limits.SWEEP_SECONDS:
            self._swept = now
            for key in [key for key, until in self._registered.items() if until <= now]:
                self._leave(self._registered, key)

    def sign_off(self, flow: Flow, account: int, now: float) -> None:
        """``flow`` is no longer registered as ``account``; whether it stays registered is for its others to say."""
        if self.follower is not None:
            self.follower.sign_off(flow, account, now)
        accounts = self._accounts.get(flow.key, ())
        left = tuple(each for each in accounts if each[0] != account and each[1] > now)
        if len(left) == len(accounts):
            return
        if not flow.serial:
            self.version += 1
        if left:
            for each in accounts:
                if each not in left:
                    self._let_go(flow.key, each[0])
            self._accounts[flow.key] = left
            self._registered[flow.key] = max(until for _, until in left)
        else:
            self._leave(self._registered, flow.key)

    def demote(self, flow: Flow, until: float) -> None:
        """Steer the datagrams of a registered ``flow`` among those of strangers until then: what the trusted have to
        themselves is one queue, and a flood there would cost trunks their messages. It stays registered."""
        if flow.key in self._registered:
            self.version += flow.key not in self._apart
            self._apart[flow.key] = until

    def withdraw(self, flow: Flow) -> None:
        """Forget what ``flow`` has proven: its connection closed, or it is not to be trusted any more."""
        if not flow.serial and flow.key in self._registered:
            self.version += 1
        if self.follower is not None:
            self.follower.withdraw(flow)
        self._leave(self._registered, flow.key)
        self._leave(self._reachable, flow.key)

    def succeed(self, previous: Standings) -> None:
        """Take over what flows have proven under the policy before this one; ``previous`` is not used again.

        Listeners must have kept their ids.
        """
        self._reachable = previous._reachable
        self._registered = previous._registered
        self._accounts = previous._accounts
        self._flows_of = previous._flows_of
        self._apart = previous._apart
        self._proven_at = previous._proven_at
        self._streams_within = previous._streams_within
        self.version = previous.version + 1

    def trusted(
        self, listener: Listener, now: float
    ) -> tuple[list[ipaddress.IPv4Network | ipaddress.IPv6Network | Source], float | None]:
        """Whose datagrams to ``listener`` go before those of strangers, trunks first, and when (seconds) the
        first of them has to prove itself anew; None: none of them has to. A flow from port 0 is not among them: in a
        list, port 0 means the whole address."""
        self._apart = {key: until for key, until in self._apart.items() if until > now}
        registered = {
            Source(key[1], key[2]): until
            for key, until in self._registered.items()
            if key[0] == listener.id and key[2] and not key[3] and until > now and key not in self._apart
        }
        listed = [each for each, trunk in self._listed if self._is_at(trunk, listener)]
        return [*listed, *registered], min((*registered.values(), *self._apart.values()), default=None)

    def resemble(self, live: Standings) -> None:
        """Begin with what flows have proven to ``live``, which keeps it."""
        self._reachable = dict(live._reachable)
        self._registered = dict(live._registered)
        self._accounts = dict(live._accounts)
        self._flows_of = {account: dict(flows) for account, flows in live._flows_of.items()}
        self._proven_at = dict(live._proven_at)
        self._streams_within = dict(live._streams_within)

    def known_at(self, host: str) -> bool:
        """Whether a trunk or a proven UDP flow is at ``host``, which the kernel must then not drop whole."""
        return host in self._trunk_hosts or host in self._proven_at

    def registered_within(self, prefix: str) -> bool:
        """Whether a registered connection comes from an address, or from inside a prefix that can be banned."""
        return prefix in self._streams_within

    def _enter(self, table: dict[tuple[int, str, int, int], float], flow: Flow, until: float) -> None:
        key = flow.key
        if table.pop(key, None) is None:
            self._count(table, key, 1)
        table[key] = until

    def _leave(self, table: dict[tuple[int, str, int, int], float], key: tuple[int, str, int, int]) -> None:
        if table.pop(key, None) is not None:
            self._count(table, key, -1)
            if table is self._registered:
                for account, _ in self._accounts.pop(key, ()):
                    self._let_go(key, account)
                self._apart.pop(key, None)

    def _count(self, table: dict[tuple[int, str, int, int], float], key: tuple[int, str, int, int], more: int) -> None:
        """Keep the counts by address and prefix: who asks for them may be an attacker, over and over."""
        host = key[1]
        if not key[3]:
            _add(self._proven_at, host, more)
        elif table is self._registered:
            for where in (host, *enclosing(host)):
                _add(self._streams_within, where, more)


def _add(counts: dict[str, int], key: str, more: int) -> None:
    count = counts.get(key, 0) + more
    if count:
        counts[key] = count
    else:
        del counts[key]
