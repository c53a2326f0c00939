"""The name that a destination must prove over TLS (RFC 5922 section 4)."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.certificates import Served
from support.nameserver import ZONE, name_server, needs_name_server
from support.running import CORE_UDP, PUBLIC_UDP, at, listen, nothing_left, policy_text, running, until
from support.ua import Rtp, ServedWire, StreamWire, Ua, UdpWire, hang_up, set_up, talk

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.base.reasons import Reason


def policy(folder: Path, certificates, uris: list[str], names: dict[str, str], **more: str) -> str:
    """Destinations over TLS, some by a name of the policy's own."""
    files = f', certificate = "{certificates.folder}", client_ca = "{certificates.ca_file}"'
    inside = listen("core", "tls", "127.0.0.1:0", "core-tls", files)
    text = policy_text(folder, uris, [PUBLIC_UDP, inside], open=["public-udp"], **more)
    for uri, name in names.items():
        text = text.replace(f'uri = "{uri}"', f'uri = "{uri}", tls_name = "{name}"')
    return text


@asynccontextmanager
async def destination(served: Served, name: str) -> AsyncIterator[tuple[Ua, str]]:
    async with Ua(await ServedWire.open(context=served.context), name) as ua:
        yield ua, f"sip:{ua.address};transport=tls"


async def one_call(app: App, callee: Ua) -> None:
    async with (
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open() as far,
    ):
        calling, _ = await set_up(alice, callee, f"sip:100@{at(app, 'public-udp')}", near, far)
        await talk(near, far, 2)
        await hang_up(calling, callee)
        await nothing_left(app)


async def refuse(ua: Ua) -> None:
    """Wait for a client that closes the connection because of this server's certificate."""
    try:
        await ua.wire.receive()
    except (trio.BrokenResourceError, EOFError):
        return
    raise AssertionError("the edge went on")


async def test_the_name_that_the_policy_gives(tmp_path: Path, certificates) -> None:
    served = Served(certificates, tmp_path / "pbx", "pbx.example.com")
    async with (
        destination(served, "bob") as (bob, uri),
        running(tmp_path, policy(tmp_path, certificates, [uri], {uri: "pbx.example.com"})) as app,
    ):
        await one_call(app, bob)
        await one_call(app, bob)
        assert served.asked == ["pbx.example.com"], "one connection, which the BYEs used too"


async def test_a_literal_address_is_verified_by_address_and_sends_no_sni(tmp_path: Path, certificates) -> None:
    served = Served(certificates, tmp_path / "pbx", "127.0.0.1")
    async with (
        destination(served, "bob") as (bob, uri),
        running(tmp_path, policy(tmp_path, certificates, [uri], {})) as app,
    ):
        await one_call(app, bob)
        assert served.asked == [None]


@pytest.mark.parametrize("address", ["203.0.113.99", "127.0.0.1"], ids=["listed by name", "listed by address"])
@pytest.mark.parametrize("is_impostor", [False, True])
async def test_a_trunk_proves_its_name_again_when_the_edge_connects_to_it(
    tmp_path: Path, certificates, address: str, is_impostor: bool
) -> None:
    """The carrier closes its connection while its call rings: the answer goes by one that the edge opens."""
    own = certificates.issue(tmp_path / "carrier", "sip.carrier.example")
    context = ssl.create_default_context(cafile=str(certificates.ca_file))
    context.load_cert_chain(own / "fullchain.pem", own / "privkey.pem")
    served = Served(certificates, tmp_path / "server", "127.0.0.1" if is_impostor else "sip.carrier.example")
    files = f', certificate = "{certificates.folder}", client_ca = "{certificates.ca_file}"'
    listeners = [listen("public", "tls", "127.0.0.1:0", "carriers", files), CORE_UDP]
    async with Ua(await UdpWire.open("127.0.0.11"), "bob") as bob:
        keys = ', tls_names = ["sip.carrier.example"]'
        text = policy_text(tmp_path, [f"sip:{bob.address}"], listeners, trunks=[address], trunk_keys=keys)
        server = await ServedWire.open(context=served.context)
        async with running(tmp_path, text) as app, Ua(await StreamWire.open(at(app, "carriers"), context)) as carrier:
            carrier.wire.port = server.port
            calling = carrier.dialog(f"sip:100@{at(app, 'carriers')}")
            await calling.send("INVITE")
            invite = await bob.request("INVITE")
            called = bob.taken(invite)
            await called.answer(invite, 180)
            await carrier.response(180)
            await carrier.wire.aclose()
            carrier.wire = server
            if is_impostor:
                await refuse(carrier)
                await bob.request("CANCEL")
                return
            await called.answer(invite, 200)
            ok = await carrier.response(200)
            assert served.asked == ["sip.carrier.example"]
            calling.learn(ok)
            await calling.send("ACK")
            await bob.request("ACK")
            await server.disconnect()
            await until(lambda: not app.plane.connections)
            await called.send("BYE")
            bye = await carrier.request("BYE")
            await calling.answer(bye, 200)
            await bob.response(200, "BYE")
            assert served.asked == ["sip.carrier.example"] * 2


@needs_name_server
async def test_a_host_name_is_proven_by_the_name_and_not_by_its_srv_target(
    tmp_path: Path, certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 5922 section 4: an attacker that forges the address of a name gets no call without its certificate."""
    monkeypatch.setattr(limits, "DNS_START_SECONDS", 20.0)
    right = Served(certificates, tmp_path / "right", f"pbx.{ZONE}")
    forged = Served(certificates, tmp_path / "forged", "127.0.0.1", "other.example.com")
    async with destination(right, "bob") as (bob, _), destination(forged, "mallory") as (mallory, _):
        records = [
            f"host-record=pbx.{ZONE},127.0.0.1",
            f"srv-host=_sips._tcp.{ZONE},pbx.{ZONE},{mallory.wire.port},1",
            f"srv-host=_sips._tcp.pbx.{ZONE},pbx.{ZONE},{bob.wire.port},1",
        ]
        async with name_server(tmp_path / "dns", *records) as server:
            edge = f'resolvers = ["{server.address}"]'
            uris = [f"sips:{ZONE}", f"sips:pbx.{ZONE}"]
            async with (
                running(tmp_path, policy(tmp_path, certificates, uris, {}, edge=edge)) as app,
                trio.open_nursery() as n,
            ):
                n.start_soon(refuse, mallory)
                await one_call(app, bob)
                assert mallory.heard == []
                assert forged.asked == [ZONE], "the name of the URI, not that of the SRV record"
                assert right.asked == [f"pbx.{ZONE}"]


async def test_a_wrong_name_gets_no_call_and_the_next_one_does(tmp_path: Path, certificates) -> None:
    wrong = Served(certificates, tmp_path / "wrong", "other.example.com", "127.0.0.1")
    right = Served(certificates, tmp_path / "right", "pbx.example.com")
    async with destination(wrong, "mallory") as (mallory, first), destination(right, "bob") as (bob, second):
        names = {first: "pbx.example.com", second: "pbx.example.com"}
        async with (
            running(tmp_path, policy(tmp_path, certificates, [first, second], names)) as app,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(refuse, mallory)
            await one_call(app, bob)
            assert mallory.heard == []
            assert app.plane.counts["core-tls", "connect-failed"] == 1
            (decision,) = [
                entry for entry in app.why(mallory.address).decisions if entry["reason"] == Reason.FLOW_GONE.code
            ]
            assert "expected a certificate for pbx.example.com, found: Hostname mismatch" in decision["detail"]


async def test_one_address_by_two_names_has_a_connection_for_each(tmp_path: Path, certificates) -> None:
    """That the first set's name is proven at an address says nothing about the second's."""
    served = Served(certificates, tmp_path / "pbx", "b.example.com")
    async with destination(served, "bob") as (bob, uri):
        routes = """
route = [
  { name = "a", from = "public", request_user = '^2', to = "pbx" },
  { name = "b", from = "public", to = "other" },
]"""
        sets = f', {{ set = "other", members = [{{ uri = "{uri};x=b" }}] }}'
        names = {uri: "a.example.com", f"{uri};x=b": "b.example.com"}
        text = policy(tmp_path, certificates, [uri], names, routes=routes, more_sets=sets)
        async with running(tmp_path, text) as app:
            await one_call(app, bob)
            assert served.asked == ["b.example.com"]
