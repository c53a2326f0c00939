"""The audit log of policies: which were started, reloaded or refused, when, by whom. Decides nothing."""

from __future__ import annotations

import enum
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import attrs
from sqlalchemy import Column, Integer, MetaData, String, Table, Text, create_engine, delete, func, insert, select
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from edgesbc.base import limits

__all__ = ["Entry", "Outcome", "PolicyLog"]

DATABASE = "edgesbc.sqlite"


class Outcome(enum.StrEnum):
    """What became of a policy."""

    STARTED = "started"
    RELOADED = "reloaded"
    REFUSED = "refused"


@attrs.frozen
class Entry:
    """One line of the log. ``text`` is the whole file as it was read."""

    at: datetime
    file: str
    sha256: str
    who: str
    outcome: Outcome
    message: str
    text: str


_METADATA = MetaData()
_TEXTS = Table(
    "policy_text", _METADATA, Column("sha256", String(64), primary_key=True), Column("text", Text, nullable=False)
)
_LOG = Table(
    "policy_log",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", String(32), nullable=False),  # UTC, ISO 8601, so that every tool can read it
    Column("file", Text, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("who", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("message", Text, nullable=False),
    sqlite_autoincrement=True,
)


class PolicyLog:
    """The log in ``state_dir``; the folder and the database are made when they are missing.

    The newest entries are kept, up to ``limits.POLICY_LOG_ENTRIES``, and one copy of each text that one of
    them had. All methods, this one included, block, and raise ``OSError`` or
    ``sqlalchemy.exc.SQLAlchemyError`` when the disk or the database fails.
    """

    __slots__ = ("_engine", "path")

    def __init__(self, state_dir: Path) -> None:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = state_dir / DATABASE
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # policies are nobody else's
        # No connection is kept: entries are rare, and each comes from whatever thread is free.
        self._engine = create_engine(URL.create("sqlite", database=str(self.path)), poolclass=NullPool)
        _METADATA.create_all(self._engine)

    def append(self, file: str, text: str, who: str, outcome: Outcome, message: str = "") -> Entry:
        """Note that ``text``, read from ``file``, had this ``outcome``; ``message`` says why, if it was refused."""
        file, text, who, message = map(_storable, (file, text, who, message))
        digest = hashlib.sha256(text.encode()).hexdigest()
        entry = Entry(datetime.now(UTC), file, digest, who, outcome, message, text)
        columns = {name: getattr(entry, name) for name in ("file", "sha256", "who", "message")}
        with self._engine.begin() as connection:
            if not connection.scalar(select(func.count()).select_from(_TEXTS).where(_TEXTS.c.sha256 == digest)):
                connection.execute(insert(_TEXTS).values(sha256=digest, text=text))
            connection.execute(insert(_LOG).values(at=entry.at.isoformat(), outcome=outcome.value, **columns))
            newest = connection.scalar(select(func.max(_LOG.c.id))) or 0
            connection.execute(delete(_LOG).where(_LOG.c.id <= newest - limits.POLICY_LOG_ENTRIES))
            connection.execute(delete(_TEXTS).where(_TEXTS.c.sha256.not_in(select(_LOG.c.sha256))))
        return entry

    def entries(self, most: int = 100) -> list[Entry]:
        """The newest entries, newest first."""
        query = (
            select(_LOG, _TEXTS.c.text)
            .join_from(_LOG, _TEXTS, _LOG.c.sha256 == _TEXTS.c.sha256)
            .order_by(_LOG.c.id.desc())
            .limit(most)
        )
        with self._engine.connect() as connection:
            return [
                Entry(
                    datetime.fromisoformat(row.at), row.file, row.sha256, row.who, Outcome(row.outcome), row.message,
                    row.text,
                )
                for row in connection.execute(query)
            ]  # fmt: skip


def _storable(text: str) -> str:
    """``text`` without the halves of characters that stand for undecodable bytes, as in paths (PEP 383)."""
    return text.encode(errors="replace").decode()
