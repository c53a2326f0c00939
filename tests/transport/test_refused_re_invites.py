"""Audio goes on both ways through a running edge while an offer is pending, and after it was refused: in a re-INVITE
(RFC 3261 section 14.1) and in an UPDATE (RFC 3311 section 5.3)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from support.bob_and_edge import TRANSPORTS, bob_and_edge, connected, listeners
from support.running import CORE_UDP, PUBLIC_UDP, at
from support.ua import Dialog, Rtp, Ua, UdpWire, hang_up, set_up, talk

SDP = ("Content-Type: application/sdp",)

CHANGES = (
    "another address", "another port", "hold by address", "inactive", "another section", "rejected, with video instead",
)  # fmt: skip
PATIENT = "[screen.pike]\nreqs_density_per_unit = 500\n"
"""For one phone that tries many changes in a second."""
_VIDEO = b"m=video 39998 RTP/AVP 99\r\na=rtpmap:99 VP8/90000\r\n"


def changed(rtp: Rtp, change: str) -> bytes:
    """The description of ``rtp`` with a change that affects its audio, once it is agreed on."""
    sdp, host, port = rtp.sdp(), rtp.host, rtp.port
    if change == "another address":
        return sdp.replace(f"c=IN IP4 {host}".encode(), f"c=IN IP4 {host}9".encode())
    if change == "hold by address":
        return sdp.replace(f"c=IN IP4 {host}".encode(), b"c=IN IP4 0.0.0.0")
    if change == "another port":
        return sdp.replace(f"m=audio {port}".encode(), b"m=audio 39998")
    if change == "another section":
        return sdp + _VIDEO
    if change == "rejected, with video instead":
        return sdp.replace(f"m=audio {port}".encode(), b"m=audio 0") + _VIDEO
    return sdp.replace(b"a=sendrecv", b"a=inactive")


async def refuse(one: Dialog, other: Dialog, method: str, offered: bytes, end: str, near: Rtp, far: Rtp) -> None:
    """A request of ``one`` with an offer that changes nothing; audio passes meanwhile."""
    await one.send(method, offered, SDP)
    request = await other.ua.request(method)
    await talk(near, far, 3)
    if end == "CANCEL":
        await other.answer(request, 180)
        await one.ua.response(180)
        await one.send("CANCEL")
        await one.ua.response(200, "CANCEL")
        await other.ua.answer(await other.ua.request("CANCEL"), 200)
        await other.answer(request, 487)
        await one.ua.response(487, method)
    elif end == "unreadable answer":
        await other.answer(request, 200, b"v=0\r\nnonsense", SDP)
        await one.ua.response(502, method)
    elif end == "glare":
        # The other side has sent an offer too before it saw this one (RFC 3261 section 14.1).
        await other.send(method, changed(far, "another port"), SDP)
        await other.ua.response(491, method)
        await other.answer(request, 491)
        await one.ua.response(491, method)
    else:
        extra = ('WWW-Authenticate: Digest realm="x", nonce="y"',) if end == "401" else ()
        await other.answer(request, int(end), extra=extra)
        await one.ua.response(int(end), method)
    if method == "INVITE":
        await other.ua.request("ACK")


async def audio_goes_on(folder: Path, certificates: Any, transport: str, method: str, end: str) -> None:
    async with (
        bob_and_edge(folder, listeners=listeners(certificates.folder), more=PATIENT) as (bob, app),
        connected(app, transport, certificates.client) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, called = await set_up(alice, bob, f"sip:100@{at(app, f'public-{transport}')}", near, far)
        await talk(near, far)
        for change in CHANGES:
            await refuse(calling, called, method, changed(near, change), end, near, far)
            await refuse(called, calling, method, changed(far, change), end, far, near)
            await talk(near, far, 3)
        await hang_up(calling, bob)


@pytest.mark.parametrize("end", ["488", "491", "401", "CANCEL", "glare", "unreadable answer"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_audio_goes_on_after_a_re_invite(tmp_path: Path, certificates, transport: str, end: str) -> None:
    await audio_goes_on(tmp_path, certificates, transport, "INVITE", end)


@pytest.mark.parametrize("end", ["488", "491", "401", "504", "glare", "unreadable answer"])
@pytest.mark.parametrize("transport", ["udp", "wss"])
async def test_audio_goes_on_after_an_update(tmp_path: Path, certificates, transport: str, end: str) -> None:
    await audio_goes_on(tmp_path, certificates, transport, "UPDATE", end)


async def renegotiate(one: Dialog, other: Dialog, near: Rtp, far: Rtp) -> None:
    """An offer that is answered: none of before is in its way."""
    await one.send("UPDATE", near.sdp(), SDP)
    update = await other.ua.request("UPDATE")
    far.aim(update)
    await other.answer(update, 200, far.sdp(), SDP)
    near.aim(await one.ua.response(200, "UPDATE"))
    await talk(near, far, 3)


@pytest.mark.timeout(180)
async def test_audio_goes_on_when_an_offer_gets_no_answer(tmp_path: Path) -> None:
    """The request times out after 64*T1, here in six calls at once."""
    async with (
        bob_and_edge(tmp_path, listeners=[PUBLIC_UDP, CORE_UDP], more=PATIENT) as (bob, app),
        AsyncExitStack() as stack,
    ):
        uri = f"sip:100@{at(app, 'public-udp')}"
        calls = []
        for change in CHANGES:
            alice = await stack.enter_async_context(Ua(await UdpWire.open(peer=at(app, "public-udp"))))
            near = await stack.enter_async_context(await Rtp.open())
            far = await stack.enter_async_context(await Rtp.open("127.0.0.11"))
            calls.append((await set_up(alice, bob, uri, near, far), near, far, change))
        methods = ("UPDATE", "UPDATE", "UPDATE", "INVITE", "INVITE", "INVITE")
        for method, ((calling, _), near, _, change) in zip(methods, calls, strict=True):
            await calling.send(method, changed(near, change), SDP)
            await bob.request(method)
        for method, ((calling, _), near, far, _) in zip(methods, calls, strict=True):
            await talk(near, far, 3)
            if method == "INVITE":  # RFC 4320 section 4.2: nobody gets a 408 to an UPDATE
                refusal = await calling.ua.response(408, "INVITE")
                assert refusal.call_id == calling.call_id
            await talk(near, far, 3)
        for (calling, called), near, far, _ in calls:
            await renegotiate(calling, called, near, far)
        for (calling, _), _, _, _ in calls:
            await hang_up(calling, bob)
