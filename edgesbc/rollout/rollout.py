"""One change of the policy of a running edge, as a state machine without I/O.

===========  =================  ============  ================================================================
state        event              next state    what the controller does with it
===========  =================  ============  ================================================================
(new)                           PREPARED      the text is read and compared, its databases are asked
PREPARED     FAILED             ABANDONED     the log or the policy file cannot be written: nothing has changed
PREPARED     WATCHED            PROBATION     swaps the policy, counts calls from now on
PREPARED     UNWATCHED          CONFIRMED     swaps the policy
PROBATION    TIME_OVER          CONFIRMED     stops counting
PROBATION    CALLS_FAIL         REVERTED      swaps the policy before in again, then writes it back
PROBATION    ROLLED_BACK        REVERTED      an operator's rollback, a change of its own, takes its place
PROBATION    RELOADED           SUPERSEDED    another text was read from the policy file, and is in force
CONFIRMED    ROLLED_BACK        REVERTED      as above
===========  =================  ============  ================================================================

A change that is refused (mistakes in it, a destination set that would lose all members, a restart that is needed and
not accepted) never becomes PREPARED. A CONFIRMED change whose place another change or a reload takes stays CONFIRMED.
An edge that is killed keeps no state of this: the policy file and the log of policies have the text that was in force,
and the next start uses it without probation. :mod:`edgesbc.rollout.controller` drives the machine.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import attrs

from edgesbc.policy.model import ChangeSettings, Policy
from edgesbc.rollout.probation import Probation

__all__ = ["TRANSITIONS", "Rollout", "RolloutEvent", "RolloutState"]


class RolloutState(enum.Enum):
    """The state of a change. The values are the words of ``policy settling`` on the control socket."""

    PREPARED = "prepared"
    PROBATION = "settling"
    CONFIRMED = "settled"
    REVERTED = "rolled-back"
    SUPERSEDED = "replaced"
    ABANDONED = "abandoned"


class RolloutEvent(enum.Enum):
    """What moves a change from one state to the next."""

    FAILED = "it cannot be written"
    WATCHED = "in force, on probation"
    UNWATCHED = "in force, without probation"
    TIME_OVER = "the time of the probation is over"
    CALLS_FAIL = "more calls fail than before"
    ROLLED_BACK = "an operator went back"
    RELOADED = "the policy file was read again, and had another text"


_S, _E = RolloutState, RolloutEvent

TRANSITIONS: Final[Mapping[tuple[RolloutState, RolloutEvent], RolloutState]] = {
    (_S.PREPARED, _E.FAILED): _S.ABANDONED,
    (_S.PREPARED, _E.WATCHED): _S.PROBATION,
    (_S.PREPARED, _E.UNWATCHED): _S.CONFIRMED,
    (_S.PROBATION, _E.TIME_OVER): _S.CONFIRMED,
    (_S.PROBATION, _E.CALLS_FAIL): _S.REVERTED,
    (_S.PROBATION, _E.ROLLED_BACK): _S.REVERTED,
    (_S.PROBATION, _E.RELOADED): _S.SUPERSEDED,
    (_S.CONFIRMED, _E.ROLLED_BACK): _S.REVERTED,
}


@attrs.define(eq=False)
class Rollout:
    """One change. It begins as PREPARED; :meth:`advance` is the only way to another state."""

    policy: Policy
    author: str
    reason: str
    previous: Policy
    """The policy that was in force before it."""
    previous_version: int
    settings: ChangeSettings
    """The settings of its probation; ``settle`` 0: it has none."""
    reverts: bool = True
    """Whether the edge reverts it by itself when more calls fail."""
    version: int = 0
    """Its number in the log of policies; 0 until it is entered there."""
    probation: Probation | None = None
    """The counts of calls; None before PROBATION, and where it had none."""
    state: RolloutState = attrs.field(default=RolloutState.PREPARED, init=False)
    message: str = attrs.field(default="", init=False)
    """Why it is in its state, for people."""

    def advance(self, event: RolloutEvent, message: str = "") -> None:
        """Move to the next state. Raises ``ValueError`` for an event that the table does not have in this state."""
        following = TRANSITIONS.get((self.state, event))
        if following is None:
            raise ValueError(f"version {self.version}: no transition from {self.state.name} by {event.name}")
        self.state, self.message = following, message

    @property
    def on_probation(self) -> bool:
        return self.state is RolloutState.PROBATION
