"""Phones and browsers lose their connection during a call, connect and register again: the call goes on."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.running import CORE_UDP, at, listen, nothing_left, policy_text, running, until
from support.ua import Dialog, Rtp, StreamWire, Ua, UdpWire, WebSocketWire, Wire, hang_up, talk

from edgesbc.app import App

TRANSPORTS = ("tcp", "tls", "ws", "wss")
CREDENTIALS = 'Authorization: Digest username="alice", realm="r", nonce="n", uri="sip:u", response="r"'


class Phone(Ua):
    """A user agent that can connect again, with its calls and its registration."""

    def __init__(self, app: App, transport: str, context: ssl.SSLContext, nursery: trio.Nursery, wire: Wire) -> None:
        super().__init__(wire)
        self._app = app
        self._transport = transport
        self._context = context
        self._nursery = nursery
        self._registration = self.dialog(f"sip:{at(app, f'public-{transport}')}")

    @classmethod
    async def open(cls, app: App, transport: str, context: ssl.SSLContext, nursery: trio.Nursery) -> Phone:
        return cls(app, transport, context, nursery, await connect(app, transport, context, nursery))

    async def lose_connection(self) -> None:
        """Close the connection, and wait until the edge knows."""
        await self.wire.aclose()
        await until(lambda: not self._app.plane.connections)

    async def connect_again(self) -> None:
        self.wire = await connect(self._app, self._transport, self._context, self._nursery)

    async def register(self, registrar: Ua) -> str:
        """Register; the Path that the registrar got."""
        await self._registration.send("REGISTER", extra=("Expires: 600", CREDENTIALS))
        received = await registrar.request("REGISTER")
        await registrar.answer(received, 200, tag="r", extra=(f"Contact: {received.get('Contact')};expires=600",))
        await self.response(200, "REGISTER")
        return received.get("Path") or ""


async def connect(app: App, transport: str, context: ssl.SSLContext, nursery: trio.Nursery) -> Wire:
    peer = at(app, f"public-{transport}")
    if transport in ("tcp", "tls"):
        return await StreamWire.open(peer, context if transport == "tls" else None)
    return await WebSocketWire.open(nursery, peer, context if transport == "wss" else None)


@asynccontextmanager
async def phone_and_pbx(
    folder: Path, certificates, transport: str, more: str = ""
) -> AsyncIterator[tuple[Phone, Ua, App]]:
    secure = f', certificate = "{certificates.folder}"' if transport in ("tls", "wss") else ""
    listeners = [listen("public", transport, "127.0.0.1:0", f"public-{transport}", secure), CORE_UDP]
    async with Ua(await UdpWire.open("127.0.0.11"), "bob") as pbx, trio.open_nursery() as nursery:
        text = policy_text(folder, [f"sip:{pbx.address}"], listeners, more=more)
        async with running(folder, text) as app:
            app.edge.assume_challenges(["pbx"])
            async with await Phone.open(app, transport, certificates.client, nursery) as phone:
                yield phone, pbx, app
            await nothing_left(app)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("answered", ["before", "after"])
async def test_a_caller_that_connects_again_is_answered(
    tmp_path: Path, certificates, transport: str, answered: str
) -> None:
    async with (
        phone_and_pbx(tmp_path, certificates, transport) as (phone, pbx, app),
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        await phone.register(pbx)
        calling = phone.dialog(f"sip:100@{at(app, f'public-{transport}')}")
        await calling.send("INVITE", near.sdp())
        invite = await pbx.request("INVITE")
        far.aim(invite)
        called = pbx.taken(invite)
        await called.answer(invite, 180)
        await phone.response(180)
        await phone.lose_connection()
        if answered == "before":
            await called.answer(invite, 200, far.sdp())
        await phone.connect_again()
        await phone.register(pbx)
        if answered == "after":
            await called.answer(invite, 200, far.sdp())
        ok = await phone.response(200, "INVITE")
        near.aim(ok)
        calling.learn(ok)
        await calling.send("ACK")
        await pbx.request("ACK")
        await talk(near, far)
        await hang_up(called, phone)


@pytest.mark.parametrize("transport", ["tls", "wss"])
@pytest.mark.parametrize("rings", [False, True])
async def test_a_callee_that_connects_again_takes_the_call(
    tmp_path: Path, certificates, transport: str, rings: bool
) -> None:
    async with (
        phone_and_pbx(tmp_path, certificates, transport) as (phone, pbx, _),
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling = pbx.dialog(phone.contact.strip("<>"))
        calling.routes = (await phone.register(pbx),)
        await calling.send("INVITE", far.sdp())
        invite = await phone.request("INVITE")
        called = phone.taken(invite)
        if rings:
            await called.answer(invite, 180)
            await pbx.response(180)
        await phone.lose_connection()
        await phone.connect_again()
        phone.forget()
        await phone.register(pbx)
        if not rings:
            assert bytes(await phone.request("INVITE")) == bytes(invite)
        near.aim(invite)
        await called.answer(invite, 200, near.sdp())
        ok = await pbx.response(200)
        far.aim(ok)
        calling.learn(ok)
        calling.routes = ()
        await calling.send("ACK")
        await phone.request("ACK")
        await talk(near, far)
        await phone.lose_connection()
        await calling.send("BYE")
        assert await pbx.silent()
        await phone.connect_again()
        await phone.register(pbx)
        bye = await phone.request("BYE")
        await called.answer(bye, 200)
        await pbx.response(200, "BYE")


async def test_without_a_wait_the_call_ends_with_the_connection(tmp_path: Path, certificates) -> None:
    more = "[registrations]\nreconnect_wait = 0\n"
    async with phone_and_pbx(tmp_path, certificates, "ws", more) as (phone, pbx, app):
        await phone.register(pbx)
        calling: Dialog = phone.dialog(f"sip:100@{at(app, 'public-ws')}")
        await calling.send("INVITE")
        invite = await pbx.request("INVITE")
        await pbx.taken(invite).answer(invite, 180)
        await phone.response(180)
        await phone.lose_connection()
        cancel = await pbx.request("CANCEL")
        await pbx.answer(cancel, 200)
        await pbx.answer(invite, 487, tag="x")
        await pbx.request("ACK")
