"""The command line: mistakes with file and key, all at once, exit code 2; certificates for development."""

from __future__ import annotations

import datetime
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from support.running import CORE_UDP, PATIENCE, PUBLIC_UDP, EdgeProcess, edge_process, free_port, listen, policy_text
from support.ua import Ua, UdpWire

from edgesbc.base.address import Source
from edgesbc.cli import main
from edgesbc.store.policy_log import Outcome, PolicyLog


def told(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture(params=["check", "run"])
def command(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def held() -> Iterator[int]:
    """A UDP port of 127.0.0.1 that somebody else has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def refused(command: str, folder: Path, text: str) -> list[str]:
    """The lines that say why a policy is refused."""
    file = folder / "policy.toml"
    file.write_text(text)
    result = told(command, file)
    assert result.exit_code == 2, result.output
    *lines, last = result.stderr.splitlines()
    assert last == f"{len(lines)} mistake{'s' if len(lines) > 1 else ''}; nothing was started"
    assert all(line.startswith(f"{file}: ") for line in lines)
    assert not (folder / "state").exists()
    return [line.removeprefix(f"{file}: ") for line in lines]


def test_every_mistake_of_a_file_at_once(command: str, tmp_path: Path) -> None:
    routes = 'route = [ { name = "r", to = "nowhere" } ]'
    text = policy_text(tmp_path, ["sip:127.0.0.11:9"], routes=routes, edge='grace = "long"\nnmae = "x"')
    keys = [line.partition(": ")[0] for line in refused(command, tmp_path, text)]
    assert sorted(keys) == ["edge.grace", "edge.nmae", "route[0].to"]


def test_everything_that_this_machine_lacks_at_once(command: str, tmp_path: Path, held: int) -> None:
    secure = f', certificate = "{tmp_path / "none"}"'
    listeners = [
        listen("public", "udp", f"127.0.0.1:{held}", "taken"),
        listen("public", "tls", "127.0.0.1:0", "secure", secure),
        listen("public", "tcp", "192.0.2.55:5060", "elsewhere"),
        CORE_UDP,
    ]
    lines = refused(command, tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], listeners))
    keys = [line.partition(": ")[0] for line in lines]
    assert keys == ["listen[0].bind", "listen[1].certificate", "listen[1].certificate", "listen[2].bind"]
    assert "Address already in use" in lines[0]
    assert "fullchain.pem" in lines[1]


def test_a_file_that_is_not_there_or_no_toml(command: str, tmp_path: Path) -> None:
    result = told(command, tmp_path / "missing.toml")
    assert (result.exit_code, "missing.toml: cannot be read" in result.stderr) == (2, True)
    assert "expected TOML" in refused(command, tmp_path, "listen = [")[0]


def test_a_sound_policy_is_told_in_a_line_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9"], [PUBLIC_UDP, CORE_UDP]))
    result = told("check", file)
    assert result.exit_code == 0
    assert result.output.startswith(f"{file}: ok: 2 listeners, 0 trunks, 1 destination set with 1 member")
    assert not (tmp_path / "state").exists()


def test_development_certificates_are_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "dev"
    assert told("certs", "dev", folder, "--name", "sip.example.com").exit_code == 0
    before = (folder / "privkey.pem").read_bytes()
    assert (folder / "privkey.pem").stat().st_mode & 0o077 == 0
    again = told("certs", "dev", folder)
    assert (again.exit_code, "--force" in again.stderr) == (1, True)
    assert (folder / "privkey.pem").read_bytes() == before
    assert told("certs", "dev", folder, "--force").exit_code == 0
    assert (folder / "privkey.pem").read_bytes() != before


def test_a_listener_runs_with_them(tmp_path: Path) -> None:
    told("certs", "dev", tmp_path / "dev")
    tls = listen("public", "tls", "127.0.0.1:0", "tls", f', certificate = "{tmp_path / "dev"}"')
    file = tmp_path / "policy.toml"
    file.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9"], [tls, CORE_UDP]))
    assert told("check", file).exit_code == 0


def test_a_check_says_which_names_it_does_not_look_up(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9", "sip:pbx.invalid;transport=udp", "sip:b.invalid:5070"]))
    result = told("check", file)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == ["not looked up: b.invalid:5070, pbx.invalid over udp"]


# --- an edge that runs -------------------------------------------------------------------------------------


async def said(*arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of a command in a process of its own."""
    command = [sys.executable, "-m", "edgesbc", *map(str, arguments)]
    with trio.fail_after(PATIENCE):
        result = await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)
    return result.returncode, result.stdout.decode(), result.stderr.decode()


@asynccontextmanager
async def edge(folder: Path) -> AsyncIterator[tuple[EdgeProcess, Source]]:
    public, http = Source("127.0.0.1", free_port()), free_port()
    listeners = [listen("public", "udp", str(public), "public-udp"), CORE_UDP]
    text = policy_text(folder, ["sip:127.0.0.11:9"], listeners, http=f"127.0.0.1:{http}", edge="grace = 7")
    async with edge_process(folder, text, http) as process:
        yield process, public


async def refused_once(public: Source) -> Ua:
    """A user agent whose one request was refused, for its method."""
    alice = Ua(await UdpWire.open(peer=public))
    await alice.dialog(f"sip:100@{public}").send("BREW")
    await alice.response(405)
    return alice


async def test_why_tells_what_was_decided(tmp_path: Path) -> None:
    before = datetime.datetime.now(datetime.UTC)
    async with edge(tmp_path) as (process, public), await refused_once(public) as alice:
        by_address = await said("why", "127.0.0.1", "--policy", process.file)
        by_port = await said("why", alice.address, "--state-dir", tmp_path / "state")
        code, told, _ = await said("why", alice.address, "--state-dir", tmp_path / "state", "--json")
        (decision,) = json.loads(told)["decisions"]
        by_call = await said("why", decision["call_id"], "--policy", process.file)
        web = json.loads((await process.get(f"/why?q={alice.address}"))[1])
        nothing = await said("why", "192.0.2.99", "--policy", process.file)
        nothing_as_json = await said("why", "192.0.2.99", "--policy", process.file, "--json")
    assert by_address == by_port == by_call == (0, f"{decision['sentence']}\n", "")
    assert code == 0
    assert (decision["reason"], decision["source"], decision["listener"]) == ("method", alice.address, "public-udp")
    assert web["decisions"] == [decision]
    at = datetime.datetime.fromisoformat(decision["time"])
    assert before - datetime.timedelta(seconds=1) < at < datetime.datetime.now(datetime.UTC)  # the wall's clock
    code, told, errors = nothing
    assert (code, told) == (1, "")
    assert errors.startswith("nothing is known of '192.0.2.99', neither as a Call-ID nor as an address\n")
    assert "`edgesbc bans list`" in errors
    assert (nothing_as_json[0], json.loads(nothing_as_json[1])) == (1, {"decisions": [], "left_out": 0})


@pytest.mark.parametrize("command", [("why", "192.0.2.1"), ("reload",), ("drain",)])
def test_no_edge_is_said_with_the_socket_that_was_tried(command: tuple[str, ...], tmp_path: Path) -> None:
    result = told(*command, "--state-dir", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"no edge answers at {tmp_path / 'control.sock'}: No such file or directory" in result.stderr
    assert "--policy FILE or --state-dir DIR" in result.stderr


def test_which_edge_is_said_once(tmp_path: Path) -> None:
    both = told("why", "x", "--policy", tmp_path / "p.toml", "--state-dir", tmp_path)
    assert (both.exit_code, "give one of them" in both.stderr) == (2, True)
    missing = told("why", "x", "--policy", tmp_path / "p.toml")
    assert (missing.exit_code, "give --state-dir instead" in missing.stderr) == (2, True)


def test_which_edge_is_meant_a_policy_says_whatever_else_is_wrong_in_it(tmp_path: Path) -> None:
    broken = tmp_path / "p.toml"
    broken.write_text('[edge]\nstate_dir = "state"\n[[route]]\nto = 7\n')
    asked = told("destinations", "list", "--policy", broken)
    assert (asked.exit_code, f"no edge answers at {tmp_path / 'state' / 'control.sock'}" in asked.stderr) == (2, True)
    broken.write_text('[edge]\nstate_dri = "state"\n')  # not the edge of the default directory
    asked = told("destinations", "list", "--policy", broken)
    assert asked.stderr == (
        f"{broken}: edge.state_dri: unknown key; did you mean 'state_dir'?\n"
        "1 mistake; give --state-dir instead, or mend it\n"
    )


def test_without_an_option_it_is_the_state_directory_of_a_policy_that_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgesbc.cli.running_edge.default_state_dir", lambda: tmp_path / "default")
    assert f"no edge answers at {tmp_path / 'default' / 'control.sock'}" in told("why", "x").stderr


async def test_reload_says_what_became_of_it(tmp_path: Path) -> None:
    async with edge(tmp_path) as (process, _):
        log, sound = PolicyLog(tmp_path / "state"), process.file.read_text()
        process.file.write_text(sound.replace("grace = 7", "grace = 8"))
        assert await said("reload", "--policy", process.file) == (0, "reloaded\nneeds a restart: edge\n", "")
        assert log.entries(1)[0].outcome is Outcome.RELOADED
        process.file.write_text(sound.replace("grace = 7", "graze = 7"))
        code, output, errors = await said("reload", "--state-dir", tmp_path / "state")
        assert (code, output) == (1, "")
        assert "edge.graze" in errors
        assert errors.endswith("1 mistake; the old policy goes on\n")
        assert log.entries(1)[0].outcome is Outcome.REFUSED
        process.file.write_text(sound)
        assert await said("reload", "--policy", process.file) == (0, "reloaded\n", "")


async def test_drain_ends_the_edge_in_good_order(tmp_path: Path) -> None:
    async with edge(tmp_path) as (process, _):
        drained = await said("drain", "--policy", process.file)
        assert await process.ended() == 0
    assert drained == (0, "draining: 0 calls alive, 7 s of grace\n", "")
    assert "control.sock" not in os.listdir(tmp_path / "state")


async def test_an_edge_that_was_killed_leaves_no_hindrance(tmp_path: Path) -> None:
    async with edge(tmp_path) as (process, _):
        process.signal(signal.SIGKILL)
        await process.ended()
    code, _, errors = await said("why", "x", "--state-dir", tmp_path / "state")
    assert (code, "Connection refused" in errors) == (2, True)
    async with edge(tmp_path) as (process, _):
        assert (await said("why", "x", "--policy", process.file))[0] == 1


async def test_two_edges_do_not_share_a_state_directory(tmp_path: Path) -> None:
    """Whichever way the second finds out: before it starts, and where both start at once, by the lock."""
    async with edge(tmp_path) as (process, _):
        other = tmp_path / "other.toml"
        other.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9"], [PUBLIC_UDP, CORE_UDP]))
        code, _, errors = await said("run", other)
        assert (code, "edge.state_dir: expected a folder of its own" in errors) == (2, True)
        os.rename(tmp_path / "state" / "control.sock", tmp_path / "aside")
        code, _, errors = await said("run", other)
        assert (code, "another edge that runs has this folder" in errors) == (2, True)
        assert "Traceback" not in errors
        os.rename(tmp_path / "aside", tmp_path / "state" / "control.sock")
        assert (await said("why", "x", "--policy", process.file))[0] == 1


async def test_a_policy_can_be_checked_beside_the_edge_that_runs_it(tmp_path: Path) -> None:
    """Before a reload; `run` goes on to be refused."""
    async with edge(tmp_path) as (process, _):
        code, told, errors = await said("check", process.file)
        assert (code, errors) == (0, "")
        beside = f"an edge runs from {tmp_path / 'state'}: ports in use are taken for its own\n"
        assert told.endswith(beside)
        other = tmp_path / "other.toml"
        other.write_text(process.file.read_text().replace("[edge]", '[edge]\nserver = "x"', 1))
        code, told, errors = await said("check", other)
        assert (code, errors) == (0, "")
        assert told.endswith(f"{beside}[edge]: server none -> x (needs a restart)\n")
        code, _, errors = await said("run", process.file)
        assert code == 2
        assert "listen[0].bind: expected an address and port that can be bound" in errors
    assert "an edge runs" not in (await said("check", process.file))[1]


async def test_an_answer_to_why_is_the_users_alone(tmp_path: Path) -> None:
    async with edge(tmp_path):
        assert os.stat(tmp_path / "state").st_mode & 0o777 == 0o700
        assert os.stat(tmp_path / "state" / "control.sock").st_mode & 0o777 == 0o600
