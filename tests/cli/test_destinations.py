"""``edgesbc destinations`` against a running edge: list, orders, drain and audit."""

from __future__ import annotations

import getpass
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner
from support.command_line import edgesbc
from support.running import (
    PATIENCE,
    PUBLIC_UDP,
    at,
    edge_process,
    free_port,
    listen,
    nothing_left,
    policy_text,
    running,
    until,
)
from support.ua import Dialog, Rtp, Ua, UdpWire, hang_up, set_up

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.cli import main
from edgesbc.dispatch.health import AdminState
from edgesbc.store import destinations

ONE_CALL = "1 place taken: 1 by calls, 0 by other requests; 0 differences\n"
ROUTES = '[[route]]\nname = "all"\nfrom = "public"\nto = "pbx"'
TWO = ["sip:127.0.0.11:9", "sip:127.0.0.12:9"]


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "edgesbc", "destinations", *arguments, "--state-dir", str(folder / "state")]


async def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of ``edgesbc destinations``."""
    return await edgesbc("destinations", *arguments, "--state-dir", str(folder / "state"))


async def listed(folder: Path, *names: str) -> list[dict[str, object]]:
    """The members in the JSON of ``edgesbc destinations list``."""
    code, output, errors = await run(folder, "list", *names, "--json")
    assert code == 0, errors
    members: list[dict[str, object]] = json.loads(output)["members"]
    return members


def orders(app: App) -> list[AdminState]:
    return [member.admin_state for member in app.edge.dispatcher.members()]


@asynccontextmanager
async def a_call(folder: Path, callee: Ua, text: str) -> AsyncIterator[tuple[App, Dialog, Ua]]:
    """An edge with one call alive, the caller's dialog, and the callee."""
    async with (
        running(folder, text) as app,
        Ua(await UdpWire.open("127.0.0.9", peer=at(app, "public-udp"))) as caller,
        await Rtp.open("127.0.0.9") as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, _ = await set_up(caller, callee, f"sip:100@{at(app, 'public-udp')}", near, far)
        yield app, calling, callee


# --- list ------------------------------------------------------------------------------------------------


async def test_the_list_has_state_and_load_of_every_member(tmp_path: Path) -> None:
    more = (
        ', { set = "gw", members = [{ uri = "sip:127.0.0.13:9", weight = 7, max_calls = 4, max_cps = 3, '
        "resources = { pstn = 30 } }], health = { interval = 0 } }"
    )
    async with running(tmp_path, policy_text(tmp_path, TWO, more_sets=more, routes=ROUTES)) as app:
        members = list(app.edge.dispatcher.members())
        lease = app.edge.dispatcher.acquire("gw", trio.current_time())
        assert lease is not None
        app.edge.dispatcher.health_monitor.failed(members[0], trio.current_time(), "gave no answer in time")
        members[1].answered_after(0.25)
        code, output, errors = await run(tmp_path, "list")
        assert (code, errors) == (0, "")
        heading, *lines = output.splitlines()
        assert heading.split() == [
            "set", "member", "address", "state", "since", "calls", "resources", "cps", "weight", "priority", "answer",
            "remarks",
        ]  # fmt: skip
        first, second, third = ([cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines)
        assert first[:4] == ["pbx", "sip:127.0.0.11:9", "127.0.0.11:9", "trying"]
        assert re.fullmatch(r"\d+ s", first[4])
        assert first[5:11] == ["0", "-", "-", "1", "0", "-"]
        assert re.fullmatch(r"failed \d+ s ago: gave no answer in time", first[11])
        assert second[3:5] == ["active", "-"]
        assert second[10:] == ["250 ms", "-"]
        assert third[3:4] + third[5:7] + third[8:] == ["active", "1/4", "pstn 0/30", "7", "0", "-", "-"]
        assert re.fullmatch(r"\d/3", third[7])
        lease.release()
        (only,) = await listed(tmp_path, "gw")
        assert (only["uri"], only["calls"], only["max_calls"]) == ("sip:127.0.0.13:9", 0, 4)
        assert (only["resources"], only["usable"]) == ({"pstn": [0, 30]}, True)


async def test_failed_connections_are_remarked(tmp_path: Path) -> None:
    inside = listen("core", "tcp", "127.0.0.1:0", "core-tcp")
    text = policy_text(tmp_path, ["sip:127.0.0.11:9;transport=tcp"], [PUBLIC_UDP, inside])
    async with running(tmp_path, text) as app:
        (member,) = app.edge.dispatcher.members()
        assert member.connection is not None
        app.edge.dispatcher.backoffs.failed(*member.connection, trio.current_time() + 599.5)
        _, output, _ = await run(tmp_path, "list")
        assert "1 connection failed in a row, next call in 10 m" in output
        (row,) = await listed(tmp_path)
        assert row["connect_failures"] == 1
        app.edge.dispatcher.backoffs.failed(*member.connection, trio.current_time() - 60.0)
        _, output, _ = await run(tmp_path, "list")
        assert output.rstrip().endswith("2 connections failed in a row")


async def test_of_many_members_some_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DESTINATIONS_LISTED", 1)
    monkeypatch.setattr(limits, "DESTINATIONS_NAMED", 1)
    async with running(tmp_path, policy_text(tmp_path, TWO)):
        code, output, _ = await run(tmp_path, "list")
        assert (code, output.splitlines()[-1]) == (0, "1 more member not shown; name a set")
        code, _, errors = await run(tmp_path, "drain", "nobody")
        assert (code, "there are pbx/sip:127.0.0.11:9, and 1 more" in errors) == (2, True)
        code, output, _ = await run(tmp_path, "drain", "pbx", "--no-wait")
        assert (code, output.splitlines()[:2]) == (0, ["pbx/sip:127.0.0.11:9 drains", "and 1 more member"])


# --- orders ----------------------------------------------------------------------------------------------


async def test_an_order_has_effect_at_once_is_recorded_and_is_taken_back(tmp_path: Path) -> None:
    async with running(tmp_path, policy_text(tmp_path, TWO)) as app:
        done = await run(tmp_path, "drain", TWO[0], "--why", "new kernel")
        assert done == (0, f"pbx/{TWO[0]} drains\n0 calls left\n", "")
        assert orders(app) == [AdminState.DRAINING, AdminState.ENABLED]
        (sentence,) = app.why("127.0.0.11").sentences()
        assert f"active to draining: by order of {getpass.getuser()}: new kernel" in sentence
        (member, _) = await listed(tmp_path)
        assert (member["state"], member["health"], member["why"]) == ("draining", "active", "new kernel")
        lease = app.edge.dispatcher.acquire("pbx", trio.current_time())
        assert lease is not None
        assert lease.member.name == TWO[1]
        lease.release()
        code, output, errors = await run(tmp_path, "disable", "127.0.0.12:9")
        assert (code, output) == (0, f"pbx/{TWO[1]} is disabled\n0 calls left\n")
        assert errors == "warning: no member of pbx takes new calls now\n"
        assert "destinations pbx" in app.not_ready()
        assert await run(tmp_path, "enable", "pbx") == (
            0,
            f"pbx/{TWO[0]} is enabled\npbx/{TWO[1]} is enabled\n",
            "",
        )
        assert orders(app) == [AdminState.ENABLED, AdminState.ENABLED]
        assert not app.not_ready()
        assert (await run(tmp_path, "enable", f"pbx/{TWO[0]}", "--why", "again"))[0] == 0
        assert "stays active" in app.why("127.0.0.11").sentences()[-1]


async def test_an_ambiguous_word_is_refused(tmp_path: Path) -> None:
    more = f', {{ set = "{TWO[0]}", members = [{{ uri = "{TWO[1]}" }}], health = {{ interval = 0 }} }}'
    async with running(tmp_path, policy_text(tmp_path, TWO, more_sets=more, routes=ROUTES)) as app:
        code, output, errors = await run(tmp_path, "drain", TWO[0])
        assert (code, output) == (2, "")
        assert f"{TWO[0]!r} is a set and also a URI; say SET/URI" in errors
        assert (await run(tmp_path, "disable", TWO[1]))[0] == 0
        assert orders(app) == [AdminState.ENABLED, AdminState.DISABLED, AdminState.DISABLED]
        assert (await run(tmp_path, "enable", f"pbx/{TWO[1]}"))[0] == 0
        assert orders(app) == [AdminState.ENABLED, AdminState.ENABLED, AdminState.DISABLED]
        code, _, errors = await run(tmp_path, "enable", "127.0.0.99:9")
        assert (code, "no destination is called '127.0.0.99:9'; there are pbx/" in errors) == (2, True)
        code, _, errors = await run(tmp_path, "list", "gone")
        assert (code, "no destination is called 'gone'" in errors) == (2, True)


async def test_the_number_of_orders_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OPERATOR_OVERRIDES", 1)
    async with running(tmp_path, policy_text(tmp_path, TWO)) as app:
        assert (await run(tmp_path, "drain", TWO[0]))[0] == 0
        code, _, errors = await run(tmp_path, "drain", "pbx")
        assert (code, "1 orders may be kept" in errors) == (2, True)
        assert orders(app) == [AdminState.DRAINING, AdminState.ENABLED]
        assert (await run(tmp_path, "disable", TWO[0]))[0] == 0


async def test_orders_outlive_a_reload_and_a_restart(tmp_path: Path) -> None:
    text = policy_text(tmp_path, TWO, edge="grace = 0")
    without_first = policy_text(tmp_path, TWO[1:], edge="grace = 0")
    file = tmp_path / "state" / destinations.FILE
    async with running(tmp_path, text) as app:
        assert (await run(tmp_path, "drain", TWO[0], "--why", "new kernel"))[0] == 0
        (tmp_path / "policy.toml").write_text(without_first)
        assert not (await app.reload()).mistakes
        assert orders(app) == [AdminState.ENABLED]
        (tmp_path / "policy.toml").write_text(text)
        assert not (await app.reload()).mistakes
        assert orders(app) == [AdminState.DRAINING, AdminState.ENABLED]
        app.drain()
        await until(file.exists)
    assert file.stat().st_mode & 0o777 == 0o600
    async with running(tmp_path, text) as app:
        assert orders(app) == [AdminState.DRAINING, AdminState.ENABLED]
        (member, _) = await listed(tmp_path)
        assert (member["order"], member["why"]) == ("draining", "new kernel")
        assert "new kernel" in app.why("127.0.0.11").sentences()[-1]
        assert (await run(tmp_path, "enable", TWO[0]))[0] == 0
        app.drain()
        await until(lambda: json.loads(file.read_text())["orders"] == [])
    async with running(tmp_path, text) as app:
        assert orders(app) == [AdminState.ENABLED, AdminState.ENABLED]


async def test_a_crash_loses_no_order_that_was_written(tmp_path: Path) -> None:
    http = free_port()
    text = policy_text(tmp_path, TWO, http=f"127.0.0.1:{http}")
    file = tmp_path / "state" / destinations.FILE
    async with edge_process(tmp_path, text, http) as edge:
        assert (await run(tmp_path, "disable", TWO[1]))[0] == 0
        await until(file.exists)
        edge.process.kill()
        await edge.ended()
    async with running(tmp_path, text) as app:
        assert orders(app) == [AdminState.ENABLED, AdminState.DISABLED]


async def test_enabling_a_member_that_the_policy_disables_outlives_a_restart(tmp_path: Path) -> None:
    text = policy_text(tmp_path, TWO, edge="grace = 0").replace("priority = 0 }", "priority = 0, disabled = true }")
    async with running(tmp_path, text) as app:
        assert orders(app) == [AdminState.DISABLED, AdminState.ENABLED]
        assert (await run(tmp_path, "enable", TWO[0]))[0] == 0
        app.drain()
        await until((tmp_path / "state" / destinations.FILE).exists)
    async with running(tmp_path, text) as app:
        assert orders(app) == [AdminState.ENABLED, AdminState.ENABLED]


# --- drain -----------------------------------------------------------------------------------------------


async def test_a_drain_ends_when_the_last_call_has_gone(tmp_path: Path) -> None:
    async with Ua(await UdpWire.open("127.0.0.11")) as pbx:
        uri = f"sip:{pbx.address}"
        async with a_call(tmp_path, pbx, policy_text(tmp_path, [uri], open=["public-udp"])) as (app, calling, callee):
            assert await run(tmp_path, "audit") == (0, ONE_CALL, "")
            process = await trio.lowlevel.open_process(
                command(tmp_path, "drain", uri, "--wait", "--timeout", "1m"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert process.stdout is not None
            await until(lambda: orders(app) == [AdminState.DRAINING])
            assert process.poll() is None
            await hang_up(calling, callee)
            with trio.fail_after(PATIENCE):
                output = b"".join([chunk async for chunk in process.stdout]).decode()
                assert await process.wait() == 0
            assert output.startswith(f"pbx/{uri} drains\n1 call left\n0 calls left\nno call is left, after ")
            await nothing_left(app)


async def test_a_timeout_ctrl_c_and_enable_each_end_the_wait_for_a_drain(tmp_path: Path) -> None:
    async with Ua(await UdpWire.open("127.0.0.11")) as pbx:
        uri = f"sip:{pbx.address}"
        async with a_call(tmp_path, pbx, policy_text(tmp_path, [uri], open=["public-udp"])) as (app, calling, callee):
            code, _, errors = await run(tmp_path, "drain", "pbx", "--timeout", "1s")
            assert (code, "1 call left after 1 s; the drain stays in force" in errors) == (1, True)
            assert orders(app) == [AdminState.DRAINING]

            process = await _waiting(tmp_path, uri)
            process.send_signal(signal.SIGINT)
            code, errors = await _end_of(process)
            assert code == 130
            assert f"the drain stays in force; `edgesbc destinations enable {uri}` ends it" in errors
            assert orders(app) == [AdminState.DRAINING]

            process = await _waiting(tmp_path, uri)
            assert (await run(tmp_path, "enable", uri))[0] == 0
            code, errors = await _end_of(process)
            assert (code, f"somebody has enabled {uri} meanwhile" in errors) == (1, True)
            await hang_up(calling, callee)


def _takes_interrupts() -> None:
    """A shell starts jobs in the background with SIGINT ignored, which their processes inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def _waiting(folder: Path, uri: str) -> trio.Process:
    """A process of ``destinations drain --wait`` that has printed the first number of calls."""
    process = await trio.lowlevel.open_process(
        command(folder, "drain", uri, "--wait"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=_takes_interrupts,
    )  # fmt: skip
    assert process.stdout is not None
    output = b""
    with trio.fail_after(PATIENCE):
        while b"1 call left" not in output:
            more = await process.stdout.receive_some()
            assert more, output
            output += bytes(more)
    return process


async def _end_of(process: trio.Process) -> tuple[int, str]:
    assert process.stderr is not None
    with trio.fail_after(PATIENCE):
        errors = b"".join([bytes(chunk) async for chunk in process.stderr]).decode()
        return await process.wait(), errors


async def test_a_destination_that_a_reload_removes_is_waited_for(tmp_path: Path) -> None:
    async with Ua(await UdpWire.open("127.0.0.11")) as pbx:
        uri = f"sip:{pbx.address}"
        text = policy_text(tmp_path, [uri], open=["public-udp"])
        async with a_call(tmp_path, pbx, text) as (app, calling, callee):
            process = await _waiting(tmp_path, uri)
            (tmp_path / "policy.toml").write_text(policy_text(tmp_path, TWO, open=["public-udp"]))
            assert not (await app.reload()).mistakes
            assert await run(tmp_path, "audit") == (0, ONE_CALL, "")
            assert process.poll() is None
            await hang_up(calling, callee)
            code, _ = await _end_of(process)
            assert code == 0


async def test_on_a_terminal_a_drain_waits_unless_no_wait_is_given(tmp_path: Path) -> None:
    async with running(tmp_path, policy_text(tmp_path, TWO)):
        for options, waits in (((), True), (("--no-wait",), False)):
            ours, theirs = os.openpty()
            try:
                with trio.fail_after(PATIENCE):
                    await trio.run_process(command(tmp_path, "drain", TWO[0], *options), stdout=theirs)
                output = os.read(ours, 65_536).decode()
            finally:
                os.close(ours)
                os.close(theirs)
            assert f"pbx/{TWO[0]} drains" in output
            assert ("no call is left, after " in output) is waits


def test_a_timeout_with_no_wait_is_a_mistake(tmp_path: Path) -> None:
    options = ["destinations", "drain", "pbx", "--no-wait", "--timeout", "1m", "--state-dir", str(tmp_path)]
    result = CliRunner().invoke(main, options)
    assert (result.exit_code, "leave --no-wait out" in result.stderr) == (2, True)


# --- audit -----------------------------------------------------------------------------------------------


async def test_the_audit_names_each_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, policy_text(tmp_path, TWO)) as app:
        assert await run(tmp_path, "audit") == (
            0,
            "0 places taken: 0 by calls, 0 by other requests; 0 differences\n",
            "",
        )
        leases = [app.edge.dispatcher.acquire("pbx", trio.current_time()) for _ in range(2)]
        code, output, _ = await run(tmp_path, "audit")
        assert code == 1
        assert output.splitlines() == [
            f"a place at pbx/{TWO[0]} is taken, and nothing that lives holds it",
            f"a place at pbx/{TWO[0]} is taken, and nothing that lives holds it",
            "2 places taken: 0 by calls, 0 by other requests; 2 differences",
        ]
        monkeypatch.setattr(limits, "DIFFERENCES_LISTED", 1)
        code, output, _ = await run(tmp_path, "audit", "--json")
        answer = json.loads(output)
        assert (code, answer["places"], len(answer["differences"]), answer["left_out"]) == (1, 2, 1, 1)
        assert "1 more difference not shown" in (await run(tmp_path, "audit"))[1]
        for lease in leases:
            assert lease is not None
            lease.release()
        assert (await run(tmp_path, "audit"))[0] == 0


@pytest.mark.parametrize("word", ["list", "audit"])
def test_without_an_edge_destinations_fails(tmp_path: Path, word: str) -> None:
    result = CliRunner().invoke(main, ["destinations", word, "--state-dir", str(tmp_path)])
    assert (result.exit_code, "no edge answers" in result.stderr) == (2, True)
