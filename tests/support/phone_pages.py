"""Pages with a phone, the edge, and the PBX behind it, which a test plays step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from support.browser import Browser, Tab, Web
from support.certificates import Certificates
from support.registrar import Registrar
from support.running import CORE_UDP, PATIENCE, at, listen, nothing_left, policy_text, running
from support.ua import Dialog, Ua, UdpWire

from edgesbc.app import App
from edgesbc.screen.stages.method import CALLS
from edgesbc.sip.message import Request, Response

__all__ = ["SDP", "Line", "Pbx", "called_pbx", "description", "end_call", "open_line", "policy"]

PASSWORDS = {"alice": "of alice", "bob": "of bob"}


class Pbx(Ua):
    """The PBX behind the edge, with the registrar. It ignores 100: whether the edge sends one depends on time."""

    async def hear(self, patience: float = PATIENCE) -> Request | Response:
        while True:
            message = await super().hear(patience)
            if not isinstance(message, Response) or message.status != 100:
                return message

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
    methods = f"[screen.method]\npublic = {[*CALLS, 'MESSAGE']}"
    return policy_text(folder, [f"sip:{pbx.address}"], [wss, CORE_UDP], more=f'engine = "{engine}"\n{methods}')


@asynccontextmanager
async def open_line(
    folder: Path, web: Web, certificates: Certificates, library: str, engine: str = "none"
) -> AsyncIterator[Line]:
    async with Pbx(await UdpWire.open("127.0.0.11"), "pbx") as pbx:
        text = policy(folder, web, certificates, pbx, engine=engine)
        async with running(folder, text) as app, web.chromium.opened() as browser:
            yield Line(app, pbx, browser, library, web)
            await nothing_left(app)


# --- calls ---------------------------------------------------------------------------------------------------

FINGERPRINT = ":".join(["AB"] * 32)


def description(setup: str, direction: str = "sendrecv") -> bytes:
    """A session description that a browser takes; nothing is behind it."""
    return "\r\n".join((
        "v=0", "o=- 1 1 IN IP4 127.0.0.11", "s=-", "t=0 0", "a=group:BUNDLE 0", "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 127.0.0.11", "a=mid:0", "a=rtcp-mux", "a=ice-ufrag:test", "a=ice-pwd:testtesttesttesttesttest",
        f"a=fingerprint:sha-256 {FINGERPRINT}", f"a=setup:{setup}", "a=rtpmap:111 opus/48000/2", f"a={direction}", "",
    )).encode()  # fmt: skip


SDP = ("Content-Type: application/sdp",)


async def called_pbx(line: Line, tab: Tab) -> tuple[Request, Dialog]:
    """The INVITE that a registered page sends to the PBX, and its dialog."""
    await line.pbx.register(tab)
    await tab.do("call", "sip:100@example.org")
    invite = await line.pbx.request("INVITE")
    assert b"UDP/TLS/RTP/SAVPF" in invite.body
    return invite, line.pbx.taken(invite)


async def end_call(dialog: Dialog, tab: Tab, by_page: bool) -> None:
    if by_page:
        await tab.do("hangUp")
        await dialog.ua.answer(await dialog.ua.request("BYE"), 200)
    else:
        await dialog.send("BYE")
        await dialog.ua.response(200, "BYE")
    await tab.next("ended")
