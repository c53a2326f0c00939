"""SIP libraries of web pages in Chromium, over WSS: registrations, messages and calls."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.browser import Web, needs_browser
from support.certificates import Certificates
from support.phone_pages import SDP, called_pbx, description, end_call, open_line
from support.registrar import expires

pytestmark = needs_browser()


async def test_a_page_registers_and_sends_and_receives_messages(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    async with open_line(tmp_path, web, certificates, library) as line:
        tab = await line.tab()
        first = await line.pbx.register(tab)
        assert first.get("Path")
        await tab.do("register")
        again = await line.pbx.accept_register()
        assert again.call_id == first.call_id
        await tab.do("message", "sip:100@example.org", "h\u00e9llo")
        message = await line.pbx.request("MESSAGE")
        assert message.body == "h\u00e9llo".encode()
        await line.pbx.answer(message, 202, tag="b")
        assert await tab.next("delivered") == 202
        dialog = line.pbx.dialog_with(again)
        await dialog.send("MESSAGE", "w\u00f6rld".encode(), ("Content-Type: text/plain",))
        assert await tab.next("message") == "w\u00f6rld"
        await line.pbx.response(200, "MESSAGE")
        await tab.do("unregister")
        last = await line.pbx.accept_register()
        assert (expires(last), last.call_id) == ("0", first.call_id)
        await tab.next("unregistered")


# --- calls: their media does not pass the edge yet -----------------------------------------------------------


@pytest.mark.parametrize("by_page", [True, False], ids=["ended by the page", "ended by the PBX"])
async def test_a_call_of_a_page(
    tmp_path: Path, web: Web, certificates: Certificates, library: str, by_page: bool
) -> None:
    async with open_line(tmp_path, web, certificates, library) as line:
        tab = await line.tab()
        invite, dialog = await called_pbx(line, tab)
        await dialog.answer(invite, 180)
        assert await tab.next("progress") == 180
        await dialog.answer(invite, 200, description("active"), SDP)
        await tab.next("answered")
        await line.pbx.request("ACK")
        await end_call(dialog, tab, by_page)


async def test_requests_inside_the_call_of_a_page(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    """Hold and resume, a digit, a new description of the PBX, and a transfer."""
    async with open_line(tmp_path, web, certificates, library) as line:
        tab = await line.tab()
        invite, dialog = await called_pbx(line, tab)
        await dialog.answer(invite, 200, description("active"), SDP)
        await tab.next("answered")
        await line.pbx.request("ACK")
        for command, event, asked, answered in (
            ("hold", "held", b"a=sendonly", "recvonly"),
            ("resume", "resumed", b"a=sendrecv", "sendrecv"),
        ):
            await tab.do(command)
            again = await line.pbx.request("INVITE")
            assert asked in again.body
            assert again.call_id == invite.call_id
            await dialog.answer(again, 200, description("active", answered), SDP)
            await line.pbx.request("ACK")
            await tab.next(event)
        await tab.do("digit", "5")
        info = await line.pbx.request("INFO")
        assert b"Signal=5" in info.body.replace(b" ", b"")
        await dialog.answer(info, 200)
        await dialog.send("INVITE", description("actpass", "sendonly"))
        assert b"a=recvonly" in (await line.pbx.response(200, "INVITE")).body
        await dialog.send("ACK")
        await tab.do("transfer", "sip:200@example.org")
        refer = await line.pbx.request("REFER")
        assert "sip:200@example.org" in (refer.get("Refer-To") or "")
        await dialog.answer(refer, 202)
        assert await tab.next("transferring") == 202
        fields = ("Event: refer", "Subscription-State: terminated", "Content-Type: message/sipfrag;version=2.0")
        await dialog.send("NOTIFY", b"SIP/2.0 200 OK\r\n", fields)
        await line.pbx.response(200, "NOTIFY")
        await tab.next("transferred")
        await end_call(dialog, tab, by_page=False)


async def test_a_call_of_a_page_that_is_refused_and_one_that_is_cancelled(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    async with open_line(tmp_path, web, certificates, library) as line:
        tab = await line.tab()
        invite, dialog = await called_pbx(line, tab)
        await dialog.answer(invite, 486)
        assert await tab.next("failed") == 486
        await line.pbx.request("ACK")
        await tab.do("call", "sip:100@example.org")
        invite = await line.pbx.request("INVITE")
        dialog = line.pbx.taken(invite)
        await dialog.answer(invite, 180)
        assert await tab.next("progress") == 180
        await tab.do("hangUp")
        await line.pbx.answer(await line.pbx.request("CANCEL"), 200)
        await dialog.answer(invite, 487)
        await line.pbx.request("ACK")
        await tab.next("failed")


@pytest.mark.parametrize("by_page", [True, False], ids=["ended by the page", "ended by the PBX"])
async def test_a_call_to_a_page_by_its_path(
    tmp_path: Path, web: Web, certificates: Certificates, library: str, by_page: bool
) -> None:
    async with open_line(tmp_path, web, certificates, library) as line:
        tab = await line.tab()
        dialog = line.pbx.dialog_with(await line.pbx.register(tab))
        await dialog.send("INVITE", description("actpass"))
        assert await tab.next("call") == "sip:pbx@example.org"
        await line.pbx.response(180)
        await tab.do("answer")
        ok = await line.pbx.response(200)
        assert b"a=setup:active" in ok.body
        dialog.learn(ok)
        dialog.routes = ()
        await dialog.send("ACK")
        await tab.next("answered")
        await end_call(dialog, tab, by_page)


async def test_a_call_to_a_page_that_declines(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    async with open_line(tmp_path, web, certificates, library) as line:
        tab = await line.tab()
        dialog = line.pbx.dialog_with(await line.pbx.register(tab))
        await dialog.send("INVITE", description("actpass"))
        await tab.next("call")
        await line.pbx.response(180)
        await tab.do("decline")
        refusal = await line.pbx.hear()
        assert refusal.status == (486 if library == "jssip" else 480)  # type: ignore[union-attr]
        dialog.learn(refusal)  # type: ignore[arg-type]
        await dialog.send("ACK")
        await tab.next("failed")


async def test_the_offer_of_a_page_is_refused_where_the_relay_has_to_carry_its_media(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    async with open_line(tmp_path, web, certificates, library, engine="builtin") as line:
        tab = await line.tab()
        await line.pbx.register(tab)
        await tab.do("call", "sip:100@example.org")
        assert await tab.next("failed") == 488


async def test_two_tabs_call_each_other_and_have_media(
    tmp_path: Path, web: Web, certificates: Certificates, library: str
) -> None:
    """The PBX is between their two dialogs, and passes their descriptions on."""
    async with open_line(tmp_path, web, certificates, library) as line:
        alice, bob = await line.tab("alice"), await line.tab("bob")
        assert len(line.app.plane.connections) == 2
        await line.pbx.register(alice)
        to_bob = line.pbx.dialog_with(await line.pbx.register(bob))
        await alice.do("call", "sip:bob@example.org")
        invite = await line.pbx.request("INVITE")
        to_alice = line.pbx.taken(invite)
        await to_alice.answer(invite, 180)  # however long the page of bob takes
        await to_bob.send("INVITE", invite.body)
        await bob.next("call")
        await line.pbx.response(180)
        await bob.do("answer")
        ok = await line.pbx.response(200)
        to_bob.learn(ok)
        to_bob.routes = ()
        await to_bob.send("ACK")
        await to_alice.answer(invite, 200, ok.body, SDP)
        await line.pbx.request("ACK")
        for tab in (alice, bob):
            await tab.next("answered")
            assert await tab.next("media") == "connected"
        await end_call(to_bob, bob, by_page=False)
        await end_call(to_alice, alice, by_page=True)
