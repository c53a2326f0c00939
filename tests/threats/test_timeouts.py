"""THREATS 38: requests other than INVITE without a response, or with a late one (RFC 4320)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio.testing
from support.running import at, nothing_left, running, until
from support.stream_listeners import text
from support.ua import StreamWire, Ua, UdpWire


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_38_no_408_and_no_late_response_after_the_client_has_timed_out(
    tmp_path: Path, hasty_clock: trio.testing.MockClock, transport: str
) -> None:
    """The client gets 100 after 3.5 s, when its retransmissions have reached T2; then nothing, neither at Timer F nor
    when a response comes late."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.1"])) as app,
    ):
        peer = at(app, f"public-{transport}")
        wire = await UdpWire.open(peer=peer) if transport == "udp" else await StreamWire.open(peer)
        async with Ua(wire) as alice:
            await alice.dialog(f"sip:100@{peer}").send("REGISTER")
            register = await bob.request("REGISTER")
            assert await alice.silent(0.05)
            hasty_clock.jump(3.6)
            await alice.response(100)
            for _ in range(10):
                hasty_clock.jump(4)
                await trio.testing.wait_all_tasks_blocked(0.01)
            await until(lambda: app.edge.idle)
            await bob.answer(register, 200)
            await bob.answer(register, 408)
            assert await alice.silent()
            assert len(alice.heard) == 1
        await nothing_left(app)


@pytest.mark.parametrize("method", ["REGISTER", "REFER", "INFO", "NOTIFY"])
async def test_38_a_408_of_the_destination_is_not_forwarded(tmp_path: Path, method: str) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send(method)
        request = await bob.request(method)
        await bob.answer(request, 408)
        assert await alice.silent()
        assert app.edge.dispatcher.leases == 0
        await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send(method)
        again = await bob.request(method)
        await bob.answer(again, 403)
        await alice.response(403)
