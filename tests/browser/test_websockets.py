"""WebSockets of a page in Chromium, without a SIP library: opening, messages up to the bound, and closing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.browser import Tab, Web, needs_browser
from support.certificates import Certificates
from support.running import CORE_UDP, at, listen, policy_text, running, until
from support.stream_listeners import NOBODY, event_count

from edgesbc.app import App
from edgesbc.base import limits

pytestmark = needs_browser()

HELPERS = """
const opened = (url, subprotocols = 'sip') => new Promise((done, failed) => {
  const socket = new WebSocket(url, subprotocols);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => done(socket);
  socket.onclose = ({ code }) => failed(new Error(`closed with ${code}`));
});
const closed = (socket) => new Promise((done) => {
  socket.onclose = ({ code, wasClean }) => done([code, wasClean]);
});
const answer = (socket) => new Promise((done) => { socket.onmessage = ({ data }) => done(data); });
"""


@asynccontextmanager
async def edge_and_tab(
    folder: Path, web: Web, certificate: Path, address: str = "127.0.0.1"
) -> AsyncIterator[tuple[App, str, Tab]]:
    """A running edge that listens at the address, its URL, and a tab."""
    keys = f', certificate = "{certificate}", origins = ["{web.origin}"]'
    wss = listen("public", "wss", f"{address}:0", "wss", keys)
    async with running(folder, policy_text(folder, [NOBODY], [wss, CORE_UDP])) as app, web.chromium.opened() as browser:
        tab = await browser.tab(f"{web.origin}/jssip.html")
        await tab.run(HELPERS)
        yield app, f"wss://{at(app, 'wss')}/", tab


async def closes_with(tab: Tab, url: str, subprotocols: object) -> int:
    """The code with which a WebSocket closes that could not be opened."""
    arguments = f"{json.dumps(url)}, {json.dumps(subprotocols)}"
    code = await tab.run(
        f"new Promise((done) => {{ new WebSocket({arguments}).onclose = ({{ code }}) => done(code); }})"
    )
    return int(code)


@pytest.mark.parametrize("subprotocols", [[], ["msrp", "SIP"]])
async def test_a_websocket_without_the_subprotocol_is_refused(
    tmp_path: Path, web: Web, certificates: Certificates, subprotocols: list[str]
) -> None:
    async with edge_and_tab(tmp_path, web, certificates.folder) as (app, url, tab):
        assert await closes_with(tab, url, subprotocols) == 1006
        assert event_count(app, "wss", "subprotocol") == 1


async def test_an_edge_with_a_certificate_of_another_authority_is_not_trusted(tmp_path: Path, web: Web) -> None:
    """So that the other tests show that its certificate is verified."""
    folder = tmp_path / "other"
    folder.mkdir()
    Certificates(folder)
    async with edge_and_tab(tmp_path, web, folder) as (app, url, tab):
        assert await closes_with(tab, url, "sip") == 1006
        await until(lambda: event_count(app, "wss", "handshake") == 1)


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "localhost"), ("[::1]", "[::1]")])
async def test_the_subprotocol_is_agreed_and_no_compression(
    tmp_path: Path, web: Web, certificates: Certificates, address: str, host: str
) -> None:
    """Chromium offers permessage-deflate."""
    async with edge_and_tab(tmp_path, web, certificates.folder, address) as (_, url, tab):
        url = url.replace(address, host)
        agreed = await tab.run(
            f"opened('{url}', ['msrp', 'sip']).then(({{ protocol, extensions }}) => [protocol, extensions])"
        )
        assert agreed == ["sip", ""]


def options(url: str, size: int) -> str:
    """A request of ``size`` bytes that the edge answers."""
    edge = url.replace("wss://", "sip:").rstrip("/")
    head = (
        f"OPTIONS {edge} SIP/2.0\r\nVia: SIP/2.0/WSS a.invalid;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
        f"From: <sip:a@example.com>;tag=a\r\nTo: <{edge}>\r\nCall-ID: {size}\r\nCSeq: 1 OPTIONS\r\n"
        "Content-Length: %05d\r\n\r\n"
    )
    body = size - len(head % 0)
    return head % body + "x" * body


@pytest.mark.parametrize("kind", ["text", "binary"])
async def test_messages_up_to_the_bound_are_answered(
    tmp_path: Path, web: Web, certificates: Certificates, kind: str
) -> None:
    """A larger one closes the WebSocket with 1009."""
    data = "message" if kind == "text" else "new TextEncoder().encode(message)"
    async with edge_and_tab(tmp_path, web, certificates.folder) as (_, url, tab):
        await tab.run(f"opened('{url}').then((socket) => {{ globalThis.socket = socket; }})")
        for size in (400, 16_384, limits.MESSAGE_BYTES):
            message = json.dumps(options(url, size))
            answered = await tab.run(f"((message) => (socket.send({data}), answer(socket)))({message})")
            assert answered.startswith("SIP/2.0 200 "), size
        message = json.dumps(options(url, limits.MESSAGE_BYTES + 1))
        assert await tab.run(f"((message) => (socket.send({data}), closed(socket)))({message})") == [1009, True]


@pytest.mark.parametrize("code", [1000, 3000, 4999])
async def test_the_code_of_a_page_is_answered(tmp_path: Path, web: Web, certificates: Certificates, code: int) -> None:
    async with edge_and_tab(tmp_path, web, certificates.folder) as (app, url, tab):
        outcome = f"opened('{url}').then((socket) => (socket.close({code}, 'done'), closed(socket)))"
        assert await tab.run(outcome) == [code, True]
        await until(lambda: not app.plane.connections)
