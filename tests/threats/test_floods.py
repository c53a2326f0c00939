"""THREATS 14: floods of every method without a dialog, from many addresses, above the capacity of the edge."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from support import flood
from support.running import at, edge_process, end, free_port, listen, policy_text, running, until
from support.steady_caller import SteadyCaller, take_calls
from support.stream_listeners import text
from support.ua import Ua, UdpWire

from edgesbc.base.address import Source

RATE = 40_000
COUNT = 120_000
"""Datagrams of the flood, which takes three seconds."""
SEVERAL = 32
ROTATING = 5_000
CARRIER, PHONE = "127.0.0.5", "127.0.0.99"
MIB = 1 << 20


def memory(process: int, field: str) -> int:
    """Octets of a process in memory (proc(5)): ``VmRSS`` is the current number, ``VmHWM`` the highest so far."""
    match = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024


@pytest.mark.alone
async def test_14_a_flood_of_every_method_affects_no_call_and_takes_no_memory(tmp_path: Path) -> None:
    """A listed carrier with 5 calls a second and an unknown phone with 2 have all their calls answered. The edge, in a
    process of its own, grows by 50 MiB at most, and keeps no state of the requests that it refused."""
    port, core, http = free_port(), free_port("127.0.0.2"), free_port()
    listeners = [
        listen("public", "udp", f"127.0.0.1:{port}", "public-udp"),
        listen("core", "udp", f"127.0.0.2:{core}", "core-udp"),
    ]
    edge_at = Source("127.0.0.1", port)
    async with Ua(await UdpWire.open("127.0.0.11"), "bob") as bob, trio.open_nursery() as nursery:
        nursery.start_soon(take_calls, bob)
        policy = policy_text(
            tmp_path, [f"sip:{bob.address}"], listeners, trunks=[CARRIER], http=f"127.0.0.1:{http}", open=["public"]
        )
        async with edge_process(tmp_path, policy, http) as edge:
            await SteadyCaller(CARRIER, edge_at, 10).place_calls(5)
            before = memory(edge.process.pid, "VmRSS")
            carrier, phone = SteadyCaller(CARRIER, edge_at, 5), SteadyCaller(PHONE, edge_at, 2)
            arguments = [str(n) for n in (RATE, COUNT, SEVERAL, ROTATING)]
            attack = await trio.lowlevel.open_process(
                [sys.executable, flood.__file__, edge_at.host, str(port), *arguments], stdout=subprocess.PIPE
            )
            try:
                async with trio.open_nursery() as callers:
                    callers.start_soon(carrier.place_calls, 20)
                    callers.start_soon(phone.place_calls, 8)
                    with trio.fail_after(60):
                        sent = int(await attack.stdout.receive_some())  # type: ignore[union-attr]
            finally:
                await end(attack)
            assert sent == COUNT
            assert carrier.outcomes == [200] * 20
            assert phone.outcomes == [200] * 8
            grown = memory(edge.process.pid, "VmHWM") - before
            assert grown <= 50 * MIB, f"{grown / MIB:.0f} MiB"
            await edge.comes_to("edgesbc_calls", 0, 0)
            assert await edge.metric("edgesbc_transactions") < 3_000
            assert await edge.metric("edgesbc_screened_total") > 0
            assert await edge.metric("edgesbc_penalties") >= SEVERAL
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("method", flood.METHODS)
async def test_14_each_method_is_refused_without_state(tmp_path: Path, method: str) -> None:
    """500 requests of a trunk, which is never banned, without a dialog and for a user without a route. Each gets its
    status, or ACK no response, and no transaction, call, lease or deadline is left."""
    other_route = 'route = [ { name = "numbers", request_user = "^1", to = "pbx" } ]'
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.5"], routes=other_route)) as app,
        Ua(await UdpWire.open("127.0.0.5", peer=at(app, "public-udp"))) as source,
    ):
        uri = f"sip:9@{at(app, 'public-udp')}"
        expected = {"ACK": None, "OPTIONS": 200, "SUBSCRIBE": 405, "MESSAGE": 405, "INVITE": 404, "REGISTER": 404}
        status = expected.get(method, 481)
        for number in range(500):
            await source.wire.send(flood.request(method, number, uri))
            if status is not None:
                await source.response(status)
        await until(lambda: app.edge.counters.requests["public-udp", method] == 500)
        assert app.edge.idle
        assert (app.edge.calls, app.edge.dispatcher.leases, len(app.edge.parts.deadlines)) == (0, 0, 0)
        assert await bob.silent(0.05)
