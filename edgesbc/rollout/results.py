"""The results of policy changes as values, and the exception for a change that needs a restart."""

from __future__ import annotations

import attrs

from edgesbc.policy.diff import PolicyChange

__all__ = ["Applied", "ReloadResult", "RestartNeeded", "RolledBack", "Unchanged"]


class RestartNeeded(Exception):
    """A change is not applied because some of it would wait for a restart, and that was not accepted."""

    def __init__(self, changes: list[PolicyChange]) -> None:
        super().__init__("\n".join(change.sentence for change in changes if change.restart))
        self.changes = changes
        """All that would change; ``restart`` says which of it waits."""


@attrs.frozen
class Unchanged:
    """The text that was to be applied is in force already, as ``version``."""

    version: int


@attrs.frozen
class Applied:
    """A change that is in force as ``version``."""

    version: int
    set_aside: int | None
    """The version that an edit in the policy file was stored as before it was overwritten."""
    settle: float
    """Seconds of its probation; 0: it has none."""
    needs_restart: list[str]
    """Sections with a change that waits for a restart."""
    changes: list[PolicyChange]


@attrs.frozen
class RolledBack:
    """The text of version ``of`` is in force as ``version``, in the place of version ``left``."""

    version: int
    of: int
    left: int
    set_aside: int | None
    needs_restart: list[str]
    changes: list[PolicyChange]


@attrs.frozen
class ReloadResult:
    """What a reload did. With ``mistakes``, nothing has changed."""

    mistakes: list[str]
    needs_restart: list[str] = attrs.field(factory=list)
    """Sections that changed and wait for a restart."""
    databases: list[str] = attrs.field(factory=list)
    """What is wrong with databases, whose last good rows stay in use."""
