"""Proven flows on disk: restored by the wall clock, written in steps, and without use of a file that is broken."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
import trio

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.observe import logs
from edgesbc.screen.standing import Standing, Standings
from edgesbc.store.proven_flows import FILE, ProvenFlows
from edgesbc.tasks.containment import Containment

UDP = Listener(0, "phones", Zone.PUBLIC, Transport.UDP, "127.0.0.1", 5060)
TLS = Listener(1, "browsers", Zone.PUBLIC, Transport.TLS, "127.0.0.1", 5061)
LISTENERS = (UDP, TLS)
ACCOUNTS = (-(2**63), 2**63 - 1)
"""The smallest and the largest number that an account may have."""


class Run:
    """One run of an edge: its standings, and the file that stores them."""

    def __init__(self, folder: Path, listeners: Iterable[Listener] = LISTENERS, now: float = 0.0, later: float = 0.0):
        self.standings = Standings()
        self.registrars: set[str] = set()
        self.faults: list[tuple[str, Exception]] = []
        containment = Containment(lambda kind, error: self.faults.append((kind, error)))
        self.store = ProvenFlows(
            folder,
            listeners,
            lambda: self.standings,
            lambda: self.registrars,
            self.registrars.update,
            logs.lifecycle("edge"),
            containment,
        )
        self.now = now
        self.store.restore(now, _wall() + later)

    def of(self, flow: Flow, after: float = 0.0) -> Standing:
        return self.standings.of(flow, self.now + after)


def _wall() -> float:
    import time

    return time.time()


def phone(number: int = 1, listener: Listener = UDP) -> Flow:
    return Flow(listener, Source("192.0.2.1", 5000 + number))


async def registered(folder: Path, seconds: float = 600.0) -> Run:
    run = Run(folder)
    now = trio.current_time()
    for account, shown in zip(ACCOUNTS, (False, True), strict=True):
        run.standings.prove(phone(1), Standing.REGISTERED, now, seconds, account, shown=shown)
    run.standings.prove(phone(2), Standing.REACHABLE, now)
    run.standings.prove(Flow(TLS, Source("192.0.2.1", 4000), 1), Standing.REGISTERED, now, seconds, 7)
    run.registrars.add("pbx")
    await run.store.write()
    run.store.close()
    assert run.faults == []
    return run


async def test_what_was_proven_holds_in_the_next_run(tmp_path: Path) -> None:
    await registered(tmp_path)
    run = Run(tmp_path, now=7_000.0, later=100.0)
    assert (run.of(phone(1)), run.of(phone(2)), run.of(phone(3))) == (
        Standing.REGISTERED,
        Standing.REACHABLE,
        Standing.UNPROVEN,
    )
    assert [(account, shown) for account, _, shown in run.standings.proofs(phone(1).key)[1]] == [
        (ACCOUNTS[0], False),
        (ACCOUNTS[1], True),
    ]
    assert run.registrars == {"pbx"}
    assert (run.of(phone(1), 490.0), run.of(phone(1), 501.0)) == (Standing.REGISTERED, Standing.UNPROVEN)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert len(run.standings.changed) == 0


async def test_what_has_expired_or_ended_is_gone(tmp_path: Path) -> None:
    await registered(tmp_path)
    assert Run(tmp_path, later=601.0).of(phone(1)) is Standing.UNPROVEN
    run = Run(tmp_path, now=trio.current_time())
    for account in ACCOUNTS:
        run.standings.deregister(phone(1), account, run.now)
    run.standings.withdraw(phone(2))
    await run.store.write()
    run.store.close()
    again = Run(tmp_path)
    assert (again.of(phone(1)), again.of(phone(2))) == (Standing.UNPROVEN, Standing.UNPROVEN)
    assert again.registrars == {"pbx"}


async def test_a_listener_that_is_gone_or_of_another_kind_gets_nothing(tmp_path: Path) -> None:
    await registered(tmp_path)
    others = (
        Listener(0, "other", Zone.PUBLIC, Transport.UDP, "127.0.0.1", 5060),
        Listener(1, "phones", Zone.CORE, Transport.UDP, "127.0.0.1", 5070),
    )
    run = Run(tmp_path, others)
    assert run.standings.proven_flows() == []
    moved = Listener(5, "phones", Zone.PUBLIC, Transport.UDP, "127.0.0.1", 5060)
    assert Run(tmp_path, (moved,)).of(phone(1, moved)) is Standing.REGISTERED


async def test_a_clock_that_was_set_back_makes_no_registration_endless(tmp_path: Path) -> None:
    await registered(tmp_path)
    run = Run(tmp_path, later=-1_000_000_000.0)
    assert run.of(phone(1), limits.RESTORED_FLOW_SECONDS - 1) is Standing.REGISTERED
    assert run.of(phone(1), limits.RESTORED_FLOW_SECONDS + 1) is Standing.UNPROVEN
    assert run.of(phone(2), limits.REACHABLE_SECONDS + 1) is Standing.UNPROVEN


async def test_more_flows_than_one_step_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path)
    for number in range(limits.FLOWS_STORED_AT_ONCE + 1):
        run.standings.prove(phone(number), Standing.REGISTERED, trio.current_time(), 600.0, number)
    await run.store.write()
    run.store.close()
    assert len(Run(tmp_path).standings.proven_flows()) == limits.FLOWS_STORED_AT_ONCE + 1


async def test_when_all_have_changed_all_are_written(tmp_path: Path) -> None:
    run = await registered(tmp_path)
    run.standings.withdraw(phone(2))
    run.standings.prove(phone(4), Standing.REACHABLE, trio.current_time())
    run.standings.changed.take_all()
    run.standings.changed.all_changed = True
    await run.store.write()
    run.store.close()
    again = Run(tmp_path)
    assert sorted(again.standings.proven_flows()) == [phone(1).key, phone(4).key]


@pytest.mark.parametrize("data", [b"no database" * 1000, b"SQLite format 3\0" + bytes(4000)])
def test_a_broken_file_is_put_aside(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    run = Run(tmp_path)
    assert run.standings.proven_flows() == []
    assert (tmp_path / f"{FILE}.broken").read_bytes() == data
    assert not (tmp_path / FILE).exists()


async def test_a_file_of_another_version_is_put_aside(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("PRAGMA user_version = 99")
    run = Run(tmp_path)
    assert (tmp_path / f"{FILE}.broken").exists()
    run.standings.prove(phone(1), Standing.REGISTERED, trio.current_time(), 600.0, 1)
    await run.store.write()
    run.store.close()
    assert Run(tmp_path).of(phone(1)) is Standing.REGISTERED


@pytest.mark.parametrize(
    "row",
    [("phones", "192.0.2.1", "port", 1), ("phones", "192.0.2.1", 65536, 1), ("phones", "192.0.2.1", 5001, "account")],
)
async def test_a_row_that_is_no_flow_breaks_the_file_and_not_the_edge(tmp_path: Path, row: tuple[object, ...]) -> None:
    await registered(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("INSERT INTO registered VALUES (?, ?, ?, ?, 9e9, 1)", row)
    Run(tmp_path)
    assert (tmp_path / f"{FILE}.broken").exists()


async def test_what_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.standings.prove(phone(1), Standing.REGISTERED, trio.current_time(), 600.0, 1)
    (tmp_path / FILE).mkdir()
    await run.store.write()
    assert len(run.standings.changed) == 1
    assert run.faults == []
    (tmp_path / FILE).rmdir()
    await run.store.write()
    run.store.close()
    assert Run(tmp_path).of(phone(1)) is Standing.REGISTERED


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    run = Run(tmp_path)
    run.standings.prove(phone(1), Standing.REGISTERED, trio.current_time(), 600.0, 1)
    await run.store.write()
    assert (tmp_path / "elsewhere").read_bytes() == b""
