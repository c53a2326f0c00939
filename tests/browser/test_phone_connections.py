"""SIP libraries of web pages in Chromium, over WSS: connections that end in each way, and keep-alives."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.browser import Tab, Web, needs_browser
from support.certificates import Certificates
from support.phone_pages import SDP, Line, Pbx, called_pbx, description, end_call, open_line, policy
from support.running import free_port, running, until
from support.stream_listeners import event_count
from support.ua import Dialog, UdpWire

pytestmark = needs_browser()


async def test_a_page_that_is_loaded_again_closes_its_connection(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    """The edge forgets its flow: what comes for the old page gets 480, and the new page registers."""
    async with open_line(tmp_path, web, certificates, library) as line:
        tab = await line.tab()
        before = await line.pbx.register(tab)
        (connection,) = line.app.plane.connections.values()
        await tab.reload()
        await until(lambda: not line.app.plane.connections)
        assert connection.counts.close_frames == 1
        assert not [event for (name, event) in line.app.plane.counts if name == "wss"]
        old = line.pbx.dialog_with(before)
        await old.send("MESSAGE", b"late", ("Content-Type: text/plain",))
        await line.pbx.response(480)
        await line.start(tab)
        await tab.next("connected")
        new = line.pbx.dialog_with(await line.pbx.register(tab))
        await new.send("MESSAGE", b"in time", ("Content-Type: text/plain",))
        assert await tab.next("message") == "in time"
        await line.pbx.response(200, "MESSAGE")


async def lose_connection(line: Line, tab: Tab) -> None:
    """The edge closes the connection of a registered page, which connects and registers again by itself."""
    (connection,) = line.app.plane.connections.values()
    connection.close()
    assert await tab.next("disconnected") == 1001
    await tab.next("connected")
    await line.pbx.register(tab, is_first=False)


async def in_call(line: Line) -> tuple[Tab, Dialog]:
    """A page in a call with the PBX, and the dialog of the PBX."""
    tab = await line.tab()
    invite, dialog = await called_pbx(line, tab)
    await dialog.answer(invite, 200, description("active"), SDP)
    await tab.next("answered")
    await line.pbx.request("ACK")
    return tab, dialog


@pytest.mark.parametrize("by_page", [True, False], ids=["ended by the page", "ended by the PBX"])
async def test_a_call_of_a_page_outlives_its_connection(
    tmp_path: Path, web: Web, certificates: Certificates, by_page: bool
) -> None:
    async with open_line(tmp_path, web, certificates, "jssip") as line:
        tab, dialog = await in_call(line)
        await lose_connection(line, tab)
        await end_call(dialog, tab, by_page)


async def test_what_is_sent_to_a_page_without_connection_waits_for_the_next_one(
    tmp_path: Path, web: Web, certificates: Certificates
) -> None:
    """The connection ends without a Close frame, as when the page has changed its network."""
    async with open_line(tmp_path, web, certificates, "jssip") as line:
        tab, dialog = await in_call(line)
        (connection,) = line.app.plane.connections.values()
        connection.abort()
        assert await tab.next("disconnected") == 1006
        await dialog.send("INVITE", description("actpass", "sendonly"))
        await tab.next("connected")
        await line.pbx.register(tab, is_first=False)
        assert b"a=recvonly" in (await line.pbx.response(200, "INVITE")).body
        await dialog.send("ACK")
        await tab.do("digit", "5")
        await dialog.answer(await line.pbx.request("INFO"), 200)
        await end_call(dialog, tab, by_page=False)


async def test_the_session_manager_of_sip_js_forgets_calls_without_a_connection(
    tmp_path: Path, web: Web, certificates: Certificates
) -> None:
    """What is for the page still finds it, and it says so."""
    async with open_line(tmp_path, web, certificates, "sipjs") as line:
        tab, dialog = await in_call(line)
        await lose_connection(line, tab)
        await dialog.send("BYE")
        await line.pbx.response(481, "BYE")


async def test_a_page_that_stops_says_so(tmp_path: Path, web: Web, certificates: Certificates, library: str) -> None:
    async with open_line(tmp_path, web, certificates, library) as line:
        tab = await line.tab()
        (connection,) = line.app.plane.connections.values()
        await tab.do("stop")
        await until(lambda: not line.app.plane.connections)
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


async def test_keep_alives_of_both_sides(tmp_path: Path, web: Web, certificates: Certificates) -> None:
    """Empty lines of SIP.js are answered; a page that sends nothing answers the Ping of the edge."""
    async with open_line(tmp_path, web, certificates, "sipjs") as line:
        busy = await line.tab("alice", keepAlive=1)
        silent = await line._replace(library="jssip").tab("bob")
        first, second = line.app.plane.connections.values()
        await until(lambda: first.counts.messages >= 2 and second.counts.pongs >= 1)
        for tab, user in ((busy, "alice"), (silent, "bob")):
            assert (await line.pbx.register(tab)).to.uri.user == user


async def test_a_page_of_another_origin_does_not_connect(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    async with open_line(tmp_path, web, certificates, library) as line:
        tab = await line.browser.tab(f"http://localhost:{web.port}/{library}.html")
        await line.start(tab)
        assert await tab.next("disconnected") in (0, 1006)
        assert event_count(line.app, "wss", "origin") >= 1
        assert not line.app.plane.connections


async def test_two_tabs_of_one_user_have_a_path_each(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    """One that is closed leaves the other."""
    text = ("Content-Type: text/plain",)
    async with open_line(tmp_path, web, certificates, library) as line:
        tabs = [await line.tab(), await line.tab()]
        dialogs = [line.pbx.dialog_with(await line.pbx.register(tab)) for tab in tabs]
        assert dialogs[0].routes != dialogs[1].routes
        for number, (tab, dialog) in enumerate(zip(tabs, dialogs, strict=True)):
            await dialog.send("MESSAGE", b"%d" % number, text)
            assert await tab.next("message") == str(number)
            await line.pbx.response(200, "MESSAGE")
        await tabs[0].close()
        await until(lambda: len(line.app.plane.connections) == 1)
        await dialogs[0].send("MESSAGE", b"late", text)
        await line.pbx.response(480)
        await dialogs[1].send("MESSAGE", b"in time", text)
        assert await tabs[1].next("message") == "in time"
        await line.pbx.response(200, "MESSAGE")
