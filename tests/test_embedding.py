"""The edge embedded in another program: start, end, methods, and the page of documentation about it."""

from __future__ import annotations

import gc
import inspect
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from support.running import CORE_UDP, PUBLIC_TCP, PUBLIC_UDP, free_port, policy_text, until
from support.ua import Rtp, Ua, UdpWire, set_up

import edgesbc
from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.control.client import ask
from edgesbc.control.protocol import ControlRequest
from edgesbc.resolve.resolver import Resolver
from edgesbc.rollout.controller import RolloutController

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference" / "embedding.md").read_text(encoding="utf-8")
MEMBER = "sip:127.0.0.11:9"


def written(folder: Path, *members: str, edge: str = "grace = 0", more: str = "") -> Path:
    file = folder / "policy.toml"
    file.write_text(policy_text(folder, members or (MEMBER,), trunks=["127.0.0.1"], http="", edge=edge, more=more))
    return file


def public(edge: edgesbc.RunningEdge) -> Source:
    listener = next(listener for listener in edge.status()["listeners"] if listener["name"] == "public-udp")
    return Source(listener["host"], listener["port"])


async def answers(edge: edgesbc.RunningEdge) -> None:
    async with Ua(await UdpWire.open(peer=public(edge))) as alice:
        await alice.dialog(f"sip:{public(edge)}").send("OPTIONS")
        await alice.response(200)


@asynccontextmanager
async def with_a_call(folder: Path, grace: str) -> AsyncIterator[edgesbc.RunningEdge]:
    """An edge in its own nursery with one live call; caller and callee run on after the edge has ended."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
        edgesbc.serve(written(folder, f"sip:{bob.address}", edge=grace)) as edge,
        Ua(await UdpWire.open(peer=public(edge))) as alice,
    ):
        await set_up(alice, bob, f"sip:100@{public(edge)}", near, far)
        yield edge


# --- start -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path, edgesbc.load_policy])
async def test_a_policy_is_a_path_or_a_value(tmp_path: Path, kind: Any) -> None:
    async with edgesbc.serve(kind(written(tmp_path))) as edge:
        await answers(edge)


async def test_mistakes_in_the_policy_are_raised(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[edge]\ngraze = 1")
    with pytest.raises(edgesbc.PolicyErrors, match=r"edge\.graze"):
        async with edgesbc.serve(tmp_path / "bad.toml"):
            raise AssertionError("it must not begin")


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("taken", ["address", "state_dir", "http"])
async def test_an_edge_that_cannot_start_raises_an_os_error(tmp_path: Path, own: bool, taken: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (listening,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listening.socket.getsockname()[1]
    async with listening, trio.open_nursery() as nursery, edgesbc.serve(written(tmp_path)) as edge:
        text = {
            "address": policy_text(other, [MEMBER], [PUBLIC_UDP.replace("127.0.0.1:0", str(public(edge))), CORE_UDP]),
            "state_dir": policy_text(tmp_path, [MEMBER]),
            "http": policy_text(other, [MEMBER], http=f"127.0.0.1:{port}"),
        }[taken]
        (other / "policy.toml").write_text(text)
        with pytest.raises(OSError, match=r"cannot listen on|another edge|in use"):
            async with edgesbc.serve(other / "policy.toml", nursery=None if own else nursery):
                raise AssertionError("it must not begin")
        await answers(edge)


async def test_after_a_failed_start_no_socket_is_left(tmp_path: Path) -> None:
    """The start fails after the listeners are open, because another edge has the state directory."""
    (tmp_path / "other").mkdir()
    address = f"127.0.0.1:{free_port()}"
    listeners = [PUBLIC_UDP.replace("127.0.0.1:0", address), PUBLIC_TCP.replace("127.0.0.1:0", address), CORE_UDP]
    async with edgesbc.serve(written(tmp_path)):
        (tmp_path / "other" / "policy.toml").write_text(policy_text(tmp_path, [MEMBER], listeners))
        with pytest.raises(OSError, match="another edge") as raised:
            async with edgesbc.serve(tmp_path / "other" / "policy.toml"):
                raise AssertionError("it must not begin")
    async with edgesbc.serve(tmp_path / "other" / "policy.toml") as edge:
        await answers(edge)
    assert raised.value is not None, "the error, which holds the frames of the first start, is alive until here"


async def test_signals_and_settings_of_the_process_are_left_alone(tmp_path: Path) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers], gc.get_threshold(), gc.get_freeze_count()
    async with edgesbc.serve(written(tmp_path)):
        during = [signal.getsignal(number) for number in numbers], gc.get_threshold(), gc.get_freeze_count()
    assert during == before


async def test_two_edges_run_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with edgesbc.serve(written(tmp_path / "one")) as one, edgesbc.serve(written(tmp_path / "two")) as two:
        await answers(one)
        await answers(two)


# --- end -------------------------------------------------------------------------------------------------


async def test_the_end_of_the_block_drains(tmp_path: Path) -> None:
    """New calls are refused; a live one goes on for the grace period, and then both sides get a BYE."""
    ended = []

    async def expect_bye(ua: Ua) -> None:
        bye = await ua.request("BYE")
        assert "draining" in (bye.get("Reason") or "")
        await ua.answer(bye, 200)
        ended.append(ua.user)

    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
        trio.open_nursery() as nursery,
    ):
        async with edgesbc.serve(written(tmp_path, f"sip:{bob.address}", edge="grace = 0.2"), nursery=nursery) as edge:
            alice = Ua(await UdpWire.open(peer=public(edge)))
            late = Ua(await UdpWire.open(peer=public(edge)))
            await set_up(alice, bob, f"sip:100@{public(edge)}", near, far)
            nursery.start_soon(expect_bye, alice)
            nursery.start_soon(expect_bye, bob)
            assert edge.drain() == {"calls": 1, "grace": 0.2}
            assert edge.draining
            await until(lambda: edge.status()["not_ready"].get("signalling") == "draining")
            await late.dialog(f"sip:100@{public(edge)}").send("INVITE")
            await late.response(503)
        await until(lambda: sorted(ended) == ["alice", "bob"])
        await alice.wire.aclose()
        await late.wire.aclose()


@pytest.mark.parametrize("how", ["cancelled", "raises"])
async def test_when_the_block_is_cancelled_or_fails_the_edge_ends_at_once(tmp_path: Path, how: str) -> None:
    with trio.fail_after(15), trio.CancelScope() as scope:
        try:
            async with with_a_call(tmp_path, "grace = 3600") as edge:
                if how == "raises":
                    raise LookupError("a fault of the program")
                scope.cancel()
                await trio.sleep_forever()
        except* LookupError:
            assert how == "raises"
    assert edge.draining
    await edge.wait_ended()


@pytest.mark.parametrize("own", [True, False])
async def test_a_fault_of_the_edge_ends_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    """A fault that is not contained, since no task of the edge is left then."""
    fails = trio.Event()

    async def run(_: Resolver, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await fails.wait()
        raise LookupError("a fault of the edge")

    monkeypatch.setattr(Resolver, "run", run)
    raised = False
    try:
        async with (
            trio.open_nursery() as nursery,
            edgesbc.serve(written(tmp_path), nursery=None if own else nursery) as edge,
        ):
            fails.set()
            await trio.sleep_forever()
    except* LookupError:
        raised = True
    assert raised
    await edge.wait_ended()


async def test_a_fault_of_a_task_is_contained_and_the_task_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []

    async def run(_: RolloutController) -> None:
        runs.append(1)
        if len(runs) < 3:
            raise MemoryError
        await trio.sleep_forever()

    monkeypatch.setattr(RolloutController, "run", run)
    async with edgesbc.serve(written(tmp_path)) as edge:
        await until(lambda: len(runs) == 3)
        assert 'edgesbc_faults_total{kind="probation"} 2.0' in edge.metrics()
        await answers(edge)


async def test_other_tasks_of_the_nursery_go_on(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        release = trio.Event()
        nursery.start_soon(release.wait)
        async with edgesbc.serve(written(tmp_path), nursery=nursery) as edge:
            await answers(edge)
        await edge.wait_ended()
        assert not nursery.cancel_scope.cancel_called
        assert len(nursery.child_tasks) == 1
        release.set()


async def test_the_control_socket_can_drain_it_during_the_block(tmp_path: Path) -> None:
    async with edgesbc.serve(written(tmp_path)) as edge:
        drain = ControlRequest("drain")
        answer = await trio.to_thread.run_sync(ask, tmp_path / "state" / "control.sock", drain)
        assert answer == {"calls": 0, "grace": 0.0}
        with trio.fail_after(15):
            await edge.wait_ended()
        assert edge.draining


async def test_an_edge_can_start_where_another_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        async with edgesbc.serve(written(tmp_path)) as edge:
            await answers(edge)


# --- methods ---------------------------------------------------------------------------------------------


async def test_status_metrics_and_why(tmp_path: Path) -> None:
    async with edgesbc.serve(written(tmp_path)) as edge:
        status = edge.status()
        assert [(listener["name"], listener["zone"], listener["transport"]) for listener in status["listeners"]] == [
            ("public-udp", "public", "udp"), ("public-tcp", "public", "tcp"), ("core-udp", "core", "udp"),
        ]  # fmt: skip
        assert (status["version"], status["policy_version"], status["change"]) == (edgesbc.__version__, 1, None)
        assert (status["calls"], status["draining"], status["not_ready"], status["http_port"]) == (0, False, {}, 0)
        async with Ua(await UdpWire.open(peer=public(edge))) as alice:
            await alice.dialog(f"sip:100@{public(edge)}").send("INVITE")
            await alice.response(503)
            assert any("no-destination" in sentence for sentence in edge.why("127.0.0.1").sentences())
        assert 'edgesbc_decisions_total{reason="no-destination"} 1.0' in edge.metrics()


async def test_methods_and_control_socket_have_the_same_effect(tmp_path: Path) -> None:
    socket = tmp_path / "state" / "control.sock"
    async with edgesbc.serve(written(tmp_path)) as edge:

        async def over_the_socket(command: str) -> Any:
            return await trio.to_thread.run_sync(ask, socket, ControlRequest(command))

        assert edge.bans.add("192.0.2.0/24", by="test", seconds=60, why="abuse")["seconds"] == 60
        (ban,) = (await over_the_socket("bans list"))["bans"]
        assert (ban["who"], ban["by"], ban["why"]) == ("192.0.2.0/24", "test", "abuse")
        assert edge.bans.remove("192.0.2.0/24", by="test") == {"who": "192.0.2.0/24", "order": True, "lifted": 0}
        with pytest.raises(edgesbc.CommandRefused, match="expected an address or a prefix"):
            edge.bans.add("nonsense", by="test")
        assert edge.destinations.drain("pbx", by="test")["without"] == ["pbx"]
        (member,) = (await over_the_socket("destinations list"))["members"]
        assert (member["state"], member["by"]) == ("draining", "test")
        assert edge.destinations.left("pbx") == {"calls": 0, "enabled": 0}
        assert edge.destinations.audit()["differences"] == []
        with pytest.raises(edgesbc.CommandRefused, match="no destination is called 'x'"):
            edge.destinations.enable("x", by="test")


async def test_a_policy_is_changed_and_rolled_back(tmp_path: Path) -> None:
    file = written(tmp_path)
    old = file.read_text()
    new = old.replace(MEMBER, "sip:127.0.0.12:9")
    async with edgesbc.serve(file) as edge:
        assert f"member {MEMBER} is removed" in " ".join([change.sentence for change in await edge.policy.diff(new)])
        await edge.policy.apply(new, by="test", why="a try")
        assert (edge.status()["change"], edge.policy.settling()["state"]) == ("settling", "settling")
        assert (await edge.policy.rollback(by="test", why="enough")).of == 1
        assert (edge.policy.running()["text"], file.read_text()) == (old, old)
        assert [entry.outcome for entry in await edge.policy.log()] == ["restored", "rolled-back", "started"]
        with pytest.raises(edgesbc.RestartNeeded, match="grace 0 -> 7"):
            await edge.policy.apply(new.replace("grace = 0", "grace = 7"), by="test", why="x")
        assert (await edge.reload()).mistakes == []


async def test_a_policy_of_no_file_is_not_changed(tmp_path: Path) -> None:
    text = written(tmp_path).read_text()
    async with edgesbc.serve(edgesbc.parse_policy(text, "")) as edge:
        with pytest.raises(edgesbc.CommandRefused, match="the edge runs from no file"):
            await edge.policy.apply(text.replace(MEMBER, "sip:127.0.0.12:9"), by="test", why="x")
        assert (edge.status()["policy_version"], edge.status()["change"]) == (0, "abandoned")


# --- decisions -------------------------------------------------------------------------------------------


async def test_decisions_come_as_they_are_made_and_end_with_the_edge(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        sources: list[str] = []

        async def watch(edge: edgesbc.RunningEdge, task_status: trio.TaskStatus[None]) -> None:
            with edge.decisions() as decisions:
                task_status.started()
                sources.extend([decision.source async for decision in decisions])
                assert decisions.lost == 0

        async with edgesbc.serve(written(tmp_path), nursery=nursery) as edge:
            edge.bans.add("192.0.2.1", by="test")
            await nursery.start(watch, edge)
            for last in (2, 3, 4):
                edge.bans.add(f"192.0.2.{last}", by="test")
    assert sources == ["192.0.2.2", "192.0.2.3", "192.0.2.4"]
    with edge.decisions() as after:
        assert [decision async for decision in after] == []


async def test_decisions_that_a_slow_reader_loses_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DECISIONS_WAITING", 3)
    async with edgesbc.serve(written(tmp_path)) as edge:
        with edge.decisions() as slow, edge.decisions() as other:
            for last in range(5):
                edge.bans.add(f"192.0.2.{last}", by="test")
            assert (slow.lost, (await anext(slow)).source) == (2, "192.0.2.0")
            edge.bans.add("192.0.2.9", by="test")
            assert [(await anext(slow)).source for _ in range(3)] == ["192.0.2.1", "192.0.2.2", "192.0.2.9"]
            assert (slow.lost, other.lost) == (2, 3)


# --- the package and its page ----------------------------------------------------------------------------


def test_the_sip_library_imports_no_trio() -> None:
    for code in ("import edgesbc.sip, sys; assert 'trio' not in sys.modules", "import edgesbc; edgesbc.serve"):
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_every_public_name_exists_and_no_other() -> None:
    for name in edgesbc.__all__:
        assert getattr(edgesbc, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'servant'"):
        edgesbc.servant  # type: ignore[attr-defined]  # noqa: B018


def test_the_page_lists_every_method_with_its_arguments() -> None:
    from edgesbc.control.bans import BanCommands
    from edgesbc.control.destinations import DestinationCommands
    from edgesbc.rollout.commands import PolicyCommands

    groups = {
        "edge": edgesbc.RunningEdge, "edge.bans": BanCommands, "edge.destinations": DestinationCommands,
        "edge.policy": PolicyCommands,
    }  # fmt: skip
    expected = {
        f"{prefix}.{name}{_arguments(value)}"
        for prefix, group in groups.items()
        for name, value in vars(group).items()
        if not name.startswith("_") and f"{prefix}.{name}" not in groups and name != "table"
    }
    table = PAGE.partition("## Methods of the edge")[2].partition("## Decisions")[0]
    assert set(re.findall(r"^\| `(edge[^`]*)` \|", table, re.MULTILINE)) == expected


def _arguments(value: Any) -> str:
    """The arguments of a method as the page writes them; a property has none."""
    if isinstance(value, property):
        return ""
    written = []
    for argument in list(inspect.signature(value).parameters.values())[1:]:
        required = argument.default is inspect.Parameter.empty
        default = "" if required else repr(argument.default).replace("'", '"')
        keyword = argument.kind is inspect.Parameter.KEYWORD_ONLY
        written.append(argument.name if required and not keyword else f"{argument.name}={default}")
    return f"({', '.join(written)})"


def test_the_program_on_the_page_runs(tmp_path: Path) -> None:
    code = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
    (tmp_path / "program.py").write_text(code)
    run = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert "the edge answers 200\n" in run.stdout
    assert "192.0.2.0/24 is banned until it is taken back, by example: abuse (0 dropped)\n" in run.stdout
    assert "ban 192.0.2.0/24 banned by example: abuse (0 lost)\n" in run.stdout
    assert len(code.splitlines()) < 60
