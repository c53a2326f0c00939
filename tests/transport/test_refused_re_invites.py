"""Audio goes on both ways through a running edge while an offer is pending, and after it was refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bob_and_edge import TRANSPORTS, bob_and_edge, connected, listeners
from support.running import at
from support.ua import Dialog, Rtp, hang_up, set_up, talk

SDP = ("Content-Type: application/sdp",)

CHANGES = ("hold by address", "another port", "rejected, with video instead", "inactive")


def changed(rtp: Rtp, change: str) -> bytes:
    """The description of ``rtp`` with a change that ends its audio, once it is agreed on."""
    sdp, host, port = rtp.sdp(), rtp.host, rtp.port
    if change == "hold by address":
        return sdp.replace(f"c=IN IP4 {host}".encode(), b"c=IN IP4 0.0.0.0")
    if change == "another port":
        return sdp.replace(f"m=audio {port}".encode(), b"m=audio 39998")
    if change == "rejected, with video instead":
        return sdp.replace(f"m=audio {port}".encode(), b"m=audio 0") + b"m=video 39998 RTP/AVP 99\r\n"
    return sdp.replace(b"a=sendrecv", b"a=inactive")


async def refuse(one: Dialog, other: Dialog, offered: bytes, end: str, near: Rtp, far: Rtp) -> None:
    """A re-INVITE of ``one`` that changes nothing; audio passes meanwhile."""
    await one.send("INVITE", offered)
    invite = await other.ua.request("INVITE")
    await talk(near, far, 3)
    if end == "CANCEL":
        await other.answer(invite, 180)
        await one.ua.response(180)
        await one.send("CANCEL")
        await one.ua.response(200, "CANCEL")
        await other.ua.answer(await other.ua.request("CANCEL"), 200)
        await other.answer(invite, 487)
        await one.ua.response(487, "INVITE")
    elif end == "unreadable answer":
        await other.answer(invite, 200, b"v=0\r\nnonsense", SDP)
        await one.ua.response(502, "INVITE")
    else:
        await other.answer(invite, int(end))
        await one.ua.response(int(end), "INVITE")
    await other.ua.request("ACK")


@pytest.mark.parametrize("end", ["488", "491", "CANCEL", "unreadable answer"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_audio_goes_on(tmp_path: Path, certificates, transport: str, end: str) -> None:
    async with (
        bob_and_edge(tmp_path, listeners=listeners(certificates.folder)) as (bob, app),
        connected(app, transport, certificates.client) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, called = await set_up(alice, bob, f"sip:100@{at(app, f'public-{transport}')}", near, far)
        await talk(near, far)
        for change in CHANGES:
            await refuse(calling, called, changed(near, change), end, near, far)
            await refuse(called, calling, changed(far, change), end, far, near)
            await talk(near, far, 3)
        await hang_up(calling, bob)
