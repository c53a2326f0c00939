"""The procedure of RFC 3263 section 4: from a host name to addresses in order. It says what to ask, and asks nobody."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, ip_address
from itertools import groupby
from typing import NamedTuple

from edgesbc.base import limits
from edgesbc.base.address import Listener, Source, Transport
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri

__all__ = ["DnsAnswer", "DnsQuestion", "Located", "NaptrRecord", "SrvRecord", "locate"]


class DnsQuestion(NamedTuple):
    """A name and the type of the records that are wanted: ``NAPTR``, ``SRV``, ``A`` or ``AAAA``."""

    name: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} of {self.name}"


class NaptrRecord(NamedTuple):
    """RFC 3403 section 4.1; ``replacement`` is empty where the record has the root."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


class SrvRecord(NamedTuple):
    """RFC 2782; ``target`` is empty where the record has the root, which means that the service is not there."""

    priority: int
    weight: int
    port: int
    target: str


class DnsAnswer(NamedTuple):
    """The records, or literal addresses, that a question has; empty: there are none, and for ``ttl`` seconds that
    holds. ``failed``: nobody said whether there are any."""

    records: tuple[NaptrRecord | SrvRecord | str, ...] = ()
    ttl: float = math.inf
    failed: bool = False


class Located(NamedTuple):
    """Where a name leads: ``targets`` in order, for ``ttl`` seconds.

    ``failed`` are the questions that nobody answered, ``remarks`` what was found and is not used, and why.
    """

    targets: tuple[ResolvedAddress, ...]
    ttl: float
    failed: tuple[DnsQuestion, ...]
    remarks: tuple[str, ...]


class _Host(NamedTuple):
    """One host that serves: what an SRV record says, or the name itself."""

    name: str
    port: int
    transport: Transport
    weight: int = 1


_Asking = Generator[DnsQuestion, DnsAnswer, None]
_Group = list[_Host]
"""Hosts of one priority."""

_SERVICES = {Transport.TLS: "SIPS+D2T", Transport.TCP: "SIP+D2T", Transport.UDP: "SIP+D2U"}
_PREFIXES = {Transport.TLS: "_sips._tcp", Transport.TCP: "_sip._tcp", Transport.UDP: "_sip._udp"}
"""RFC 3263 section 4.1. In the order in which they are tried where the domain has no NAPTR records."""
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
"""RFC 1122 section 3.2.1.3: never a destination; the kernel takes 0.0.0.0 for this machine."""


def locate(place: ServerUri, listeners: Sequence[Listener]) -> Generator[DnsQuestion, DnsAnswer, Located]:
    """Yields questions, is sent their answers, and returns where ``place`` leads from ``listeners``."""
    search = _Lookup(listeners)
    transport = place.transport or (Transport.TLS if place.secure else Transport.UDP)
    port = transport.default_port if place.port is None else place.port
    itself = _Host(place.host, port, transport)
    groups: list[_Group] = []
    if place.port is not None:
        groups = [[itself]]  # whoever names a port has decided (section 4.2)
    else:
        alone = yield from search.services(place, groups)
        if alone:
            groups = [[itself]]
    targets = yield from search.addresses(groups)
    return Located(tuple(targets), search.ttl, tuple(search.failed), tuple(search.remarks))


class _Lookup:
    """What is known so far of one name."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners
        self._answers: dict[DnsQuestion, DnsAnswer] = {}
        self.ttl = math.inf
        self.failed: list[DnsQuestion] = []
        self.remarks: list[str] = []

    def _ask(self, name: str, kind: str) -> Generator[DnsQuestion, DnsAnswer, DnsAnswer]:
        """Each question once; those over the bound fail unasked."""
        question = DnsQuestion(name.lower().removesuffix("."), kind)
        answer = self._answers.get(question)
        if answer is None:
            if len(self._answers) >= limits.DNS_QUESTIONS:
                self._remark(f"more than {limits.DNS_QUESTIONS} questions for one name")
                return DnsAnswer()
            answer = self._answers[question] = yield question
            self.ttl = min(self.ttl, answer.ttl)
            if answer.failed:
                self.failed.append(question)
        return answer

    def _remark(self, text: str) -> None:
        if len(self.remarks) < limits.DNS_REMARKS and text not in self.remarks:
            self.remarks.append(text)

    def _can(self, transport: Transport) -> bool:
        return any(each.transport is transport for each in self._listeners)

    # --- who serves (section 4.1) ------------------------------------------------------------------------

    def services(self, place: ServerUri, groups: list[_Group]) -> Generator[DnsQuestion, DnsAnswer, bool]:
        """Find the hosts that serve; true where no record says who does, and the name itself is the host."""
        if place.transport is None or place.secure:
            answer = yield from self._ask(place.host, "NAPTR")
            records = [each for each in answer.records if isinstance(each, NaptrRecord) and _speaks_sip(each)]
            if answer.failed or records:
                # A domain that could not be asked, or that offers what the edge cannot do, is not
                # guessed at: who can suppress an answer would choose the transport (section 4.1).
                yield from self._by_naptr(place, records, groups)
                return False
        transports = [place.transport] if place.transport else [each for each in _PREFIXES if self._can(each)]
        alone = True
        for transport in transports:
            there = yield from self._by_srv(f"{_PREFIXES[transport]}.{place.host}", transport, groups)
            alone = alone and not there
        return alone

    def _by_naptr(self, place: ServerUri, records: Iterable[NaptrRecord], groups: list[_Group]) -> _Asking:
        """RFC 3403 section 4.1: of the lowest order that the edge can do; of a higher one only where that is empty."""
        usable = [(transport, each) for each in records for transport in self._transport_of(each, place)]
        usable.sort(key=lambda found: (found[1].order, found[1].preference, found[1].replacement))
        if records and not usable:
            self._remark(f"NAPTR of {place.host}: no transport that the edge has a listener for")
        for _, same in groupby(usable, lambda found: found[1].order):
            for transport, record in same:
                yield from self._by_srv(record.replacement, transport, groups)
            if groups or self.failed:
                return

    def _transport_of(self, record: NaptrRecord, place: ServerUri) -> list[Transport]:
        """The transport that a record stands for, where it can be used for ``place``."""
        if record.flags.upper() != "S" or record.regexp or not record.replacement:
            return []
        able = [Transport.TLS] if place.secure else list(_SERVICES)
        return [each for each in able if _SERVICES[each] == record.service.upper() and self._can(each)]

    def _by_srv(self, name: str, transport: Transport, groups: list[_Group]) -> Generator[DnsQuestion, DnsAnswer, bool]:
        """The hosts of an SRV name, a group for each priority; false where there surely are no such records."""
        answer = yield from self._ask(name, "SRV")
        records = sorted(
            (each for each in answer.records if isinstance(each, SrvRecord)),
            key=lambda each: (each.priority, -each.weight, each.target, each.port),
        )
        if len(records) > limits.TARGETS:
            self._remark(f"SRV of {name}: {len(records)} records, of which {limits.TARGETS} are used")
        for _, same in groupby(records[: limits.TARGETS], lambda each: each.priority):
            group = [_Host(each.target, each.port, transport, each.weight) for each in same if self._serves(name, each)]
            if group:
                groups.append(group)
        return bool(records) or answer.failed

    def _serves(self, name: str, record: SrvRecord) -> bool:
        if not record.target:
            self._remark(f"SRV of {name}: the service is not available there")
        elif not record.port:
            self._remark(f"SRV of {name}: expected a port from 1 to 65535, found 0")
        return bool(record.target and record.port)

    # --- at which addresses (section 4.2) ----------------------------------------------------------------

    def addresses(self, groups: Iterable[_Group]) -> Generator[DnsQuestion, DnsAnswer, list[ResolvedAddress]]:
        """The addresses of all hosts, each once, where it is best; priorities from 0 on without a gap."""
        seen: set[tuple[Source, Transport]] = set()
        targets: list[ResolvedAddress] = []
        priority = 0
        for group in groups:
            found: list[tuple[_Host, list[Source]]] = []
            for host in group:
                sources = yield from self._sources(host)
                fresh = [each for each in sources if (each, host.transport) not in seen]
                seen.update((each, host.transport) for each in fresh)
                if fresh:
                    found.append((host, fresh))
            targets += _weighed(found, priority)
            priority += bool(found)
            if len(targets) > limits.TARGETS:
                self._remark(f"more than {limits.TARGETS} addresses, of which the first are used")
                break
        return targets[: limits.TARGETS]

    def _sources(self, host: _Host) -> Generator[DnsQuestion, DnsAnswer, list[Source]]:
        """In the order of their text: servers rotate their answers, which is to change nothing here."""
        sources: list[Source] = []
        for kind, six in (("AAAA", True), ("A", False)):
            senders = [each for each in self._listeners if each.transport is host.transport and _six(each) is six]
            if senders:
                answer = yield from self._ask(host.name, kind)
                for text in sorted({each for each in answer.records if isinstance(each, str)}):
                    source = Source(str(ip_address(text)), host.port)
                    wrong = _unusable(source, host.transport, senders, self._listeners)
                    if wrong:
                        self._remark(f"{kind} of {host.name}: {source.host} {wrong}")
                    else:
                        sources.append(source)
        if not any(each.transport is host.transport for each in self._listeners):
            self._remark(f"{host.name}: no listener for {host.transport} to send from")
        return sources


def _speaks_sip(record: NaptrRecord) -> bool:
    return record.service.upper().startswith(("SIP+", "SIPS+"))


def _six(listener: Listener) -> bool:
    return ":" in listener.host


def _unusable(
    source: Source, transport: Transport, senders: Sequence[Listener], listeners: Sequence[Listener]
) -> str | None:
    """Why nothing is sent to an address that a name has; None where it may be.

    Whoever holds a name can let it stand for any address: for this machine, for all of a network, for
    what answers on the link without asking who asks. The operator who means those writes them himself.
    """
    address = ip_address(source.host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return "is an IPv4 address in the clothes of IPv6"
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return "is not the address of one host that can be reached"
    if address.version == 4 and (address.is_reserved or address in _THIS_NETWORK):
        return "is not the address of one host that can be reached"
    if address.is_loopback and not any(ip_address(each.host).is_loopback for each in senders):
        return "is this machine, and no listener that would send is on loopback"
    datagrams = transport is Transport.UDP
    for each in listeners:
        own = ((each.host, each.port), (each.advertise_host, each.advertise_port))
        if source in own and (each.transport is Transport.UDP) is datagrams:
            return f"is the listener {each.name} of this edge at {source}: calls would go round"
    return None


def _weighed(found: Sequence[tuple[_Host, Sequence[Source]]], priority: int) -> list[ResolvedAddress]:
    """The targets of one priority. A host's share is that of its record, however many addresses it has."""
    whole = math.lcm(*[len(sources) for _, sources in found])
    return [
        ResolvedAddress(source, host.transport, priority, host.weight * whole // len(sources))
        for host, sources in found
        for source in sources
    ]
