"""A running edge with members from databases: away, back, refused and changed, at start and at reload."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from support.containment import unfailing
from support.databases import OURS, PASSWORD, SQLITE, PostgreSQL, Server, database_server
from support.running import at, policy_text, running, until
from support.ua import Ua, UdpWire
from support.why import all_sentences

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.inventory.databases import DatabaseSettings
from edgesbc.observe import logs
from edgesbc.store.databases import TableQuery
from edgesbc.store.destination_source import DatabaseFeed, FeedContext, FeedState
from edgesbc.store.policy_log import PolicyLog


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A database server that the test may kill."""
    with database_server(PostgreSQL) as server:
        yield server


def text_for(folder: Path, url: str = "", more: str = "", group: str = "", **others: Any) -> str:
    """A policy whose set ``pbx`` is that of a database; without ``url``, of the file in the state directory."""
    secret = folder / "secret"
    secret.write_text(f"{PASSWORD}\n")
    where = f'url = "{url}"\npassword_file = "{secret}"\n' if url else ""
    database = f'[[database]]\nname = "main"\nrefresh = 1\ntimeout = 1\n{where}{more}\n'
    text = policy_text(folder, [], trunks=["127.0.0.1"], more=database, edge="grace = 0", **others)
    members = f'database = "main", group = "{group}"' if group else 'database = "main"'
    return text.replace("members = []", members)


def execute(folder: Path, *statements: str) -> None:
    """Execute statements in the file of the state directory, which is created if it is missing."""
    (folder / "state").mkdir(exist_ok=True)
    with closing(sqlite3.connect(folder / "state" / "destinations.sqlite")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def with_rows(folder: Path, *uris: str) -> None:
    rows = [f"insert into destinations (set_name, uri) values ('pbx', '{uri}')" for uri in uris]  # noqa: S608
    execute(folder, OURS.format(**SQLITE), *rows)


def uris(app: App) -> list[str]:
    return [member.settings.uri for member in app.edge.dispatcher.members()]


async def lands_at(app: App, called: Ua) -> None:
    async with Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice:
        await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("INVITE")
        invite = await called.request("INVITE")
        await called.answer(invite, 486, tag="b")
        await alice.response(486)
        await called.request("ACK")


async def test_the_edge_runs_and_starts_without_its_database(tmp_path: Path, own_server: Server) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        Ua(await UdpWire.open("127.0.0.12"), "carol") as carol,
    ):
        own_server.execute(
            f"insert into dispatcher (setid, destination) values (7, 'sip:{bob.address}')"  # noqa: S608
        )
        text = text_for(tmp_path, own_server.url, 'schema = "kamailio-dispatcher"', "7")
        async with running(tmp_path, text) as app:
            assert uris(app) == [f"sip:{bob.address}"]
            await lands_at(app, bob)
            await trio.to_thread.run_sync(own_server.kill)
            await until(lambda: app.active.source.feeds["main"].state is FeedState.AWAY)
            await lands_at(app, bob)
            assert app.not_ready() == {}
        copy = tmp_path / "state" / "destinations.main.json"
        assert copy.stat().st_mode & 0o777 == 0o600
        assert PASSWORD not in copy.read_text()
        with capture_logs() as log:
            async with running(tmp_path, text) as app:
                assert uris(app) == [f"sip:{bob.address}"]
                assert app.not_ready() == {}
                await lands_at(app, bob)
                await trio.to_thread.run_sync(own_server.start)
                own_server.execute(f"update dispatcher set destination = 'sip:{carol.address}'")  # noqa: S608
                await until(lambda: uris(app) == [f"sip:{carol.address}"])
                await lands_at(app, carol)
        events = [entry["event"] for entry in log if entry.get("database") == "main"]
        assert events[0] == "a database is away, the last rows hold"
        assert "begins with the local copy of a database" in events
        assert events[-2:] == ["a database is back", "members of a database changed"]
        assert PASSWORD not in repr(log)


async def test_bad_rows_keep_the_last_members(tmp_path: Path) -> None:
    with_rows(tmp_path, "sip:127.0.0.11:9", "sip:127.0.0.12:9")
    with capture_logs() as log:
        async with running(tmp_path, text_for(tmp_path)) as app:
            execute(tmp_path, "update destinations set uri = 'tel:110', weight = 'heavy' where id = 2")
            await until(lambda: app.active.source.feeds["main"].state is FeedState.REFUSED)
            assert uris(app) == ["sip:127.0.0.11:9", "sip:127.0.0.12:9"]
            (problem,) = app.active.source.problems()
            assert "main destinations row id=2" in problem
            execute(tmp_path, "delete from destinations")
            await until(lambda: "expected rows, found none" in app.active.source.problems()[0])
            assert uris(app) == ["sip:127.0.0.11:9", "sip:127.0.0.12:9"]
            execute(tmp_path, "insert into destinations (set_name, uri) values ('pbx', 'sip:127.0.0.13:9')")
            await until(lambda: uris(app) == ["sip:127.0.0.13:9"])
    refused = [entry["error"] for entry in log if entry["event"] == "rows refused, the last good ones hold"]
    assert [error.partition(":")[0] for error in refused] == [
        "main destinations row id=2 weight", "main destinations row id=2 uri", "main destinations",
    ]  # fmt: skip


async def test_bad_rows_are_left_out_if_the_database_says_so(tmp_path: Path) -> None:
    with_rows(tmp_path, "sip:127.0.0.11:9", "sip:127.0.0.12:9")
    with capture_logs() as log:
        async with running(tmp_path, text_for(tmp_path, more='on_error = "skip"')) as app:
            execute(tmp_path, "update destinations set uri = 'tel:110' where id = 2")
            await until(lambda: uris(app) == ["sip:127.0.0.11:9"])
            assert app.active.source.feeds["main"].state is FeedState.GOOD
            execute(tmp_path, "update destinations set weight = 'heavy' where id = 1")
            await until(lambda: app.active.source.feeds["main"].state is FeedState.REFUSED)
            assert uris(app) == ["sip:127.0.0.11:9"], "with no row left, the last good ones hold"
    left_out = [entry["error"] for entry in log if entry["event"] == "a row is left out"]
    assert [error.partition(":")[0] for error in left_out] == ["main destinations row id=2 uri"]


async def test_logged_bad_rows_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DATABASE_ERRORS_LOGGED", 3)
    with_rows(tmp_path, *(f"tel:{number}" for number in range(5)))
    with capture_logs() as log:
        async with running(tmp_path, text_for(tmp_path)) as app:
            assert "and 4 more mistakes" in app.active.source.problems()[0]
    assert [entry["mistakes"] for entry in log if entry["event"] == "rows refused, the last good ones hold"] == [5] * 3


async def test_an_edge_without_members_runs_and_reports_the_reason(tmp_path: Path) -> None:
    async with running(tmp_path, text_for(tmp_path)) as app:
        why = app.not_ready()["destinations pbx"]
        assert why.startswith("no members from the database main: it is away: ")
        async with Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice:
            await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("INVITE")
            await alice.response(503)
        with_rows(tmp_path, "sip:127.0.0.11:9")
        await until(lambda: app.not_ready() == {})
        assert uris(app) == ["sip:127.0.0.11:9"]


async def test_a_reload_reads_at_once(tmp_path: Path) -> None:
    with_rows(tmp_path, "sip:127.0.0.11:9")
    async with running(tmp_path, text_for(tmp_path).replace("refresh = 1", "refresh = 3600")) as app:
        execute(tmp_path, "update destinations set uri = 'sip:127.0.0.12:9'")
        reloaded = await app.reload()
        assert (reloaded.mistakes, reloaded.databases) == ([], [])
        assert uris(app) == ["sip:127.0.0.12:9"]
        execute(tmp_path, "update destinations set uri = 'tel:110'")
        reloaded = await app.reload()
        assert reloaded.mistakes == []
        assert "row id=1 uri" in reloaded.databases[0]
        assert uris(app) == ["sip:127.0.0.12:9"]


async def test_a_reload_that_would_empty_a_set_is_refused(tmp_path: Path) -> None:
    with_rows(tmp_path, "sip:127.0.0.11:9")
    text = text_for(tmp_path)
    async with running(tmp_path, text) as app:
        (tmp_path / "policy.toml").write_text(
            text.replace('name = "main"', 'name = "main"\nurl = "sqlite:////nowhere"')
        )
        (mistake,) = (await app.reload()).mistakes
        assert "destinations[0].database: no members from the database main: it is away" in mistake
        assert uris(app) == ["sip:127.0.0.11:9"]
        execute(tmp_path, "update destinations set uri = 'sip:127.0.0.12:9'")  # and it is still read
        await until(lambda: uris(app) == ["sip:127.0.0.12:9"])


async def test_a_reload_may_use_another_set(tmp_path: Path) -> None:
    with_rows(tmp_path, "sip:127.0.0.11:9")
    execute(tmp_path, "insert into destinations (set_name, uri) values ('other', 'sip:127.0.0.12:9')")
    text = text_for(tmp_path)
    async with running(tmp_path, text) as app:
        (tmp_path / "policy.toml").write_text(text.replace('database = "main"', 'database = "main", group = "other"'))
        assert (await app.reload()).mistakes == []
        assert uris(app) == ["sip:127.0.0.12:9"]
        copy = tmp_path / "state" / "destinations.main.json"
        await until(lambda: "127.0.0.12" in copy.read_text())
        (tmp_path / "policy.toml").write_text(text.replace('database = "main"', 'database = "main", group = "none"'))
        (mistake,) = (await app.reload()).mistakes
        assert "found none; there are sets other, pbx" in mistake
        assert uris(app) == ["sip:127.0.0.12:9"]


async def test_members_of_the_public_side_are_trunks_as_those_of_a_policy_are(tmp_path: Path) -> None:
    with_rows(tmp_path, "sip:127.0.0.11:9")
    execute(tmp_path, "update destinations set socket = 'public-udp'")
    routes = 'route = [{ name = "out", from = "core", to = "pbx" }]'
    async with running(tmp_path, text_for(tmp_path, routes=routes)) as app:

        def trunks() -> set[str]:
            return {address for trunk in app.active._trunks for address in trunk.addresses}

        assert "127.0.0.11" in trunks()
        execute(tmp_path, "update destinations set uri = 'sip:127.0.0.12:9'")
        await until(lambda: uris(app) == ["sip:127.0.0.12:9"])
        assert "127.0.0.12" in trunks()


async def test_a_slow_database_delays_neither_start_nor_end(
    tmp_path: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DATABASE_START_SECONDS", 0.5)
    postgresql.execute(
        "create or replace view asleep as select 1 as id, 'pbx' as set_name, cast(pg_sleep(3600) as text) as uri"
    )
    text = text_for(tmp_path, postgresql.url, 'table = "asleep"').replace("timeout = 1", "timeout = 30")
    with trio.fail_after(15):
        async with running(tmp_path, text) as app:
            assert "no answer yet" in app.not_ready()["destinations pbx"]
            app.drain()
    postgresql.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%asleep%' and pid <> pg_backend_pid()"
    )


async def test_no_password_is_written_anywhere(tmp_path: Path) -> None:
    with_rows(tmp_path, "sip:127.0.0.11:9")
    text = text_for(tmp_path)
    with capture_logs() as log:
        async with running(tmp_path, text) as app:
            for wrong in ('url = "mysql://edge:sesame@127.0.0.1/sip"', 'url = 5\npassword = "sesame"'):
                (tmp_path / "policy.toml").write_text(text.replace('name = "main"', f'name = "main"\n{wrong}'))
                mistakes = (await app.reload()).mistakes
                assert mistakes
                assert "sesame" not in repr(mistakes)
    entries = PolicyLog(tmp_path / "state").entries()
    assert len(entries) == 3
    assert "sesame" not in repr(entries) + repr(log)


async def test_a_broken_local_copy_is_logged(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "destinations.main.json").write_text("[]")
    with capture_logs() as log:
        async with running(tmp_path, text_for(tmp_path)) as app:
            assert uris(app) == []
    (error,) = (entry["error"] for entry in log if entry["event"] == "the local copy of a database cannot be used")
    assert error == "expected version 1, found '[]'"


async def test_results_of_readings_are_in_the_ledger(tmp_path: Path) -> None:
    with_rows(tmp_path, "sip:127.0.0.11:9")
    async with running(tmp_path, text_for(tmp_path)) as app:
        feed = app.active.source.feeds["main"]
        execute(tmp_path, "alter table destinations rename to elsewhere")
        await until(lambda: feed.state is FeedState.AWAY)
        execute(tmp_path, "alter table elsewhere rename to destinations", "update destinations set uri = 'tel:110'")
        await until(lambda: feed.state is FeedState.REFUSED)
        execute(tmp_path, "update destinations set uri = 'sip:127.0.0.12:9'")
        await until(lambda: feed.state is FeedState.GOOD)
        sentences = "\n".join(all_sentences(app))
    for word in ("changed: members: pbx has 1", "away: ", "refused: 1 mistakes, the first: ", "back: it was refused"):
        assert f"database main: {word}" in sentences


async def test_a_copy_is_written_of_the_rows_in_force(tmp_path: Path, nursery: trio.Nursery) -> None:
    with_rows(tmp_path, "sip:127.0.0.11:9")
    execute(tmp_path, "insert into destinations (set_name, uri) values ('other', 'sip:127.0.0.12:9')")
    context = FeedContext(tmp_path / "state", logs.logger("test"), lambda decision: None, unfailing())
    feed = DatabaseFeed(DatabaseSettings(name="main"), TableQuery(frozenset(["pbx"]), {}, lambda member: ()), context)
    copy = tmp_path / "state" / "destinations.main.json"
    assert await feed.read()
    assert not copy.exists()  # the policy of the query may still be refused
    nursery.start_soon(feed.run)
    await until(copy.exists)
    assert "127.0.0.11" in copy.read_text()
    assert "127.0.0.12" not in copy.read_text()  # it belongs to a set that no policy uses


def test_pauses_grow_up_to_a_bound_and_differ(tmp_path: Path) -> None:
    context = FeedContext(tmp_path, None, lambda decision: None, unfailing())
    feed = DatabaseFeed(DatabaseSettings(name="main"), TableQuery(frozenset(), {}, lambda member: ()), context)
    pauses = []
    for failures in (1, 3, 5, 1000):
        feed._failures = failures
        pauses.append([feed.pause() for _ in range(50)])
    for longest, drawn in zip((2, 8, 32, limits.DATABASE_RETRY_SECONDS), pauses, strict=True):
        assert longest / 2 <= min(drawn) <= max(drawn) <= longest
        assert len(set(drawn)) > 1
