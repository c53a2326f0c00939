"""A change as it is kept: its version in the store and its text in the policy file. Every call blocks."""

from __future__ import annotations

import pwd
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from edgesbc.policy.diff import PolicyChange, differences
from edgesbc.policy.load import parse_policy
from edgesbc.policy.model import Policy
from edgesbc.rollout.policy_file import read_text, replace_text
from edgesbc.store.policy_log import Outcome, PolicyLog, PolicyLogEntry, earlier

__all__ = ["Kept", "keep", "name_of", "read_change", "target_of"]

Kept = tuple[PolicyLogEntry, int | None]
"""The entry of a change, and the version that what was found in the file has now, if it was news."""


def name_of(uid: int | None) -> str:
    """Who asks, by the number that the kernel gave."""
    if uid is None:
        return "unknown"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def read_change(text: str, running: Policy) -> tuple[Policy, list[PolicyChange]]:
    """``text`` as the policy of the file that runs: paths in it are relative to that file's folder.

    Raises :class:`~edgesbc.base.errors.PolicyErrors`.
    """
    policy = parse_policy(text, running.file)
    return policy, differences(running, policy)


def keep(log: PolicyLog, entry: PolicyLogEntry, running: str) -> Kept:
    """Enter a change in the log and write its text into the policy file; ``running`` is the text in force.

    What is in the file and is neither of them is kept in the log before it is overwritten. Raises ``OSError``
    when the file cannot be written, or the log: nothing has changed then.
    """
    file = Path(entry.file)
    try:
        found = read_text(file)
        aside = None
        if found is not None and found not in (running, entry.text):
            message = "was in the file, and never in force"
            aside = log.append(entry.file, found, "unknown", Outcome.SET_ASIDE, message).version
        kept = log.append(
            entry.file, entry.text, entry.who, entry.outcome, entry.message, entry.why, entry.summary, entry.of
        )
        try:
            if found != entry.text:
                replace_text(file, entry.text)
        except OSError as error:
            log.mark(kept.version, Outcome.REFUSED, f"{file} cannot be written: {error.strerror or error}")
            raise OSError(f"{file} cannot be written: {error.strerror or error}") from None
    except SQLAlchemyError as error:
        raise OSError(f"{log.path} cannot be written: {error}") from None
    return kept, aside


def target_of(log: PolicyLog, version: int, to: int | None) -> PolicyLogEntry:
    """The version ``to``, or the one to go back to from ``version``.

    Raises ``LookupError`` that says what is not there, and what the store raises.
    """
    if to is None:
        found = earlier(log.entries(most=2**31, texts=False), version)
        if found is None:
            raise LookupError("there is no earlier version; see `edgesbc policy log`")
        to = found.version
    entry = log.entry(to)
    if entry is None:
        raise LookupError(f"there is no version {to}; see `edgesbc policy log`")
    return entry
