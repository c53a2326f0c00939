"""The procedure of RFC 3263 section 4, sans-I/O: from a host name to addresses in order, as a generator of
questions."""

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
    """A name and a record type: ``NAPTR``, ``SRV``, ``A`` or ``AAAA``."""

    name: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} of {self.name}"


class NaptrRecord(NamedTuple):
    """A NAPTR record (RFC 3403 section 4.1); ``replacement`` is empty for the root."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


class SrvRecord(NamedTuple):
    """An SRV record (RFC 2782); ``target`` is empty for the root, which means that the service is not available."""

    priority: int
    weight: int
    port: int
    target: str


class DnsAnswer(NamedTuple):
    """The records, or literal addresses, that answer a question, valid for ``ttl`` seconds; empty if there are none.
    ``failed``: there was no valid response."""

    records: tuple[NaptrRecord | SrvRecord | str, ...] = ()
    ttl: float = math.inf
    failed: bool = False


class Located(NamedTuple):
    """The addresses of a name: ``targets`` in order, valid for ``ttl`` seconds.

    ``failed`` are the questions without a valid response, ``remarks`` the records that are not used, with the reason.
    """

    targets: tuple[ResolvedAddress, ...]
    ttl: float
    failed: tuple[DnsQuestion, ...]
    remarks: tuple[str, ...]


class _Host(NamedTuple):
    """A host that provides the service: from an SRV record, or the name itself."""

    name: str
    port: int
    transport: Transport
    weight: int = 1


_Questions = Generator[DnsQuestion, DnsAnswer, None]
_HostGroup = list[_Host]
"""Hosts of one priority."""

_SERVICES = {Transport.TLS: "SIPS+D2T", Transport.TCP: "SIP+D2T", Transport.UDP: "SIP+D2U"}
_PREFIXES = {Transport.TLS: "_sips._tcp", Transport.TCP: "_sip._tcp", Transport.UDP: "_sip._udp"}
"""RFC 3263 section 4.1, in the order in which they are tried if the domain has no NAPTR records."""
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
"""RFC 1122 section 3.2.1.3: never a destination; the kernel interprets 0.0.0.0 as this machine."""


def locate(server_uri: ServerUri, listeners: Sequence[Listener]) -> Generator[DnsQuestion, DnsAnswer, Located]:
    """A generator that yields questions, is sent their answers, and returns the addresses of ``server_uri`` that can be
    reached from ``listeners``."""
    lookup = _Lookup(listeners)
    transport = server_uri.transport or (Transport.TLS if server_uri.secure else Transport.UDP)
    port = transport.default_port if server_uri.port is None else server_uri.port
    itself = _Host(server_uri.host, port, transport)
    groups: list[_HostGroup] = []
    if server_uri.port is not None:
        groups = [[itself]]  # with a port, NAPTR and SRV are not used (section 4.2)
    else:
        no_records = yield from lookup.services(server_uri, groups)
        if no_records:
            groups = [[itself]]
    targets = yield from lookup.addresses(groups, server_uri.host)
    return Located(tuple(targets), lookup.ttl, tuple(lookup.failed), tuple(lookup.remarks))


class _Lookup:
    """The state of the look-up of one name."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners
        self._answers: dict[DnsQuestion, DnsAnswer] = {}
        self.ttl = math.inf
        self.failed: list[DnsQuestion] = []
        self.remarks: list[str] = []

    def _ask(self, name: str, kind: str) -> Generator[DnsQuestion, DnsAnswer, DnsAnswer]:
        """The answer to a question, which is asked once; beyond ``limits.DNS_QUESTIONS`` it is empty."""
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
        return any(listener.transport is transport for listener in self._listeners)

    # --- hosts and transports (section 4.1) --------------------------------------------------------------

    def services(self, server_uri: ServerUri, groups: list[_HostGroup]) -> Generator[DnsQuestion, DnsAnswer, bool]:
        """Add the hosts that provide the service to ``groups``; true if there are no records for it, so that the name
        itself is the host."""
        if server_uri.transport is None or server_uri.secure:
            answer = yield from self._ask(server_uri.host, "NAPTR")
            records = [record for record in answer.records if isinstance(record, NaptrRecord) and _is_sip(record)]
            if answer.failed or records:
                # No transport is guessed for a domain without a valid response, or with transports that the edge has
                # not: an attacker that suppresses a response could choose the transport otherwise (section 4.1).
                yield from self._by_naptr(server_uri, records, groups)
                return False
        transports = (
            [server_uri.transport]
            if server_uri.transport
            else [transport for transport in _PREFIXES if self._can(transport)]
        )
        no_records = True
        for transport in transports:
            has_records = yield from self._by_srv(f"{_PREFIXES[transport]}.{server_uri.host}", transport, groups)
            no_records = no_records and not has_records
        return no_records

    def _by_naptr(self, server_uri: ServerUri, records: Iterable[NaptrRecord], groups: list[_HostGroup]) -> _Questions:
        """RFC 3403 section 4.1: records of the lowest order that the edge can use; of a higher one only if those have
        no hosts."""
        usable = [(transport, record) for record in records for transport in self._transport_of(record, server_uri)]
        usable.sort(key=lambda pair: (pair[1].order, pair[1].preference, pair[1].replacement))
        if records and not usable:
            self._remark(f"NAPTR of {server_uri.host}: no transport that the edge has a listener for")
        for _, same_order in groupby(usable, lambda pair: pair[1].order):
            for transport, record in same_order:
                yield from self._by_srv(record.replacement, transport, groups)
            if groups or self.failed:
                return

    def _transport_of(self, record: NaptrRecord, server_uri: ServerUri) -> list[Transport]:
        """The transport of a record, or none if it cannot be used for ``server_uri``."""
        if record.flags.upper() != "S" or record.regexp or not record.replacement:
            return []
        allowed = [Transport.TLS] if server_uri.secure else list(_SERVICES)
        return [
            transport
            for transport in allowed
            if _SERVICES[transport] == record.service.upper() and self._can(transport)
        ]

    def _by_srv(
        self, name: str, transport: Transport, groups: list[_HostGroup]
    ) -> Generator[DnsQuestion, DnsAnswer, bool]:
        """Add the hosts of an SRV name to ``groups``, one for each priority; false if there certainly are no such
        records."""
        answer = yield from self._ask(name, "SRV")
        records = sorted(
            (record for record in answer.records if isinstance(record, SrvRecord)),
            key=lambda record: (record.priority, -record.weight, record.target, record.port),
        )
        if len(records) > limits.TARGETS:
            self._remark(f"SRV of {name}: {len(records)} records, of which {limits.TARGETS} are used")
        for _, same_priority in groupby(records[: limits.TARGETS], lambda record: record.priority):
            usable = [record for record in same_priority if self._is_usable(name, record)]
            group = [_Host(record.target, record.port, transport, record.weight) for record in usable]
            if group:
                groups.append(group)
        return bool(records) or answer.failed

    def _is_usable(self, name: str, record: SrvRecord) -> bool:
        if not record.target:
            self._remark(f"SRV of {name}: the service is not available there")
        elif not record.port:
            self._remark(f"SRV of {name}: expected a port from 1 to 65535, found 0")
        return bool(record.target and record.port)

    # --- addresses (section 4.2) -------------------------------------------------------------------------

    def addresses(
        self, groups: Iterable[_HostGroup], name: str
    ) -> Generator[DnsQuestion, DnsAnswer, list[ResolvedAddress]]:
        """The addresses of all hosts of ``name``, each once, at its best priority; priorities from 0 on without a
        gap."""
        seen: set[tuple[Source, Transport]] = set()
        targets: list[ResolvedAddress] = []
        priority = 0
        for group in groups:
            hosts: list[tuple[_Host, list[Source]]] = []
            for host in group:
                sources = yield from self._sources(host)
                fresh = [source for source in sources if (source, host.transport) not in seen]
                seen.update((source, host.transport) for source in fresh)
                if fresh:
                    hosts.append((host, fresh))
            targets += _weighted_targets(hosts, priority, name)
            priority += bool(hosts)
            if len(targets) > limits.TARGETS:
                self._remark(f"more than {limits.TARGETS} addresses, of which the first are used")
                break
        return targets[: limits.TARGETS]

    def _sources(self, host: _Host) -> Generator[DnsQuestion, DnsAnswer, list[Source]]:
        """The addresses of a host, sorted as text: servers rotate their answers, which must not count as a change."""
        sources: list[Source] = []
        able = [listener for listener in self._listeners if listener.transport is host.transport]
        for kind, ipv6 in (("AAAA", True), ("A", False)):
            senders = [listener for listener in able if _is_ipv6(listener) is ipv6]
            if senders:
                answer = yield from self._ask(host.name, kind)
                for text in sorted({record for record in answer.records if isinstance(record, str)}):
                    source = Source(str(ip_address(text)), host.port)
                    problem = _problem_of(source, host.transport, senders, self._listeners)
                    if problem:
                        self._remark(f"{kind} of {host.name}: {source.host} {problem}")
                    else:
                        sources.append(source)
        if not able:
            self._remark(f"{host.name}: no listener for {host.transport} to send from")
        return sources


def _is_sip(record: NaptrRecord) -> bool:
    return record.service.upper().startswith(("SIP+", "SIPS+"))


def _is_ipv6(listener: Listener) -> bool:
    return ":" in listener.host


def _problem_of(
    source: Source, transport: Transport, senders: Sequence[Listener], listeners: Sequence[Listener]
) -> str | None:
    """Why an address of a name is not used; None if it is.

    The owner of a name can give it any address, also that of this machine, a multicast group or a link-local service.
    An operator can use such an address by writing it literally.
    """
    address = ip_address(source.host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return "is an IPv4-mapped IPv6 address"
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return "is not the address of one host that can be reached"
    if address.version == 4 and (address.is_reserved or address in _THIS_NETWORK):
        return "is not the address of one host that can be reached"
    if address.is_loopback and not any(ip_address(listener.host).is_loopback for listener in senders):
        return "is this machine, and no listener that would send is on loopback"
    datagrams = transport is Transport.UDP
    for listener in listeners:
        own = ((listener.host, listener.port), (listener.advertise_host, listener.advertise_port))
        if source in own and (listener.transport is Transport.UDP) is datagrams:
            return f"is the listener {listener.name} of this edge at {source}: calls would go round"
    return None


def _weighted_targets(
    hosts: Sequence[tuple[_Host, Sequence[Source]]], priority: int, name: str
) -> list[ResolvedAddress]:
    """The targets of one priority of ``name``. A host has the weight of its record, however many addresses it has."""
    whole = math.lcm(*[len(sources) for _, sources in hosts])
    targets: list[ResolvedAddress] = []
    for host, sources in hosts:
        weight, other_name = host.weight * whole // len(sources), "" if host.name == name else host.name
        targets += [ResolvedAddress(source, host.transport, priority, weight, other_name) for source in sources]
    return targets
