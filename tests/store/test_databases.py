"""Tables read from real databases: SQLite, PostgreSQL and MariaDB, with the peers' columns and types."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.databases import PASSWORD, SQLITE, TABLES, Server

from edgesbc.base import limits
from edgesbc.inventory.databases import DatabaseSettings
from edgesbc.inventory.rows import TableErrors
from edgesbc.store.databases import DatabaseError, TableQuery, read_database, read_table

SOCKETS = {"udp:10.0.0.1:5060": "inside"}


class File:
    """A SQLite file with the same tables as the servers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.execute(*(statement.format(**SQLITE) for statement in TABLES))

    def execute(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "sqlite":
        yield File(tmp_path / "tables.sqlite")
        return
    server = request.getfixturevalue(request.param)
    yield server
    server.execute("delete from dispatcher", "delete from ods", "delete from load_balancer", "delete from destinations")


def settings(database: Any, folder: Path, **more: Any) -> DatabaseSettings:
    secret = folder / "secret"
    secret.write_text(f"{PASSWORD}\n")
    if isinstance(database, Server):
        more["password_file"] = secret
    return DatabaseSettings(name="main", url=database.url, **more)


def members(settings: DatabaseSettings, folder: Path, *groups: str) -> dict[str, list[dict[str, Any]]]:
    """The members of each group, with the values that differ from the defaults."""
    wanted = TableQuery(frozenset(groups), SOCKETS, lambda member: ())
    groups_read = read_database(settings, folder, wanted).groups.members
    names = ("weight", "priority", "max_calls", "max_cps", "socket", "resources", "strip", "prepend", "disabled")
    default = {"weight": 1, "priority": 0, "resources": {}, "strip": 0, "prepend": "", "disabled": False}
    differing = {}
    for group, members in groups_read.items():
        differing[group] = [
            {"uri": one.uri, "attributes": dict(one.attributes)}
            | {name: getattr(one, name) for name in names if getattr(one, name) != default.get(name)}
            for one in members
        ]
    return differing


def test_our_own_table(database: Any, tmp_path: Path) -> None:
    database.execute(
        "insert into destinations (set_name, uri, weight, priority, max_calls, max_cps, socket, resources, strip,"
        " prepend, disabled, attributes) values"
        " ('pbx', 'sip:10.0.0.11', 70, 1, 30, 2.5, 'inside', 'pstn=30;transcoder=10', 1, '+49', true, '{\"site\": 1}'),"
        " ('pbx', 'sip:10.0.0.12', 1, 0, null, null, null, '{\"pstn\": 4}', 0, null, false, 'site=north'),"
        " ('other', 'nothing that would be read', 1, 0, null, null, null, null, 0, null, false, null)"
    )
    assert members(settings(database, tmp_path), tmp_path, "pbx") == {
        "pbx": [
            {
                "uri": "sip:10.0.0.11", "weight": 70, "priority": 1, "max_calls": 30, "max_cps": 2.5,
                "socket": "inside", "resources": {"pstn": 30, "transcoder": 10}, "strip": 1, "prepend": "+49",
                "disabled": True, "attributes": {"site": "1"},
            },
            {"uri": "sip:10.0.0.12", "resources": {"pstn": 4}, "attributes": {"site": "north"}},
        ]
    }  # fmt: skip


def test_kamailio_s_dispatcher(database: Any, tmp_path: Path) -> None:
    database.execute(
        "insert into dispatcher (setid, destination, flags, priority, attrs, description) values"
        " (1, 'sip:10.0.0.11:5080;transport=tcp', 0, 10, 'weight=50;duid=a;maxload=20', 'first'),"
        " (1, 'sip:10.0.0.12', 4, 30, 'socket=udp:10.0.0.1:5060;rweight=7', ''),"
        " (2, 'sip:10.0.0.13', 9, 0, '', '')"
    )
    assert members(settings(database, tmp_path, schema="kamailio-dispatcher"), tmp_path, "1", "2") == {
        "1": [
            {
                "uri": "sip:10.0.0.11:5080;transport=tcp", "weight": 50, "priority": 1, "max_calls": 20,
                "attributes": {"description": "first", "duid": "a"},
            },
            {"uri": "sip:10.0.0.12", "weight": 7, "socket": "inside", "disabled": True, "attributes": {}},
        ],
        "2": [{"uri": "sip:10.0.0.13", "attributes": {}}],
    }  # fmt: skip


def test_opensips_s_dispatcher_and_its_blank_padded_columns(database: Any, tmp_path: Path) -> None:
    database.execute(
        "insert into ods (setid, destination, socket, state, weight, priority, attrs) values"
        " (3, 'sip:10.0.0.11', 'udp:10.0.0.1', 0, '50', 1, 'a thing of its own'),"
        " (3, 'sip:10.0.0.12', null, 1, '1', 2, null)"
    )
    rows = members(settings(database, tmp_path, schema="opensips-dispatcher", table="ods"), tmp_path, "3")
    assert rows == {
        "3": [
            {
                "uri": "sip:10.0.0.11", "weight": 50, "priority": 1, "socket": "inside",
                "attributes": {"attrs": "a thing of its own"},
            },
            {"uri": "sip:10.0.0.12", "disabled": True, "attributes": {}},
        ]
    }  # fmt: skip


def test_opensips_s_load_balancer(database: Any, tmp_path: Path) -> None:
    database.execute(
        "insert into load_balancer (group_id, dst_uri, resources, attrs, description) values"
        " (1, 'sip:10.0.0.11', 'pstn=30;transcoder/s=10', null, 'north')"
    )
    rows = members(settings(database, tmp_path, schema="opensips-load-balancer"), tmp_path, "1")
    attributes = {"description": "north"}
    assert rows == {
        "1": [{"uri": "sip:10.0.0.11", "resources": {"pstn": 30, "transcoder": 10}, "attributes": attributes}]
    }


def test_bad_rows_are_named_by_table_key_and_column(database: Any, tmp_path: Path) -> None:
    database.execute(
        "insert into dispatcher (id, setid, destination, flags, attrs) values"
        " (7, 1, 'tel:110', 0, ''), (9, 1, 'sip:10.0.0.11', 99, 'weight=heavy')"
    )
    with pytest.raises(TableErrors) as caught:
        members(settings(database, tmp_path, schema="kamailio-dispatcher"), tmp_path, "1")
    places = {(error.table, error.key, error.column) for error in caught.value.errors}
    assert places == {
        ("main dispatcher", "id=7", "destination"),
        ("main dispatcher", "id=9", "flags"),
        ("main dispatcher", "id=9", "attrs"),
    }


def test_fetched_rows_are_bounded(database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DATABASE_ROWS", 2)
    database.execute(*["insert into dispatcher (setid, destination) values (1, 'sip:10.0.0.1')"] * 4)
    assert len(read_table(settings(database, tmp_path, schema="kamailio-dispatcher"), tmp_path)) == 3
    with pytest.raises(TableErrors, match="at most 2 rows"):
        members(settings(database, tmp_path, schema="kamailio-dispatcher"), tmp_path, "1")


def test_a_missing_table(database: Any, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="nowhere"):
        read_table(settings(database, tmp_path, table="nowhere"), tmp_path)


def test_a_table_with_other_columns(database: Any, tmp_path: Path) -> None:
    database.execute("insert into dispatcher (setid, destination) values (1, 'sip:10.0.0.1')")
    with pytest.raises(TableErrors, match="expected the columns set_name, uri"):
        members(settings(database, tmp_path, table="dispatcher"), tmp_path, "1")


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_wrong_password_is_reported_and_not_shown(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    database_settings = settings(request.getfixturevalue(kind), tmp_path)
    (tmp_path / "secret").write_text("open sesame\n")
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1") as caught:
        read_table(database_settings, tmp_path)
    assert "sesame" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("", "found none"),
        (b"\xff", "UTF-8"),
        (b"x" * (limits.PASSWORD_BYTES + 1), r"secret: expected at most 16384 bytes, found 16385"),
    ],
)
def test_an_invalid_password_file(postgresql: Server, tmp_path: Path, text: Any, message: str) -> None:
    database_settings = settings(postgresql, tmp_path)
    secret = tmp_path / "secret"
    if text is None:
        secret.unlink()
    else:
        secret.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DatabaseError, match=message):
        read_table(database_settings, tmp_path)


def test_a_port_without_a_server(postgresql: Server, tmp_path: Path) -> None:
    url = postgresql.url.replace(str(postgresql.port), "1")
    with pytest.raises(DatabaseError, match="refused"):
        read_table(DatabaseSettings(name="main", url=url), tmp_path)


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"destinations\.sqlite: unable to open"):
        read_table(DatabaseSettings(name="main"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "destinations.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        read_table(DatabaseSettings(name="main"), tmp_path)


def test_without_an_url_it_is_a_file_in_the_state_directory(tmp_path: Path) -> None:
    folder = tmp_path / "what? a #folder"
    folder.mkdir()
    File(folder / "destinations.sqlite").execute(
        "insert into destinations (set_name, uri) values ('a', 'sip:10.0.0.1')"
    )
    (row,) = read_table(DatabaseSettings(name="main"), folder)
    assert row["uri"] == "sip:10.0.0.1"


def test_a_slow_query_ends_with_an_error(postgresql: Server, tmp_path: Path) -> None:
    postgresql.execute("create view slow as select 1 as id, cast(pg_sleep(60) as text) as uri")
    with pytest.raises(DatabaseError, match="statement timeout"):
        read_table(settings(postgresql, tmp_path, table="slow", timeout=1), tmp_path)


def test_a_silent_server_ends_with_an_error(mariadb: Server, tmp_path: Path) -> None:
    mariadb.freeze()
    try:
        with pytest.raises(DatabaseError, match="timed out"):
            read_table(settings(mariadb, tmp_path, timeout=1), tmp_path)
    finally:
        mariadb.thaw()


def test_a_server_that_speaks_another_protocol(postgresql: Server, tmp_path: Path) -> None:
    url = f"mysql://{postgresql.url.partition('://')[2]}"
    with pytest.raises(DatabaseError, match="mysql://edge@127"):
        read_table(DatabaseSettings(name="main", url=url, timeout=1), tmp_path)


def test_a_driver_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(DatabaseError, match="expected the driver pymysql, found none: pip install 'pymysql'"):
        read_table(DatabaseSettings(name="main", url="mysql://edge@127.0.0.1/sip"), tmp_path)
