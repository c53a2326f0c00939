"""Calls between phones of IPv6 and servers of IPv4, over a running edge with media addresses of both families."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.running import CORE_UDP, PUBLIC_UDP, at, listen, nothing_left, policy_text, running
from support.ua import Dialog, Rtp, Ua, UdpWire, hang_up, set_up, talk

from edgesbc.app import App
from edgesbc.sdp.session import parse_session
from edgesbc.sip.message import Request, Response

SIX_UDP = listen("public", "udp", "[::1]:0", "public-udp6")
PHONES = {"IP4": ("127.0.0.21", "public-udp"), "IP6": ("::1", "public-udp6")}
PBX = "127.0.0.11"


@asynccontextmanager
async def pbx_and_edge(folder: Path, more: str = "") -> AsyncIterator[tuple[Ua, App]]:
    """An edge with public listeners of both families and one of IPv4 inside, and the PBX behind it."""
    async with Ua(await UdpWire.open(PBX), "pbx") as pbx:
        listeners = (PUBLIC_UDP, SIX_UDP, CORE_UDP)
        text = policy_text(folder, [f"sip:{pbx.address}"], listeners, open=("public",), more=more)
        async with running(folder, text) as app:
            yield pbx, app


@asynccontextmanager
async def phone_of(app: App, family: str) -> AsyncIterator[tuple[Ua, str, Rtp]]:
    """A phone, the URI that it calls, and its media."""
    host, name = PHONES[family]
    public = at(app, name)
    uri = f"sip:100@[{public.host}]:{public.port}" if family == "IP6" else f"sip:100@{public}"
    async with Ua(await UdpWire.open(host, peer=public)) as phone, await Rtp.open(host) as near:
        yield phone, uri, near


def media_host(message: Request | Response) -> str:
    connection = parse_session(message.body).connection
    assert connection is not None
    assert connection.family == ("IP6" if ":" in connection.address else "IP4")
    return connection.address


async def called_by_its_path(pbx: Ua, phone: Ua, uri: str) -> Dialog:
    """Register the phone; the dialog in which the PBX calls it then."""
    registering = phone.dialog(uri)
    await registering.send("REGISTER", extra=("Expires: 600",))
    received = await pbx.request("REGISTER")
    path, contact = received.get("Path") or "", received.get("Contact") or ""
    await pbx.answer(received, 200, tag="r", extra=(f"Contact: {contact};expires=600", f"Path: {path}"))
    await phone.response(200, "REGISTER")
    calling = pbx.dialog(contact.partition("<")[2].partition(">")[0])
    calling.routes = (path,)
    return calling


@pytest.mark.parametrize("family", list(PHONES))
async def test_a_phone_of_either_family_calls_a_pbx_of_ipv4(tmp_path: Path, family: str) -> None:
    async with (
        pbx_and_edge(tmp_path) as (pbx, app),
        phone_of(app, family) as (phone, uri, near),
        await Rtp.open(PBX) as far,
    ):
        calling, called = await set_up(phone, pbx, uri, near, far)
        assert (near.peer or ("",))[0] == ("::1" if family == "IP6" else "127.0.0.1")
        assert (far.peer or ("",))[0] == "127.0.0.2"
        await talk(near, far)
        # The PBX offers anew: the phone keeps its family and its ports.
        before = near.peer
        await called.send("INVITE", far.sdp())
        again = await phone.request("INVITE")
        near.aim(again)
        assert near.peer == before
        await calling.answer(again, 200, near.sdp(), ("Content-Type: application/sdp",))
        far.aim(await pbx.response(200))
        await called.send("ACK")
        await phone.request("ACK")
        await talk(near, far)
        await hang_up(calling, pbx)
        await nothing_left(app)


@pytest.mark.parametrize("family", list(PHONES))
async def test_a_pbx_of_ipv4_calls_a_registered_phone_of_either_family(tmp_path: Path, family: str) -> None:
    async with (
        pbx_and_edge(tmp_path) as (pbx, app),
        phone_of(app, family) as (phone, uri, near),
        await Rtp.open(PBX) as far,
    ):
        calling = await called_by_its_path(pbx, phone, uri)
        await calling.send("INVITE", far.sdp())
        invite = await phone.request("INVITE")
        assert media_host(invite) == ("::1" if family == "IP6" else "127.0.0.1")
        near.aim(invite)
        called = phone.taken(invite)
        await called.answer(invite, 200, near.sdp(), ("Content-Type: application/sdp",))
        answered = await pbx.response(200)
        assert media_host(answered) == "127.0.0.2"
        far.aim(answered)
        calling.learn(answered)
        await calling.send("ACK")
        await phone.request("ACK")
        await talk(near, far)
        await hang_up(called, pbx)
        await nothing_left(app)


async def test_a_phone_that_changes_its_family_during_a_call(tmp_path: Path) -> None:
    async with (
        pbx_and_edge(tmp_path) as (pbx, app),
        phone_of(app, "IP6") as (phone, uri, near),
        await Rtp.open("127.0.0.21") as near4,
        await Rtp.open(PBX) as far,
    ):
        calling, called = await set_up(phone, pbx, uri, near, far)
        await talk(near, far)
        await calling.send("INVITE", near4.sdp())
        again = await pbx.request("INVITE")
        far.aim(again)
        await called.answer(again, 200, far.sdp(), ("Content-Type: application/sdp",))
        answered = await phone.response(200)
        assert media_host(answered) == "127.0.0.1"
        near4.aim(answered)
        await calling.send("ACK")
        await pbx.request("ACK")
        await talk(near4, far)
        await hang_up(calling, pbx)
        await nothing_left(app)


async def test_where_media_has_one_family_an_offer_of_the_other_is_refused_and_the_warning_says_why(
    tmp_path: Path,
) -> None:
    async with (
        pbx_and_edge(tmp_path, '[media.address]\npublic = "127.0.0.1"\n') as (_, app),
        phone_of(app, "IP6") as (phone, uri, near),
    ):
        await phone.dialog(uri).send("INVITE", near.sdp())
        warning = (await phone.response(488)).get("Warning") or ""
        assert "expected a media address of IPv4, found one of IPv6" in warning
        await nothing_left(app)
