"""The standing of a source: what it has proven, kept per flow and thus per transport. Bans are in ``penalties``."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from edgesbc.base import limits
from edgesbc.base.address import CallHolder, Flow, FlowKey, Listener, Source, Zone
from edgesbc.base.errors import WireError
from edgesbc.base.prefixes import PrefixMap, enclosing_prefixes, source_key
from edgesbc.base.validation import listed_address
from edgesbc.screen.account_flows import AccountFlows
from edgesbc.screen.changed_flows import ChangedFlows
from edgesbc.screen.flow_nonces import FlowNonces
from edgesbc.screen.proof_uses import ProofUses
from edgesbc.screen.trunk import Trunk
from edgesbc.sip.digest import parse_digest
from edgesbc.sip.message import Message, Request, Response

__all__ = ["FLOW_SECRET", "NO_SECRET", "Standing", "Standings"]

NO_SECRET: Final = 0
FLOW_SECRET: Final = -2
"""What a datagram of a registered UDP flow may carry: a secret that the flow alone was sent; numbers below it stand for
calls of the flow, whose tags the other party knows too. No connection has such a number."""


class Standing(enum.IntEnum):
    """What a source has proven, from weakest to strongest."""

    UNPROVEN = 0
    """A datagram arrived; its source may be forged."""
    REACHABLE = 1
    """It received what was sent to its address: it completed a handshake, or returned a branch or token of the edge."""
    REGISTERED = 2
    """A private server accepted its credentials on this flow."""
    TRUNK = 3
    """The policy lists its address, or a name of its verified client certificate."""


class _Line(NamedTuple):
    """A registration of a flow: its account, until when it lives (seconds, the plane's clock), and whether its
    credentials had a nonce that the flow was given, so that nobody else has sent them from its address."""

    account: int
    until: float
    shown: bool


class Standings:
    """The standing of every flow: of trunks by the policy, of others by a proof that expires.

    Streams are reachable by their handshake. When the table of reachable UDP flows is full, the one proven
    longest ago is dropped; when the table of registered flows is full, the account with the most flows loses its
    oldest. Neither can be filled by packets with forged sources, since each entry takes a proof.
    """

    __slots__ = (
        "_account_flows", "_accounts", "_by_address", "_by_name", "_by_prefix", "_by_source", "_demoted", "_listed",
        "_proof_uses", "_proven_at", "_reachable", "_registered", "_streams_within", "_swept", "_trunk_hosts",
        "_trunk_listeners", "changed", "look_for_secret", "nonces", "shadow", "trunks", "version",
    )  # fmt: skip

    def __init__(self, trunks: Iterable[Trunk] = ()) -> None:
        self.trunks = {trunk.name: trunk for trunk in trunks}
        self.shadow: Standings | None = None
        """The standings of the shadow policy, which get the same proofs."""
        self.changed = ChangedFlows()
        """The UDP flows whose proofs are to be stored."""
        self.nonces = FlowNonces()
        """What registered UDP flows were given, and whoever forges their addresses was not."""
        self.look_for_secret: Callable[[bytes, Flow, Standings], int] | None = None
        """:meth:`edgesbc.signalling.flow_secrets.FlowSecrets.find`, which the signalling core sets."""
        self._by_source: dict[tuple[str, int], str] = {}
        self._by_name: dict[str, str] = {}
        self._by_address: dict[str, str] = {}
        """Single IPv4 addresses, the usual case, in a table of their own: a lookup by prefix costs more."""
        self._by_prefix: PrefixMap[str] = PrefixMap(limits.REMEMBERED_ADDRESSES)
        self._reachable: dict[FlowKey, float] = {}
        self._registered: dict[FlowKey, float] = {}
        self._accounts: dict[FlowKey, tuple[_Line, ...]] = {}
        """The accounts of a registered flow: a phone with two lines may deregister one."""
        self._account_flows = AccountFlows()
        self._proof_uses = ProofUses()
        self._demoted: dict[FlowKey, float] = {}
        """Registered UDP flows that flood, or whose address is forged in a flood, and until when their datagrams go
        to the receive queue of untrusted sources."""
        self._proven_at: dict[str, int] = {}
        """The number of proven UDP flows by address."""
        self._streams_within: dict[str, int] = {}
        """The number of registered connections by address and by prefix."""
        self._swept = float("-inf")
        self._listed: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network | Source, str]] = []
        """The addresses and prefixes of trunks, with the trunk's name."""
        self._trunk_listeners = {
            trunk.name: frozenset(trunk.listeners) for trunk in self.trunks.values() if trunk.listeners
        }
        self.version = 0
        """Grows when the result of :meth:`trusted` changes for another reason than the passing of time."""
        for trunk in reversed(self.trunks.values()):  # if two trunks list the same address, the first counts
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
        """The standing of ``flow``. Flows of the private side have that of a trunk."""
        if flow.listener.zone is Zone.CORE or (self.trunks and self.trunk(flow) is not None):
            return Standing.TRUNK
        key = flow.key
        if self._registered and self._registered.get(key, now) > now:
            return Standing.REGISTERED
        if flow.serial or self._reachable.get(key, now) > now:
            return Standing.REACHABLE
        return Standing.UNPROVEN

    def trunk(self, flow: Flow) -> str | None:
        """The name of the trunk that ``flow`` belongs to: by address and port, then by the longest prefix,
        then by the names of its certificate."""
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
        return name if name is None or self._allowed_at(name, flow.listener) else None

    def _allowed_at(self, trunk: str, listener: Listener) -> bool:
        listeners = self._trunk_listeners.get(trunk) if self._trunk_listeners else None
        return listeners is None or listener.name in listeners

    def prove(
        self,
        flow: Flow,
        standing: Standing,
        now: float,
        ttl: float = limits.REACHABLE_SECONDS,
        account: int = 0,
        proof: int = 0,
        shown: bool = True,
    ) -> bool:
        """Record that ``flow`` has proven to be REACHABLE or REGISTERED, for ``ttl`` seconds from now.

        ``account`` identifies the registration; of several of a flow, the one that expires last counts. ``proof`` is
        that of its credentials (:class:`edgesbc.sip.digest.Credentials`), 0 for one that cannot be repeated. ``shown``
        is whether the credentials show that they come from the flow (:meth:`has_shown`).

        False if too many flows have used the proof, if the table of registered flows is full and every account has one
        flow, or if the flow has shown that it is of another account, and not that it is of this one too. Raises
        ``ValueError`` for any other standing.
        """
        if flow.listener.zone is Zone.CORE:
            return False
        if self.shadow is not None:
            self.shadow.prove(flow, standing, now, ttl, account, proof, shown)
        if standing is Standing.REACHABLE:
            if not flow.serial:
                self._enter(self._reachable, flow, now + ttl)
                if len(self._reachable) > limits.REACHABLE_FLOWS:
                    self._leave(self._reachable, next(iter(self._reachable)))
            return True
        if standing is not Standing.REGISTERED:
            raise ValueError("expected REACHABLE or REGISTERED: a trunk is listed in the policy")
        if proof and not self._proof_uses.add(proof, flow.key):
            return False
        return self._register(flow, now, ttl, account, shown)

    def proofs(self, key: FlowKey) -> tuple[float | None, tuple[tuple[int, float, bool], ...]]:
        """Until when a flow is reachable, or None, and its registrations: account, end, and whether its credentials
        showed that they came from the flow."""
        return self._reachable.get(key), self._accounts.get(key, ())

    def proven_flows(self) -> list[FlowKey]:
        """The UDP flows that are reachable or registered."""
        return [key for key in {**self._reachable, **self._registered} if not key[3]]

    def registered_flows(self, listeners: Iterable[Listener], now: float) -> list[Flow]:
        """The registered UDP flows of these listeners."""
        by_id = {listener.id: listener for listener in listeners}
        return [
            Flow(by_id[key[0]], Source(key[1], key[2]))
            for key, until in self._registered.items()
            if not key[3] and until > now and key[0] in by_id
        ]

    def related(self, flow: Flow, other: Flow) -> bool:
        """Whether two flows belong to one trunk, or are registered as one account."""
        trunk = self.trunk(flow)
        if trunk is not None:
            return self.trunk(other) == trunk
        accounts = {line.account for line in self._accounts.get(flow.key, ())}
        return any(line.account in accounts for line in self._accounts.get(other.key, ()))

    def accounts(self, flow: Flow, now: float) -> tuple[int, ...]:
        """The accounts that have registered by ``flow``, the latest last."""
        return tuple(line.account for line in self._accounts.get(flow.key, ()) if line.until > now)

    def call_holder(self, flow: Flow, with_secret: bool, now: float) -> CallHolder | None:
        """By what the calls of ``flow`` are counted: the account that it is registered as last, or else its address,
        where an IPv6 address counts as its /64. None for trunks and the private side.

        Calls of a registered UDP flow may be forged, unless their INVITE is ``with_secret``: they have a count of their
        own, so that they take no place of the account's other calls.
        """
        standing = self.of(flow, now)
        if standing is Standing.TRUNK:
            return None
        accounts = self._accounts.get(flow.key) if standing is Standing.REGISTERED else None
        if not accounts:
            return source_key(flow.peer[0])
        account = accounts[-1].account
        return account if flow.serial or with_secret else str(account)

    def is_worn(self, proof: int) -> bool:
        """Whether too many flows have used these credentials: they are a recording."""
        return self._proof_uses.is_worn(proof)

    def _register(self, flow: Flow, now: float, ttl: float, account: int, shown: bool) -> bool:
        key = flow.key
        before = self._accounts.get(key, ())
        lines = [line for line in before if line.account != account and line.until > now]
        if not shown and any(line.shown for line in lines):
            # Who has an account registers it from a forged address: the flow's calls would then count as its own.
            return False
        if key not in self._registered and len(self._registered) >= limits.REGISTERED_FLOWS:
            self._make_room(now)
            if len(self._registered) >= limits.REGISTERED_FLOWS:
                return False
        if not flow.serial and self._registered.get(key, now) <= now:
            self.version += 1
        others = lines[1 - limits.ACCOUNTS_OF_FLOW :]
        shown = shown or any(line.shown for line in before if line.account == account and line.until > now)
        accounts = self._accounts[key] = (*others, _Line(account, now + ttl, shown))
        for line in before:
            if line.account != account and line not in others:
                self._account_flows.remove(line.account, key)
        self._enter(self._registered, flow, max(line.until for line in accounts))
        for excess in self._account_flows.add(account, key):
            self._end_account(excess, account)
        return True

    def _end_account(self, key: FlowKey, account: int) -> None:
        """End the registration of a flow as ``account``. It stays registered while it has another account."""
        if not key[3]:
            self.version += 1
        self._account_flows.remove(account, key)
        left = self._accounts[key] = tuple(line for line in self._accounts.get(key, ()) if line.account != account)
        if left:
            self.changed.note(key)
            self._registered[key] = max(line.until for line in left)
        else:
            self._leave(self._registered, key)

    def _make_room(self, now: float) -> None:
        """Make room in the full table: remove an expired entry, or else the oldest of the account with the most."""
        self._remove_expired(now)
        if len(self._registered) >= limits.REGISTERED_FLOWS:
            oldest = self._account_flows.oldest_of_largest()
            if oldest is not None:
                if not oldest[3]:
                    self.version += 1
                self._leave(self._registered, oldest)

    def _remove_expired(self, now: float) -> None:
        """Remove the first entry if it has expired, or else, once in ``limits.SWEEP_SECONDS``, all entries that have
        expired. A long registration may come before thousands of expired ones."""
        oldest = next(iter(self._registered))
        if self._registered[oldest] <= now:
            self._leave(self._registered, oldest)
        elif now - self._swept >= limits.SWEEP_SECONDS:
            self._swept = now
            for key in [key for key, until in self._registered.items() if until <= now]:
                self._leave(self._registered, key)

    def deregister(self, flow: Flow, account: int, now: float) -> None:
        """End the registration of ``flow`` as ``account``. The flow stays registered while it has another account."""
        if self.shadow is not None:
            self.shadow.deregister(flow, account, now)
        accounts = self._accounts.get(flow.key, ())
        left = tuple(line for line in accounts if line.account != account and line.until > now)
        if len(left) == len(accounts):
            return
        if not flow.serial:
            self.version += 1
        if left:
            for line in accounts:
                if line not in left:
                    self._account_flows.remove(line.account, flow.key)
            self._accounts[flow.key] = left
            self._registered[flow.key] = max(line.until for line in left)
            self.changed.note(flow.key)
        else:
            self._leave(self._registered, flow.key)

    def demote(self, flow: Flow, until: float) -> None:
        """Send the datagrams of a registered ``flow`` to the receive queue of untrusted sources until then: all trusted
        sources share one queue, and a flood in it would cost trunks their messages. The flow stays registered."""
        if flow.key in self._registered:
            self.version += flow.key not in self._demoted
            self._demoted[flow.key] = until

    def note_answer(self, flow: Flow, request: Request, response: Response) -> None:
        """A private server has answered a request of ``flow``: remember the nonces that it gives to the flow, and those
        of the credentials that it has accepted."""
        key = flow.key
        remembers = not flow.serial and key in self._registered
        given = _given_nonces(response)
        if given and remembers:
            self.nonces.challenged(key, given)
        elif given:
            self.nonces.given(key, given)
        if remembers and 200 <= response.status < 300:
            self.nonces.accepted(key, _nonces(request, "Authorization", "Proxy-Authorization"))

    def has_nonce(self, flow: Flow, request: Request) -> bool:
        """Whether ``request`` has credentials with a nonce that ``flow``, a registered one over UDP, was given."""
        return not flow.serial and flow.key in self._registered and self._has_nonce(flow, request)

    def has_shown(self, flow: Flow, request: Request) -> bool:
        """Whether ``request``, which has credentials, shows that it comes from ``flow``: by a nonce that the flow was
        given, or because it came by a connection."""
        return flow.serial != 0 or self._has_nonce(flow, request)

    def _has_nonce(self, flow: Flow, request: Request) -> bool:
        nonces = _nonces(request, "Authorization", "Proxy-Authorization")
        return any(self.nonces.has(flow.key, nonce) for nonce in nonces)

    def secret_in(self, flow: Flow, data: bytes) -> int:
        """What shows that the sender of the datagram ``data`` of a registered ``flow`` reads what is sent there:
        ``FLOW_SECRET``, the number of a call, or ``NO_SECRET``."""
        return self.look_for_secret(data, flow, self) if data and self.look_for_secret is not None else NO_SECRET

    def withdraw(self, flow: Flow) -> None:
        """Remove all proofs of ``flow``: its connection has closed, or it has lost its standing."""
        if not flow.serial and flow.key in self._registered:
            self.version += 1
        if self.shadow is not None:
            self.shadow.withdraw(flow)
        self._leave(self._registered, flow.key)
        self._leave(self._reachable, flow.key)

    def take_over(self, previous: Standings) -> None:
        """Take over the proofs of the previous policy; ``previous`` must not be used afterwards.

        Listeners must have kept their ids.
        """
        self._reachable = previous._reachable
        self._registered = previous._registered
        self._accounts = previous._accounts
        self._account_flows = previous._account_flows
        self._proof_uses = previous._proof_uses
        self.changed = previous.changed
        self.nonces = previous.nonces
        self.look_for_secret = previous.look_for_secret
        self._demoted = previous._demoted
        self._proven_at = previous._proven_at
        self._streams_within = previous._streams_within
        self.version = previous.version + 1

    def trusted(
        self, listener: Listener, now: float
    ) -> tuple[list[ipaddress.IPv4Network | ipaddress.IPv6Network | Source], float | None]:
        """The sources whose datagrams to ``listener`` have the trusted receive queue, trunks first, and when (seconds)
        the list changes next because a proof or a demotion ends; None: never. A flow from port 0 is left out, because
        port 0 means the whole address in a kernel filter."""
        self._demoted = {key: until for key, until in self._demoted.items() if until > now}
        registered = {
            Source(key[1], key[2]): until
            for key, until in self._registered.items()
            if key[0] == listener.id and key[2] and not key[3] and until > now and key not in self._demoted
        }
        listed = [entry for entry, trunk in self._listed if self._allowed_at(trunk, listener)]
        return [*listed, *registered], min((*registered.values(), *self._demoted.values()), default=None)

    def copy_from(self, live: Standings) -> None:
        """Copy the proofs of ``live``."""
        self._reachable = dict(live._reachable)
        self._registered = dict(live._registered)
        self._accounts = dict(live._accounts)
        self._account_flows = live._account_flows.copy()
        self._proof_uses = live._proof_uses.copy()
        self.nonces = live.nonces.copy()
        self.look_for_secret = live.look_for_secret
        self._proven_at = dict(live._proven_at)
        self._streams_within = dict(live._streams_within)

    def known_at(self, host: str) -> bool:
        """Whether a trunk or a proven UDP flow is at ``host``: the kernel must then not drop the whole address."""
        return host in self._trunk_hosts or host in self._proven_at

    def lists(self, host: str) -> bool:
        """Whether the policy lists ``host`` as the address of a trunk, whatever the port is."""
        return host in self._trunk_hosts or host in self._by_address or self._by_prefix.get(host) is not None

    @property
    def listed(self) -> tuple[str, ...]:
        """The addresses and prefixes for which :meth:`lists` is True."""
        return tuple(listed.host if isinstance(listed, Source) else str(listed) for listed, _ in self._listed)

    def registered_within(self, prefix: str) -> bool:
        """Whether a registered connection comes from ``prefix``, an address or a prefix that can be banned."""
        return prefix in self._streams_within

    def _enter(self, table: dict[FlowKey, float], flow: Flow, until: float) -> None:
        key = flow.key
        before = table.pop(key, None)
        if before is None:
            self._count(table, key, 1)
        table[key] = until
        if before is None or table is self._registered or until - before > limits.REACHABLE_STORED_SECONDS:
            self.changed.note(key)

    def _leave(self, table: dict[FlowKey, float], key: FlowKey) -> None:
        if table.pop(key, None) is not None:
            self._count(table, key, -1)
            self.changed.note(key)
            if table is self._registered:
                for line in self._accounts.pop(key, ()):
                    self._account_flows.remove(line.account, key)
                self._demoted.pop(key, None)
                self.nonces.forget(key)

    def _count(self, table: dict[FlowKey, float], key: FlowKey, change: int) -> None:
        """Update the counts by address and prefix: an attacker can cause look-ups, which must not need a search."""
        host = key[1]
        if not key[3]:
            _add(self._proven_at, host, change)
        elif table is self._registered:
            for prefix in (host, *enclosing_prefixes(host)):
                _add(self._streams_within, prefix, change)


def _given_nonces(response: Response) -> list[str]:
    """The nonces that a response gives to its receiver: those of challenges, and the next one after a success (RFC 7616
    section 3.5)."""
    if response.status in (401, 407):
        return _nonces(response, "WWW-Authenticate", "Proxy-Authenticate")
    if response.status >= 300:
        return []
    nonces = []
    for value in response.get_all("Authentication-Info"):
        try:
            nonce = parse_digest(f"Digest {value}").text("nextnonce")
        except WireError:
            continue
        if nonce:
            nonces.append(nonce)
    return nonces


def _nonces(message: Message, *names: str) -> list[str]:
    """The nonces in the first ``limits.CREDENTIALS`` fields of each of these names; malformed ones are left out."""
    nonces = []
    for name in names:
        for value in message.get_all(name)[: limits.CREDENTIALS]:
            try:
                nonce = parse_digest(value).text("nonce")
            except WireError:
                continue
            if nonce:
                nonces.append(nonce)
    return nonces


def _add(counts: dict[str, int], key: str, change: int) -> None:
    count = counts.get(key, 0) + change
    if count:
        counts[key] = count
    else:
        del counts[key]
