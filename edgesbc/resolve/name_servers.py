"""A client of name servers by dnspython: one question, one answer, no cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdata
import dns.resolver
import trio
from dns.nameserver import Do53Nameserver
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.resolve.rfc3263 import DnsAnswer, DnsQuestion, NaptrRecord, SrvRecord

__all__ = ["NameServers"]

_EDNS_BYTES = 1_232
"""The size of a datagram that needs no fragments on any path: single fragments can be forged."""


class NameServers:
    """The name servers at ``addresses`` or, if there are none, those in ``/etc/resolv.conf``."""

    def __init__(self, addresses: Sequence[Source]) -> None:
        self._addresses = addresses
        self._resolver: dns.asyncresolver.Resolver | None = None

    def reload(self) -> None:
        """Read ``/etc/resolv.conf`` again before the next question."""
        self._resolver = None

    async def ask(self, question: DnsQuestion, seconds: float) -> DnsAnswer:
        """The answer to ``question``; one that failed after ``seconds``. Datagrams that do not answer it are
        ignored."""
        answer: dns.resolver.Answer | None = None
        try:
            resolver = await self._get_resolver()  # not counted in the seconds
            with trio.move_on_after(seconds):  # dnspython's own time limit uses the wall clock, which may be set back
                answer = await _resolve(resolver, question, seconds)
        except dns.resolver.NXDOMAIN:
            return DnsAnswer((), limits.DNS_SECONDS_NONE)
        except (dns.exception.DNSException, OSError):
            return DnsAnswer(failed=True)
        if answer is None:
            return DnsAnswer(failed=True)
        ttl = float(answer.chaining_result.minimum_ttl)
        if answer.rrset is None:
            return DnsAnswer((), min(ttl, limits.DNS_SECONDS_NONE))
        return DnsAnswer(tuple(_records(answer.rrset)), ttl)

    async def _get_resolver(self) -> dns.asyncresolver.Resolver:
        """Raises ``dns.resolver.NoResolverConfiguration`` if the system configures no server."""
        if self._resolver is None:
            self._resolver = await trio.to_thread.run_sync(self._make_resolver)  # it reads files
        return self._resolver

    def _make_resolver(self) -> dns.asyncresolver.Resolver:
        dns.rdata.load_all_types()  # type: ignore[no-untyped-call]  # or each type would be imported when an answer first has it
        resolver = dns.asyncresolver.Resolver(configure=not self._addresses)
        if self._addresses:
            resolver.nameservers = [Do53Nameserver(host, port) for host, port in self._addresses]
        resolver.use_edns(0, 0, _EDNS_BYTES)
        return resolver


async def _resolve(resolver: dns.asyncresolver.Resolver, question: DnsQuestion, seconds: float) -> dns.resolver.Answer:
    name = dns.name.from_text(question.name)
    trio_backend = dns.asyncbackend.get_backend("trio")
    return await resolver.resolve(
        name, question.kind, raise_on_no_answer=False, search=False, lifetime=seconds, backend=trio_backend
    )


def _records(rrset: Iterable[object]) -> Iterable[NaptrRecord | SrvRecord | str]:
    for record in rrset:
        if isinstance(record, (A, AAAA)):
            yield record.address
        elif isinstance(record, SRV):
            yield SrvRecord(record.priority, record.weight, record.port, _name(record.target))
        elif isinstance(record, NAPTR):
            texts = (_text(record.flags), _text(record.service), _text(record.regexp))
            yield NaptrRecord(record.order, record.preference, *texts, _name(record.replacement))


def _name(name: dns.name.Name) -> str:
    """The name in lower case without the last dot; empty for the root. Bytes that are no letters appear as
    ``\\DDD``."""
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
