"""What is kept of policies on disk: the log of versions, and the text in the policy file. Disk work runs in threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

import trio
from sqlalchemy.exc import SQLAlchemyError

from edgesbc.base import limits
from edgesbc.base.files import FileTooLarge, read_file
from edgesbc.base.log import Log
from edgesbc.inventory.databases import without_passwords
from edgesbc.policy.model import Policy
from edgesbc.rollout.policy_file import read_text, replace_text
from edgesbc.store.policy_log import DATABASE, Outcome, PolicyLog, PolicyLogEntry, earlier

__all__ = ["PolicyHistory", "StoredVersion", "new_entry"]

_T = TypeVar("_T")


class StoredVersion(NamedTuple):
    """A change as it is stored."""

    version: int
    set_aside: int | None
    """The version that an edit in the policy file was stored as; None where the file had no such edit."""


def new_entry(
    policy: Policy, author: str, outcome: Outcome, message: str, reason: str, summary: str = "", of: int | None = None
) -> PolicyLogEntry:
    """An entry for ``policy``, which is about to be in force; ``of`` is the version that has the same text."""
    return PolicyLogEntry(
        datetime.now(UTC), policy.file, "", author, outcome, message, policy.text, why=reason, summary=summary, of=of
    )


class PolicyHistory:
    """The history of one running edge, whose policy was read from ``file`` ("": from none).

    ``log`` has ``error``: a failure of :meth:`mark` or of one of the ``note`` methods is logged there and raises
    nothing.
    """

    def __init__(self, file: str, state_dir: Path, log: Log) -> None:
        self.file = file
        self._state_dir = state_dir
        self._log = log

    async def store(self, entry: PolicyLogEntry, in_force: str) -> StoredVersion:
        """Enter a change in the log and write its text into the policy file; ``in_force`` is the text in force.

        Raises ``OSError`` where either fails. The policy file is then as it was.
        """
        return await trio.to_thread.run_sync(_store, self._state_dir, entry, in_force)

    async def target(self, version: int, to: int | None) -> PolicyLogEntry:
        """The version ``to``, or without it the one to go back to from ``version``.

        Raises ``LookupError`` that says what is missing, and ``OSError`` or ``SQLAlchemyError``.
        """
        return await trio.to_thread.run_sync(lambda: _target(PolicyLog(self._state_dir), version, to))

    async def entries(self, most: int) -> list[PolicyLogEntry]:
        """The newest ``most`` entries without their texts, newest first. Raises ``OSError`` or ``SQLAlchemyError``."""
        return await trio.to_thread.run_sync(lambda: PolicyLog(self._state_dir).entries(most, texts=False))

    async def note_in_force(self, policy: Policy, outcome: Outcome, message: str) -> int:
        """Enter the policy that was read from the file and is in force; its version, 0 where it cannot be entered."""
        if not self.file:
            return 0
        author = f"uid {os.getuid()}"
        entry = await self._write(lambda log: log.append(self.file, policy.text, author, outcome, message))
        return 0 if entry is None else entry.version

    async def note_refused_file(self, mistakes: str) -> None:
        """Enter the text of the policy file, which was refused, with the mistakes in it."""
        if self.file:
            author = f"uid {os.getuid()}"
            await self._write(
                lambda log: log.append(self.file, self._text_in_file(), author, Outcome.REFUSED, mistakes)
            )

    async def note_refused(self, text: str, author: str, reason: str, mistakes: str) -> None:
        """Enter a text that ``author`` wanted in force and that was refused, with the mistakes in it."""
        without = without_passwords(text)
        await self._write(lambda log: log.append(self.file, without, author, Outcome.REFUSED, mistakes, reason))

    async def mark(self, version: int, outcome: Outcome, message: str) -> None:
        """Set the outcome of ``version``."""
        await self._write(lambda log: log.mark(version, outcome, message))

    def _text_in_file(self) -> str:
        """The refused text of the policy file, without what may be a password in a wrong place; "" where it is too
        large, as the message of the entry says then. Blocks."""
        try:
            return without_passwords(read_file(Path(self.file), limits.POLICY_BYTES).decode(errors="replace"))
        except FileTooLarge:
            return ""

    async def _write(self, write: Callable[[PolicyLog], _T]) -> _T | None:
        """Run ``write`` in a thread. A failure of the disk or the database is logged; the result is then None."""
        try:
            return await trio.to_thread.run_sync(lambda: write(PolicyLog(self._state_dir)))
        except (OSError, SQLAlchemyError) as error:
            self._log.error("the audit log cannot be written", error=str(error))
            return None


def _store(state_dir: Path, entry: PolicyLogEntry, in_force: str) -> StoredVersion:
    """See :meth:`PolicyHistory.store`. A text in the file that is neither the one in force nor the new one gets a
    version of its own before it is overwritten."""
    file = Path(entry.file)
    try:
        log = PolicyLog(state_dir)
        in_file = read_text(file)
        set_aside = None
        if in_file is not None and in_file not in (in_force, entry.text):
            message = "was in the file, and never in force"
            set_aside = log.append(entry.file, in_file, "unknown", Outcome.SET_ASIDE, message).version
        stored = log.append(
            entry.file, entry.text, entry.who, entry.outcome, entry.message, entry.why, entry.summary, entry.of
        )
        try:
            if in_file != entry.text:
                replace_text(file, entry.text)
        except OSError as error:
            log.mark(stored.version, Outcome.REFUSED, f"{file} cannot be written: {error.strerror or error}")
            raise OSError(f"{file} cannot be written: {error.strerror or error}") from None
    except SQLAlchemyError as error:
        raise OSError(f"{state_dir / DATABASE} cannot be written: {error}") from None
    return StoredVersion(stored.version, set_aside)


def _target(log: PolicyLog, version: int, to: int | None) -> PolicyLogEntry:
    """See :meth:`PolicyHistory.target`."""
    if to is None:
        before = earlier(log.entries(most=2**31, texts=False), version)
        if before is None:
            raise LookupError("there is no earlier version; see `edgesbc policy log`")
        to = before.version
    entry = log.entry(to)
    if entry is None:
        raise LookupError(f"there is no version {to}; see `edgesbc policy log`")
    return entry
