"""Whole calls through a running edge, over each transport, with audio through the relay."""

from __future__ import annotations

from pathlib import Path

from support.running import at, nothing_left, policy_text, running
from support.ua import Rtp, StreamWire, Ua, UdpWire, hang_up, set_up, talk


async def test_a_udp_call_with_audio_and_both_ways_to_end_it(tmp_path: Path) -> None:
    async with Ua(await UdpWire.open("127.0.0.11"), "bob") as bob, await Rtp.open() as near, await Rtp.open() as far:
        async with running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"])) as app:
            public = at(app, "public-udp")
            async with Ua(await UdpWire.open(peer=public)) as alice:
                calling, _ = await set_up(alice, bob, f"sip:100@{public}", near, far)
                await talk(near, far)
                await hang_up(calling, bob)
                _, called = await set_up(alice, bob, f"sip:100@{public}", near, far)
                await talk(near, far)
                await hang_up(called, alice)
            await nothing_left(app)
