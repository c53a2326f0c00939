"""A real Kamailio, whose rtpengine module controls `edgesbc media`: calls of real sipp, and audio both ways."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.media_process import kamailio_with_media, media_process
from support.peers import called, needs, place
from support.running import until
from support.ua import Rtp, Ua, UdpWire, hang_up, set_up, talk

from edgesbc.base.address import split_host_port

pytestmark = [needs("sipp"), needs("kamailio")]


@pytest.mark.parametrize("unix", [False, True], ids=["udp", "unix"])
async def test_calls_of_sipp_by_kamailio(tmp_path: Path, unix: bool) -> None:
    async with media_process(tmp_path) as media, called(tmp_path, "called", "127.0.0.11") as callee:
        at = f"unix:{media.unix}" if unix else f"udp:{media.address}"
        async with kamailio_with_media(tmp_path, at, callee.uri) as proxy:
            calls = await place(tmp_path, "caller", proxy, 25, 25)
            assert calls.status == 0, calls.errors
            assert calls.received.count("c=IN IP4 127.0.0.1") >= 25  # answers may come twice
            assert "c=IN IP4 127.0.0.11" not in calls.received
        figures = (await media.peer.ask("statistics"))["statistics"]
        assert figures["totalstatistics"]["managedsessions"] == 25
        assert figures["totalstatistics"]["rejectedsessions"] == 0
        assert await media.sessions() == 0


async def test_audio_passes_both_ways_and_goes_on_after_a_refused_change(tmp_path: Path) -> None:
    async with (
        media_process(tmp_path) as media,
        Ua(await UdpWire.open(host="127.0.0.12")) as bob,
        kamailio_with_media(tmp_path, f"udp:{media.address}", f"sip:{bob.address}") as proxy,
        Ua(await UdpWire.open(peer=split_host_port(proxy))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.12") as far,
        await Rtp.open() as moved,
    ):
        calling, in_call = await set_up(alice, bob, f"sip:100@{proxy}", near, far)
        assert (near.peer or ("",))[0] == "127.0.0.1"
        assert (far.peer or ("",))[0] == "127.0.0.2"
        await talk(near, far, 20)
        # A re-INVITE with another address is refused: audio goes on as before.
        await calling.send("INVITE", moved.sdp())
        again = await bob.request("INVITE")
        await in_call.answer(again, 488)
        await bob.request("ACK")
        await alice.response(488)
        await talk(near, far, 20)
        # One that is accepted moves it.
        await calling.send("INVITE", moved.sdp())
        again = await bob.request("INVITE")
        await in_call.answer(again, 200, far.sdp(), ("Content-Type: application/sdp",))
        answered = await alice.response(200)
        moved.aim(answered)
        await calling.send("ACK")
        await bob.request("ACK")
        await talk(moved, far, 20)
        query = await media.peer.ask("query", call_id=calling.call_id)
        assert query["totals"]["RTP"]["packets"] >= 120
        await hang_up(calling, bob)
        await until(media.is_empty)


async def test_a_media_plane_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    """While there is none, Kamailio refuses calls; it finds the next one by itself."""
    async with called(tmp_path, "called", "127.0.0.11") as callee:
        async with media_process(tmp_path) as media:
            address = media.address
        async with kamailio_with_media(tmp_path, f"udp:{address}", callee.uri) as proxy:
            refused = await place(tmp_path, "caller-refused", proxy, 1, 1)
            assert "SIP/2.0 503 No Media" in refused.received
            async with media_process(tmp_path, port=address.port):

                async def works() -> bool:
                    return (await place(tmp_path, "caller", proxy, 1, 1, hold=0)).status == 0

                await until(works)


async def test_a_range_without_ports_refuses_the_call_and_loses_nothing(tmp_path: Path) -> None:
    async with (
        media_process(tmp_path, "--ports", "20000-20007") as media,
        Ua(await UdpWire.open(host="127.0.0.12")) as bob,
        kamailio_with_media(tmp_path, f"udp:{media.address}", f"sip:{bob.address}") as proxy,
        Ua(await UdpWire.open(peer=split_host_port(proxy))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.12") as far,
    ):
        talking = [await set_up(alice, bob, f"sip:100@{proxy}", near, far) for _ in range(4)]
        refused = alice.dialog(f"sip:100@{proxy}")
        await refused.send("INVITE", near.sdp())
        await alice.response(503)
        await talk(near, far, 5)
        for calling, _ in talking:
            await hang_up(calling, bob)
        await until(media.is_empty)
        await set_up(alice, bob, f"sip:100@{proxy}", near, far)
        await talk(near, far, 5)
