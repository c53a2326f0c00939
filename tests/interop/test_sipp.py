"""Real sipp on both sides of a real `edgesbc run`, as a carrier and as a PBX."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.bpf import can_attach
from support.peers import Called, called, needs, place
from support.running import EdgeProcess, edge_process, free_port, listen, policy_text, until
from support.ua import Rtp, Ua, UdpWire

from edgesbc.base.address import split_host_port

pytestmark = needs("sipp")


class Front:
    """A running edge, and the addresses of its public listeners."""

    def __init__(self, edge: EdgeProcess, udp: str, tcp: str) -> None:
        self.edge = edge
        self.udp = udp
        self.tcp = tcp


@asynccontextmanager
async def front(
    folder: Path,
    *members: Called,
    health: str = "interval = 0",
    host: str = "127.0.0.1",
    media: str = "",
    planes: str = "tasks",
) -> AsyncIterator[Front]:
    """An edge before ``members``, which trusts 127.0.0.1 as a carrier."""
    shown = f"[{host}]" if ":" in host else host
    udp, tcp = f"{shown}:{free_port(host)}", f"{shown}:{free_port(host)}"
    http = free_port()
    text = policy_text(
        folder,
        [member.uri for member in members],
        [
            listen("public", "udp", udp, "carriers"),
            listen("public", "tcp", tcp, "carriers-tcp"),
            listen("core", "udp", "127.0.0.2:0", "inside"),
            listen("core", "tcp", "127.0.0.2:0", "inside-tcp"),
        ],
        trunks=[host],
        http=f"127.0.0.1:{http}",
        health=health,
        edge="grace = 0",
        planes=planes,
        media=media,
    )
    async with edge_process(folder, text, http) as edge:
        yield Front(edge, udp, tcp)


async def settled(edge: EdgeProcess, **outcomes: int) -> None:
    """The calls have ended with these outcomes, and their state is gone."""
    for outcome, calls in outcomes.items():
        assert await edge.metric(f'edgesbc_calls_ended_total{{outcome="{outcome}"}}') == calls
    await edge.comes_to("edgesbc_calls", 0, 0)
    for gauge in ("destination_calls", "media_sessions", "media_ports"):
        assert await edge.metric(f"edgesbc_{gauge}") == 0


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_calls_succeed_and_show_nothing_of_the_private_side(tmp_path: Path, tcp: bool) -> None:
    async with (
        called(tmp_path, "called", "127.0.0.11", tcp) as one,
        called(tmp_path, "called", "127.0.0.12", tcp) as two,
        front(tmp_path, one, two) as outside,
    ):
        calls = await place(tmp_path, "caller", outside.tcp if tcp else outside.udp, 50, 25, tcp=tcp)
        assert calls.status == 0, calls.errors
        await settled(outside.edge, answered=50)
        assert calls.received.count("SIP/2.0 200 OK") == 100
        for inside in ("127.0.0.11", "127.0.0.12", "127.0.0.2", "inside-pbx", "X-Inside", "Record-Route"):
            assert inside not in calls.received


@pytest.mark.parametrize(
    ("caller", "answering", "outcome"),
    [
        ("caller-refused", "busy", "refused"),
        ("caller-cancels", "rings", "cancelled"),
        ("caller-is-ended", "called-ends", "answered"),
    ],
)
async def test_calls_that_are_refused_cancelled_or_ended_by_the_callee(
    tmp_path: Path, caller: str, answering: str, outcome: str
) -> None:
    async with called(tmp_path, answering, "127.0.0.11") as one, front(tmp_path, one) as outside:
        calls = await place(tmp_path, caller, outside.udp, 10, 20)
        assert calls.status == 0, calls.errors
        await settled(outside.edge, **{outcome: 10})
        assert "127.0.0.11" not in calls.received


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_no_call_fails_when_a_destination_dies(tmp_path: Path, tcp: bool) -> None:
    """One of two members is killed while calls come in: later calls go to the other."""
    async with (
        called(tmp_path, "called", "127.0.0.11", tcp) as one,
        called(tmp_path, "called", "127.0.0.12", tcp) as two,
        front(tmp_path, one, two) as outside,
        trio.open_nursery() as nursery,
    ):
        edge = outside.edge

        async def kill_one() -> None:
            await edge.comes_to("edgesbc_responses_total", 60)
            one.process.send_signal(signal.SIGKILL)

        nursery.start_soon(kill_one)
        calls = await place(tmp_path, "caller", outside.tcp if tcp else outside.udp, 75, 25, hold=0, tcp=tcp)
        assert one.process.returncode == -signal.SIGKILL
        assert calls.status == 0, calls.errors
        await settled(edge, answered=75)
        assert await edge.metric('edgesbc_decisions_total{reason="failover"}') >= 1


async def test_audio_comes_back_from_a_destination_that_echoes(tmp_path: Path) -> None:
    async with (
        called(tmp_path, "called", "127.0.0.11") as one,
        front(tmp_path, one) as outside,
        Ua(await UdpWire.open(peer=split_host_port(outside.udp))) as alice,
        await Rtp.open() as audio,
    ):
        calling = alice.dialog(f"sip:100@{outside.udp}")
        await calling.send("INVITE", audio.sdp())
        ok = await alice.response(200)
        audio.aim(ok)
        calling.learn(ok)
        await calling.send("ACK")
        for _ in range(50):
            sent = await audio.send()
            assert await audio.receive() == sent
        await calling.send("BYE")
        await alice.response(200, "BYE")
        await settled(outside.edge, answered=1)
        assert await outside.edge.metric("edgesbc_media_packets_total") == 100


@pytest.mark.skipif(bool(can_attach()), reason="takes root, and a kernel with eBPF")
@pytest.mark.parametrize("planes", ["tasks", "processes"])
async def test_the_kernel_relays_audio_that_a_destination_echoes(tmp_path: Path, planes: str) -> None:
    kernel, user = (f'edgesbc_media_path_total{{path="{path}"}}' for path in ("kernel", "user"))
    async with (
        called(tmp_path, "called", "127.0.0.11") as one,
        front(tmp_path, one, media='kernel = "require"', planes=planes) as outside,
        Ua(await UdpWire.open(peer=split_host_port(outside.udp))) as alice,
        await Rtp.open() as audio,
    ):
        calling = alice.dialog(f"sip:100@{outside.udp}")
        await calling.send("INVITE", audio.sdp())
        ok = await alice.response(200)
        audio.aim(ok)
        calling.learn(ok)
        await calling.send("ACK")
        packets = 0

        async def in_kernel() -> bool:
            nonlocal packets
            sent = await audio.send()
            assert await audio.receive() == sent
            packets += 2
            return await outside.edge.metric(kernel) > 0

        await until(in_kernel)
        by_user = await outside.edge.metric(user)
        for _ in range(50):
            sent = await audio.send()
            assert await audio.receive() == sent
        assert await outside.edge.metric(user) == by_user
        assert await outside.edge.metric(kernel) == packets + 100 - by_user
        await calling.send("BYE")
        await alice.response(200, "BYE")
        await settled(outside.edge, answered=1)
        assert await outside.edge.metric("edgesbc_media_packets_total") == packets + 100


@pytest.mark.skipif(bool(can_attach()), reason="takes root, and a kernel with eBPF")
async def test_the_kernel_relays_on_while_the_supervisor_is_replaced(tmp_path: Path) -> None:
    kernel, user = (f'edgesbc_media_path_total{{path="{path}"}}' for path in ("kernel", "user"))
    async with (
        called(tmp_path, "called", "127.0.0.11") as one,
        front(tmp_path, one, media='kernel = "require"', planes="processes") as outside,
        Ua(await UdpWire.open(peer=split_host_port(outside.udp))) as alice,
        await Rtp.open() as audio,
    ):
        edge = outside.edge
        calling = alice.dialog(f"sip:100@{outside.udp}")
        await calling.send("INVITE", audio.sdp())
        ok = await alice.response(200)
        audio.aim(ok)
        calling.learn(ok)
        await calling.send("ACK")

        async def echoed(packets: int) -> None:
            for _ in range(packets):
                sent = await audio.send()
                assert await audio.receive() == sent

        async def in_kernel() -> bool:
            await echoed(1)
            return await edge.metric(kernel) > 0

        await until(in_kernel)
        by_user = await edge.metric(user)
        edge.signal(signal.SIGKILL)
        await edge.ended()
        await echoed(50)
        assert await edge.metric(user) == by_user
        async with edge_process(tmp_path, edge.file.read_text(), edge.http) as again:
            await until(lambda: "processes of an earlier run go on" in (tmp_path / "edge.log").read_text())
            await echoed(50)
            assert await again.metric(user) == by_user
            await calling.send("BYE")
            await alice.response(200, "BYE")
            await settled(again, answered=1)


async def test_calls_over_ipv6_to_a_private_side_of_ipv4(tmp_path: Path) -> None:
    async with called(tmp_path, "called", "127.0.0.11") as one, front(tmp_path, one, host="::1") as outside:
        calls = await place(tmp_path, "caller", outside.udp, 5, 10, host="::1")
        assert calls.status == 0, calls.errors
        await settled(outside.edge, answered=5)
        assert "c=IN IP6 ::1" in calls.received
        assert "127.0.0." not in calls.received


async def test_a_dead_destination_is_seen_by_its_health(tmp_path: Path) -> None:
    health = "interval = 0.2, timeout = 0.2, fall = 2, rise = 1"
    async with called(tmp_path, "called", "127.0.0.11") as one, front(tmp_path, one, health=health) as outside:
        edge = outside.edge
        await until(edge.ready)
        one.process.kill()
        await until(edge.unready)
        assert "no member is up" in (await edge.get("/readyz"))[1]
