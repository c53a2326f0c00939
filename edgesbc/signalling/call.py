"""Call: an INVITE and the dialog that it sets up, until it ends; owner of its leases and its media session."""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import Protocol

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.leases import Lease
from edgesbc.signalling.leg import Leg

__all__ = ["Call", "CallState"]


class CallState(enum.Enum):
    SETTING_UP = "setting-up"
    ESTABLISHED = "established"
    ENDED = "ended"


class CallTable(Protocol):
    """The table of all calls."""

    def hang_up(self, call: Call, reason: Reason, now: float) -> None: ...


class PendingInvite(Protocol):
    """The response context of the INVITE that sets a call up."""

    def stop(self, reason: Reason, outcome: str, now: float) -> None:
        """End the call from here with the status of ``reason``; ``outcome`` is how the statistics name its end."""


class Call:
    """While it is set up, it has a lease for each member that was asked; then only that of the one that answered.

    ``due`` is the limit of set-up, then that of the duration.
    """

    __slots__ = (
        "_table",
        "anchored",
        "call_id",
        "callee",
        "caller",
        "due",
        "forks",
        "invite",
        "late_offer",
        "leases",
        "queued",
        "source",
        "started",
        "state",
        "trunk",
    )  # fmt: skip

    def __init__(self, table: CallTable, call_id: str, caller: Leg, now: float) -> None:
        self._table = table
        self.call_id = call_id
        self.caller = caller
        self.callee: Leg | None = None
        self.state = CallState.SETTING_UP
        self.started = now
        self.leases: list[Lease] = []
        self.forks: list[Leg] = []  # others that answered the INVITE as well, until they are hung up
        self.anchored = False  # whether the media plane has a session for it
        self.late_offer = False  # the INVITE had none, so the callee's answer has it, and a PRACK answers it
        self.trunk = ""
        self.source: Hashable = None
        self.invite: PendingInvite | None = None  # until the INVITE has its final answer
        self.due: float | None = None
        self.queued: float | None = None

    @property
    def media_id(self) -> str:
        """The call-id of its media session: not the Call-ID alone, which two calls may share (``Calls.find``)."""
        return self.call_id if self.caller.first.listener.zone is Zone.PUBLIC else f"{self.call_id};outward"

    def expire(self, now: float) -> None:
        """It has rung for too long (Timer C, RFC 3261 section 16.8), or lasted too long."""
        if self.invite is not None:
            self.invite.stop(Reason.SET_UP_TIMEOUT, "timeout", now)
        else:
            self._table.hang_up(self, Reason.DURATION, now)

    def legs_of(self, from_tag: str) -> tuple[Leg, Leg | None] | None:
        """(sender's leg, receiver's leg) of a request inside the dialog; None where the tag is neither's."""
        if from_tag == self.caller.tag:
            return self.caller, self.callee
        if self.callee is not None and from_tag == self.callee.tag:
            return self.callee, self.caller
        return None

    def add_fork(self, leg: Leg) -> None:
        """Another callee has answered too: the caller may keep either dialog (RFC 3261 section 13.2.2.4)."""
        if len(self.forks) < limits.FORK_BRANCHES and all(leg.tag != fork.tag for fork in self.forks):
            self.forks.append(leg)

    def has_fork(self, tag: str) -> bool:
        """Whether ``tag`` is the callee's, or that of another fork that the caller may keep."""
        return (self.callee is not None and self.callee.tag == tag) or any(leg.tag == tag for leg in self.forks)

    def survives_bye(self, tags: tuple[str, str]) -> bool:
        """Whether the call goes on, with another fork, when the dialog with these two tags is hung up."""
        self.forks = [leg for leg in self.forks if leg.tag not in tags]
        if self.callee is not None and self.callee.tag in tags and self.forks:
            self.callee = self.forks.pop(0)
        return self.callee is not None and self.callee.tag not in tags
