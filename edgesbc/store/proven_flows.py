"""What UDP sources have proven, over a restart: an SQLite file in the state directory, with times of the wall clock.

A phone that registers over UDP does not notice that the edge was started again, and calls before it registers anew.
Connections end with the process: their devices register again by the next one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import attrs
import trio

from edgesbc.base import limits
from edgesbc.base.address import Flow, FlowKey, Listener, Source, Transport, Zone
from edgesbc.base.log import Log
from edgesbc.screen.standing import Standing, Standings
from edgesbc.store.state_files import put_aside
from edgesbc.tasks.containment import Containment

__all__ = ["FILE", "ProvenFlows"]

FILE = "flows.sqlite"
_VERSION = 1
_SCHEMA = """
CREATE TABLE registered (
    listener TEXT NOT NULL, host TEXT NOT NULL, port INTEGER NOT NULL, account INTEGER NOT NULL, until REAL NOT NULL,
    shown INTEGER NOT NULL, PRIMARY KEY (listener, host, port, account)
) WITHOUT ROWID;
CREATE TABLE reachable (
    listener TEXT NOT NULL, host TEXT NOT NULL, port INTEGER NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (listener, host, port)
) WITHOUT ROWID;
CREATE TABLE registrars (set_name TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_REMOVE = ("registered", "reachable")
_Row = tuple[str, str, int]


@attrs.frozen
class _Changes:
    """What one transaction writes: rows of ``flows`` are replaced, or all rows if that is None."""

    flows: Sequence[_Row] | None
    registered: Sequence[tuple[str, str, int, int, float, bool]]
    reachable: Sequence[tuple[str, str, int, float]]
    registrars: Sequence[tuple[str]]
    wall: float


class ProvenFlows:
    """Stores the registered and reachable UDP flows of the edge, and which registrars ask for passwords.

    ``standings`` and ``registrars`` return those in force, ``assume`` takes the sets of the last run that asked for
    passwords. What cannot be written is written later; an error is logged once. ``containment`` counts faults.
    """

    def __init__(
        self,
        folder: Path,
        listeners: Iterable[Listener],
        standings: Callable[[], Standings],
        registrars: Callable[[], Collection[str]],
        assume: Callable[[Iterable[str]], None],
        log: Log,
        containment: Containment,
    ) -> None:
        self._path = folder / FILE
        udp = [listener for listener in listeners if listener.transport is Transport.UDP]
        self._names = {listener.id: listener.name for listener in udp}
        self._listeners = {listener.name: listener for listener in udp if listener.zone is Zone.PUBLIC}
        self._standings = standings
        self._registrars = registrars
        self._assume = assume
        self._log = log
        self._containment = containment
        self._database: sqlite3.Connection | None = None
        self._stored: frozenset[str] = frozenset()  # registrars in the file
        self._failed = False
        self._writing = trio.Lock()

    # --- the last run ------------------------------------------------------------------------------------

    def restore(self, now: float, wall: float) -> None:
        """Put the proofs of the last run in force. A file that cannot be used is logged and put aside.

        ``now`` and ``wall`` are the same moment in seconds, on the monotonic clock and on the wall clock.
        """
        if not self._path.exists():
            return
        try:
            number = self._read(now, wall)
        except (sqlite3.Error, ValueError) as error:
            self.close()
            self._log.error("the registered flows of the last run are broken", error=str(error), kept_as=self._moved())
        except OSError as error:
            self._log.error("the registered flows of the last run cannot be read", error=str(error))
        else:
            if number:
                self._log.info("registered flows of the last run are in force again", number=number)

    def _read(self, now: float, wall: float) -> int:
        database = self._open()
        standings = self._standings()
        names = [name for (name,) in database.execute("SELECT set_name FROM registrars")]
        self._assume(names)
        rows = "SELECT listener, host, port, until FROM reachable WHERE until > ? ORDER BY until LIMIT ?"
        for name, host, port, until in database.execute(rows, (wall, limits.REACHABLE_FLOWS)):
            flow = self._flow(name, host, port)
            if flow is not None:
                standings.prove(flow, Standing.REACHABLE, now, min(float(until) - wall, limits.REACHABLE_SECONDS))
        rows = "SELECT * FROM registered WHERE until > ? ORDER BY shown, until LIMIT ?"
        number = 0
        for name, host, port, account, until, shown in database.execute(rows, (wall, limits.REGISTERED_FLOWS)):
            flow = self._flow(name, host, port)
            if flow is not None:
                seconds = min(float(until) - wall, limits.RESTORED_FLOW_SECONDS)
                number += standings.prove(flow, Standing.REGISTERED, now, seconds, int(account), shown=bool(shown))
        standings.changed.take_all()
        self._stored = frozenset(names)
        return number

    def _flow(self, name: str, host: str, port: int) -> Flow | None:
        """The flow of a row; None where the policy has no such listener any more."""
        listener, number = self._listeners.get(name), int(port)
        if not 0 <= number <= 65535:
            raise ValueError(f"expected a port, found {number}")
        return None if listener is None else Flow(listener, Source(str(host), number))

    def _open(self) -> sqlite3.Connection:
        """The database; raises ``sqlite3.Error`` where it is none, ``ValueError`` for that of another version, and
        ``OSError``."""
        if self._database is None:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            database = sqlite3.connect(self._path, timeout=1.0, isolation_level=None, check_same_thread=False)
            try:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = NORMAL")
                (version,) = database.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
                elif version != _VERSION:
                    raise ValueError(f"expected version {_VERSION}, found {version}")
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database

    def _moved(self) -> str:
        try:
            for suffix in ("-wal", "-shm"):
                self._path.with_name(f"{FILE}{suffix}").unlink(missing_ok=True)
            return str(put_aside(self._path))
        except OSError as error:
            return f"nothing: {error}"

    # --- this run ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Store what has changed every ``limits.STATE_KEPT_SECONDS``, until cancelled."""
        while True:
            await trio.sleep(limits.STATE_KEPT_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Store what has changed. Raises nothing."""
        with self._containment.contain("registered flows"):
            async with self._writing:  # at the end of the edge, run() may still be writing
                while self._has_changed():
                    if not await self._write_some():
                        return

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _has_changed(self) -> bool:
        changed = self._standings().changed
        return bool(changed) or changed.all_changed or frozenset(self._registrars()) != self._stored

    async def _write_some(self) -> bool:
        """Store one step of changes; False if it failed: they are kept for the next time."""
        changed, registrars = self._standings().changed, frozenset(self._registrars())
        keys = None if changed.all_changed else changed.take(limits.FLOWS_STORED_AT_ONCE)
        if keys is None:
            changed.take_all()
        try:
            await trio.to_thread.run_sync(self._store, self._changes(keys, registrars))
        except (sqlite3.Error, ValueError, OSError) as error:
            for key in keys or ():
                changed.note(key)
            changed.all_changed = changed.all_changed or keys is None
            if not self._failed:
                self._log.error("registered flows cannot be written", error=str(error))
            self._failed = True
            return False
        self._stored = registrars
        if self._failed:
            self._log.info("registered flows are written again")
        self._failed = False
        return True

    def _changes(self, keys: list[FlowKey] | None, registrars: Iterable[str]) -> _Changes:
        standings = self._standings()
        wall = time.time()
        offset = wall - trio.current_time()
        registered, reachable, flows = [], [], []
        for key in standings.proven_flows() if keys is None else keys:
            name = self._names.get(key[0])
            if name is None:
                continue
            flows.append((name, key[1], key[2]))
            until, accounts = standings.proofs(key)
            if until is not None:
                reachable.append((name, key[1], key[2], until + offset))
            registered += [(name, key[1], key[2], account, end + offset, shown) for account, end, shown in accounts]
        names = [(name,) for name in registrars]
        return _Changes(None if keys is None else flows, registered, reachable, names, wall)

    def _store(self, changes: _Changes) -> None:
        """Write in one transaction, in a thread."""
        database = self._open()
        database.execute("BEGIN IMMEDIATE")
        try:
            with closing(database.cursor()) as cursor:
                for table in _REMOVE:
                    if changes.flows is None:
                        cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - a name from this module
                    else:
                        where = "listener = ? AND host = ? AND port = ?"
                        cursor.executemany(f"DELETE FROM {table} WHERE {where}", changes.flows)  # noqa: S608
                    cursor.execute(f"DELETE FROM {table} WHERE until < ?", (changes.wall,))  # noqa: S608
                cursor.executemany("INSERT OR REPLACE INTO registered VALUES (?, ?, ?, ?, ?, ?)", changes.registered)
                cursor.executemany("INSERT OR REPLACE INTO reachable VALUES (?, ?, ?, ?)", changes.reachable)
                cursor.execute("DELETE FROM registrars")
                cursor.executemany("INSERT INTO registrars VALUES (?)", changes.registrars)
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
