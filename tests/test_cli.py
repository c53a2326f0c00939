"""The command line: mistakes in a policy, commands to a running edge, and certificates for development."""

from __future__ import annotations

import datetime
import json
import os
import resource
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


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(params=["check", "run"])
def command(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A UDP port of 127.0.0.1 that another socket has bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def refused(command: str, folder: Path, text: str) -> list[str]:
    """The mistakes that ``check`` or ``run`` prints for a policy, without the file name."""
    file = folder / "policy.toml"
    file.write_text(text)
    result = invoke(command, file)
    assert result.exit_code == 2, result.output
    *lines, last = result.stderr.splitlines()
    assert last == f"{len(lines)} mistake{'s' if len(lines) > 1 else ''}; nothing was started"
    assert all(line.startswith(f"{file}: ") for line in lines)
    assert not (folder / "state").exists()
    return [line.removeprefix(f"{file}: ") for line in lines]


def test_all_mistakes_of_a_file_are_printed(command: str, tmp_path: Path) -> None:
    routes = 'route = [ { name = "r", to = "nowhere" } ]'
    text = policy_text(tmp_path, ["sip:127.0.0.11:9"], routes=routes, edge='grace = "long"\nnmae = "x"')
    keys = [line.partition(": ")[0] for line in refused(command, tmp_path, text)]
    assert sorted(keys) == ["edge.grace", "edge.nmae", "route[0].to"]


def test_all_addresses_and_files_that_cannot_be_used_are_printed(command: str, tmp_path: Path, taken_port: int) -> None:
    secure = f', certificate = "{tmp_path / "none"}"'
    listeners = [
        listen("public", "udp", f"127.0.0.1:{taken_port}", "taken"),
        listen("public", "tls", "127.0.0.1:0", "secure", secure),
        listen("public", "tcp", "192.0.2.55:5060", "elsewhere"),
        CORE_UDP,
    ]
    lines = refused(command, tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], listeners))
    keys = [line.partition(": ")[0] for line in lines]
    assert keys == ["listen[0].bind", "listen[1].certificate", "listen[1].certificate", "listen[2].bind"]
    assert "Address already in use" in lines[0]
    assert "fullchain.pem" in lines[1]


def test_a_file_that_is_missing_or_no_toml(command: str, tmp_path: Path) -> None:
    result = invoke(command, tmp_path / "missing.toml")
    assert (result.exit_code, "missing.toml: cannot be read" in result.stderr) == (2, True)
    assert "expected TOML" in refused(command, tmp_path, "listen = [")[0]


def test_a_check_of_a_valid_policy_prints_a_line_and_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9"], [PUBLIC_UDP, CORE_UDP]))
    result = invoke("check", file)
    assert result.exit_code == 0
    assert result.output.startswith(f"{file}: ok: 2 listeners, 0 trunks, 1 destination set with 1 member")
    assert not (tmp_path / "state").exists()


def test_development_certificates_are_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "dev"
    assert invoke("certs", "dev", folder, "--name", "sip.example.com").exit_code == 0
    before = (folder / "privkey.pem").read_bytes()
    assert (folder / "privkey.pem").stat().st_mode & 0o077 == 0
    second = invoke("certs", "dev", folder)
    assert (second.exit_code, "--force" in second.stderr) == (1, True)
    assert (folder / "privkey.pem").read_bytes() == before
    assert invoke("certs", "dev", folder, "--force").exit_code == 0
    assert (folder / "privkey.pem").read_bytes() != before


def test_a_listener_accepts_development_certificates(tmp_path: Path) -> None:
    invoke("certs", "dev", tmp_path / "dev")
    tls = listen("public", "tls", "127.0.0.1:0", "tls", f', certificate = "{tmp_path / "dev"}"')
    file = tmp_path / "policy.toml"
    file.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9"], [tls, CORE_UDP]))
    assert invoke("check", file).exit_code == 0


@pytest.mark.parametrize(
    ("keys", "ports", "hard", "together", "apart"),
    [
        ("max_calls = 100\nmax_connections = 300", "20000-29998", 1_000, "900, of 1000", "600, of 1000"),
        ("max_calls = 100\nmax_connections = 300", "20000-20099", 500, "700, of 500: beyond", "600, of 500: beyond"),
        ("max_calls = 1\nmax_connections = 2000", "20000-29998", 3_000, *2 * ["4000, of 3000: beyond"]),
        ("", "20000-29998", resource.RLIM_INFINITY, "28388, of any number", "20196, of any number"),
    ],
)
def test_a_check_says_how_many_descriptors_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str, ports: str, hard: int, together: str, apart: str
) -> None:
    """Four for the media of a call, as many calls as there are ports; connections have at most half of all. Both are
    needed by one process, or each by another one."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100, hard))
    file = tmp_path / "policy.toml"
    for planes, expected in (("tasks", together), ("", apart)):
        file.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9"], edge=keys, planes=planes, ports=ports))
        needed, _, found = expected.partition(", of ")
        line = f"descriptors: all connections and calls need {needed}, a process may have {found}"
        assert line in invoke("check", file).output


@pytest.mark.parametrize(
    ("keys", "planes", "hard", "expected"),
    [
        ("max_calls = 100\nmax_connections = 300", "tasks", 1_000, "125, or 250 with rtcp-mux, max_calls 100: about 2"),
        ("max_connections = 2000", "tasks", 3_000, "325, or 650 with rtcp-mux, max_calls 20000: about 7"),
        ("max_connections = 2000", "", 3_000, "700, or 1400 with rtcp-mux, max_calls 20000: about 14"),
        ("", "tasks", resource.RLIM_INFINITY, "any number, max_calls 20000: about 98"),
    ],
)
def test_a_check_says_how_many_calls_with_media_there_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str, planes: str, hard: int, expected: str
) -> None:
    """Each takes a pair of ports on either side, which have an address each. A process of media control has its
    descriptors for itself."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100, hard))
    file = tmp_path / "policy.toml"
    file.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9"], edge=keys, planes=planes))
    assert f"calls with media: ports for 4999, descriptors for {expected} MiB" in invoke("check", file).output
    file.write_text(file.read_text().replace("[media]", '[media]\nengine = "none"'))
    assert "calls with media" not in invoke("check", file).output


def test_a_check_says_which_rtpengines_reply(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    one = '[[media.rtpengine]]\naddress = "127.0.0.1:{}"\n'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        number = silent.getsockname()[1]
        text = policy_text(
            tmp_path, ["sip:127.0.0.11:9"], media='engine = "rtpengine"', more=one.format(number) + one.format(9)
        )
        file.write_text(text)
        result = invoke("check", file)
        assert silent.recv(1_000).endswith(b" d7:command4:pinge")
    assert result.exit_code == 0
    for port in (number, 9):
        assert f"rtpengine 127.0.0.1:{port}: does not reply, and gets no calls until it does" in result.output
    assert "calls with media" not in result.output


def test_a_check_names_the_hosts_that_it_does_not_look_up(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9", "sip:pbx.invalid;transport=udp", "sip:b.invalid:5070"]))
    result = invoke("check", file)
    assert result.exit_code == 0
    assert "not looked up: b.invalid:5070, pbx.invalid over udp" in result.stdout.splitlines()


# --- an edge that runs -------------------------------------------------------------------------------------


async def run_command(*arguments: object) -> tuple[int, str, str]:
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
    """A user agent that has sent one request, which was refused for its method."""
    alice = Ua(await UdpWire.open(peer=public))
    await alice.dialog(f"sip:100@{public}").send("BREW")
    await alice.response(405)
    return alice


async def test_why_prints_the_decisions(tmp_path: Path) -> None:
    before = datetime.datetime.now(datetime.UTC)
    async with edge(tmp_path) as (process, public), await refused_once(public) as alice:
        by_address = await run_command("why", "127.0.0.1", "--policy", process.file)
        by_port = await run_command("why", alice.address, "--state-dir", tmp_path / "state")
        code, output, _ = await run_command("why", alice.address, "--state-dir", tmp_path / "state", "--json")
        (decision,) = json.loads(output)["decisions"]
        by_call = await run_command("why", decision["call_id"], "--policy", process.file)
        web = json.loads((await process.get(f"/why?q={alice.address}"))[1])
        unknown = await run_command("why", "192.0.2.99", "--policy", process.file)
        unknown_as_json = await run_command("why", "192.0.2.99", "--policy", process.file, "--json")
    assert by_address == by_port == by_call == (0, f"{decision['sentence']}\n", "")
    assert code == 0
    assert (decision["reason"], decision["source"], decision["listener"]) == ("method", alice.address, "public-udp")
    assert web["decisions"] == [decision]
    at = datetime.datetime.fromisoformat(decision["time"])
    assert before - datetime.timedelta(seconds=1) < at < datetime.datetime.now(datetime.UTC)  # wall-clock time
    code, output, errors = unknown
    assert (code, output) == (1, "")
    assert errors.startswith("nothing is known of '192.0.2.99', neither as a Call-ID nor as an address\n")
    assert "`edgesbc bans list`" in errors
    assert (unknown_as_json[0], json.loads(unknown_as_json[1])) == (1, {"decisions": [], "left_out": 0})


@pytest.mark.parametrize("command", [("why", "192.0.2.1"), ("reload",), ("drain",)])
def test_without_an_edge_the_socket_that_was_tried_is_named(command: tuple[str, ...], tmp_path: Path) -> None:
    result = invoke(*command, "--state-dir", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"no edge answers at {tmp_path / 'control.sock'}: No such file or directory" in result.stderr
    assert "--policy FILE or --state-dir DIR" in result.stderr


def test_policy_and_state_dir_exclude_each_other(tmp_path: Path) -> None:
    both = invoke("why", "x", "--policy", tmp_path / "p.toml", "--state-dir", tmp_path)
    assert (both.exit_code, "give one of them" in both.stderr) == (2, True)
    missing = invoke("why", "x", "--policy", tmp_path / "p.toml")
    assert (missing.exit_code, "give --state-dir instead" in missing.stderr) == (2, True)


def test_the_state_directory_is_read_from_a_policy_with_other_mistakes(tmp_path: Path) -> None:
    broken = tmp_path / "p.toml"
    broken.write_text('[edge]\nstate_dir = "state"\n[[route]]\nto = 7\n')
    result = invoke("destinations", "list", "--policy", broken)
    assert (result.exit_code, f"no edge answers at {tmp_path / 'state' / 'control.sock'}" in result.stderr) == (2, True)
    broken.write_text('[edge]\nstate_dri = "state"\n')  # must not lead to the edge in the default directory
    result = invoke("destinations", "list", "--policy", broken)
    assert result.stderr == (
        f"{broken}: edge.state_dri: unknown key; did you mean 'state_dir'?\n"
        "1 mistake; give --state-dir instead, or mend it\n"
    )


def test_without_an_option_the_default_state_directory_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgesbc.cli.running_edge.default_state_dir", lambda: tmp_path / "default")
    assert f"no edge answers at {tmp_path / 'default' / 'control.sock'}" in invoke("why", "x").stderr


async def test_reload_prints_its_outcome(tmp_path: Path) -> None:
    async with edge(tmp_path) as (process, _):
        log, sound = PolicyLog(tmp_path / "state"), process.file.read_text()
        process.file.write_text(sound.replace("grace = 7", "grace = 8"))
        assert await run_command("reload", "--policy", process.file) == (0, "reloaded\nneeds a restart: edge\n", "")
        assert log.entries(1)[0].outcome is Outcome.RELOADED
        process.file.write_text(sound.replace("grace = 7", "graze = 7"))
        code, output, errors = await run_command("reload", "--state-dir", tmp_path / "state")
        assert (code, output) == (1, "")
        assert "edge.graze" in errors
        assert errors.endswith("1 mistake; the old policy goes on\n")
        assert log.entries(1)[0].outcome is Outcome.REFUSED
        process.file.write_text(sound)
        assert await run_command("reload", "--policy", process.file) == (0, "reloaded\n", "")


async def test_drain_ends_the_edge(tmp_path: Path) -> None:
    async with edge(tmp_path) as (process, _):
        drained = await run_command("drain", "--policy", process.file)
        assert await process.ended() == 0
    assert drained == (0, "draining: 0 calls alive, 7 s of grace\n", "")
    assert "control.sock" not in os.listdir(tmp_path / "state")


async def test_after_a_kill_the_edge_starts_again(tmp_path: Path) -> None:
    async with edge(tmp_path) as (process, _):
        process.signal(signal.SIGKILL)
        await process.ended()
    code, _, errors = await run_command("why", "x", "--state-dir", tmp_path / "state")
    assert (code, "Connection refused" in errors) == (2, True)
    async with edge(tmp_path) as (process, _):
        assert (await run_command("why", "x", "--policy", process.file))[0] == 1


async def test_two_edges_do_not_share_a_state_directory(tmp_path: Path) -> None:
    """The second edge finds the socket of the first, or, if both start at the same time, its lock."""
    async with edge(tmp_path) as (process, _):
        other = tmp_path / "other.toml"
        other.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9"], [PUBLIC_UDP, CORE_UDP]))
        code, _, errors = await run_command("run", other)
        assert (code, "edge.state_dir: expected a folder of its own" in errors) == (2, True)
        os.rename(tmp_path / "state" / "control.sock", tmp_path / "aside")
        code, _, errors = await run_command("run", other)
        assert (code, "another edge that runs has this folder" in errors) == (2, True)
        assert "Traceback" not in errors
        os.rename(tmp_path / "aside", tmp_path / "state" / "control.sock")
        assert (await run_command("why", "x", "--policy", process.file))[0] == 1


async def test_a_policy_can_be_checked_beside_the_edge_that_runs_it(tmp_path: Path) -> None:
    """As before a reload. `run` is still refused."""
    async with edge(tmp_path) as (process, _):
        code, output, errors = await run_command("check", process.file)
        assert (code, errors) == (0, "")
        note = f"an edge runs from {tmp_path / 'state'}: ports in use are taken for its own\n"
        assert output.endswith(note)
        other = tmp_path / "other.toml"
        other.write_text(process.file.read_text().replace("[edge]", '[edge]\nserver = "x"', 1))
        code, output, errors = await run_command("check", other)
        assert (code, errors) == (0, "")
        assert output.endswith(f"{note}[edge]: server none -> x (needs a restart)\n")
        code, _, errors = await run_command("run", process.file)
        assert code == 2
        assert "listen[0].bind: expected an address and port that can be bound" in errors
    assert "an edge runs" not in (await run_command("check", process.file))[1]


async def test_only_the_user_can_open_the_control_socket(tmp_path: Path) -> None:
    async with edge(tmp_path):
        assert os.stat(tmp_path / "state").st_mode & 0o777 == 0o700
        assert os.stat(tmp_path / "state" / "control.sock").st_mode & 0o777 == 0o600
