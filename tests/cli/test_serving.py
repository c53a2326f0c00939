"""``edgesbc run`` in the test's process: signals at any time. tests/test_app.py runs it in a process of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio
from support.command_line import edgesbc
from support.running import policy_text, until

from edgesbc.cli.serving import serve_until_signal
from edgesbc.policy.load import load_policy
from edgesbc.policy.model import Policy
from edgesbc.processes import until_drained
from edgesbc.rollout.controller import RolloutController


@pytest.fixture(autouse=True)
def _collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep ``run`` from changing the settings of the garbage collector in the process of the tests."""
    monkeypatch.setattr(until_drained, "stop_automatic_collections", lambda: None)


def policy(folder: Path) -> Policy:
    (folder / "policy.toml").write_text(policy_text(folder, ["sip:127.0.0.11:9"], http="", edge="grace = 3600"))
    return load_policy(folder / "policy.toml")


def socket(folder: Path) -> Path:
    return folder / "state" / "control.sock"


async def test_a_signal_during_the_start_ends_the_edge_when_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting, go_on = trio.Event(), trio.Event()

    async def held(_: RolloutController) -> None:
        starting.set()
        await go_on.wait()

    monkeypatch.setattr(RolloutController, "start", held)
    before = signal.getsignal(signal.SIGTERM)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_until_signal, policy(tmp_path))
            await starting.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            go_on.set()
    assert signal.getsignal(signal.SIGTERM) is before
    assert not socket(tmp_path).exists()


async def test_the_garbage_collector_runs_when_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by itself, once the edge has started; the task that calls it ends with the edge."""
    calls: list[str] = []
    collecting = trio.Event()

    async def collect() -> None:
        collecting.set()
        try:
            await trio.sleep_forever()
        finally:
            calls.append("ended")

    monkeypatch.setattr(until_drained, "stop_automatic_collections", lambda: calls.append("stopped"))
    monkeypatch.setattr(until_drained, "collect_young_garbage", collect)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_until_signal, policy(tmp_path))
            await collecting.wait()
            os.kill(os.getpid(), signal.SIGTERM)
    assert calls == ["stopped", "ended"]


async def test_a_second_signal_ends_the_program_at_once(tmp_path: Path) -> None:
    codes: list[int | str | None] = []

    async def serve() -> None:
        try:
            await serve_until_signal(policy(tmp_path))
        except SystemExit as ended:
            codes.append(ended.code)

    with trio.fail_after(20):
        before = signal.getsignal(signal.SIGTERM)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await until(lambda: signal.getsignal(signal.SIGTERM) is not before)
            for number in (signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
    assert codes == [1]


async def test_run_ends_after_a_drain_by_command(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_until_signal, policy(tmp_path))
            await until(socket(tmp_path).exists)
            code, output, errors = await edgesbc("drain", "--state-dir", str(tmp_path / "state"))
            assert (code, output, errors) == (0, "draining: 0 calls alive, 3600 s of grace\n", "")
