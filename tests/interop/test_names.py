"""Destinations with host names: a real edge, a real name server, and calls to the addresses of the names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.nameserver import ZONE, NameServer, name_server, needs_name_server
from support.running import CORE_UDP, PUBLIC_UDP, at, listen, nothing_left, policy_text, running, until
from support.ua import Ua, UdpWire

from edgesbc.app import App
from edgesbc.base import limits

pytestmark = needs_name_server


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-ups are repeated each second, since the records of these tests live so long. The edge waits longer for its
    first answers: on a busy machine the name server may get no core for a while."""
    monkeypatch.setattr(limits, "DNS_START_SECONDS", 20.0)
    monkeypatch.setattr(limits, "DNS_SECONDS_LEAST", 0.2)
    monkeypatch.setattr(limits, "DNS_QUESTION_SECONDS", 8.0)


def srv(ua: Ua, name: str, priority: int, weight: int = 1) -> list[str]:
    """Records by which ``ZONE`` is served by ``ua`` over UDP, its host being ``name``."""
    return [
        f"host-record={name}.{ZONE},{ua.wire.host}",
        f"srv-host=_sip._udp.{ZONE},{name}.{ZONE},{ua.wire.port},{priority},{weight}",
    ]


@asynccontextmanager
async def callee(host: str, name: str) -> AsyncIterator[Ua]:
    async with Ua(await UdpWire.open(host), name) as ua:
        yield ua


def policy(folder: Path, server: NameServer, members: list[str], **settings: object) -> str:
    edge = f'resolvers = ["{server.address}"]'
    return policy_text(folder, members, edge=edge, open=["public-udp"], **settings)  # type: ignore[arg-type]


async def call(app: App, to: Ua, user: str = "100") -> None:
    """A call from an unknown source that ``to`` gets and refuses."""
    async with Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice:
        await alice.dialog(f"sip:{user}@{at(app, 'public-udp')}").send("INVITE")
        await to.answer(await to.request("INVITE"), 486, tag="busy")
        await alice.response(486)
        await to.request("ACK")


async def refused(app: App, user: str = "100") -> None:
    async with Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice:
        await alice.dialog(f"sip:{user}@{at(app, 'public-udp')}").send("INVITE")
        await alice.response(503)


def hosts(app: App) -> list[str]:
    return [member.target.host for member in app.edge.dispatcher.members()]


def is_recorded(app: App, text: str) -> bool:
    """Whether the ledger has a decision with ``text`` about one of the names in the policy."""
    return any(
        text in sentence for name in (ZONE, f"pbx.{ZONE}", f"nobody.{ZONE}") for sentence in app.why(name).sentences()
    )


async def test_two_priorities_are_two_members_and_calls_go_to_the_first_that_answers(tmp_path: Path) -> None:
    async with callee("127.0.0.11", "bob") as bob, callee("127.0.0.12", "carol") as carol:
        records = [*srv(bob, "one", 10), *srv(carol, "two", 20), f"naptr-record={ZONE},1,1,s,SIP+D2U,,_sip._udp.{ZONE}"]
        async with (
            name_server(tmp_path / "dns", *records) as server,
            running(tmp_path, policy(tmp_path, server, [f"sip:{ZONE}"])) as app,
        ):
            assert hosts(app) == ["127.0.0.11", "127.0.0.12"], "the names were resolved before the edge was ready"
            assert len(app.why(ZONE).decisions) == 1, "the ledger has a decision about the name"
            for _ in range(3):
                await call(app, bob)
            await bob.wire.aclose()
            await call(app, carol)
            await nothing_left(app)


async def test_a_dead_name_server_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        callee("127.0.0.11", "bob") as bob,
        name_server(tmp_path / "dns", *srv(bob, "one", 10)) as server,
        running(tmp_path, policy(tmp_path, server, [f"sip:{ZONE}"])) as app,
    ):
        await call(app, bob)
        monkeypatch.setattr(limits, "DNS_QUESTION_SECONDS", 0.5)
        await server.stop()
        await until(lambda: is_recorded(app, "what was known goes on"))
        await call(app, bob)
        await server.start(srv(bob, "one", 10))
        await until(lambda: is_recorded(app, "answered again"))
        await call(app, bob)


async def test_a_changed_record_is_used_when_the_old_one_has_expired(tmp_path: Path) -> None:
    async with (
        callee("127.0.0.11", "bob") as bob,
        callee("127.0.0.12", "carol") as carol,
        name_server(tmp_path / "dns", *srv(bob, "one", 10)) as server,
        running(tmp_path, policy(tmp_path, server, [f"sip:{ZONE}"])) as app,
    ):
        await call(app, bob)
        await server.restart(srv(carol, "two", 10))
        await until(lambda: hosts(app) == ["127.0.0.12"])
        await call(app, carol)
        assert is_recorded(app, f"now {carol.address} over udp, before {bob.address} over udp")


async def test_a_name_that_does_not_exist_has_no_member_and_others_work(tmp_path: Path) -> None:
    async with callee("127.0.0.11", "bob") as bob, name_server(tmp_path / "dns") as server:
        routes = """
route = [
  { name = "nobody", from = "public", request_user = '^1', to = "pbx" },
  { name = "somebody", from = "public", request_user = '^2', to = "other" },
]"""
        others = f', {{ set = "other", members = [{{ uri = "sip:{bob.address}" }}] }}'
        members = [f"sip:nobody.{ZONE}"]
        async with running(tmp_path, policy(tmp_path, server, members, routes=routes, more_sets=others)) as app:
            await refused(app, "100")
            await call(app, bob, "200")
            assert is_recorded(app, "no address")
            assert "destinations pbx" in app.not_ready()


async def test_a_name_beside_an_address(tmp_path: Path) -> None:
    """A member whose name has no address is skipped; the next one is used."""
    async with callee("127.0.0.11", "bob") as bob, name_server(tmp_path / "dns") as server:
        members = [f"sip:nobody.{ZONE}", f"sip:{bob.address}"]
        async with running(tmp_path, policy(tmp_path, server, members)) as app:
            await call(app, bob)


async def test_a_name_that_a_reload_brings_is_looked_up_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DNS_SECONDS_LEAST", 3_600.0)
    async with callee("127.0.0.11", "bob") as bob, callee("127.0.0.12", "carol") as carol:
        records = [f"host-record=bob.{ZONE},127.0.0.11", f"host-record=carol.{ZONE},127.0.0.12"]
        before, after = (f"sip:{name}.{ZONE}:{ua.wire.port}" for name, ua in (("bob", bob), ("carol", carol)))
        async with (
            name_server(tmp_path / "dns", *records) as server,
            running(tmp_path, policy(tmp_path, server, [before])) as app,
        ):
            await call(app, bob)
            await trio.Path(tmp_path / "policy.toml").write_text(policy(tmp_path, server, [after]))
            assert (await app.reload()).mistakes == []
            await until(lambda: hosts(app) == ["127.0.0.12"])
            await call(app, carol)


async def test_an_edge_starts_without_its_name_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DNS_QUESTION_SECONDS", 3_600.0)
    monkeypatch.setattr(limits, "DNS_LOOKUP_SECONDS", 3_600.0)
    monkeypatch.setattr(limits, "DNS_START_SECONDS", 0.1)
    async with callee("127.0.0.11", "bob") as bob, name_server(tmp_path / "dns") as server:
        await server.stop()
        members = [f"sip:pbx.{ZONE}", f"sip:{bob.address}"]
        async with running(tmp_path, policy(tmp_path, server, members)) as app:
            await call(app, bob)


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.1.75", "169.254.169.254"])
async def test_an_address_that_no_destination_can_have_is_not_used(tmp_path: Path, address: str) -> None:
    async with (
        callee("127.0.0.11", "bob") as bob,
        name_server(tmp_path / "dns", f"host-record=pbx.{ZONE},127.0.0.11") as server,
        running(tmp_path, policy(tmp_path, server, [f"sip:pbx.{ZONE}:{bob.wire.port}"])) as app,
    ):
        await call(app, bob)
        await server.restart([f"host-record=pbx.{ZONE},{address}"])
        await until(lambda: is_recorded(app, f"not used: A of pbx.{ZONE}: {address}"))
        await call(app, bob)


async def test_a_service_over_tcp_is_used_if_the_edge_has_a_tcp_listener(tmp_path: Path) -> None:
    """The domain's records choose the transport, among those for which the edge has a listener."""
    async with (
        callee("127.0.0.11", "bob") as bob,
        name_server(
            tmp_path / "dns",
            *srv(bob, "one", 10),
            f"srv-host=_sip._tcp.{ZONE},one.{ZONE},5062,5",
            f"srv-host=_sips._tcp.{ZONE},one.{ZONE},5063,1",
        ) as server,
    ):
        tcp = listen("core", "tcp", "127.0.0.2:0", "core-tcp")
        listeners = [PUBLIC_UDP, CORE_UDP, tcp]
        async with running(tmp_path, policy(tmp_path, server, [f"sip:{ZONE}"], listeners=listeners)) as app:
            addresses = [(member.transport.value, member.target.port) for member in app.edge.dispatcher.members()]
            assert addresses == [("tcp", 5062), ("udp", bob.wire.port)]
