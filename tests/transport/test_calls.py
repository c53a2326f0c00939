"""Whole calls through a running edge, over each transport, with audio through the relay."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
from support.bob_and_edge import TRANSPORTS, bob_and_edge, connected, listeners
from support.running import PUBLIC_UDP, at, listen, nothing_left, policy_text, running, until
from support.ua import Dialog, Rtp, ServedWire, Ua, UdpWire, hang_up, set_up, talk


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_call_with_audio_that_either_side_ends(tmp_path: Path, certificates, transport: str) -> None:
    async with (
        bob_and_edge(tmp_path, listeners=listeners(certificates.folder)) as (bob, app),
        connected(app, transport, certificates.client) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        uri = f"sip:100@{at(app, f'public-{transport}')}"
        calling, _ = await set_up(alice, bob, uri, near, far)
        await talk(near, far)
        await hang_up(calling, bob)
        _, called = await set_up(alice, bob, uri, near, far)
        await talk(near, far)
        await hang_up(called, alice)
        for message in alice.heard:
            assert b"127.0.0.11" not in message
            assert b"127.0.0.2" not in message
        for message in bob.heard:
            assert alice.address.encode() not in message
            assert b"IN IP4 127.0.0.1\r\n" not in message


async def test_hold_and_resume_by_either_side(tmp_path: Path) -> None:
    async with (
        bob_and_edge(tmp_path) as (bob, app),
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, called = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        await re_invite(calling, called, near, far, "sendonly", "recvonly")
        await re_invite(called, calling, far, near, "sendrecv", "sendrecv")
        await talk(near, far)
        await hang_up(calling, bob)


async def re_invite(one: Dialog, other: Dialog, near: Rtp, far: Rtp, offered: str, answered: str) -> None:
    await one.send("INVITE", near.sdp(offered))
    invite = await other.ua.request("INVITE")
    assert f"a={offered}".encode() in invite.body
    await other.answer(invite, 200, far.sdp(answered), ("Content-Type: application/sdp",))
    ok = await one.ua.response(200, "INVITE")
    assert f"a={answered}".encode() in ok.body
    await one.send("ACK")
    await other.ua.request("ACK")


async def test_a_late_offer_is_anchored_in_the_answer_and_the_ack(tmp_path: Path) -> None:
    async with (
        bob_and_edge(tmp_path) as (bob, app),
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling = alice.dialog(f"sip:100@{at(app, 'public-udp')}")
        await calling.send("INVITE")
        invite = await bob.request("INVITE")
        assert invite.body == b""
        called = bob.taken(invite)
        await called.answer(invite, 200, far.sdp(), ("Content-Type: application/sdp",))
        ok = await alice.response(200)
        assert b"127.0.0.11" not in ok.body
        near.aim(ok)
        calling.learn(ok)
        await calling.send("ACK", near.sdp())
        ack = await bob.request("ACK")
        far.aim(ack)
        await talk(near, far)
        await hang_up(called, alice)


async def test_a_cancelled_call_and_a_busy_one(tmp_path: Path) -> None:
    async with bob_and_edge(tmp_path) as (bob, app), Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice:
        uri = f"sip:100@{at(app, 'public-udp')}"
        calling = alice.dialog(uri)
        await calling.send("INVITE")
        invite = await bob.request("INVITE")
        await bob.taken(invite).answer(invite, 180)
        await alice.response(180)
        await calling.send("CANCEL")
        await alice.response(200, "CANCEL")
        cancel = await bob.request("CANCEL")
        assert cancel.via.branch == invite.via.branch
        await bob.answer(cancel, 200)
        await bob.answer(invite, 487, tag="b")
        await alice.response(487, "INVITE")
        await bob.request("ACK")
        calling = alice.dialog(uri)
        await calling.send("INVITE")
        invite = await bob.request("INVITE")
        await bob.answer(invite, 486, tag="b")
        await alice.response(486)
        await bob.request("ACK")


async def test_a_challenge_and_its_credentials_pass_untouched(tmp_path: Path) -> None:
    challenge = 'WWW-Authenticate: Digest realm="inside", nonce="n1", algorithm=SHA-256, qop="auth"'
    credentials = 'Authorization: Digest username="alice", realm="inside", nonce="n1", response="ab", uri="sip:x"'
    async with bob_and_edge(tmp_path) as (bob, app), Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice:
        calling = alice.dialog(f"sip:100@{at(app, 'public-udp')}")
        await calling.send("INVITE")
        invite = await bob.request("INVITE")
        await bob.answer(invite, 401, tag="b", extra=(challenge,))
        refused = await alice.response(401)
        assert refused.get("WWW-Authenticate") == challenge.partition(": ")[2]
        await bob.request("ACK")
        await calling.send("INVITE", extra=(credentials,))
        invite = await bob.request("INVITE")
        assert invite.get("Authorization") == credentials.partition(": ")[2]
        await bob.answer(invite, 403, tag="b")
        await alice.response(403)


async def register(alice: Ua, bob: Ua, uri: str) -> str:
    """Register alice through the edge; the Path that the registrar got."""
    dialog = alice.dialog(uri)
    await dialog.send("REGISTER", extra=("Expires: 600",))
    received = await bob.request("REGISTER")
    inside = "Contact: <sip:desk@127.0.0.99>;expires=600"
    own = f"Contact: {received.get('Contact')};expires=600"
    path = received.get("Path") or ""
    await bob.answer(received, 200, tag="r", extra=(own, inside, f"Path: {path}"))
    ok = await alice.response(200, "REGISTER")
    assert ok.get("Path") is None
    assert ok.get_all("Contact") == [own.partition(": ")[2]]
    return path


@pytest.mark.parametrize("transport", ["udp", "tcp", "wss"])
async def test_a_registered_user_is_called_by_its_path(tmp_path: Path, certificates, transport: str) -> None:
    async with (
        bob_and_edge(tmp_path, listeners=listeners(certificates.folder)) as (bob, app),
        connected(app, transport, certificates.client) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        path = await register(alice, bob, f"sip:{at(app, f'public-{transport}')}")
        calling = bob.dialog(alice.contact.strip("<>"))
        calling.routes = (path,)
        await calling.send("INVITE", far.sdp())
        invite = await alice.request("INVITE")
        assert str(invite.uri) == alice.contact.strip("<>")
        assert invite.get("Route") is None
        assert b"127.0.0.11" not in alice.heard[-1]
        near.aim(invite)
        called = alice.taken(invite)
        await called.answer(invite, 200, near.sdp(), ("Content-Type: application/sdp",))
        ok = await bob.response(200)
        far.aim(ok)
        calling.learn(ok)
        calling.routes = ()
        await calling.send("ACK")
        await alice.request("ACK")
        await talk(near, far)
        await hang_up(calling, alice)


async def test_a_call_to_a_closed_browser_connection_gets_480(tmp_path: Path, certificates) -> None:
    async with bob_and_edge(tmp_path, listeners=listeners(certificates.folder)) as (bob, app):
        async with connected(app, "wss", certificates.client) as alice:
            path = await register(alice, bob, f"sip:{at(app, 'public-wss')}")
            contact = alice.contact.strip("<>")
        await until(lambda: not app.plane.connections)
        calling = bob.dialog(contact)
        calling.routes = (path,)
        await calling.send("INVITE")
        await bob.response(480)


def tls_inside(certificates) -> list[str]:
    """Listeners of an edge that speaks TLS to its destinations."""
    files = f', certificate = "{certificates.folder}", client_ca = "{certificates.ca_file}"'
    return [PUBLIC_UDP, listen("core", "tls", "127.0.0.1:0", "core-tls", files)]


def server_context(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "fullchain.pem", folder / "privkey.pem")
    return context


async def test_a_destination_over_tls_with_a_verified_name(tmp_path: Path, certificates) -> None:
    async with (
        Ua(await ServedWire.open(context=server_context(certificates.folder)), "bob") as bob,
        running(
            tmp_path,
            policy_text(tmp_path, [f"sip:{bob.address};transport=tls"], tls_inside(certificates), open=["public-udp"]),
        ) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open() as far,
    ):
        calling, called = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        await talk(near, far)
        await hang_up(calling, bob)
        _, called = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        await hang_up(called, alice)
        assert len(app.plane.connections) == 1, "one connection serves all calls"
        await nothing_left(app)


async def test_a_destination_over_tls_with_another_name_gets_no_call(tmp_path: Path, certificates) -> None:
    folder = certificates.issue(tmp_path / "other", "other.example.com")
    async with (
        Ua(await ServedWire.open(context=server_context(folder)), "bob") as bob,
        running(
            tmp_path,
            policy_text(tmp_path, [f"sip:{bob.address};transport=tls"], tls_inside(certificates), open=["public-udp"]),
        ) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        trio.open_nursery() as nursery,
    ):

        async def serve() -> None:
            with trio.fail_after(10), pytest.raises((trio.BrokenResourceError, EOFError)):
                await bob.wire.receive()

        nursery.start_soon(serve)
        await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("INVITE")
        await alice.response(503)
        assert bob.heard == []
        assert app.plane.counts["core-tls", "connect-failed"] == 1
        await nothing_left(app)


async def test_a_call_from_the_core_to_a_trunk(tmp_path: Path) -> None:
    routes = """
route = [
  { name = "in", to = "pbx" },
  { name = "out", from = "core", methods = ["INVITE"], request_user = '^\\+', to = "carrier" },
]"""
    async with (
        Ua(await UdpWire.open("127.0.0.9"), "carrier") as carrier,
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        await Rtp.open("127.0.0.9") as far,
        await Rtp.open("127.0.0.11") as near,
    ):
        outward = f', {{ set = "carrier", members = [{{ uri = "sip:{carrier.address}", socket = "public-udp" }}] }}'
        text = policy_text(tmp_path, [f"sip:{bob.address}"], routes=routes, more_sets=outward)
        async with running(tmp_path, text) as app:
            assert isinstance(bob.wire, UdpWire)
            bob.wire.peer = at(app, "core-udp")
            uri = f"sip:+4930123@{at(app, 'core-udp')}"
            calling, _ = await set_up(bob, carrier, uri, near, far)
            await talk(near, far)
            await hang_up(calling, carrier)
            _, called = await set_up(bob, carrier, uri, near, far)
            await hang_up(called, bob)
            for message in carrier.heard:
                assert b"127.0.0.11" not in message
                assert str(at(app, "core-udp")).encode() not in message.replace(uri.partition("@")[2].encode(), b"", 1)
            # no route matches
            await bob.dialog(f"sip:100@{at(app, 'core-udp')}").send("INVITE")
            await bob.response(404)
            await nothing_left(app)


async def test_a_call_to_a_destination_outside_outlives_its_connection(tmp_path: Path) -> None:
    """The BYE goes by a new connection, as the next call would."""
    routes = """
route = [
  { name = "in", to = "pbx" },
  { name = "out", from = "core", methods = ["INVITE"], request_user = '^\\+', to = "carrier" },
]"""
    async with (
        Ua(await ServedWire.open("127.0.0.9"), "carrier") as carrier,
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        await Rtp.open("127.0.0.9") as far,
        await Rtp.open("127.0.0.11") as near,
    ):
        place = f'uri = "sip:{carrier.address};transport=tcp", socket = "public-tcp"'
        outward = f', {{ set = "carrier", members = [{{ {place} }}] }}'
        text = policy_text(tmp_path, [f"sip:{bob.address}"], routes=routes, more_sets=outward)
        async with running(tmp_path, text) as app:
            assert isinstance(bob.wire, UdpWire)
            bob.wire.peer = at(app, "core-udp")
            calling, _ = await set_up(bob, carrier, f"sip:+4930123@{at(app, 'core-udp')}", near, far)
            assert isinstance(carrier.wire, ServedWire)
            await carrier.wire.disconnect()
            await until(lambda: not app.plane.connections)
            await hang_up(calling, carrier)
            await nothing_left(app)
