"""Outgoing connections with real sockets: black holes, addresses that refuse, and servers that close in between."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
from support.certificates import Served
from support.nameserver import ZONE, name_server, needs_name_server
from support.running import PUBLIC_UDP, at, listen, nothing_left, policy_text, running, until
from support.ua import Rtp, ServedWire, Ua, UdpWire, hang_up, set_up

from edgesbc.app import App
from edgesbc.base import limits

CORE_TCP = listen("core", "tcp", "127.0.0.1:0", "core-tcp")


@contextmanager
def black_hole(port: int) -> Iterator[None]:
    """A port of ::1 that drops each SYN: the queue of its listening socket is full."""
    with socket.socket(socket.AF_INET6) as listening, socket.socket(socket.AF_INET6) as fills:
        listening.bind(("::1", port))
        listening.listen(0)
        fills.connect(("::1", port))
        yield


@contextmanager
def silent(port: int) -> Iterator[None]:
    """A port of ::1 at which connections are open and no TLS handshake is answered."""
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        yield


@asynccontextmanager
async def dual_stack(tmp_path: Path, transport: str, port: int, certificates) -> AsyncIterator[App]:
    """An edge whose only destination is a name with ::1 and 127.0.0.1, in this order. A member has half a minute."""
    async with name_server(tmp_path / "dns", f"host-record=pbx.{ZONE},127.0.0.1,::1") as server:
        files = f', certificate = "{certificates.folder}", client_ca = "{certificates.ca_file}"'
        inside = [
            listen("core", transport, f"{host}:0", name, files if transport == "tls" else "")
            for host, name in (("127.0.0.1", "core-4"), ("[::1]", "core-6"))
        ]
        uri = f"sip:pbx.{ZONE}:{port};transport={transport}"
        edge = f'resolvers = ["{server.address}"]'
        text = policy_text(tmp_path, [uri], [PUBLIC_UDP, *inside], open=["public-udp"], edge=edge)
        text = text.replace('set = "pbx"', 'set = "pbx", algorithm = "priority", try_timeout = 30, total_timeout = 60')
        async with running(tmp_path, text) as app:
            assert [member.target.host for member in app.edge.dispatcher.members()] == ["::1", "127.0.0.1"]
            yield app


@needs_name_server
@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_call_does_not_wait_for_an_address_that_does_not_answer(
    tmp_path: Path, certificates, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """Within the time of a member and of a connection, so that the other family alone can take the call."""
    monkeypatch.setattr(limits, "DNS_START_SECONDS", 20.0)
    monkeypatch.setattr(limits, "CONNECT_SECONDS", 600.0)
    context = Served(certificates, tmp_path / "pbx", f"pbx.{ZONE}").context if transport == "tls" else None
    async with Ua(await ServedWire.open(context=context), "bob") as bob:
        with (black_hole if transport == "tcp" else silent)(bob.wire.port):
            async with (
                dual_stack(tmp_path, transport, bob.wire.port, certificates) as app,
                Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
                await Rtp.open() as near,
                await Rtp.open() as far,
            ):
                calling, _ = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
                six, four = app.edge.dispatcher.members()
                assert (six.load, four.load) == (0, 1)
                assert not any([*six.failures.values(), *four.failures.values()])
                await hang_up(calling, bob)
                assert [b"INVITE" in data.split(b"\r\n")[0] for data in bob.heard].count(True) == 1
                await nothing_left(app)


@needs_name_server
async def test_a_slow_address_that_opens_later_gets_no_request(
    tmp_path: Path, certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection stays open for the calls that follow."""
    monkeypatch.setattr(limits, "DNS_START_SECONDS", 20.0)
    async with Ua(await ServedWire.open(), "bob") as bob:
        address = ("::1", bob.wire.port)
        with (
            socket.create_server(address, family=socket.AF_INET6, backlog=0) as listening,
            socket.create_connection(address),
        ):
            async with (
                dual_stack(tmp_path, "tcp", bob.wire.port, certificates) as app,
                Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
                await Rtp.open() as near,
                await Rtp.open() as far,
            ):
                calling, _ = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
                listening.accept()[0].close()
                listening.setblocking(False)
                with trio.fail_after(30):
                    await trio.lowlevel.wait_readable(listening)
                with listening.accept()[0] as late:
                    late.setblocking(False)
                    six, _ = app.edge.dispatcher.members()
                    backoff = six.backoff
                    assert backoff is not None
                    await until(lambda: backoff.trying == 0)
                    await hang_up(calling, bob)
                    await nothing_left(app)
                    assert (backoff.failures, six.failure) == (0, "")
                    with pytest.raises(BlockingIOError):
                        late.recv(1)


async def test_after_a_refused_connection_the_next_calls_do_not_try_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONNECT_BACKOFF_SECONDS", 600.0)
    monkeypatch.setattr(limits, "CONNECT_BACKOFF_MOST", 600.0)
    with socket.socket() as refusing:  # bound and not listening
        refusing.bind(("127.0.0.1", 0))
        async with Ua(await ServedWire.open(), "bob") as bob:
            uris = [f"sip:127.0.0.1:{port};transport=tcp" for port in (refusing.getsockname()[1], bob.wire.port)]
            text = policy_text(tmp_path, uris, [PUBLIC_UDP, CORE_TCP], open=["public-udp"])
            async with (
                running(tmp_path, text) as app,
                Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
            ):
                for _ in range(3):
                    dialog = alice.dialog(f"sip:100@{at(app, 'public-udp')}")
                    await dialog.send("REGISTER")
                    await bob.answer(await bob.request("REGISTER"), 403)
                    await alice.response(403)
                assert app.plane.counts["core-tcp", "connect-failed"] == 1
                decisions = app.why(f"127.0.0.1:{refusing.getsockname()[1]}").decisions
                details = [decision["detail"] for decision in decisions]
                assert "no connection over tcp: calls use other members until one is open" in details


async def test_a_request_whose_connection_closes_under_it_goes_by_another(tmp_path: Path) -> None:
    """With the same branch, to the only destination, whose health it does not count against."""
    async with Ua(await ServedWire.open(), "bob") as bob:
        assert isinstance(bob.wire, ServedWire)
        uri = f"sip:127.0.0.1:{bob.wire.port};transport=tcp"
        text = policy_text(tmp_path, [uri], [PUBLIC_UDP, CORE_TCP], open=["public-udp"])
        async with (
            running(tmp_path, text) as app,
            Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        ):
            await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("REGISTER")
            await bob.answer(await bob.request("REGISTER"), 403)
            await alice.response(403)
            await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("REGISTER")
            first = await bob.wire.receive()
            await bob.wire.disconnect()
            again = await bob.request("REGISTER")
            assert bytes(again) == first
            await bob.answer(again, 403)
            await alice.response(403)
            (member,) = app.edge.dispatcher.members()
            assert not any(member.failures.values())
            assert "connect-failed" not in app.plane.counts
            await nothing_left(app)


async def test_requests_share_a_connection_that_is_being_opened(tmp_path: Path, certificates) -> None:
    """They are sent when its TLS handshake is complete, in order."""
    served = Served(certificates, tmp_path / "pbx", "127.0.0.1")
    async with Ua(await ServedWire.open(context=served.context), "bob") as bob:
        uri = f"sip:127.0.0.1:{bob.wire.port};transport=tls"
        files = f', certificate = "{certificates.folder}", client_ca = "{certificates.ca_file}"'
        inside = listen("core", "tls", "127.0.0.1:0", "core-tls", files)
        text = policy_text(tmp_path, [uri], [PUBLIC_UDP, inside], open=["public-udp"])
        async with (
            running(tmp_path, text) as app,
            Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        ):
            for _ in range(3):
                await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("REGISTER")
            await until(lambda: app.edge.transactions == 3)
            assert app.edge.connections == 1
            for _ in range(3):
                await bob.answer(await bob.request("REGISTER"), 403)
                await alice.response(403)
            assert len(served.asked) == 1
            await nothing_left(app)
