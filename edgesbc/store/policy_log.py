"""The audit log of policies: every policy that was in force or refused, with time, operator and outcome."""

from __future__ import annotations

import enum
import hashlib
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    create_engine,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from edgesbc.base import limits

__all__ = ["DATABASE", "IN_FORCE", "Outcome", "PolicyLog", "PolicyLogEntry", "earlier"]

DATABASE = "edgesbc.sqlite"


class Outcome(enum.StrEnum):
    """Outcome of a policy."""

    STARTED = "started"
    RELOADED = "reloaded"
    REFUSED = "refused"
    APPLIED = "applied"
    """In force, on probation or with an unknown outcome."""
    SETTLED = "settled"
    """Applied, and confirmed by its probation."""
    ROLLED_BACK = "rolled-back"
    """Applied, and reverted by the edge or by an operator."""
    RESTORED = "restored"
    """The text of an earlier version, in force again."""
    SET_ASIDE = "set-aside"
    """A text that was in the policy file and never in force; it was logged before the file was overwritten."""


IN_FORCE = frozenset({Outcome.STARTED, Outcome.RELOADED, Outcome.APPLIED, Outcome.SETTLED, Outcome.RESTORED})
"""Outcomes of policies that are or were in force and were not reverted."""


@attrs.frozen
class PolicyLogEntry:
    """One entry of the log. ``text`` is the whole file as it was read; "" if the query left texts out."""

    at: datetime
    file: str
    sha256: str
    who: str
    outcome: Outcome
    message: str
    text: str
    version: int = 0
    """Its number, which is never given again."""
    why: str = ""
    """The operator's reason for the change."""
    summary: str = ""
    """The change in one line."""
    of: int | None = None
    """The version whose text was put in force again."""


_METADATA = MetaData()
_TEXTS = Table(
    "policy_text", _METADATA, Column("sha256", String(64), primary_key=True), Column("text", Text, nullable=False)
)
_LOG = Table(
    "policy_log",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", String(32), nullable=False),  # UTC, ISO 8601, so that other tools can read it
    Column("file", Text, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("who", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("message", Text, nullable=False),
    sqlite_autoincrement=True,
)
_CHANGES = Table(  # a separate table, so that a log of an older version is read and written unchanged
    "policy_change",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("why", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("of", Integer),
)


class PolicyLog:
    """The log in ``state_dir``; the folder and the database are created if missing.

    It holds the newest ``limits.POLICY_LOG_ENTRIES`` entries, and one copy of each of their texts. All methods block,
    and raise ``OSError`` or ``sqlalchemy.exc.SQLAlchemyError`` if the disk or the database fails.
    """

    __slots__ = ("_engine", "path")

    def __init__(self, state_dir: Path) -> None:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = state_dir / DATABASE
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # private to its owner
        # No connection is kept open: entries are rare, and any thread may write the next one.
        # Errors show no parameters: the text of a policy that was in the file may have a password in a wrong place.
        url = URL.create("sqlite", database=str(self.path))
        self._engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
        _METADATA.create_all(self._engine)

    def append(
        self,
        file: str,
        text: str,
        who: str,
        outcome: Outcome,
        message: str = "",
        why: str = "",
        summary: str = "",
        of: int | None = None,
    ) -> PolicyLogEntry:
        """Add an entry: ``text``, read from ``file``, had this ``outcome``; ``message`` says why a policy was
        refused."""
        file, text, who, message, why, summary = map(_storable, (file, text, who, message, why, summary))
        digest = hashlib.sha256(text.encode()).hexdigest()
        entry = PolicyLogEntry(datetime.now(UTC), file, digest, who, outcome, message, text, 0, why, summary, of)
        columns = {name: getattr(entry, name) for name in ("file", "sha256", "who", "message")}
        with self._engine.begin() as connection:
            if not connection.scalar(select(func.count()).select_from(_TEXTS).where(_TEXTS.c.sha256 == digest)):
                connection.execute(insert(_TEXTS).values(sha256=digest, text=text))
            connection.execute(insert(_LOG).values(at=entry.at.isoformat(), outcome=outcome.value, **columns))
            newest = connection.scalar(select(func.max(_LOG.c.id))) or 0
            if why or summary or of is not None:
                connection.execute(insert(_CHANGES).values(id=newest, why=why, summary=summary, of=of))
            oldest = newest - limits.POLICY_LOG_ENTRIES
            connection.execute(delete(_LOG).where(_LOG.c.id <= oldest))
            connection.execute(delete(_CHANGES).where(_CHANGES.c.id <= oldest))
            connection.execute(delete(_TEXTS).where(_TEXTS.c.sha256.not_in(select(_LOG.c.sha256))))
        return attrs.evolve(entry, version=newest)

    def mark(self, version: int, outcome: Outcome, message: str) -> None:
        """Set the outcome of ``version``, once it is known."""
        with self._engine.begin() as connection:
            changed = {"outcome": outcome.value, "message": _storable(message)}
            connection.execute(update(_LOG).where(_LOG.c.id == version).values(changed))

    def entries(self, most: int = 100, texts: bool = True) -> list[PolicyLogEntry]:
        """The newest entries, newest first."""
        return self._read(_entries(texts).order_by(_LOG.c.id.desc()).limit(most))

    def entry(self, version: int) -> PolicyLogEntry | None:
        """The entry with that number; None if there is none, or if it was dropped as too old."""
        return next(iter(self._read(_entries(True).where(_LOG.c.id == version))), None)

    def _read(self, query: Select[Any]) -> list[PolicyLogEntry]:
        with self._engine.connect() as connection:
            return [
                PolicyLogEntry(
                    datetime.fromisoformat(row.at), row.file, row.sha256, row.who, Outcome(row.outcome), row.message,
                    row.text, row.id, row.why or "", row.summary or "", row.of,
                )
                for row in connection.execute(query)
            ]  # fmt: skip


def earlier(entries: Iterable[PolicyLogEntry], version: int) -> PolicyLogEntry | None:
    """The version that a rollback from ``version`` restores: the last earlier one in force with another text.

    ``entries`` are all entries, in any order. A restored version counts as the version whose text it has, so that a
    second rollback goes further back.
    """
    known = {entry.version: entry for entry in entries}
    start = known.get(version)
    while start is not None and start.of is not None:
        start = known.get(start.of)
    if start is None:
        return None
    candidates = [
        entry
        for entry in known.values()
        if entry.version < start.version and entry.outcome in IN_FORCE and entry.sha256 != start.sha256
    ]
    return max(candidates, key=lambda entry: entry.version, default=None)


def _entries(texts: bool) -> Select[Any]:
    of_change = (_CHANGES.c.why, _CHANGES.c.summary, _CHANGES.c.of)
    if not texts:
        return select(_LOG, literal("").label("text"), *of_change).join_from(
            _LOG, _CHANGES, _LOG.c.id == _CHANGES.c.id, isouter=True
        )
    return (
        select(_LOG, _TEXTS.c.text, *of_change)
        .join_from(_LOG, _TEXTS, _LOG.c.sha256 == _TEXTS.c.sha256)
        .join(_CHANGES, _LOG.c.id == _CHANGES.c.id, isouter=True)
    )


def _storable(text: str) -> str:
    """``text`` without surrogates, which stand for undecodable bytes of a path (PEP 383)."""
    return text.encode(errors="replace").decode()
