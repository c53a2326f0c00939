"""Relay processes: started, killed, stopped, and started again with the same ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from support.containment import collecting
from support.media import answer, offer, sdp
from support.running import until

from bench.ports import free_range
from edgesbc.base.address import Zone
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.commands import Delete, MediaReply
from edgesbc.media.plane import MediaPlane
from edgesbc.relay.counters import RelayCounters
from edgesbc.sdp.session import parse_session

RTP = b"\x80\x00" + bytes(170)
FORGED = b"\x80\x00" + b"\xee" * 170


class Processes:
    """A media plane with relay processes, and the calls through it."""

    def __init__(self, relays: int) -> None:
        self.faults: list[str] = []
        first = free_range("127.0.0.1", 40)
        self.plane = MediaPlane(
            dict.fromkeys(Zone, "127.0.0.1"), (first, first + 39), containment=collecting(self.faults), relays=relays
        )
        self.calls: list[Call] = []

    async def call(self) -> Call:
        call = Call(self.plane, len(self.calls))
        self.calls.append(call)
        await call.set_up()
        return call

    def close(self) -> None:
        for call in self.calls:
            call.close()


class Call:
    """Two peers, each at an address of its own, and the ports of the relay that they send to."""

    def __init__(self, plane: MediaPlane, number: int) -> None:
        self.plane = plane
        self.name = f"call-{number}"
        self.peers = [trio.socket.socket(type=trio.socket.SOCK_DGRAM) for _ in range(3)]
        self.ports: list[int] = []

    async def set_up(self) -> None:
        for last, peer in enumerate(self.peers, 5):
            await peer.bind((f"127.0.0.{last}", 0))
        self.offer_and_answer()

    def offer_and_answer(self) -> None:
        ports = []
        a, b = (sdp(*peer.getsockname()) for peer in self.peers[:2])
        for command in (offer(self.name, "a", a), answer(self.name, "a", "b", b)):
            reply = self.plane.carry_out(command)
            assert isinstance(reply, MediaReply), reply
            ports.append(parse_session(reply.sdp).media[0].port)
        self.ports = ports[::-1]

    async def send(self, side: int, data: bytes) -> None:
        await self.peers[side].sendto(data, ("127.0.0.1", self.ports[min(side, 1)]))

    async def passes(self, side: int, data: bytes) -> bool:
        """Whether a packet of that side reaches the other one; ports that are not served yet lose none."""
        await self.send(side, data)
        with trio.move_on_after(5):
            return await self.peers[1 - side].recv(2048) == data
        return False

    async def talks(self) -> bool:
        return await self.passes(0, RTP) and await self.passes(1, RTP)

    def close(self) -> None:
        for peer in self.peers:
            peer.close()


@asynccontextmanager
async def running(relays: int) -> AsyncIterator[Processes]:
    processes = Processes(relays)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(processes.plane.run)
            yield processes
            nursery.cancel_scope.cancel()
    finally:
        processes.close()
    assert not any(processes.plane.relay_pids)


def status(pid: int, key: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{key}:"))


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0")


async def end(pid: int, number: int, other: Callable[[], list[int]]) -> None:
    """Send a signal to a relay process and wait until another one has its place, which no relay after it takes."""
    before = other()
    os.kill(pid, number)
    with trio.fail_after(60):
        while 0 in (now := other()) or now == before:
            assert len(now) == len(before)
            await trio.sleep(0.001)
    assert [old for old, new in zip(before, now, strict=True) if old != new] == [pid]


async def test_calls_are_spread_over_relay_processes() -> None:
    async with running(2) as processes:
        calls = [await processes.call() for _ in range(4)]
        for call in calls:
            assert await call.talks()
        assert len(set(processes.plane.relay_pids)) == 2
        packets = [sum(client.counters.packets) for client in processes.plane._ports._clients]
        assert packets == [4, 4]
        assert (processes.plane.packets, processes.plane.ports_in_use) == (8, 16)
        for call in calls:
            processes.plane.carry_out(Delete(call.name, "a"))
        assert processes.plane.ports_in_use == 0
        assert not processes.plane.counts
    assert processes.faults == []


async def test_a_relay_has_no_rights_that_it_does_not_need_and_a_name_of_its_own() -> None:
    async with running(1) as processes:
        assert await (await processes.call()).talks()
        (pid,) = processes.plane.relay_pids
        assert int(status(pid, "CapEff"), 16) == int(status(pid, "CapPrm"), 16) == 0
        assert status(pid, "NoNewPrivs") == "1"
        assert status(pid, "Name") == "relay 1"
        assert command_line(pid) == "edgesbc: relay 1"


async def test_a_relay_that_is_killed_is_replaced_and_its_calls_go_on() -> None:
    """The next one has the same ports, knows the peers, and counts on."""
    async with running(1) as processes:
        call, other = await processes.call(), await processes.call()
        assert await call.talks()
        ports, pids = list(call.ports), processes.plane.relay_pids
        await end(pids[0], signal.SIGKILL, lambda: processes.plane.relay_pids)
        await call.send(2, FORGED)
        assert await call.talks()
        assert await other.talks()  # which had learned no peer before
        call.offer_and_answer()
        assert call.ports == ports
        assert await call.talks()
        assert processes.plane.packets == 8
        third = await processes.call()
        assert await third.talks()
    assert processes.faults == ["media relay relay 1 has ended"]


@pytest.mark.parametrize("relays", [0, 1], ids=["thread", "process"])
async def test_a_peer_is_found_at_another_port_when_its_description_is_repeated(relays: int) -> None:
    async with running(relays) as processes:
        call = await processes.call()
        assert await call.talks()
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as moved, trio.fail_after(30):
            await moved.bind(("127.0.0.5", 0))
            await moved.sendto(FORGED, ("127.0.0.1", call.ports[0]))
            assert await call.talks(), "before, nothing of another port is relayed"
            call.offer_and_answer()
            received = b""
            while received != FORGED:  # it is learned once the known port was silent for a moment
                await moved.sendto(FORGED, ("127.0.0.1", call.ports[0]))
                with trio.move_on_after(0.05):
                    received = await call.peers[1].recv(2048)
            await call.send(1, RTP)
            assert await moved.recv(2048) == RTP
    assert processes.faults == []


async def test_a_peer_that_roams_is_followed_also_by_the_relay_that_takes_the_place_of_another() -> None:
    async with running(1) as processes:
        call = await processes.call()
        a = attrs.evolve(offer(call.name, "a", sdp(*call.peers[0].getsockname())), latch=LatchMode.ROAMING)
        for command in (a, answer(call.name, "a", "b", sdp(*call.peers[1].getsockname()))):
            assert isinstance(processes.plane.carry_out(command), MediaReply)
        assert await call.talks()
        await end(processes.plane.relay_pids[0], signal.SIGKILL, lambda: processes.plane.relay_pids)
        assert await call.talks()
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as moved, trio.fail_after(30):
            await moved.bind(("127.0.0.5", 0))
            received = b""
            while received != FORGED:
                await moved.sendto(FORGED, ("127.0.0.1", call.ports[0]))
                with trio.move_on_after(0.05):
                    received = await call.peers[1].recv(2048)
            await call.send(1, RTP)
            assert await moved.recv(2048) == RTP
            await until(lambda: processes.plane.moves == 1)


async def test_a_relay_that_does_not_run_any_more_is_replaced() -> None:
    async with running(1) as processes:
        call = await processes.call()
        assert await call.talks()
        (pid,) = processes.plane.relay_pids
        await end(pid, signal.SIGSTOP, lambda: processes.plane.relay_pids)
        assert await call.talks()
    assert processes.faults == ["media relay relay 1 does not read its commands"]


async def test_calls_that_begin_and_end_while_the_relay_is_away() -> None:
    async with running(1) as processes:
        gone, stays = await processes.call(), await processes.call()
        assert await stays.talks()
        os.kill(processes.plane.relay_pids[0], signal.SIGKILL)
        processes.plane.carry_out(Delete(gone.name, "a"))
        new = await processes.call()
        await until(lambda: bool(processes.faults) and all(processes.plane.relay_pids))
        processes.plane.carry_out(Delete(gone.name, "a"))
        assert await new.talks()
        assert await stays.talks()
        assert processes.plane.ports_in_use == 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
async def test_signals_for_the_whole_edge_do_not_end_a_relay(number: signal.Signals) -> None:
    async with running(1) as processes:
        call = await processes.call()
        assert await call.talks()
        os.kill(processes.plane.relay_pids[0], number)
        assert await call.talks()
    assert processes.faults == []


def test_a_relay_ends_when_media_control_was_killed() -> None:
    """The end of its link is all that it sees of that."""
    end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    memory = os.memfd_create("counters")
    os.ftruncate(memory, RelayCounters.size(4))
    arguments = [str(number) for number in (other.fileno(), memory, 4, 1, 1)]
    command = [sys.executable, "-m", "edgesbc.relay", *arguments]
    with other, subprocess.Popen(command, pass_fds=[other.fileno(), memory]) as relay:
        other.close()
        end.close()
        assert relay.wait(20) == 0
    os.close(memory)
