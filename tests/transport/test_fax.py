"""A call that becomes a fax (ITU-T T.38 over UDPTL) and a call again, through a running edge."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bob_and_edge import bob_and_edge
from support.running import CORE_UDP, PUBLIC_UDP, at
from support.ua import Dialog, Rtp, Ua, UdpWire, hang_up, set_up, talk

SDP = ("Content-Type: application/sdp",)

PACKETS = [
    bytes.fromhex("0000 01 06 00 00"),  # t30-indicator: no signal
    bytes.fromhex("0001 01 02 01 01 06 00"),  # CNG, and the packet before it again
    bytes.fromhex("0002 01 04 00 01 01 02"),  # CED
    bytes.fromhex("0003 01 06 01 01 01 04"),  # V.21 preamble
    bytes.fromhex("c8c8 05 c0 01 80 00 ff 00"),  # V.21 data, with a number that looks like the type of RTCP
]
"""UDPTL (ITU-T T.38 section 9.1): sequence number, primary packet, and packets that repeat earlier ones."""


def fax(rtp: Rtp) -> bytes:
    """The description of a gateway that has heard a fax (ITU-T T.38 annex D.2.2.4)."""
    head = rtp.sdp().partition(b"m=")[0]
    lines = (
        f"m=image {rtp.port} udptl t38", "a=T38FaxVersion:0", "a=T38MaxBitRate:14400",
        "a=T38FaxRateManagement:transferredTCF", "a=T38FaxUdpEC:t38UDPRedundancy",
    )  # fmt: skip
    return head + "".join(f"{line}\r\n" for line in lines).encode()


async def negotiate(one: Dialog, other: Dialog, offer: bytes, answer: bytes, aims: tuple[Rtp, Rtp]) -> None:
    """A re-INVITE of ``one`` that is answered; its ``aims`` are the sockets of ``one`` and ``other``."""
    await one.send("INVITE", offer, SDP)
    invite = await other.ua.request("INVITE")
    aims[1].aim(invite)
    await other.answer(invite, 200, answer, SDP)
    aims[0].aim(await one.ua.response(200))
    await one.send("ACK")
    await other.ua.request("ACK")


async def passes(near: Rtp, far: Rtp) -> None:
    """Every packet arrives unchanged, both ways."""
    for packet in PACKETS:
        for one, other in ((near, far), (far, near)):
            await one.send(packet)
            assert await other.receive() == packet


@pytest.mark.parametrize("asks", ["caller", "callee"])
async def test_audio_becomes_a_fax_and_audio_again(tmp_path: Path, asks: str) -> None:
    async with (
        bob_and_edge(tmp_path, listeners=[PUBLIC_UDP, CORE_UDP]) as (bob, app),
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, called = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        await talk(near, far)
        sides = (calling, called, near, far) if asks == "caller" else (called, calling, far, near)
        one, other, ours, theirs = sides
        before = near.peer, far.peer
        await negotiate(one, other, fax(ours), fax(theirs), (ours, theirs))
        assert (near.peer, far.peer) == before, "the ports stay"
        await passes(near, far)
        await negotiate(other, one, theirs.sdp(), ours.sdp(), (theirs, ours))
        await talk(near, far)
        await hang_up(calling, bob)


async def test_a_fax_that_is_refused_leaves_the_audio(tmp_path: Path) -> None:
    async with (
        bob_and_edge(tmp_path, listeners=[PUBLIC_UDP, CORE_UDP]) as (bob, app),
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, called = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        await called.send("INVITE", fax(far), SDP)
        await calling.answer(await alice.request("INVITE"), 488)
        await bob.response(488)
        await alice.request("ACK")
        await talk(near, far)
        await hang_up(calling, bob)
