"""SIP libraries of web pages in Chromium, over WSS: registrations, messages, calls, and connections that end.

The PBX behind the edge is played by the test, step by step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from support.browser import LIBRARIES, Browser, Tab, Web, needs_browser
from support.certificates import Certificates
from support.registrar import Registrar, expires
from support.running import CORE_UDP, at, free_port, listen, nothing_left, policy_text, running, until
from support.stream_listeners import event_count
from support.ua import Dialog, Ua, UdpWire

from edgesbc.app import App
from edgesbc.sip.message import Request

pytestmark = needs_browser()
PASSWORDS = {"alice": "of alice", "bob": "of bob"}


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Pbx(Ua):
    """The PBX behind the edge, with the registrar."""

    async def register(self, tab: Tab, is_first: bool = True) -> Request:
        """Let the page register; returns the REGISTER that was accepted."""
        if is_first:
            await tab.do("register")
        request = await self.accept_register()
        await tab.next("registered")
        return request

    async def accept_register(self) -> Request:
        """Challenge the next REGISTER, and accept the one with credentials."""
        registrar = Registrar(self, PASSWORDS, qop="auth")
        while True:
            request = await self.request("REGISTER")
            if await registrar.answer(request) == 200:
                return request

    def dialog_with(self, registration: Request) -> Dialog:
        """A dialog with the user agent of a registration, by its Path (RFC 3327)."""
        contact = (registration.get("Contact") or "").partition(">")[0].removeprefix("<")
        dialog = self.dialog(contact)
        dialog.routes = (registration.get("Path") or "",)
        return dialog


class Line(NamedTuple):
    """A running edge, the PBX behind it, and the browser in front of it."""

    app: App
    pbx: Pbx
    browser: Browser
    library: str
    web: Web

    @property
    def server(self) -> str:
        return f"wss://{at(self.app, 'wss')}/"

    async def tab(self, user: str = "alice", is_connected: bool = True, **options: object) -> Tab:
        """A tab with a phone of the user, after it has connected."""
        tab = await self.browser.tab(f"{self.web.origin}/{self.library}.html")
        await self.start(tab, user, **options)
        if is_connected:
            await tab.next("connected")
        return tab

    async def start(self, tab: Tab, user: str = "alice", **options: object) -> None:
        """Start the phone of a page that has been loaded."""
        account = {"server": self.server, "uri": f"sip:{user}@example.org", "password": PASSWORDS[user]}
        await tab.do("start", account | options)


def policy(folder: Path, web: Web, certificates: Certificates, pbx: Pbx, port: int = 0, engine: str = "none") -> str:
    """An entry for browsers. The relay does not speak DTLS-SRTP: without it, browsers call."""
    keys = f', certificate = "{certificates.folder}", origins = ["{web.origin}"], ping = 5'
    wss = listen("public", "wss", f"127.0.0.1:{port}", "wss", keys)
    methods = '[screen.method]\npublic = ["REGISTER", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "MESSAGE"]'
    return policy_text(folder, [f"sip:{pbx.address}"], [wss, CORE_UDP], more=f'engine = "{engine}"\n{methods}')


@asynccontextmanager
async def line(
    folder: Path, web: Web, certificates: Certificates, library: str, engine: str = "none"
) -> AsyncIterator[Line]:
    async with Pbx(await UdpWire.open("127.0.0.11"), "pbx") as pbx:
        text = policy(folder, web, certificates, pbx, engine=engine)
        async with running(folder, text) as app, web.chromium.opened() as browser:
            yield Line(app, pbx, browser, library, web)
            await nothing_left(app)


async def test_a_page_registers_and_sends_and_receives_messages(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    async with line(tmp_path, web, certificates, library) as it:
        tab = await it.tab()
        first = await it.pbx.register(tab)
        assert first.get("Path")
        await tab.do("register")
        again = await it.pbx.accept_register()
        assert again.call_id == first.call_id
        await tab.do("message", "sip:100@example.org", "h\u00e9llo")
        message = await it.pbx.request("MESSAGE")
        assert message.body == "h\u00e9llo".encode()
        await it.pbx.answer(message, 202, tag="b")
        assert await tab.next("delivered") == 202
        dialog = it.pbx.dialog_with(again)
        await dialog.send("MESSAGE", "w\u00f6rld".encode(), ("Content-Type: text/plain",))
        assert await tab.next("message") == "w\u00f6rld"
        await it.pbx.response(200, "MESSAGE")
        await tab.do("unregister")
        last = await it.pbx.accept_register()
        assert (expires(last), last.call_id) == ("0", first.call_id)
        await tab.next("unregistered")


# --- calls: their media does not pass the edge yet -----------------------------------------------------------

FINGERPRINT = ":".join(["AB"] * 32)


def description(setup: str) -> bytes:
    """A session description that a browser takes; nothing is behind it."""
    return "\r\n".join((
        "v=0", "o=- 1 1 IN IP4 127.0.0.11", "s=-", "t=0 0", "a=group:BUNDLE 0", "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 127.0.0.11", "a=mid:0", "a=rtcp-mux", "a=ice-ufrag:test", "a=ice-pwd:testtesttesttesttesttest",
        f"a=fingerprint:sha-256 {FINGERPRINT}", f"a=setup:{setup}", "a=rtpmap:111 opus/48000/2", "a=sendrecv", "",
    )).encode()  # fmt: skip


SDP = ("Content-Type: application/sdp",)


async def called_pbx(it: Line, tab: Tab) -> tuple[Request, Dialog]:
    """The INVITE that a registered page sends to the PBX, and its dialog."""
    await it.pbx.register(tab)
    await tab.do("call", "sip:100@example.org")
    invite = await it.pbx.request("INVITE")
    assert b"UDP/TLS/RTP/SAVPF" in invite.body
    return invite, it.pbx.taken(invite)


async def end_call(dialog: Dialog, tab: Tab, by_page: bool) -> None:
    if by_page:
        await tab.do("hangUp")
        await dialog.ua.answer(await dialog.ua.request("BYE"), 200)
    else:
        await dialog.send("BYE")
        await dialog.ua.response(200, "BYE")
    await tab.next("ended")


@pytest.mark.parametrize("by_page", [True, False], ids=["ended by the page", "ended by the PBX"])
async def test_a_call_of_a_page(
    tmp_path: Path, web: Web, certificates: Certificates, library: str, by_page: bool
) -> None:
    async with line(tmp_path, web, certificates, library) as it:
        tab = await it.tab()
        invite, dialog = await called_pbx(it, tab)
        await dialog.answer(invite, 180)
        assert await tab.next("progress") == 180
        await dialog.answer(invite, 200, description("active"), SDP)
        await tab.next("answered")
        await it.pbx.request("ACK")
        await end_call(dialog, tab, by_page)


async def test_a_call_of_a_page_that_is_refused_and_one_that_is_cancelled(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    async with line(tmp_path, web, certificates, library) as it:
        tab = await it.tab()
        invite, dialog = await called_pbx(it, tab)
        await dialog.answer(invite, 486)
        assert await tab.next("failed") == 486
        await it.pbx.request("ACK")
        await tab.do("call", "sip:100@example.org")
        invite = await it.pbx.request("INVITE")
        dialog = it.pbx.taken(invite)
        await dialog.answer(invite, 180)
        assert await tab.next("progress") == 180
        await tab.do("hangUp")
        await it.pbx.answer(await it.pbx.request("CANCEL"), 200)
        await dialog.answer(invite, 487)
        await it.pbx.request("ACK")
        await tab.next("failed")


@pytest.mark.parametrize("by_page", [True, False], ids=["ended by the page", "ended by the PBX"])
async def test_a_call_to_a_page_by_its_path(
    tmp_path: Path, web: Web, certificates: Certificates, library: str, by_page: bool
) -> None:
    async with line(tmp_path, web, certificates, library) as it:
        tab = await it.tab()
        dialog = it.pbx.dialog_with(await it.pbx.register(tab))
        await dialog.send("INVITE", description("actpass"))
        assert await tab.next("call") == "sip:pbx@example.org"
        await it.pbx.response(180)
        await tab.do("answer")
        ok = await it.pbx.response(200)
        assert b"a=setup:active" in ok.body
        dialog.learn(ok)
        dialog.routes = ()
        await dialog.send("ACK")
        await tab.next("answered")
        await end_call(dialog, tab, by_page)


async def test_a_call_to_a_page_that_declines(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    async with line(tmp_path, web, certificates, library) as it:
        tab = await it.tab()
        dialog = it.pbx.dialog_with(await it.pbx.register(tab))
        await dialog.send("INVITE", description("actpass"))
        await tab.next("call")
        await it.pbx.response(180)
        await tab.do("decline")
        refusal = await it.pbx.hear()
        assert refusal.status == (486 if library == "jssip" else 480)  # type: ignore[union-attr]
        dialog.learn(refusal)  # type: ignore[arg-type]
        await dialog.send("ACK")
        await tab.next("failed")


async def test_the_offer_of_a_page_is_refused_where_the_relay_has_to_carry_its_media(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    async with line(tmp_path, web, certificates, library, engine="builtin") as it:
        tab = await it.tab()
        await it.pbx.register(tab)
        await tab.do("call", "sip:100@example.org")
        assert await tab.next("failed") == 488


async def test_two_tabs_call_each_other_and_have_media(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    """The PBX is between their two dialogs, and passes their descriptions on."""
    async with line(tmp_path, web, certificates, library) as it:
        alice, bob = await it.tab("alice"), await it.tab("bob")
        assert len(it.app.plane.connections) == 2
        await it.pbx.register(alice)
        to_bob = it.pbx.dialog_with(await it.pbx.register(bob))
        await alice.do("call", "sip:bob@example.org")
        invite = await it.pbx.request("INVITE")
        to_alice = it.pbx.taken(invite)
        await to_alice.answer(invite, 180)  # however long the page of bob takes
        await to_bob.send("INVITE", invite.body)
        await bob.next("call")
        await it.pbx.response(180)
        await bob.do("answer")
        ok = await it.pbx.response(200)
        to_bob.learn(ok)
        to_bob.routes = ()
        await to_bob.send("ACK")
        await to_alice.answer(invite, 200, ok.body, SDP)
        await it.pbx.request("ACK")
        for tab in (alice, bob):
            await tab.next("answered")
            assert await tab.next("media") == "connected"
        await end_call(to_bob, bob, by_page=False)
        await end_call(to_alice, alice, by_page=True)


# --- connections ---------------------------------------------------------------------------------------------


async def test_a_page_that_is_loaded_again_closes_its_connection(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    """The edge forgets its flow: what comes for the old page gets 480, and the new page registers."""
    async with line(tmp_path, web, certificates, library) as it:
        tab = await it.tab()
        before = await it.pbx.register(tab)
        (connection,) = it.app.plane.connections.values()
        await tab.reload()
        await until(lambda: not it.app.plane.connections)
        assert connection.counts.close_frames == 1
        assert not [event for (name, event) in it.app.plane.counts if name == "wss"]
        old = it.pbx.dialog_with(before)
        await old.send("MESSAGE", b"late", ("Content-Type: text/plain",))
        await it.pbx.response(480)
        await it.start(tab)
        await tab.next("connected")
        new = it.pbx.dialog_with(await it.pbx.register(tab))
        await new.send("MESSAGE", b"in time", ("Content-Type: text/plain",))
        assert await tab.next("message") == "in time"
        await it.pbx.response(200, "MESSAGE")


async def test_a_page_that_stops_says_so(tmp_path: Path, web: Web, certificates: Certificates, library: str) -> None:
    async with line(tmp_path, web, certificates, library) as it:
        tab = await it.tab()
        (connection,) = it.app.plane.connections.values()
        await tab.do("stop")
        await until(lambda: not it.app.plane.connections)
        assert connection.counts.close_frames == 1


async def test_a_page_connects_again_and_registers_after_the_edge_has_ended(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    port = free_port()
    async with Pbx(await UdpWire.open("127.0.0.11"), "pbx") as pbx, web.chromium.opened() as browser:
        text = policy(tmp_path, web, certificates, pbx, port)
        async with running(tmp_path, text) as app:
            tab = await Line(app, pbx, browser, library, web).tab()
            await pbx.register(tab)
            app.drain()
            assert await tab.next("disconnected") == 1001
        async with running(tmp_path, text):
            await tab.next("connected")
            await pbx.register(tab, is_first=False)


async def lose_connection(it: Line, tab: Tab) -> None:
    """The edge closes the connection of a registered page, which connects and registers again by itself."""
    (connection,) = it.app.plane.connections.values()
    connection.close()
    assert await tab.next("disconnected") == 1001
    await tab.next("connected")
    await it.pbx.register(tab, is_first=False)


@pytest.mark.parametrize("by_page", [True, False], ids=["ended by the page", "ended by the PBX"])
async def test_a_call_of_a_page_outlives_its_connection(
    tmp_path: Path, web: Web, certificates: Certificates, by_page: bool
) -> None:
    async with line(tmp_path, web, certificates, "jssip") as it:
        tab = await it.tab()
        invite, dialog = await called_pbx(it, tab)
        await dialog.answer(invite, 200, description("active"), SDP)
        await tab.next("answered")
        await it.pbx.request("ACK")
        await lose_connection(it, tab)
        await end_call(dialog, tab, by_page)


async def test_the_session_manager_of_sip_js_forgets_calls_without_a_connection(
    tmp_path: Path, web: Web, certificates: Certificates
) -> None:
    """What is for the page still finds it, and it says so."""
    async with line(tmp_path, web, certificates, "sipjs") as it:
        tab = await it.tab()
        invite, dialog = await called_pbx(it, tab)
        await dialog.answer(invite, 200, description("active"), SDP)
        await tab.next("answered")
        await it.pbx.request("ACK")
        await lose_connection(it, tab)
        await dialog.send("BYE")
        await it.pbx.response(481, "BYE")


async def test_keep_alives_of_both_sides(tmp_path: Path, web: Web, certificates: Certificates, library: str) -> None:
    async with line(tmp_path, web, certificates, library) as it:
        busy, silent = await it.tab("alice", keepAlive=1), await it.tab("bob")
        first, second = it.app.plane.connections.values()
        await until(lambda: first.counts.messages >= 2 and second.counts.pongs >= 1)
        for tab, user in ((busy, "alice"), (silent, "bob")):
            assert (await it.pbx.register(tab)).to.uri.user == user


async def test_a_page_of_another_origin_does_not_connect(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    async with line(tmp_path, web, certificates, library) as it:
        tab = await it.browser.tab(f"http://localhost:{web.port}/{library}.html")
        await it.start(tab)
        assert await tab.next("disconnected") in (0, 1006)
        assert event_count(it.app, "wss", "origin") >= 1
        assert not it.app.plane.connections


async def test_two_tabs_of_one_user_have_a_path_each(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    """One that is closed leaves the other."""
    text = ("Content-Type: text/plain",)
    async with line(tmp_path, web, certificates, library) as it:
        tabs = [await it.tab(), await it.tab()]
        dialogs = [it.pbx.dialog_with(await it.pbx.register(tab)) for tab in tabs]
        assert dialogs[0].routes != dialogs[1].routes
        for number, (tab, dialog) in enumerate(zip(tabs, dialogs, strict=True)):
            await dialog.send("MESSAGE", b"%d" % number, text)
            assert await tab.next("message") == str(number)
            await it.pbx.response(200, "MESSAGE")
        await tabs[0].close()
        await until(lambda: len(it.app.plane.connections) == 1)
        await dialogs[0].send("MESSAGE", b"late", text)
        await it.pbx.response(480)
        await dialogs[1].send("MESSAGE", b"in time", text)
        assert await tabs[1].next("message") == "in time"
        await it.pbx.response(200, "MESSAGE")
