"""Members of destination sets from databases, read at intervals; a failed reading keeps the last valid rows."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import attrs
import trio

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.log import Log
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.settings import MemberSettings, SetSettings
from edgesbc.inventory.databases import DatabaseSettings
from edgesbc.inventory.rows import Row, TableErrors
from edgesbc.inventory.schemas import SCHEMAS, Sockets
from edgesbc.inventory.tables import Fit
from edgesbc.store.databases import (
    DatabaseError,
    TableQuery,
    TableReading,
    database_location,
    evaluate,
    read_database,
)
from edgesbc.store.local_copies import read_copy, write_copy
from edgesbc.tasks.containment import Containment

__all__ = ["DatabaseFeed", "DestinationSource", "FeedContext", "FeedState", "group_of", "query_for"]

_DETAIL = 200
"""Characters of an error in the ledger; the log has the whole error."""


class FeedState(enum.StrEnum):
    """Result of the last reading."""

    UNREAD = "unread"
    GOOD = "good"
    AWAY = "away"
    REFUSED = "refused"


@attrs.frozen
class FeedContext:
    """What a feed uses of the edge. ``on_change`` is called when members of a database have changed."""

    state_dir: Path
    log: Log
    record: Callable[[Decision], None]
    containment: Containment
    on_change: Callable[[], None] = lambda: None


class DatabaseFeed:
    """One database: the state of its last reading, and the members of its last valid rows."""

    def __init__(self, settings: DatabaseSettings, query: TableQuery, context: FeedContext) -> None:
        self.settings = settings
        self.state = FeedState.UNREAD
        self.why = "it has not been read yet"
        self.members: Mapping[str, tuple[MemberSettings, ...]] = {}
        self._rows: tuple[Row, ...] = ()
        self._copy_is_old = False
        self._copy_failed = False  # whether the last try to write it failed
        self._is_announced = True  # whether the edge uses the members as they are now
        self._query = query
        self._context = context
        self._failures = 0
        # A limiter for each database, so that a server that never answers delays no other database.
        self._limiter = trio.CapacityLimiter(1)

    def inherit(self, other: DatabaseFeed) -> None:
        """Take over the rows and members of ``other``, if it read the same table; the sets may differ."""
        new, old, state_dir = self.settings, other.settings, self._context.state_dir
        if (database_location(new, state_dir), new.schema, new.table_name) == (
            database_location(old, state_dir), old.schema, old.table_name,
        ):  # fmt: skip
            self.state, self.why, self._rows = other.state, other.why, other._rows
            if (new.on_error, self._query.algorithms) == (old.on_error, other._query.algorithms):
                self.members = {name: members for name, members in other.members.items() if name in self._query.groups}
            self._copy_is_old = bool(self._rows) and self._query.groups != other._query.groups

    async def run(self) -> None:
        """Write the local copy, and read the database at intervals, until cancelled."""
        while True:
            await self._write_copy()
            await trio.sleep(self.pause())
            if await self.read():
                self._is_announced = False
            if not self._is_announced:  # or a fault left it so
                self._context.on_change()
                self._is_announced = True

    def pause(self) -> float:
        """Seconds until the next reading; after failures it doubles, with jitter so that edges do not read at once."""
        if self.state in (FeedState.GOOD, FeedState.REFUSED):
            return self.settings.refresh
        longest = min(limits.DATABASE_RETRY_SECONDS, 2.0 ** min(self._failures, 16))
        return longest * random.uniform(0.5, 1.0)

    async def read(self) -> bool:
        """Read the database now; returns whether its members have changed. A failure is logged and changes none."""
        settings, state_dir = self.settings, self._context.state_dir
        seconds = 3 * settings.timeout
        reading: TableReading | None = None
        with trio.move_on_after(seconds) as scope:
            try:
                reading = await trio.to_thread.run_sync(
                    read_database, settings, state_dir, self._query, limiter=self._limiter, abandon_on_cancel=True
                )
            except DatabaseError as error:
                self._on_failure(str(error))
            except TableErrors as errors:
                self._on_refusal(errors)
        if scope.cancelled_caught:
            self._on_failure(f"{database_location(settings, state_dir)}: no answer in {seconds:g} s")
        return reading is not None and self._on_rows(reading)

    async def fall_back(self) -> None:
        """After a first reading that failed: use the last valid rows, from memory or from the local copy."""
        if self.state is FeedState.UNREAD:
            self._on_failure(f"{database_location(self.settings, self._context.state_dir)}: no answer yet")
        if self.state is FeedState.GOOD or self._query.groups <= self.members.keys():
            return
        name = self.settings.name
        try:
            last = await trio.to_thread.run_sync(self._last_rows)
        except (OSError, ValueError) as error:  # TableErrors among them
            self._context.log.error("the local copy of a database cannot be used", database=name, error=str(error))
            return
        if last is not None:
            reading, since = last
            self.members, self._rows = reading.groups.members, reading.rows
            self._record("start", f"begins with the rows that were read {since}")
            self._context.log.info("begins with the local copy of a database", database=name, read=since)

    def _last_rows(self) -> tuple[TableReading, str] | None:
        if self._rows:
            return evaluate(self._rows, self.settings, self._query), "before"
        copy = read_copy(self._context.state_dir, self.settings)
        return None if copy is None else (evaluate(copy.rows, self.settings, self._query), copy.read)

    # --- results of a reading ------------------------------------------------------------------------------

    def _on_rows(self, reading: TableReading) -> bool:
        name, previous = self.settings.name, self.state
        self.state, self.why, self._failures = FeedState.GOOD, "", 0
        if previous in (FeedState.AWAY, FeedState.REFUSED):
            self._record("back", f"it was {previous}")
            self._context.log.info("a database is back", database=name, was=str(previous))
        if reading.rows != self._rows:
            self._rows = reading.rows
            for error in reading.groups.skipped[: limits.DATABASE_ERRORS_LOGGED]:
                self._context.log.error(
                    "a row is left out",
                    database=name, error=str(error), mistakes=len(reading.groups.skipped),
                )  # fmt: skip
            if reading.groups.skipped:
                first, number = str(reading.groups.skipped[0]), len(reading.groups.skipped)
                self._record("left out", f"{number} mistakes, the first: {first}")
            for note in reading.groups.notes[: limits.DATABASE_ERRORS_LOGGED]:
                self._context.log.info("a row has what has no counterpart", database=name, note=str(note))
            self._copy_is_old = True
        changed = dict(reading.groups.members) != dict(self.members)
        if changed:
            self.members = reading.groups.members
            counts = ", ".join(f"{group} has {len(members)}" for group, members in self.members.items())
            self._record("changed", f"members: {counts}")
            self._context.log.info("members of a database changed", database=name, members=counts)
        return changed

    async def _write_copy(self) -> None:
        """Write the local copy if the rows have changed; where that fails, it is tried again at the next reading.

        A reading does not write it, because a policy that is then refused must not replace the copy.
        """
        if not self._copy_is_old:
            return
        rows = self._rows
        try:
            await trio.to_thread.run_sync(write_copy, self._context.state_dir, self.settings, self._used_rows())
        except OSError as error:
            if not self._copy_failed:
                self._context.log.error(
                    "a database's copy cannot be written", database=self.settings.name, error=str(error)
                )
            self._copy_failed = True
        else:
            self._copy_failed = False
            self._copy_is_old = self._rows is not rows

    def _used_rows(self) -> tuple[Row, ...]:
        """The rows of the sets in the policy; the local copy does not hold the others."""
        group = SCHEMAS[self.settings.schema].group
        return tuple(row for row in self._rows if str(row.get(group)).strip() in self._query.groups)

    def _on_failure(self, why: str) -> None:
        self._failures += 1
        if self.state is not FeedState.AWAY:
            self._record("away", why)
            self._context.log.error("a database is away, the last rows hold", database=self.settings.name, error=why)
        self.state, self.why = FeedState.AWAY, f"it is away: {why}"

    def _on_refusal(self, errors: TableErrors) -> None:
        self._failures = 0
        first, number = str(errors.errors[0]), len(errors.errors)
        why = f"its rows are refused: {first}" + (f", and {number - 1} more mistakes" if number > 1 else "")
        if (self.state, self.why) != (FeedState.REFUSED, why):
            self._record("refused", f"{number} mistakes, the first: {first}")
            for error in errors.errors[: limits.DATABASE_ERRORS_LOGGED]:
                self._context.log.error(
                    "rows refused, the last good ones hold",
                    database=self.settings.name, error=str(error), mistakes=number,
                )  # fmt: skip
        self.state, self.why = FeedState.REFUSED, why

    def _record(self, word: str, detail: str) -> None:
        text = f"database {self.settings.name}: {word}: {detail[:_DETAIL]}"
        self._context.record(Decision(trio.current_time(), Reason.POLICY, stage="store", detail=text))


class DestinationSource:
    """The feeds of one policy: one for each database that a destination set uses."""

    def __init__(
        self,
        databases: Iterable[DatabaseSettings],
        sets: Iterable[SetSettings],
        sockets: Sockets,
        fit: Fit,
        context: FeedContext,
    ) -> None:
        sets = list(sets)
        self.feeds: dict[str, DatabaseFeed] = {}
        self._scopes: list[trio.CancelScope] = []
        self._containment = context.containment
        for database in databases:
            query = query_for(database, sets, sockets, fit)
            if query.groups:
                self.feeds[database.name] = DatabaseFeed(database, query, context)

    def inherit(self, other: DestinationSource) -> None:
        """Take over the rows of the previous policy's source for the same databases."""
        for name, feed in self.feeds.items():
            if name in other.feeds:
                feed.inherit(other.feeds[name])

    def run_in(self, nursery: trio.Nursery) -> None:
        """Start a task for each database, until :meth:`stop`."""
        for feed in self.feeds.values():
            scope = trio.CancelScope()
            self._scopes.append(scope)
            nursery.start_soon(_run_feed, scope, feed, self._containment)

    def stop(self) -> None:
        """End these tasks at once, even if a server does not answer."""
        for scope in self._scopes:
            scope.cancel()

    def with_members(self, sets: Iterable[SetSettings]) -> tuple[SetSettings, ...]:
        """``sets`` with the members from their databases; a set whose database was never read is empty."""
        return tuple(
            settings if settings.database is None else attrs.evolve(settings, members=self._members(settings))
            for settings in sets
        )

    def _members(self, settings: SetSettings) -> tuple[MemberSettings, ...]:
        feed = self.feeds.get(settings.database or "")
        return () if feed is None else feed.members.get(group_of(settings), ())

    def empty_sets(self, sets: Iterable[SetSettings]) -> dict[str, str]:
        """The sets without any member from their database, with the reason."""
        return {
            settings.set: f"no members from the database {settings.database}: {self.feeds[settings.database].why}"
            for settings in sets
            if settings.database in self.feeds and not self._members(settings)
        }

    def problems(self) -> list[str]:
        """The reason for each database whose last reading failed."""
        return [f"database {name}: {feed.why}" for name, feed in self.feeds.items() if feed.state is not FeedState.GOOD]


def query_for(database: DatabaseSettings, sets: Iterable[SetSettings], sockets: Sockets, fit: Fit) -> TableQuery:
    """What to read from ``database`` for those of ``sets`` whose members it has."""
    users = [settings for settings in sets if settings.database == database.name]
    algorithms = {
        group_of(settings): settings.peer_algorithm for settings in users if settings.peer_algorithm is not None
    }
    return TableQuery(frozenset(map(group_of, users)), sockets, fit, algorithms)


def group_of(settings: SetSettings) -> str:
    """The number or name of a set in its database."""
    return settings.group or settings.set


async def _run_feed(scope: trio.CancelScope, feed: DatabaseFeed, containment: Containment) -> None:
    with scope:
        await containment.keep_running(f"database {feed.settings.name}", feed.run)
