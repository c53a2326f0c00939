"""Queries to a real name server, and the results of its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dns.message
import dns.resolver
import dns.rrset
import pytest
import trio
import trio.testing
from support.nameserver import ZONE, name_server, needs_name_server
from support.running import PATIENCE, free_port

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.resolve.name_servers import NameServers
from edgesbc.resolve.rfc3263 import DnsAnswer, DnsQuestion, NaptrRecord, SrvRecord

pytestmark = needs_name_server

RECORDS = (
    f"host-record=pbx.{ZONE},127.0.0.11,::1,7",
    f"host-record=pbx.{ZONE},127.0.0.12,7",
    f"srv-host=_sip._udp.{ZONE},pbx.{ZONE},5070,10,60",
    f"srv-host=_sip._tcp.{ZONE}",
    f"naptr-record={ZONE},100,50,s,SIP+D2U,,_sip._udp.{ZONE}",
    f"naptr-record=regexp.{ZONE},100,50,u,E2U+sip,!^.*$!sip:x@y!",
    f"cname=alias.{ZONE},pbx.{ZONE},7",
)


@pytest.fixture
async def servers(tmp_path: Path):
    async with name_server(tmp_path / "dns", *RECORDS) as server:
        yield NameServers([Source("127.0.0.1", server.port)])


async def ask(servers: NameServers, kind: str, name: str) -> DnsAnswer:
    answer = await servers.ask(DnsQuestion(name, kind), 5.0)
    return DnsAnswer(tuple(sorted(answer.records, key=str)), answer.ttl, answer.failed)


async def test_each_type_of_record(servers: NameServers) -> None:
    assert await ask(servers, "A", f"pbx.{ZONE}") == DnsAnswer(("127.0.0.11", "127.0.0.12"), 7.0)
    assert await ask(servers, "AAAA", f"pbx.{ZONE}") == DnsAnswer(("::1",), 7.0)
    assert (await ask(servers, "SRV", f"_sip._udp.{ZONE}")).records == (SrvRecord(10, 60, 5070, f"pbx.{ZONE}"),)
    assert (await ask(servers, "NAPTR", ZONE)).records == (
        NaptrRecord(100, 50, "s", "SIP+D2U", "", f"_sip._udp.{ZONE}"),
    )
    assert (await ask(servers, "NAPTR", f"regexp.{ZONE}")).records == (
        NaptrRecord(100, 50, "u", "E2U+sip", "!^.*$!sip:x@y!", ""),
    )


async def test_the_root_as_target_is_no_name(servers: NameServers) -> None:
    (record,) = (await ask(servers, "SRV", f"_sip._tcp.{ZONE}")).records
    assert isinstance(record, SrvRecord)
    assert record.target == ""


async def test_an_alias_is_followed(servers: NameServers) -> None:
    assert (await ask(servers, "A", f"alias.{ZONE}")).records == ("127.0.0.11", "127.0.0.12")


@pytest.mark.parametrize(("kind", "name"), [("A", f"nobody.{ZONE}"), ("SRV", f"pbx.{ZONE}")])
async def test_an_answer_without_records_is_no_failure(servers: NameServers, kind: str, name: str) -> None:
    answer = await ask(servers, kind, name)
    assert (answer.records, answer.failed) == ((), False)
    assert 0 <= answer.ttl <= limits.DNS_SECONDS_NONE


async def test_the_time_for_an_answer_begins_with_the_question(autojump_clock: trio.testing.MockClock) -> None:
    """A busy machine may need longer to read the system's list of servers than a query may take."""

    class Late(NameServers):
        async def _get_resolver(self) -> Any:
            await trio.sleep(10.0)
            return self

        async def resolve(self, *_: object, **__: object) -> Any:
            raise dns.resolver.NXDOMAIN

    assert await Late([]).ask(DnsQuestion(f"pbx.{ZONE}", "A"), 1.0) == DnsAnswer((), limits.DNS_SECONDS_NONE)


async def test_a_question_without_a_response_fails() -> None:
    silent = NameServers([Source("127.0.0.1", free_port())])
    assert await silent.ask(DnsQuestion(f"pbx.{ZONE}", "A"), 0.3) == DnsAnswer(failed=True)


@pytest.mark.parametrize("name", ["a" * 64 + ".test", "x." * 200 + "test", "a..test", "\u00fc" * 70])
async def test_a_name_that_cannot_be_encoded_fails(name: str) -> None:
    """SRV and NAPTR records contain the next name, which need not be valid."""
    servers = NameServers([Source("127.0.0.1", free_port())])
    assert await servers.ask(DnsQuestion(name, "A"), 0.3) == DnsAnswer(failed=True)


async def test_invalid_answers(tmp_path: Path) -> None:
    """A server that first sends answers that do not match the query, then an alias of itself."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))

        async def answer(records: dict[str, list[str]], lies: bool) -> None:
            data, peer = await sock.recvfrom(4096)
            query = dns.message.from_wire(data)
            reply = dns.message.make_response(query)
            reply.answer = [dns.rrset.from_text(name, 60, "IN", *record) for name, record in records.items()]
            if lies:
                other = dns.message.make_response(dns.message.make_query("other.test.", "A", id=query.id))
                other.answer = [dns.rrset.from_text("other.test.", 60, "IN", "A", "10.6.6.6")]
                wrong_id = dns.message.make_response(query)
                wrong_id.id ^= 1
                for lie in (b"", b"\0" * 40, other.to_wire(), wrong_id.to_wire()):
                    await sock.sendto(lie, peer)
            await sock.sendto(reply.to_wire(), peer)

        servers = NameServers([Source(*sock.getsockname())])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, {"a.test.": ["A", "10.0.0.11"]}, True)
            assert (await servers.ask(DnsQuestion("a.test", "A"), 5.0)).records == ("10.0.0.11",)
            nursery.start_soon(answer, {"a.test.": ["CNAME", "b.test."], "b.test.": ["CNAME", "a.test."]}, False)
            assert await servers.ask(DnsQuestion("a.test", "A"), 1.0) == DnsAnswer(failed=True)


async def test_a_refusal_is_no_answer(tmp_path: Path) -> None:
    """dnsmasq refuses names outside its zone, because it has no other server to ask."""
    async with name_server(tmp_path / "dns") as server:
        servers = NameServers([Source("127.0.0.1", server.port)])
        assert (await servers.ask(DnsQuestion("elsewhere.invalid-zone", "A"), 1.0)).failed


async def test_the_next_server_is_asked_if_the_first_is_dead(tmp_path: Path) -> None:
    async with name_server(tmp_path / "dns", *RECORDS) as server:
        servers = NameServers([Source("127.0.0.1", free_port()), Source("127.0.0.1", server.port)])
        with trio.fail_after(PATIENCE):
            assert (await servers.ask(DnsQuestion(f"alias.{ZONE}", "A"), 10.0)).records


async def test_a_long_answer_comes_over_tcp(tmp_path: Path) -> None:
    many = [f"srv-host=_sip._udp.{ZONE},host-{n:03}-with-a-long-name.{ZONE},5060,{n}" for n in range(60)]
    async with name_server(tmp_path / "dns", *many) as server:
        servers = NameServers([Source("127.0.0.1", server.port)])
        assert len((await servers.ask(DnsQuestion(f"_sip._udp.{ZONE}", "SRV"), 5.0)).records) == 60


async def test_the_system_names_the_servers_where_the_policy_names_none() -> None:
    """Any servers will do: no query is sent to them, since the name is empty."""
    servers = NameServers([])
    assert (await servers.ask(DnsQuestion("a..test", "A"), 0.3)).failed
