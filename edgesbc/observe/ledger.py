"""The ledger: what the edge decided of late, found by Call-ID and by address. Counts nothing, logs nothing."""

from __future__ import annotations

import ipaddress
from collections import deque

import attrs

from edgesbc.base import limits
from edgesbc.base.address import host_port, split_host_port
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.observe.render import DecisionRecord, LedgerEntry, as_record, sentence

__all__ = ["Ledger", "WhyAnswer"]

_MADE_BY_STRANGERS = frozenset(
    {
        Reason.ACL_DENIED,
        Reason.BANNED,
        Reason.PIKE,
        Reason.RATELIMIT,
        Reason.CONDUCT,
        Reason.CONNECTIONS,
        Reason.HANDSHAKE,
    }
    | {Reason.ORIGIN, Reason.MALFORMED, Reason.SANITY, Reason.TOO_LARGE, Reason.SCANNER, Reason.METHOD}
    | {Reason.EXTENSION, Reason.LOOP, Reason.TOO_MANY_HOPS, Reason.NO_DIALOG, Reason.UNMATCHED}
    | {Reason.INTERNAL, Reason.NO_ROUTE, Reason.BLOCKED, Reason.OVERLOAD}
    | {Reason.ADMISSION, Reason.RINGING, Reason.GUESS, Reason.TRUNK_CALLS}
)
"""What a stranger can make the edge record as often as he likes."""


@attrs.frozen
class WhyAnswer:
    """What the ledger knows of a Call-ID or an address, oldest first; ``left_out`` older decisions are not told."""

    decisions: list[DecisionRecord]
    left_out: int = 0

    def sentences(self) -> list[str]:
        """The decisions in plain English, after a line that says how many came before."""
        heading = [f"{self.left_out} earlier decisions are not shown"] if self.left_out else []
        return heading + [told["sentence"] for told in self.decisions]


class Ledger:
    """The last ``capacity`` decisions, most of half of them reserved for what strangers cannot provoke at will.

    A flood of refusals can thus wash away older refusals, but never routes, failovers, penalties and
    health changes. Penalties, which forged sources provoke, have an eighth that is theirs alone.
    Refusals before anything was parsed (no Call-ID) fold into one entry a source and reason, which
    leaves a flooder one line and not all of them.

    Each part has an index by Call-ID and by address, so that asking looks only at what it tells.
    ``wall_offset`` is wall clock minus the clock of the decisions, in seconds.
    """

    __slots__ = ("_folded", "_number", "_ours", "_penalties", "_theirs", "wall_offset")

    def __init__(self, wall_offset: float, capacity: int = limits.DECISIONS) -> None:
        self.wall_offset = wall_offset
        eighth = max(1, capacity // 8)
        self._ours = _Ring(max(1, capacity - capacity // 2 - eighth))
        self._penalties = _Ring(eighth)
        self._theirs = _Ring(max(1, capacity // 2))
        self._number = 0
        self._folded: dict[tuple[Reason, str, str, bool], LedgerEntry] = {}

    def __len__(self) -> int:
        return sum(len(ring.entries) for ring in self._rings)

    @property
    def _rings(self) -> tuple[_Ring, _Ring, _Ring]:
        return self._ours, self._penalties, self._theirs

    def record(self, decision: Decision) -> None:
        """Keep ``decision``; the oldest of its part gives way."""
        host = _host(decision.source)
        if decision.reason not in _MADE_BY_STRANGERS:
            ring = self._penalties if decision.reason is Reason.BAN else self._ours
            ring.add(self._entry(decision, host))
            return
        folded = self._folded
        key = (decision.reason, host, decision.stage, decision.shadow)
        if not decision.call_id and (same := folded.get(key)) is not None:
            same.repeats += 1
            same.last = decision.time
            same.other_ports = same.other_ports or same.decision.source != decision.source
            return
        entry = self._entry(decision, host)
        oldest = self._theirs.add(entry)
        if oldest is not None and not oldest.decision.call_id:
            gone = oldest.decision
            folded.pop((gone.reason, oldest.host, gone.stage, gone.shadow), None)
        if not decision.call_id:
            folded[key] = entry

    def ask(self, key: str) -> WhyAnswer:
        """What was decided about a Call-ID, an address, an address and port, a prefix, or a destination's name.

        An address also finds the penalties of the prefixes that it is in, and an address and port what was
        folded with others of the address. Of many, the last ``limits.LEDGER_ANSWERS`` are told.
        """
        found = self._find(key.strip())
        left_out = max(len(found) - limits.LEDGER_ANSWERS, 0)
        return WhyAnswer([as_record(entry, self.wall_offset) for entry in found[left_out:]], left_out)

    def why(self, key: str) -> list[str]:
        """The answer to :meth:`ask` as sentences; none where nothing is known."""
        return self.ask(key).sentences()

    def recent(self, count: int) -> list[str]:
        """The last ``count`` decisions as sentences, oldest first. Looks through all."""
        entries = sorted((each for ring in self._rings for each in ring.entries), key=lambda entry: entry.last)
        return [sentence(entry, self.wall_offset) for entry in entries[-count:]] if count > 0 else []

    def _find(self, key: str) -> list[LedgerEntry]:
        """The entries of ``key``, oldest first, each once."""
        if not key:
            return []
        call_id = key[: limits.LEDGER_TEXT_CHARS]
        wanted = _Wanted(key)
        found: dict[int, LedgerEntry] = {}
        for ring in self._rings:
            for entry in ring.by_call.get(call_id, ()):
                found[id(entry)] = entry
            for host in wanted.hosts:
                found.update((id(entry), entry) for entry in ring.by_host.get(host, ()) if wanted.has(entry))
        return sorted(found.values(), key=lambda entry: entry.number)

    def _entry(self, decision: Decision, host: str) -> LedgerEntry:
        """The next entry; it holds no more of a peer's text than the bound says."""
        bound = limits.LEDGER_TEXT_CHARS
        if len(decision.call_id) > bound:
            decision.call_id = decision.call_id[:bound]
        if len(decision.detail) > bound:
            decision.detail = decision.detail[:bound]
        self._number += 1
        return LedgerEntry(decision, host, self._number)


class _Ring:
    """At most ``capacity`` entries in the order of their coming, and where those of a call or an address are.

    An entry stands under its Call-ID and under its host, and leaves both when it leaves the ring: the index never
    has more keys than two an entry. What leaves is the oldest of all, and so the oldest under its keys.
    """

    __slots__ = ("by_call", "by_host", "capacity", "entries")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.entries: deque[LedgerEntry] = deque()
        self.by_call: dict[str, list[LedgerEntry]] = {}
        self.by_host: dict[str, list[LedgerEntry]] = {}

    def add(self, entry: LedgerEntry) -> LedgerEntry | None:
        """Take in ``entry``; returns the one that gave way."""
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
    under = index.get(key)
    if under is None:
        index[key] = [entry]  # a list, since most keys have one entry: a deque takes ten times the memory
    else:
        under.append(entry)


def _remove_oldest(index: dict[str, list[LedgerEntry]], key: str) -> None:
    if not key:
        return
    under = index[key]
    if len(under) == 1:
        del index[key]
    else:
        del under[0]


class _Wanted:
    """What the text of a question means as an address: the hosts to look under, and which entries there are meant."""

    __slots__ = ("_source", "hosts")

    def __init__(self, key: str) -> None:
        self._source = ""
        """Address and port, where one port is meant."""
        self.hosts = _address_or_prefix(key)
        if not self.hosts:
            try:
                host, port = split_host_port(key)
            except ValueError:
                self.hosts = (key.lower(),)  # the name of a destination, or a Call-ID, which nothing is under
                return
            self.hosts = _address_or_prefix(host)
            self._source = host_port(self.hosts[0], port) if self.hosts else ""

    def has(self, entry: LedgerEntry) -> bool:
        return not self._source or entry.decision.source in (self._source, entry.host) or entry.other_ports


def _address_or_prefix(key: str) -> tuple[str, ...]:
    """An address and the prefixes that can be banned with it, or a prefix, as the ledger writes them."""
    try:
        if "/" in key:
            return (str(ipaddress.ip_network(key, strict=False)),)
        address = ipaddress.ip_address(key.strip("[]"))
    except ValueError:
        return ()
    lengths = (24,) if address.version == 4 else (64, 48)
    return (str(address), *(str(ipaddress.ip_network((address, bits), strict=False)) for bits in lengths))


def _host(source: str) -> str:
    """The address in ``address:port`` or ``[address]:port``; an address or prefix alone is itself."""
    if source.startswith("["):
        return source[1:].partition("]")[0]
    return source.partition(":")[0] if source.count(":") == 1 else source
