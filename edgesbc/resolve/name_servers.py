"""One question to the name servers and its answer, by dnspython. Keeps no answers, and knows no destination."""

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
"""What a datagram carries over every path without fragments, which could be forged one by one."""


class NameServers:
    """Those at ``addresses``, or where there are none, those that the system names in ``/etc/resolv.conf``."""

    def __init__(self, addresses: Sequence[Source]) -> None:
        self._addresses = addresses
        self._resolver: dns.asyncresolver.Resolver | None = None

    def read_again(self) -> None:
        """Read anew, before the next question, which servers the system names."""
        self._resolver = None

    async def ask(self, question: DnsQuestion, seconds: float) -> DnsAnswer:
        """The records of a name. What is no answer to the question is waited past for as long as ``seconds``."""
        found: dns.resolver.Answer | None = None
        try:
            resolver = await self._prepared()  # the time of the question begins when it can be asked
            with trio.move_on_after(seconds):  # dnspython goes by the wall clock, which may be set back
                found = await _resolve(resolver, question, seconds)
        except dns.resolver.NXDOMAIN:
            return DnsAnswer((), limits.DNS_SECONDS_NONE)
        except (dns.exception.DNSException, OSError):
            return DnsAnswer(failed=True)
        if found is None:
            return DnsAnswer(failed=True)
        ttl = float(found.chaining_result.minimum_ttl)
        if found.rrset is None:
            return DnsAnswer((), min(ttl, limits.DNS_SECONDS_NONE))
        return DnsAnswer(tuple(_records(found.rrset)), ttl)

    async def _prepared(self) -> dns.asyncresolver.Resolver:
        """Raises ``dns.resolver.NoResolverConfiguration`` where the system names no server."""
        if self._resolver is None:
            self._resolver = await trio.to_thread.run_sync(self._made)  # files are read
        return self._resolver

    def _made(self) -> dns.asyncresolver.Resolver:
        dns.rdata.load_all_types()  # type: ignore[no-untyped-call]  # or each type would be imported when an answer first has it
        made = dns.asyncresolver.Resolver(configure=not self._addresses)
        if self._addresses:
            made.nameservers = [Do53Nameserver(host, port) for host, port in self._addresses]
        made.use_edns(0, 0, _EDNS_BYTES)
        return made


async def _resolve(resolver: dns.asyncresolver.Resolver, question: DnsQuestion, seconds: float) -> dns.resolver.Answer:
    name = dns.name.from_text(question.name)
    trio_backend = dns.asyncbackend.get_backend("trio")
    return await resolver.resolve(
        name, question.kind, raise_on_no_answer=False, search=False, lifetime=seconds, backend=trio_backend
    )


def _records(found: Iterable[object]) -> Iterable[NaptrRecord | SrvRecord | str]:
    for each in found:
        if isinstance(each, (A, AAAA)):
            yield each.address
        elif isinstance(each, SRV):
            yield SrvRecord(each.priority, each.weight, each.port, _name(each.target))
        elif isinstance(each, NAPTR):
            texts = (_text(each.flags), _text(each.service), _text(each.regexp))
            yield NaptrRecord(each.order, each.preference, *texts, _name(each.replacement))


def _name(name: dns.name.Name) -> str:
    """In small letters and without the last dot; empty for the root. Odd bytes come as ``\\DDD``."""
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
