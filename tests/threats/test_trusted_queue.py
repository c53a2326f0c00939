"""A flood of untrusted sources at a trunk's port (THREATS 14, 21): the trunk's datagrams are not lost."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.running import CORE_UDP, edge_process, end, free_port, listen, policy_text, until
from support.ua import Ua, UdpWire

from edgesbc.base.address import Source
from edgesbc.sip.message import Request

FLOOD = 120_000
"""Datagrams of strangers: some ten times what the edge reads meanwhile."""
REQUESTS = 100


@asynccontextmanager
async def flood(target: Source, *source: str) -> AsyncIterator[trio.Process]:
    """Runs when the block is entered; stopped by its own process id."""
    command = [sys.executable, "-m", "support.many_sources", target.host, str(target.port), str(FLOOD), *source]
    tests = str(Path(__file__).parents[1])
    process = await trio.lowlevel.open_process(command, stdout=-1, cwd=tests)
    try:
        assert process.stdout is not None
        assert b"begun" in await process.stdout.receive_some()
        yield process
    finally:
        await end(process, 1.0)


def lost(at: Source) -> list[int]:
    """What the kernel had no room for in each socket at the address, by its own table."""
    word = int.from_bytes(socket.inet_aton(at.host), sys.byteorder)
    local = f"{word:08X}:{at.port:04X}"
    lines = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sorted(int(line[-1]) for line in lines if line[1] == local)


@pytest.mark.alone
async def test_a_trunk_is_served_during_a_flood_at_its_port(tmp_path: Path) -> None:
    """Every request of the trunk is answered at its first attempt: it never sends one again."""
    target, http = Source("127.0.0.1", free_port()), free_port()
    async with Ua(await UdpWire.open("127.0.0.11"), "bob") as bob, trio.open_nursery() as nursery:
        text = policy_text(
            tmp_path,
            [f"sip:{bob.address}"],
            [listen("public", "udp", str(target), "carriers"), CORE_UDP],
            trunks=["127.0.0.5"],
            http=f"127.0.0.1:{http}",
            more='engine = "none"',
        )
        rung: list[str] = []

        async def decline() -> None:
            """Every call is received once, and declined."""
            while True:
                message = await bob.hear()
                if isinstance(message, Request) and message.method == "INVITE":
                    rung.append(message.call_id)
                    await bob.answer(message, 486, tag="b")

        async with edge_process(tmp_path, text, http) as edge:
            if await edge.metric('edgesbc_lane_mode{lane="steering"}') < 1:
                pytest.skip("the kernel refuses SO_ATTACH_REUSEPORT_CBPF")
            nursery.start_soon(decline)
            async with Ua(await UdpWire.open("127.0.0.5", peer=target), "carrier") as trunk, flood(target) as strangers:
                await until(lambda: sum(lost(target)) > 0)
                asked = 0
                while asked < REQUESTS or strangers.poll() is None:
                    asked += 1
                    await trunk.dialog(f"sip:{target}").send("OPTIONS")
                    await trunk.response(200)
                    calling = trunk.dialog(f"sip:100@{target}")
                    await calling.send("INVITE")
                    await trunk.response(486)
                    branch = calling.branch
                    ack = calling.build("ACK")
                    await trunk.wire.send(ack.replace(calling.branch.encode(), branch.encode()))
            assert len(rung) == len(set(rung)) == asked
            trusted, stranger = lost(target)
            assert (trusted, stranger > 0) == (0, True)
            assert await edge.metric("edgesbc_retransmissions_total") == 0
            nursery.cancel_scope.cancel()


@pytest.mark.alone
async def test_21_forged_packets_from_a_trunk_s_other_ports_have_it_neither_banned_nor_crowded_out(
    tmp_path: Path,
) -> None:
    """The trunk is listed with its port; a flood has its address, and every other port."""
    target, http, port = Source("127.0.0.1", free_port()), free_port(), free_port("127.0.0.5")
    text = policy_text(
        tmp_path, ["sip:127.0.0.11:9"], [listen("public", "udp", str(target), "carriers"), CORE_UDP],
        trunks=[f"127.0.0.5:{port}"], http=f"127.0.0.1:{http}",
    )  # fmt: skip
    async with edge_process(tmp_path, text, http) as edge:
        if await edge.metric('edgesbc_lane_mode{lane="steering"}') < 1:
            pytest.skip("the kernel refuses SO_ATTACH_REUSEPORT_CBPF")
        wire = await UdpWire.open("127.0.0.5", target, port)
        async with Ua(wire, "carrier") as trunk, flood(target, "127.0.0.5") as forger:
            await until(lambda: sum(lost(target)) > 0)
            asked = 0
            while asked < REQUESTS or forger.poll() is None:
                asked += 1
                await trunk.dialog(f"sip:{target}").send("OPTIONS")
                await trunk.response(200)
        assert lost(target)[0] == 0
        assert await edge.metric("edgesbc_screened_total") > 0
