"""The decision ledger: the last decisions of the edge, found by Call-ID and by address."""

from __future__ import annotations

import ipaddress
from collections import deque

import attrs

from edgesbc.base import limits
from edgesbc.base.address import host_port, split_host_port
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.observe.render import DecisionRecord, LedgerEntry, as_record

__all__ = ["Ledger", "WhyAnswer"]

_PROVOKED = frozenset(
    {
        Reason.CORE_SOURCE,
        Reason.ACL_DENIED,
        Reason.BANNED,
        Reason.PIKE,
        Reason.RATELIMIT,
        Reason.CONDUCT,
        Reason.WORK,
        Reason.CONNECTIONS,
        Reason.HANDSHAKE,
    }
    | {Reason.ORIGIN, Reason.MALFORMED, Reason.SANITY, Reason.TOO_LARGE, Reason.SCANNER, Reason.METHOD}
    | {Reason.EXTENSION, Reason.LOOP, Reason.TOO_MANY_HOPS, Reason.NO_DIALOG, Reason.TOKEN, Reason.UNMATCHED}
    | {Reason.INTERNAL, Reason.NO_ROUTE, Reason.DOMAIN, Reason.BLOCKED, Reason.OVERLOAD}
    | {Reason.ADMISSION, Reason.RINGING, Reason.SOURCE_CALLS, Reason.GUESS, Reason.TRUNK_CALLS}
)
"""Reasons of decisions that unproven sources can provoke without limit."""


@attrs.frozen
class WhyAnswer:
    """Decisions about a Call-ID or an address, oldest first; ``left_out`` older ones are left out."""

    decisions: list[DecisionRecord]
    left_out: int = 0

    def sentences(self) -> list[str]:
        """The decisions in plain English, after a line with the number of those left out."""
        heading = [f"{self.left_out} earlier decisions are not shown"] if self.left_out else []
        return heading + [decision["sentence"] for decision in self.decisions]


class Ledger:
    """The last ``capacity`` decisions, in three rings: refusals, bans, and all others.

    Unproven sources can provoke refusals and, with forged addresses, bans without limit. So refusals have half of the
    capacity and bans an eighth: a flood displaces older refusals and bans, but no routes, failovers or changes of
    health. Refusals without a Call-ID, before parsing, are counted in one entry for each source and reason.

    Each ring has an index by Call-ID and by address, so that a search reads only the entries that it returns.
    ``wall_offset`` is wall clock minus the clock of the decisions, in seconds.
    """

    __slots__ = ("_bans", "_folded", "_number", "_other", "_refusals", "wall_offset")

    def __init__(self, wall_offset: float, capacity: int = limits.DECISIONS) -> None:
        self.wall_offset = wall_offset
        eighth = max(1, capacity // 8)
        self._other = _Ring(max(1, capacity - capacity // 2 - eighth))
        self._bans = _Ring(eighth)
        self._refusals = _Ring(max(1, capacity // 2))
        self._number = 0
        self._folded: dict[tuple[Reason, str, str, bool], LedgerEntry] = {}

    def __len__(self) -> int:
        return sum(len(ring.entries) for ring in self._rings)

    @property
    def _rings(self) -> tuple[_Ring, _Ring, _Ring]:
        return self._other, self._bans, self._refusals

    def record(self, decision: Decision) -> None:
        """Add ``decision``; the oldest of its ring is dropped."""
        host = _host(decision.source)
        if decision.reason not in _PROVOKED:
            ring = self._bans if decision.reason is Reason.BAN else self._other
            ring.add(self._entry(decision, host))
            return
        folded = self._folded
        key = (decision.reason, host, decision.stage, decision.shadow)
        if not decision.call_id and (entry := folded.get(key)) is not None:
            entry.repeats += 1
            entry.last = decision.time
            entry.other_ports = entry.other_ports or entry.decision.source != decision.source
            return
        entry = self._entry(decision, host)
        oldest = self._refusals.add(entry)
        if oldest is not None and not oldest.decision.call_id:
            dropped = oldest.decision
            folded.pop((dropped.reason, oldest.host, dropped.stage, dropped.shadow), None)
        if not decision.call_id:
            folded[key] = entry

    def ask(self, key: str) -> WhyAnswer:
        """Decisions about a Call-ID, an address, an address and port, a prefix, or a destination's name.

        An address also finds the bans of its prefixes, and an address and port also the entries that count several
        ports of the address. At most ``limits.LEDGER_ANSWERS`` are returned, the last ones.
        """
        entries = self._find(key.strip())
        left_out = max(len(entries) - limits.LEDGER_ANSWERS, 0)
        return WhyAnswer([as_record(entry, self.wall_offset) for entry in entries[left_out:]], left_out)

    def _find(self, key: str) -> list[LedgerEntry]:
        """The entries that match ``key``, oldest first, each once."""
        if not key:
            return []
        call_id = key[: limits.LEDGER_TEXT_CHARS]
        query = _Query(key)
        entries: dict[int, LedgerEntry] = {}
        for ring in self._rings:
            for entry in ring.by_call.get(call_id, ()):
                entries[id(entry)] = entry
            for host in query.hosts:
                entries.update((id(entry), entry) for entry in ring.by_host.get(host, ()) if query.matches(entry))
        return sorted(entries.values(), key=lambda entry: entry.number)

    def _entry(self, decision: Decision, host: str) -> LedgerEntry:
        """The next entry, with a peer's texts cut to ``limits.LEDGER_TEXT_CHARS``."""
        bound = limits.LEDGER_TEXT_CHARS
        if len(decision.call_id) > bound:
            decision.call_id = decision.call_id[:bound]
        if len(decision.detail) > bound:
            decision.detail = decision.detail[:bound]
        self._number += 1
        return LedgerEntry(decision, host, self._number)


class _Ring:
    """At most ``capacity`` entries in the order of their arrival, with an index by Call-ID and by host.

    An entry is removed from the index when it leaves the ring: the index has at most two keys for each entry. The
    entry that leaves is the oldest of all, and so the first under its keys.
    """

    __slots__ = ("by_call", "by_host", "capacity", "entries")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.entries: deque[LedgerEntry] = deque()
        self.by_call: dict[str, list[LedgerEntry]] = {}
        self.by_host: dict[str, list[LedgerEntry]] = {}

    def add(self, entry: LedgerEntry) -> LedgerEntry | None:
        """Add ``entry``; returns the one that it displaces, if any."""
        oldest = None
        if len(self.entries) >= self.capacity:
            oldest = self.entries.popleft()
            _remove_oldest(self.by_call, oldest.decision.call_id)
            _remove_oldest(self.by_host, oldest.host)
        self.entries.append(entry)
        _insert(self.by_call, entry.decision.call_id, entry)
        _insert(self.by_host, entry.host, entry)
        return oldest


def _insert(index: dict[str, list[LedgerEntry]], key: str, entry: LedgerEntry) -> None:
    if not key:
        return
    entries = index.get(key)
    if entries is None:
        index[key] = [entry]  # a list, since most keys have one entry: a deque takes ten times the memory
    else:
        entries.append(entry)


def _remove_oldest(index: dict[str, list[LedgerEntry]], key: str) -> None:
    if not key:
        return
    entries = index[key]
    if len(entries) == 1:
        del index[key]
    else:
        del entries[0]


class _Query:
    """A key of a search as an address: the hosts to look up, and which of their entries match."""

    __slots__ = ("_source", "hosts")

    def __init__(self, key: str) -> None:
        self._source = ""
        """Address and port, if the key has a port."""
        self.hosts = _address_or_prefix(key)
        if not self.hosts:
            try:
                host, port = split_host_port(key)
            except ValueError:
                self.hosts = (key.lower(),)  # the name of a destination, or a Call-ID, for which no host is indexed
                return
            self.hosts = _address_or_prefix(host)
            self._source = host_port(self.hosts[0], port) if self.hosts else ""

    def matches(self, entry: LedgerEntry) -> bool:
        return not self._source or entry.decision.source in (self._source, entry.host) or entry.other_ports


def _address_or_prefix(key: str) -> tuple[str, ...]:
    """An address with the prefixes of it that can be banned, or a prefix, in the ledger's notation."""
    try:
        if "/" in key:
            return (str(ipaddress.ip_network(key, strict=False)),)
        address = ipaddress.ip_address(key.strip("[]"))
    except ValueError:
        return ()
    lengths = (24,) if address.version == 4 else (64, 48)
    return (str(address), *(str(ipaddress.ip_network((address, bits), strict=False)) for bits in lengths))


def _host(source: str) -> str:
    """The address in ``address:port`` or ``[address]:port``; an address or prefix alone is returned unchanged."""
    if source.startswith("["):
        return source[1:].partition("]")[0]
    return source.partition(":")[0] if source.count(":") == 1 else source
