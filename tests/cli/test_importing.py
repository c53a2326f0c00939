"""`edgesbc import`: destination sets on stdout, notes on stderr, and no partial output."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgesbc.base import limits
from edgesbc.cli import main
from edgesbc.policy.load import parse_policy

LISTENERS = """
[[listen]]
zone = "public"
transport = "udp"
bind = "192.0.2.1:5060"
[[listen]]
zone = "core"
transport = "udp"
bind = "10.0.0.1:5060"
"""


def run_import(file: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["import", str(file), *more])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "dispatcher.list"
    path.write_text("1 sip:10.0.0.11 0 10\n1 sip:10.0.0.12 2 0 duid=a;ping_from=sip:x\n")
    return path


def test_a_list_is_imported_as_part_of_a_policy(file: Path) -> None:
    result = run_import(file, "--set", "01=pbx", "--algorithm", "8")
    assert result.exit_code == 0
    (settings,) = parse_policy(LISTENERS + result.stdout, "policy.toml").destinations
    assert (settings.set, settings.algorithm) == ("pbx", "priority")
    assert [member.priority for member in settings.members] == [0, 1]
    assert result.stderr.splitlines() == [
        f"{file}:2: flags: 2 is a state; the health checks of the set find out what holds now",
        f"{file}:2: attrs: ping_from (From of the probes to one member) has no counterpart",
    ]


def test_bad_lines_are_named_and_nothing_is_printed(file: Path) -> None:
    file.write_text(file.read_text() + "x\n1 tel:110\n")
    result = run_import(file)
    assert result.exit_code == 2
    assert result.stdout == ""
    first, second, last = result.stderr.splitlines()
    assert first.startswith(f"{file}:3: expected SETID DESTINATION")
    assert second.startswith(f"{file}:4: destination: expected a sip: or sips: URI, found 'tel:110'")
    assert last == "2 mistakes; nothing was imported"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--set", "a=b"), "NUMBER=NAME"),
        (("--set", "1=a", "--set", "1=b"), "once"),
        (("--set", "1=a", "--set", "2=a"), "once"),
        (("--set", "7=a"), "none of that number"),
        (("--algorithm", "7"), "hash_on"),
        (("--algorithm", "99"), "0<=x<=13"),
    ],
)
def test_invalid_options(file: Path, more: tuple[str, ...], says: str) -> None:
    result = run_import(file, *more)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert says in result.stderr


def test_files_that_cannot_be_read(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot be read: No such file" in run_import(tmp_path / "none").stderr
    file.write_bytes(b"1 sip:10.0.0.1\n\n# caf\xe9\n")
    assert f"{file}:3: expected text in UTF-8, found the byte 0xe9" in run_import(file).stderr
    monkeypatch.setattr(limits, "LIST_BYTES", 10)
    result = run_import(file)
    assert "expected at most 10 bytes" in result.stderr
    assert result.exit_code == 2
