"""The command line: mistakes with file and key, all at once, exit 2; certificates for development."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.running import CORE_UDP, PUBLIC_UDP, listen, policy_text

from edgesbc.cli import main


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
