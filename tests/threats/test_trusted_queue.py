"""THREATS 14 and 21: a flood of untrusted sources at the port of a trunk, whose own datagrams must not be lost."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.running import CORE_UDP, EdgeProcess, edge_process, end, free_port, listen, policy_text, until
from support.ua import Ua, UdpWire

from edgesbc.base.address import Source
from edgesbc.sip.message import Request

FLOOD = 120_000
"""Datagrams of untrusted sources: about ten times as many as the edge can read meanwhile."""
REQUESTS = 100


@asynccontextmanager
async def flood(target: Source, *source: str) -> AsyncIterator[trio.Process]:
    """A process that floods ``target`` during the block, from many sources or from one."""
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
    """How many datagrams each socket at the address has lost, from the kernel's table, in ascending order."""
    word = int.from_bytes(socket.inet_aton(at.host), sys.byteorder)
    local = f"{word:08X}:{at.port:04X}"
    lines = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sorted(int(line[-1]) for line in lines if line[1] == local)


async def overflow(edge: EdgeProcess, target: Source) -> None:
    """Return when the flood has filled a queue of the edge, which reads nothing meanwhile: it may be faster."""
    edge.signal(signal.SIGSTOP)
    try:
        await until(lambda: sum(lost(target)) > 0)
    finally:
        edge.signal(signal.SIGCONT)


@pytest.mark.alone
async def test_a_trunk_is_served_during_a_flood_at_its_port(tmp_path: Path) -> None:
    """Every request of the trunk gets its response without a retransmission."""
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
        declined: list[str] = []

        async def decline() -> None:
            """Decline every call, and record its Call-ID."""
            while True:
                message = await bob.hear()
                if isinstance(message, Request) and message.method == "INVITE":
                    declined.append(message.call_id)
                    await bob.answer(message, 486, tag="b")

        async with edge_process(tmp_path, text, http) as edge:
            if await edge.metric('edgesbc_lane_mode{lane="steering"}') < 1:
                pytest.skip("the kernel refuses SO_ATTACH_REUSEPORT_CBPF")
            nursery.start_soon(decline)
            async with Ua(await UdpWire.open("127.0.0.5", peer=target), "carrier") as trunk, flood(target) as attacker:
                await overflow(edge, target)
                rounds = 0
                while rounds < REQUESTS or attacker.poll() is None:
                    rounds += 1
                    await trunk.dialog(f"sip:{target}").send("OPTIONS")
                    await trunk.response(200)
                    calling = trunk.dialog(f"sip:100@{target}")
                    await calling.send("INVITE")
                    await trunk.response(486)
                    branch = calling.branch
                    ack = calling.build("ACK")
                    await trunk.wire.send(ack.replace(calling.branch.encode(), branch.encode()))
            assert len(declined) == len(set(declined)) == rounds
            lost_of_trusted, lost_of_untrusted = lost(target)
            assert (lost_of_trusted, lost_of_untrusted > 0) == (0, True)
            assert await edge.metric("edgesbc_retransmissions_total") == 0
            nursery.cancel_scope.cancel()


@pytest.mark.alone
async def test_21_packets_from_other_ports_of_a_trunk_neither_ban_it_nor_fill_its_queue(tmp_path: Path) -> None:
    """The trunk is listed with its port. A flood has its address, and other source ports."""
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
            await overflow(edge, target)
            rounds = 0
            while rounds < REQUESTS or forger.poll() is None:
                rounds += 1
                await trunk.dialog(f"sip:{target}").send("OPTIONS")
                await trunk.response(200)
        assert lost(target)[0] == 0
        assert await edge.metric("edgesbc_screened_total") > 0
