"""A bad policy change under load: a real edge between real SIPps rolls it back, and calls succeed again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio
from support.peers import called, needs, place
from support.running import PATIENCE, edge_process, free_port, listen, policy_text, until

from edgesbc.store.policy_log import Outcome, PolicyLog

pytestmark = needs("sipp")

CHANGE = "[change]\nsettle = 20\nleast_calls = 10\nfailure_rise = 20\n"
RATE, CALLS = 20, 160


async def apply(folder: Path, text: str) -> tuple[int, str]:
    file = folder / "new.toml"
    file.write_text(text)
    command = [sys.executable, "-m", "edgesbc", "policy", "apply", str(file), "--why", "a try"]
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [*command, "--state-dir", str(folder / "state")], check=False, capture_stdout=True, capture_stderr=True
        )
    return done.returncode, done.stdout.decode() + done.stderr.decode()


@pytest.mark.parametrize("bad", ["unavailable", "dead", "denied", "no-trunk"])
async def test_a_change_that_makes_calls_fail_is_reverted(tmp_path: Path, bad: str) -> None:
    public, http = f"127.0.0.1:{free_port()}", free_port()

    def policy(member: str, trunk: str = "127.0.0.1", more: str = "") -> str:
        return policy_text(
            tmp_path,
            [member],
            [listen("public", "udp", public, "carriers"), listen("core", "udp", "127.0.0.2:0", "inside")],
            trunks=[trunk],
            http=f"127.0.0.1:{http}",
            edge="grace = 0",
            more=more + CHANGE,
        )

    async with (
        called(tmp_path, "called", "127.0.0.11") as one,
        called(tmp_path, "unavailable", "127.0.0.12") as full,
        edge_process(tmp_path, policy(one.uri), http) as edge,
        trio.open_nursery() as nursery,
    ):
        changed = {
            "unavailable": policy(full.uri),
            "dead": policy("sip:127.0.0.13:9"),
            "denied": policy(one.uri, more='[screen.acl]\ndeny = ["127.0.0.1"]\n'),
            "no-trunk": policy(one.uri, trunk="192.0.2.1"),
        }[bad]
        nursery.start_soon(place, tmp_path, "caller", public, CALLS, RATE, 100)
        await edge.comes_to('edgesbc_calls_ended_total{outcome="answered"}', 20)
        code, output = await apply(tmp_path, changed)
        assert code == 3, output
        assert "version 2 is no longer in force: taken back by the edge: " in output
        calls = await place(tmp_path, "caller", public, 20, RATE)
        assert calls.status == 0, calls.errors
        assert edge.file.read_text() == policy(one.uri)
        entries = list(reversed(PolicyLog(tmp_path / "state").entries()))
        assert [entry.outcome for entry in entries] == [Outcome.STARTED, Outcome.ROLLED_BACK, Outcome.RESTORED]
        assert entries[1].message in output
        assert await edge.metric('edgesbc_decisions_total{reason="policy"}') >= 3
        assert await edge.metric("edgesbc_draining") == 0


async def test_a_good_change_under_load_settles(tmp_path: Path) -> None:
    public, http = f"127.0.0.1:{free_port()}", free_port()
    listeners = [listen("public", "udp", public, "carriers"), listen("core", "udp", "127.0.0.2:0", "inside")]

    def policy(member: str) -> str:
        more = CHANGE.replace("settle = 20", "settle = 3")
        http_address = f"127.0.0.1:{http}"
        return policy_text(
            tmp_path, [member], listeners, trunks=["127.0.0.1"], http=http_address, edge="grace = 0", more=more
        )

    async with (
        called(tmp_path, "called", "127.0.0.11") as one,
        called(tmp_path, "called", "127.0.0.12") as other,
        edge_process(tmp_path, policy(one.uri), http) as edge,
        trio.open_nursery() as nursery,
    ):
        placed = []

        async def calling() -> None:
            placed.append(await place(tmp_path, "caller", public, CALLS, RATE, 100))

        nursery.start_soon(calling)
        await edge.comes_to('edgesbc_calls_ended_total{outcome="answered"}', 20)
        code, output = await apply(tmp_path, policy(other.uri))
        assert code == 0, output
        assert "version 2 has settled: 0 of " in output
        assert edge.file.read_text() == policy(other.uri)
        await until(lambda: bool(placed))
        assert placed[0].status == 0, placed[0].errors
        assert await edge.metric('edgesbc_calls_ended_total{outcome="answered"}') == CALLS
