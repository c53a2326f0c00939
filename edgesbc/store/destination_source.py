"""Feeds destination sets from databases: reads them from time to time, and keeps what was good last. Routes nothing."""

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
    evaluate,
    place_of_database,
    read_database,
)
from edgesbc.store.local_copies import read_copy, write_copy

__all__ = ["DatabaseFeed", "DestinationSource", "FeedState", "Surroundings"]

_DETAIL = 200
"""Characters of an error that the ledger keeps; the log has all of them."""


class FeedState(enum.StrEnum):
    """What became of the last reading."""

    UNREAD = "unread"
    GOOD = "good"
    AWAY = "away"
    REFUSED = "refused"


@attrs.frozen
class Surroundings:
    """What a feed needs of the edge. ``changed`` is told of other members."""

    folder: Path
    log: Log
    record: Callable[[Decision], None]
    changed: Callable[[], None] = lambda: None


class DatabaseFeed:
    """One database: its state, and the members that its rows made when they were good last."""

    def __init__(self, settings: DatabaseSettings, wanted: TableQuery, around: Surroundings) -> None:
        self.settings = settings
        self.state = FeedState.UNREAD
        self.why = "it has not been read yet"
        self.members: Mapping[str, tuple[MemberSettings, ...]] = {}
        self._rows: tuple[Row, ...] = ()
        self._unkept = False
        self._wanted = wanted
        self._around = around
        self._failures = 0
        # Its own, so that a server that never answers holds up this database and no other.
        self._limiter = trio.CapacityLimiter(1)

    def inherit(self, other: DatabaseFeed) -> None:
        """Begin with what ``other`` knows of the same table; its sets may be others."""
        mine, theirs = self.settings, other.settings
        folder = self._around.folder
        if (place_of_database(mine, folder), mine.schema, mine.table_name) == (
            place_of_database(theirs, folder), theirs.schema, theirs.table_name,
        ):  # fmt: skip
            self.state, self.why, self._rows = other.state, other.why, other._rows
            self.members = {name: each for name, each in other.members.items() if name in self._wanted.groups}
            self._unkept = bool(self._rows) and self._wanted.groups != other._wanted.groups

    async def run(self) -> None:
        """Keep what was read, read it again and again, and say when its members are others."""
        while True:
            await self._keep()
            await trio.sleep(self.pause())
            if await self.read():
                self._around.changed()

    def pause(self) -> float:
        """Seconds until the next reading; while it is away, each time longer, and never at the same time as others."""
        if self.state in (FeedState.GOOD, FeedState.REFUSED):
            return self.settings.refresh
        longest = min(limits.DATABASE_RETRY_SECONDS, 2.0 ** min(self._failures, 16))
        return longest * random.uniform(0.5, 1.0)

    async def read(self) -> bool:
        """Read it now; whether its members are others than before. What goes wrong is said, and loses nothing."""
        settings, folder = self.settings, self._around.folder
        seconds = 3 * settings.timeout
        reading: TableReading | None = None
        with trio.move_on_after(seconds) as patience:
            try:
                reading = await trio.to_thread.run_sync(
                    read_database, settings, folder, self._wanted, limiter=self._limiter, abandon_on_cancel=True
                )
            except DatabaseError as error:
                self._lost(str(error))
            except TableErrors as errors:
                self._refused(errors)
        if patience.cancelled_caught:
            self._lost(f"{place_of_database(settings, folder)}: no answer in {seconds:g} s")
        return reading is not None and self._good(reading)

    async def fall_back(self) -> None:
        """After a first reading that was not good: begin with the last rows that were, from memory or from disk."""
        if self.state is FeedState.UNREAD:
            self._lost(f"{place_of_database(self.settings, self._around.folder)}: no answer yet")
        if self.state is FeedState.GOOD or self._wanted.groups <= self.members.keys():
            return
        name = self.settings.name
        try:
            kept = await trio.to_thread.run_sync(self._kept)
        except (OSError, ValueError) as error:  # TableErrors among them
            self._around.log.error("the local copy of a database cannot be used", database=name, error=str(error))
            return
        if kept is not None:
            reading, since = kept
            self.members, self._rows = reading.groups.members, reading.rows
            self._note("start", f"begins with the rows that were read {since}")
            self._around.log.info("begins with the local copy of a database", database=name, read=since)

    def _kept(self) -> tuple[TableReading, str] | None:
        if self._rows:
            return evaluate(self._rows, self.settings, self._wanted), "before"
        copy = read_copy(self._around.folder, self.settings)
        return None if copy is None else (evaluate(copy.rows, self.settings, self._wanted), copy.read)

    # --- what became of a reading --------------------------------------------------------------------------

    def _good(self, reading: TableReading) -> bool:
        name, was = self.settings.name, self.state
        self.state, self.why, self._failures = FeedState.GOOD, "", 0
        if was in (FeedState.AWAY, FeedState.REFUSED):
            self._note("back", f"it was {was}")
            self._around.log.info("a database is back", database=name, was=str(was))
        if reading.rows != self._rows:
            self._rows = reading.rows
            for note in reading.groups.notes[: limits.DATABASE_ERRORS_LOGGED]:
                self._around.log.info("a row has what has no counterpart", database=name, note=str(note))
            self._unkept = True
        changed = dict(reading.groups.members) != dict(self.members)
        if changed:
            self.members = reading.groups.members
            counts = ", ".join(f"{group} has {len(each)}" for group, each in self.members.items())
            self._note("changed", f"members: {counts}")
            self._around.log.info("members of a database changed", database=name, members=counts)
        return changed

    async def _keep(self) -> None:
        """Write the local copy where there are other rows than before.

        Here, and not with the reading: one for a policy that is refused then must not take the place of the copy.
        """
        if not self._unkept:
            return
        self._unkept = False
        try:
            await trio.to_thread.run_sync(write_copy, self._around.folder, self.settings, self._asked_for())
        except OSError as error:
            self._around.log.error("a database's copy cannot be written", database=self.settings.name, error=str(error))

    def _asked_for(self) -> tuple[Row, ...]:
        """The rows of the sets that ask: what else is in the table is not ours to keep."""
        group = SCHEMAS[self.settings.schema].group
        return tuple(row for row in self._rows if str(row.get(group)).strip() in self._wanted.groups)

    def _lost(self, why: str) -> None:
        self._failures += 1
        if self.state is not FeedState.AWAY:
            self._note("away", why)
            self._around.log.error("a database is away, the last rows hold", database=self.settings.name, error=why)
        self.state, self.why = FeedState.AWAY, f"it is away: {why}"

    def _refused(self, errors: TableErrors) -> None:
        self._failures = 0
        first, number = str(errors.errors[0]), len(errors.errors)
        why = f"its rows are refused: {first}" + (f", and {number - 1} more mistakes" if number > 1 else "")
        if (self.state, self.why) != (FeedState.REFUSED, why):
            self._note("refused", f"{number} mistakes, the first: {first}")
            for error in errors.errors[: limits.DATABASE_ERRORS_LOGGED]:
                self._around.log.error(
                    "rows refused, the last good ones hold",
                    database=self.settings.name, error=str(error), mistakes=number,
                )  # fmt: skip
        self.state, self.why = FeedState.REFUSED, why

    def _note(self, word: str, detail: str) -> None:
        told = f"database {self.settings.name}: {word}: {detail[:_DETAIL]}"
        self._around.record(Decision(trio.current_time(), Reason.POLICY, stage="store", detail=told))


class DestinationSource:
    """The feeds of one policy: those databases of it that a set asks for."""

    def __init__(
        self,
        databases: Iterable[DatabaseSettings],
        sets: Iterable[SetSettings],
        sockets: Sockets,
        fit: Fit,
        around: Surroundings,
    ) -> None:
        sets = list(sets)
        self.feeds: dict[str, DatabaseFeed] = {}
        self._scopes: list[trio.CancelScope] = []
        for each in databases:
            groups = frozenset(group_of(one) for one in sets if one.database == each.name)
            if groups:
                self.feeds[each.name] = DatabaseFeed(each, TableQuery(groups, sockets, fit), around)

    def inherit(self, other: DestinationSource) -> None:
        """Begin with what the feeder of the policy before knows of the same databases."""
        for name, feed in self.feeds.items():
            if name in other.feeds:
                feed.inherit(other.feeds[name])

    def run_in(self, nursery: trio.Nursery) -> None:
        """Start a task for each database, until :meth:`stop`."""
        for feed in self.feeds.values():
            scope = trio.CancelScope()
            self._scopes.append(scope)
            nursery.start_soon(_within, scope, feed)

    def stop(self) -> None:
        """End those tasks, at once even where a server does not answer."""
        for scope in self._scopes:
            scope.cancel()

    def filled(self, sets: Iterable[SetSettings]) -> tuple[SetSettings, ...]:
        """``sets`` with the members that their databases have; empty ones where nothing is known yet."""
        return tuple(
            attrs.evolve(each, members=self._members(each)) if each.database is not None else each for each in sets
        )

    def _members(self, settings: SetSettings) -> tuple[MemberSettings, ...]:
        feed = self.feeds.get(settings.database or "")
        return () if feed is None else feed.members.get(group_of(settings), ())

    def empty(self, sets: Iterable[SetSettings]) -> dict[str, str]:
        """The sets for which nothing is known, and why."""
        return {
            each.set: f"no members from the database {each.database}: {self.feeds[each.database].why}"
            for each in sets
            if each.database in self.feeds and not self._members(each)
        }

    def problems(self) -> list[str]:
        """What is wrong with each database now."""
        return [f"database {name}: {feed.why}" for name, feed in self.feeds.items() if feed.state is not FeedState.GOOD]


def group_of(settings: SetSettings) -> str:
    """The set's number or name in its database."""
    return settings.group or settings.set


async def _within(scope: trio.CancelScope, feed: DatabaseFeed) -> None:
    with scope:
        await feed.run()
