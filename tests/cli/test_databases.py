"""`edgesbc check` of a policy with databases: every bad row is a mistake, and no password is shown."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.databases import KAMAILIO, SQLITE
from support.running import policy_text

from edgesbc.cli import main


def checked(folder: Path, *rows: str, database: str = "") -> Result:
    """The result of `check` for a policy whose destinations are in a Kamailio table with these rows."""
    path = folder / "sip.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(KAMAILIO.format(**SQLITE))
        for row in rows:
            connection.execute(f"insert into dispatcher (setid, destination, flags, attrs) values {row}")  # noqa: S608
        connection.commit()
    more = f'[[database]]\nname = "main"\nschema = "kamailio-dispatcher"\nurl = "sqlite:///{path}"\n{database}'
    text = policy_text(folder, [], more=more).replace("members = []", 'database = "main", group = "1"')
    file = folder / "policy.toml"
    file.write_text(text)
    return CliRunner().invoke(main, ["check", str(file)])


def test_good_rows_and_notes_about_values_without_a_counterpart(tmp_path: Path) -> None:
    result = checked(tmp_path, "(1, 'sip:127.0.0.11', 0, 'cc=1;weight=5')")
    assert result.exit_code == 0, result.output
    file = tmp_path / "policy.toml"
    assert "1 destination set with 1 member," in result.stdout
    assert result.stderr == f"{file}: main dispatcher row id=1 attrs: cc (congestion control) has no counterpart\n"


def test_every_bad_row_is_a_mistake(tmp_path: Path) -> None:
    rows = (
        "(1, 'tel:110', 0, '')", "(1, 'sip:127.0.0.11', 0, 'sockname=nowhere')", "(2, 'tel:110', 0, '')",
        "(1, 'sip:[::1]:5080', 0, '')",
    )  # fmt: skip
    result = checked(tmp_path, *rows)
    assert result.exit_code == 2
    assert result.stdout == ""
    mistakes = [line.removeprefix(f"{tmp_path}/policy.toml: ") for line in result.stderr.splitlines()]
    assert mistakes == [
        "database[0]: main dispatcher row id=1 destination: expected a sip: or sips: URI, found 'tel:110' (bad-value)",
        "database[0]: main dispatcher row id=2 attrs: expected the name of a listener, found 'nowhere' (unreachable)",
        "database[0]: main dispatcher row id=4 destination: needs a [[listen]] of zone core with udp over IPv6 to send"
        " from, found none (unreachable)",
        "3 mistakes; nothing was started",
    ]


def test_a_database_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    result = checked(tmp_path, database='table = "nowhere"')
    assert result.exit_code == 2
    assert "database[0]: sqlite:////" in result.stderr
    assert "no such table: nowhere" in result.stderr


@pytest.mark.parametrize(("mode", "says"), [(0o644, "mode 644"), (None, "No such file"), (0o600, "")])
def test_the_password_file(tmp_path: Path, mode: int | None, says: str) -> None:
    secret = tmp_path / "secret"
    if mode is not None:
        secret.write_text("sesame\n")
        secret.chmod(mode)
    result = checked(tmp_path, "(1, 'sip:127.0.0.11', 0, '')", database='password_file = "secret"')
    assert result.exit_code == (2 if says else 0), result.output
    assert says in result.stderr
    assert not says or "database[0].password_file" in result.stderr
    assert "sesame" not in result.output
