"""`edgesbc run` without `planes`, in several processes: what dies is started again, and calls go on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from support.command_line import edgesbc
from support.running import CORE_UDP, EdgeProcess, edge_process, free_port, listen, policy_text, until
from support.ua import Rtp, Ua, UdpWire, hang_up, set_up, talk

from edgesbc.base import limits
from edgesbc.control.client import NoAnswer, ask
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.policy.load import load_policy
from edgesbc.processes.child_arguments import LogSettings
from edgesbc.processes.supervisor import Supervisor
from edgesbc.sip.message import Response

NAMES = ["supervisor", "media", "signalling", "observe", "relay 1"]
CALLS = 6


class Processes:
    """An edge of several processes, and a caller and a callee."""

    def __init__(self, folder: Path, edge: EdgeProcess, uri: str, alice: Ua, bob: Ua) -> None:
        self.folder = folder
        self.edge = edge
        self.uri = uri
        self.alice = alice
        self.bob = bob

    async def ask(self, command: str) -> Any:
        socket = self.folder / "state" / "control.sock"
        return await trio.to_thread.run_sync(ask, socket, ControlRequest(command))

    async def status(self) -> dict[str, dict[str, Any]]:
        """The status of each process, by its name."""
        while True:
            try:
                return {one["name"]: one for one in (await self.ask("status"))["processes"]}
            except (NoAnswer, CommandRefused):
                await trio.sleep(0.02)

    async def running(self, name: str, but: int = 0) -> int:
        """Wait until a process runs that has another number than ``but``; its number."""
        with trio.fail_after(60):
            while True:
                one = (await self.status())[name]
                if one["state"] == "running" and one["pid"] != but:
                    return int(one["pid"])
                await trio.sleep(0.02)

    async def spare(self, name: str) -> int:
        """Wait until a process waits to take the place of another; its number."""
        with trio.fail_after(60):
            while True:
                one = (await self.status()).get(f"{name} spare")
                if one is not None and shown(one["pid"]) == f"edgesbc: {name} (spare)":
                    return int(one["pid"])
                await trio.sleep(0.02)

    async def every_process(self) -> list[int]:
        running = [await self.running(name) for name in NAMES]
        return [*running, await self.spare("media"), await self.spare("signalling")]

    async def kill(self, name: str) -> int:
        """SIGKILL a process; its number."""
        pid = await self.running(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    @asynccontextmanager
    async def started_again(self, text: str = "") -> AsyncIterator[None]:
        """`edgesbc run` once more, with the same policy or with ``text``."""
        text = text or self.edge.file.read_text()
        async with edge_process(self.folder, text, self.edge.http) as running:
            self.edge = running

            async def taken_over() -> bool:
                return await self.running("supervisor") == running.process.pid

            await until(taken_over)
            await until(running.ready)
            yield

    @property
    def log(self) -> str:
        return (self.folder / "edge.log").read_text()


@asynccontextmanager
async def processes(
    folder: Path, edge: str = "", program: Sequence[str] = (sys.executable, "-m", "edgesbc")
) -> AsyncIterator[Processes]:
    port, http_port = free_port(), free_port()
    public = listen("public", "udp", f"127.0.0.1:{port}", "public-udp")
    async with AsyncExitStack() as stack:
        bob = await stack.enter_async_context(Ua(await UdpWire.open("127.0.0.11"), "bob"))
        alice = await stack.enter_async_context(Ua(await UdpWire.open(peer=("127.0.0.1", port))))
        text = policy_text(
            folder, [f"sip:{bob.address}"], (public, CORE_UDP), trunks=["127.0.0.1"],
            http=f"127.0.0.1:{http_port}", edge=edge, planes="",
        )  # fmt: skip
        running = await stack.enter_async_context(edge_process(folder, text, http_port, program=program))
        await until(running.ready)
        yield Processes(folder, running, f"sip:100@127.0.0.1:{port}", alice, bob)


class Audio:
    """Sends audio both ways, a packet each 20 ms, and counts what has arrived."""

    def __init__(self, near: Rtp, far: Rtp) -> None:
        self.near = near
        self.far = far
        self.sent = self.arrived = 0
        self.going_on = True

    async def run(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._receive, self.near)
        nursery.start_soon(self._receive, self.far)
        while self.going_on:
            for end in (self.near, self.far):
                self.sent += 1  # before it arrives
                await end.send()
            await trio.sleep(0.02)

    async def _receive(self, end: Rtp) -> None:
        while True:
            await end.receive()
            self.arrived += 1

    async def all_arrived(self) -> None:
        """End, and wait for what was sent last."""
        self.going_on = False
        await until(lambda: self.arrived >= self.sent)


async def test_signalling_that_is_killed_costs_no_packet_and_adopts_the_calls(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        edge = await stack.enter_async_context(processes(tmp_path))
        nursery = await stack.enter_async_context(trio.open_nursery())
        calls = []
        for _ in range(CALLS):
            near = await stack.enter_async_context(await Rtp.open())
            far = await stack.enter_async_context(await Rtp.open("127.0.0.11"))
            calls.append((await set_up(edge.alice, edge.bob, edge.uri, near, far), Audio(near, far)))
            await talk(near, far, 1)
            nursery.start_soon(calls[-1][1].run, nursery)
        spare = await edge.spare("signalling")
        before = await edge.kill("signalling")
        assert await edge.running("signalling", but=before) == spare
        for _, audio in calls:
            await audio.all_arrived()
            assert audio.arrived == audio.sent
        assert (await edge.ask("status"))["adopted_calls"] == CALLS
        await edge.edge.comes_to("edgesbc_media_sessions", CALLS, CALLS)
        for (calling, called), _ in calls[:2]:
            await hang_up(calling, edge.bob) if calling is calls[0][0][0] else await hang_up(called, edge.alice)
        await edge.edge.comes_to("edgesbc_media_sessions", CALLS - 2, CALLS - 2)
        assert (await edge.ask("status"))["adopted_calls"] == CALLS - 2
        near = await stack.enter_async_context(await Rtp.open())
        far = await stack.enter_async_context(await Rtp.open("127.0.0.11"))
        calling, _ = await set_up(edge.alice, edge.bob, edge.uri, near, far)
        await talk(near, far)
        await hang_up(calling, edge.bob)
        nursery.cancel_scope.cancel()


async def test_media_control_that_is_killed_has_its_sessions_again(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        edge = await stack.enter_async_context(processes(tmp_path))
        calls = []
        for _ in range(CALLS):
            near = await stack.enter_async_context(await Rtp.open())
            far = await stack.enter_async_context(await Rtp.open("127.0.0.11"))
            calls.append((await set_up(edge.alice, edge.bob, edge.uri, near, far), near, far))
            await talk(near, far, 1)
        spare = await edge.spare("media")
        before = await edge.kill("media")
        assert await edge.running("media", but=before) == spare
        await edge.edge.comes_to("edgesbc_media_sessions", CALLS, CALLS)
        for _, near, far in calls:
            await talk(near, far)
        assert (await edge.ask("status"))["calls"] == CALLS
        for (calling, _), _, _ in calls:
            await hang_up(calling, edge.bob)
        await edge.edge.comes_to("edgesbc_media_sessions", 0, 0)
        await edge.edge.comes_to("edgesbc_media_ports", 0, 0)
        # the calls that signalling knew before its own end survive that of media control too
        near, far = calls[0][1:]
        calling, _ = await set_up(edge.alice, edge.bob, edge.uri, near, far)
        await talk(near, far, 1)
        await edge.running("signalling", but=await edge.kill("signalling"))
        await edge.running("media", but=await edge.kill("media"))
        await edge.edge.comes_to("edgesbc_media_sessions", 1, 1)
        await talk(near, far)
        await hang_up(calling, edge.bob)
        await edge.edge.comes_to("edgesbc_media_sessions", 0, 0)
        await refused_while_media_control_is_away(edge, near)


async def refused_while_media_control_is_away(edge: Processes, near: Rtp) -> None:
    pid = await edge.running("media")
    os.kill(pid, signal.SIGSTOP)  # it does not answer, and is not started again
    try:
        await edge.alice.dialog(edge.uri).send("INVITE", near.sdp())
        await edge.alice.response(500)  # after the time that it has for an answer
    finally:
        os.kill(pid, signal.SIGKILL)
    statuses = []
    while not statuses or statuses[-1] == 503:
        await edge.alice.dialog(edge.uri).send("INVITE", near.sdp())
        answer = await edge.alice.hear()
        statuses.append(answer.status if isinstance(answer, Response) else 0)
        if statuses[-1] == 503:
            assert answer.get("Retry-After") == "5"
            await trio.sleep(0.01)
    assert 503 in statuses
    await edge.running("media", but=pid)


async def test_processes_are_told_apart_and_a_crash_loop_backs_off(tmp_path: Path) -> None:
    async with processes(tmp_path) as edge:
        await have_names_and_metrics_of_their_own(edge)
        has_no_capabilities(await edge.running("media"))
        await edge.running("relay 1", but=await edge.kill("relay 1"))
        pid = 0
        for _ in range(5):
            pid = await edge.running("signalling", but=pid)
            os.kill(pid, signal.SIGKILL)
        with trio.fail_after(30):
            while True:
                answer = await edge.ask("status")
                one = next(row for row in answer["processes"] if row["name"] == "signalling")
                if one["state"] == "waiting" and one["restarts"] == 5:
                    break
        assert answer["not_ready"] == {"signalling": "is being started"}
        with pytest.raises(CommandRefused, match="being started"):
            await edge.ask("bans list")
        code, output, _ = await edgesbc("status", "--state-dir", str(tmp_path / "state"))
        assert code == 1
        assert "takes no new calls: signalling is being started" in output
        assert (await edge.edge.get("/readyz"))[0] == 503
        assert await edge.edge.metric('edgesbc_process_up{process="signalling"}') == 0
        await edge.running("signalling", but=pid)
        code, output, _ = await edgesbc("status", "--state-dir", str(tmp_path / "state"))
        assert code == 0
        pauses = [line.rpartition("pause=")[2] for line in edge.log.splitlines() if "is started again" in line]
        assert pauses == ["0.1", "0.2", "0.4", "0.8", "1.6"]


async def have_names_and_metrics_of_their_own(edge: Processes) -> None:
    status = await edge.status()
    assert set(NAMES) <= set(status)
    for name in NAMES:
        pid = await edge.running(name)
        assert shown(pid) == f"edgesbc: {name}"
        assert await edge.edge.metric(f'process_start_time_seconds{{process="{name}"}}') > 0
        assert await edge.edge.metric(f'edgesbc_process_up{{process="{name}"}}') == 1
    assert await edge.edge.metric("edgesbc_media_ports") == 0
    assert await edge.edge.metric("edgesbc_info") == 1
    code, output, _ = await edgesbc("status", "--policy", str(edge.edge.file), "--json")
    assert code == 0
    assert f'"pid": {edge.edge.process.pid}' in output
    assert await edge.edge.get("/why?q=192.0.2.7") == (200, '{"decisions":[],"left_out":0}')


def shown(pid: int) -> str:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def has_no_capabilities(pid: int) -> None:
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    for_relays = 1 << 23  # CAP_SYS_NICE, where the process may not raise RLIMIT_RTPRIO for them
    assert int(status["CapEff"], 16) == 0
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapAmb")} <= {0, for_relays}
    assert status["NoNewPrivs"] == "1"
    if os.geteuid() == 0:
        assert int(status["CapBnd"], 16) in (0, for_relays)


async def test_sigterm_drains_and_ends_every_process(tmp_path: Path) -> None:
    async with processes(tmp_path, "grace = 0") as edge, await Rtp.open() as near, await Rtp.open("127.0.0.11") as far:
        await set_up(edge.alice, edge.bob, edge.uri, near, far)
        pids = [
            *[await edge.running(name) for name in NAMES],
            await edge.spare("media"),
            await edge.spare("signalling"),
        ]
        edge.edge.signal(signal.SIGTERM)
        for phone in (edge.alice, edge.bob):
            await phone.answer(await phone.request("BYE"), 200)
        assert await edge.edge.ended() == 0
        assert not any(map(alive, pids))
        assert "Traceback" not in edge.log
        assert not list((tmp_path / "state").glob("*.sock"))


async def test_a_stop_that_reaches_every_process_lets_calls_end(tmp_path: Path) -> None:
    """As `systemctl stop` sends it, unless the unit says otherwise: only the supervisor obeys."""
    async with (
        processes(tmp_path, "grace = 3600") as edge,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
        trio.open_nursery() as nursery,
    ):
        calling, _ = await set_up(edge.alice, edge.bob, edge.uri, near, far)
        await talk(near, far, 1)
        audio = Audio(near, far)
        nursery.start_soon(audio.run, nursery)
        pids = await edge.every_process()
        for number in (signal.SIGHUP, signal.SIGTERM):
            for pid in pids:
                os.kill(pid, number)
        await until(edge.edge.unready)
        assert set(map(alive, pids)) == {True}
        await audio.all_arrived()
        assert audio.arrived == audio.sent
        await hang_up(calling, edge.bob)
        assert await edge.edge.ended() == 0
        assert not any(map(alive, pids))
        nursery.cancel_scope.cancel()


async def test_a_second_sigterm_ends_every_process_at_once(tmp_path: Path) -> None:
    async with (
        processes(tmp_path, "grace = 3600") as edge,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        await set_up(edge.alice, edge.bob, edge.uri, near, far)
        pids = [await edge.running(name) for name in NAMES]
        edge.edge.signal(signal.SIGTERM)
        await until(edge.edge.unready)
        edge.edge.signal(signal.SIGTERM)
        assert await edge.edge.ended() == 1
        assert not any(map(alive, pids))


async def test_without_a_supervisor_processes_end_after_a_while(tmp_path: Path) -> None:
    async with processes(tmp_path) as edge:
        pids = await edge.every_process()
        edge.edge.signal(signal.SIGKILL)
        await edge.edge.ended()
        await until(lambda: not any(map(alive, pids)))


async def test_a_signal_ends_processes_that_have_no_supervisor(tmp_path: Path) -> None:
    """As a service manager sends it to what is left, whether they have noticed it or not."""
    async with processes(tmp_path) as edge:
        pids = await edge.every_process()
        edge.edge.signal(signal.SIGKILL)
        for pid in pids[1:]:
            if alive(pid):
                os.kill(pid, signal.SIGTERM)
        await edge.edge.ended()
        begin = trio.current_time()
        await until(lambda: not any(map(alive, pids)))
        assert trio.current_time() - begin < limits.SUPERVISOR_AWAY_SECONDS


async def test_the_next_supervisor_goes_on_with_the_processes_of_one_that_was_killed(tmp_path: Path) -> None:
    """Audio goes on without it, new calls too; another kill costs no packet either."""
    async with AsyncExitStack() as stack:
        edge = await stack.enter_async_context(processes(tmp_path))
        ends = [
            [await stack.enter_async_context(await Rtp.open(host)) for host in ("127.0.0.1", "127.0.0.11")]
            for _ in range(CALLS + 2)
        ]
        supervisors = await stack.enter_async_context(AsyncExitStack())
        nursery = await stack.enter_async_context(trio.open_nursery())
        calls = []
        for near, far in ends[2:]:
            calls.append((await set_up(edge.alice, edge.bob, edge.uri, near, far), Audio(near, far)))
            await talk(near, far, 1)
            nursery.start_soon(calls[-1][1].run, nursery)
        pids = {name: await edge.running(name) for name in NAMES[1:]}
        for number, (near, far) in enumerate(ends[:2]):
            edge.edge.signal(signal.SIGKILL)
            await edge.edge.ended()
            (between, _) = await set_up(edge.alice, edge.bob, edge.uri, near, far)
            await supervisors.enter_async_context(edge.started_again())
            assert {name: await edge.running(name) for name in NAMES[1:]} == pids
            await talk(near, far)
            await hang_up(between, edge.bob)
            assert (await edge.ask("status"))["calls"] == CALLS
            await edge.edge.comes_to("edgesbc_media_sessions", CALLS, CALLS)
            assert edge.log.count("processes of an earlier run go on") == number + 1
        for _, audio in calls:
            await audio.all_arrived()
            assert audio.arrived == audio.sent
        nursery.cancel_scope.cancel()
        await starts_again_what_it_has_not_started(edge)
        near, far = ends[2]
        await talk(near, far)
        for (calling, _), _ in calls:
            await hang_up(calling, edge.bob)
        edge.edge.signal(signal.SIGTERM)
        assert await edge.edge.ended() == 0
        await until(lambda: not any(map(alive, pids.values())))
        assert not list((tmp_path / "state").glob("*.sock"))
        assert "Traceback" not in edge.log


async def starts_again_what_it_has_not_started(edge: Processes) -> None:
    await edge.running("observe", but=await edge.kill("observe"))
    await edge.running("media", but=await edge.kill("media"))
    await edge.edge.comes_to("edgesbc_media_sessions", CALLS, CALLS)
    edge.edge.signal(signal.SIGHUP)
    await until(lambda: "policy reloaded" in edge.log)


async def test_what_died_with_the_supervisor_is_started_anew(tmp_path: Path) -> None:
    """And what does not answer is killed; here media control goes on."""
    async with AsyncExitStack() as stack:
        edge = await stack.enter_async_context(processes(tmp_path))
        near = await stack.enter_async_context(await Rtp.open())
        far = await stack.enter_async_context(await Rtp.open("127.0.0.11"))
        calling, _ = await set_up(edge.alice, edge.bob, edge.uri, near, far)
        await talk(near, far, 1)
        media = await edge.running("media")
        signalling, observe = await edge.running("signalling"), await edge.running("observe")
        os.kill(observe, signal.SIGSTOP)
        edge.edge.signal(signal.SIGKILL)
        os.kill(signalling, signal.SIGKILL)
        await edge.edge.ended()
        await stack.enter_async_context(edge.started_again())
        assert await edge.running("media") == media
        await edge.running("signalling", but=signalling)
        await edge.running("observe", but=observe)
        assert not alive(observe)
        await talk(near, far)
        await hang_up(calling, edge.bob)
        await edge.edge.comes_to("edgesbc_media_sessions", 0, 0)


async def test_a_policy_that_was_edited_meanwhile_is_not_taken_up_by_halves(tmp_path: Path) -> None:
    """Listeners are those of the processes that go on."""
    async with AsyncExitStack() as stack:
        edge = await stack.enter_async_context(processes(tmp_path))
        signalling = await edge.running("signalling")
        edge.edge.signal(signal.SIGKILL)
        await edge.edge.ended()
        text = edge.edge.file.read_text()
        await stack.enter_async_context(edge.started_again(text.replace('"public-udp"', '"other"')))
        assert await edge.running("signalling") == signalling
        assert "the policy file is not taken up" in edge.log
        assert "public-udp" in {one["name"] for one in (await edge.ask("status"))["listeners"]}


async def test_modules_come_from_the_edge_and_not_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("trio", "attrs", "edgesbc"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    async with processes(tmp_path, program=(sys.executable, "-P", "-m", "edgesbc")) as edge:
        await edge.every_process()


async def test_a_relay_that_is_started_again_has_the_same_priority(tmp_path: Path) -> None:
    """Media control has no capabilities any more by then."""
    async with processes(tmp_path) as edge:
        before = await edge.running("relay 1")
        policy = os.sched_getscheduler(before)
        if policy & ~os.SCHED_RESET_ON_FORK != os.SCHED_FIFO:
            pytest.skip("this user may not use SCHED_FIFO, or there is one core")
        again = await edge.running("relay 1", but=await edge.kill("relay 1"))
        await until(lambda: os.sched_getscheduler(again) == policy)


async def test_an_edge_whose_process_cannot_start_ends(tmp_path: Path) -> None:
    """As where an address is taken between the check and the start: here the observing process finds it so."""
    port = free_port()
    text = policy_text(tmp_path, ["sip:127.0.0.11:9"], http=f"127.0.0.1:{port}", planes="processes")
    (tmp_path / "policy.toml").write_text(text)
    supervisor = Supervisor(load_policy(tmp_path / "policy.toml"), LogSettings())
    (listening,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
    async with listening:
        with trio.fail_after(60):
            assert await supervisor.run() == 2
    assert not list((tmp_path / "state").glob("*.sock"))


async def test_signalling_goes_on_with_the_policy_in_force(tmp_path: Path) -> None:
    """A policy file that was edited since, and not reloaded, is not taken up; a reload is."""
    async with processes(tmp_path) as edge:
        file = edge.edge.file
        file.write_text(file.read_text() + '\n[domains]\nnames = ["one.example.com"]\n')
        edge.edge.signal(signal.SIGHUP)
        await until(lambda: "policy reloaded" in edge.log)
        file.write_text("nonsense")
        await edge.running("signalling", but=await edge.kill("signalling"))
        assert "one.example.com" in (await edge.ask("policy running"))["text"]
        edge.edge.signal(signal.SIGHUP)
        await until(lambda: "policy refused" in edge.log)
        assert "one.example.com" in (await edge.ask("policy running"))["text"]


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended and was not waited for does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
